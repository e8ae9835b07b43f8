"""Measure the effect of test texts that are also in train or validation (`leaked.txt` of data/splits)."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.alike import unequal_terms
from analysis.estimates import Estimate
from analysis.evidence import Evidence
from analysis.groups import Group
from analysis.intervals import difference_over_seeds
from data_prep.splits import LEAKED


def leaked_ids(splits: Path) -> set[str]:
    """Return the ids of the test examples in a folder of data/splits whose text is also in train or validation."""
    path = splits / LEAKED
    return set(path.read_text(encoding="utf-8").split("\n")) - {""} if path.is_file() else set()


def keeps_leaks(group: Group) -> bool:
    """Return whether train and validation of a group's runs kept the texts that are also in test (config.yaml)."""
    return bool(group.config.get("dataset.leaks") == "keep")


def leaks_table(evidence: Evidence, data_dir: Path) -> pd.DataFrame:
    """Return a row for each group with leaked test texts: the mean accuracy on the leaked texts and on the others."""
    rows = []
    for group in evidence.groups:
        ids = leaked_ids(data_dir / "splits" / group.names["dataset"])
        leaked = np.array([text in ids for text in group.texts])
        if group.right is None or not leaked.any() or leaked.all():
            continue
        on_leaked, on_others = group.right[:, leaked].mean(), group.right[:, ~leaked].mean()
        rows.append(
            {
                "runs": group.title,
                "n": str(group.n),
                "in train or validation": "kept" if keeps_leaks(group) else "dropped",
                "test texts": f"{leaked.sum()} leaked, {(~leaked).sum()} others",
                "accuracy on the leaked": f"{on_leaked:.2f} %",
                "accuracy on the others": f"{on_others:.2f} %",
                "difference": f"{on_leaked - on_others:+.2f}",
            }
        )
    return pd.DataFrame(rows)


def leak_effects(evidence: Evidence) -> list[tuple[Group, Group, Estimate]]:
    """Return (runs with the leaks, the same runs without, difference in points) when both were trained.

    The runs are paired by the seeds that both groups have. Both groups answered the same test texts.
    """
    found = []
    for one, other in permutations(evidence.groups, 2):
        if not keeps_leaks(one) or keeps_leaks(other) or not one.texts or one.texts != other.texts:
            continue
        seeds = sorted(set(one.seeds) & set(other.seeds))
        are_alike = one.names == {**other.names, "dataset": one.names["dataset"]}
        if seeds and are_alike and not unequal_terms("leaks", one, other):
            kept, dropped = one.only(seeds), other.only(seeds)
            found.append((kept, dropped, difference_over_seeds(kept.test, dropped.test, paired=True)))
    return found
