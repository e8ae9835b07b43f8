"""Other people's runs of the published exercise (`published.yaml`): the third party, next to the report and our runs.

Accuracies are in percent at the best validation step. Values after each epoch are in `replications_per_epoch.csv`, with
losses in bits.
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.estimates import SAME_TEXTS
from analysis.event_files import KEYS
from analysis.groups import Group
from analysis.intervals import mean_over_seeds, one_more_run
from analysis.verdict import published, published_tests

REPORT = "the report"
LONGER = "C"  # the replication whose learning rate falls more slowly
INITS = ("pretrained", "random")
SHARED_DRAWS = "nearly the report's numbers"
OURS = {  # dataset -> our runs' name in tables and figures
    "cls_books_published": "ours",
    "cls_books": "ours, leaks dropped",
    "cls_books_course": "ours, the course's split",
}
AS_SET = "A"  # the replication with the exercise's own schedule length and known curves
BY_EPOCH = {  # quantity that is compared after each epoch -> its column in the file
    "training loss (bits)": "train_loss_bits",
    "validation accuracy (%)": "valid_accuracy",
    "test accuracy (%)": "test_accuracy",
}


@dataclass(frozen=True)
class Source:
    """Test accuracies of one init from one source; `values` is empty when only the mean is known."""

    name: str
    init: str
    values: list[float]
    mean: float
    about: str  # year, machine, settings

    @property
    def is_ours(self) -> bool:
        return self.name.startswith("ours")


def sources(groups: list[Group], backend: str = "fairseq") -> list[Source]:
    """Return every source of a back end's runs, by init: the report, the replications, and our runs in `groups`.

    The groups belong to the published experiment.
    """
    found = []
    for init in INITS:
        if tests := published_tests(init, backend):
            found.append(_source(REPORT, init, tests, "as published"))
        for other in published()["replications"]:
            if other.get("backend", "fairseq") != backend:
                continue
            about = ", ".join(str(other[key]) for key in ("year", "machine", "settings") if other[key] is not None)
            about += "" if other["draws"] == "own" else f"; {SHARED_DRAWS}"
            if init in other:
                found.append(_source(f"replication {other['name']}", init, other[init], about))
            elif init in other.get("mean", {}):
                about += f"; std {other['std'][init]}"
                found.append(Source(f"replication {other['name']}", init, [], other["mean"][init], about))
        for group in groups:
            if (group.names["backend"], group.names["init"]) == (backend, init):
                found.append(_source(OURS[group.names["dataset"]], init, group.test.tolist(), _terms(group)))
    return found


def _source(name: str, init: str, values: list[float], about: str) -> Source:
    return Source(name, init, values, float(np.mean(values)), about)


def _terms(group: Group) -> str:
    return ", ".join(["as set", *filter(None, [group.config.get("precision.name")])])


def sources_table(found: list[Source]) -> pd.DataFrame:
    """Return a row for each source and init: test accuracies by seed, their mean, its interval, n, the terms."""
    return pd.DataFrame(
        [
            {
                "init": source.init,
                "source": source.name,
                "test % by seed": ", ".join(f"{value:.4g}" for value in source.values) or "not told",
                "mean": f"{source.mean:.2f}",
                f"95 %: {SAME_TEXTS}": mean_over_seeds(source.values).ends(least=0, most=100)
                if source.values
                else "not told",
                "n": str(len(source.values)) if source.values else "not told",
                "runs": source.about,
            }
            for source in found
        ]
    )


def longer_schedule() -> dict[str, Any]:
    """Return the entry in published.yaml of the replication whose learning rate falls more slowly."""
    found: dict[str, Any] = next(other for other in published()["replications"] if other["name"] == LONGER)
    return found


@cache
def _per_epoch() -> pd.DataFrame:
    return pd.read_csv(Path(__file__).parent / "replications_per_epoch.csv")


def ours_by_epoch(scalars: pd.DataFrame, group: Group) -> dict[str, NDArray[np.float64]]:
    """Return the values of a group's runs after each epoch, each of shape (runs, epochs), by the names in BY_EPOCH.

    Losses are logged in nats per example and returned in bits. `scalars` is the sweep's table. A quantity is left out
    when a run did not log it at the end of every epoch.
    """
    epochs = int(group.config["recipe.epochs"])
    keys = pd.DataFrame([vars(run.key) for run in group.runs])
    own = scalars[(scalars["split"] == "train") & (scalars["tag"] == "loss")].merge(keys, on=KEYS)
    losses = [list(of.sort_values("step")["value"] / math.log(2)) for _, of in own.groupby("seed")]
    found = {"training loss (bits)": losses}
    for name, split in (("validation accuracy (%)", "valid"), ("test accuracy (%)", "test")):
        ends = [run.curve[run.curve["step"] > 0].dropna(subset=[split]) for run in group.runs]
        found[name] = [list(curve[split]) for curve in ends]
    return {
        name: np.array(rows)
        for name, rows in found.items()
        if len(rows) == group.n and all(len(row) == epochs for row in rows)
    }


def by_epoch(scalars: pd.DataFrame, group: Group, name: str) -> pd.DataFrame:
    """Return a table that compares our runs with replication `name` after each epoch.

    The table has the replication's interval for one more run and the number of our runs inside the interval. The
    interval is Student's prediction interval from the replication's three seeds.
    """
    theirs = _per_epoch()
    theirs = theirs[(theirs["replication"] == name) & (theirs["init"] == group.names["init"])]
    rows: list[dict[str, Any]] = []
    for quantity, values in ours_by_epoch(scalars, group).items():
        for epoch in range(1, values.shape[1] + 1):
            told = theirs[theirs["epoch"] == epoch][BY_EPOCH[quantity]].dropna()
            if len(told) < 2:
                continue
            expected, own = one_more_run(told.to_numpy()), values[:, epoch - 1]
            most = 100.0 if "%" in quantity else math.inf
            inside = int(((expected.low <= own) & (own <= expected.high)).sum())
            digits = 3 if "bits" in quantity else 1
            mean, least, greatest = (f"{value:.{digits}f}" for value in (own.mean(), own.min(), own.max()))
            rows.append(
                {
                    "after epoch": str(epoch),
                    "quantity": quantity,
                    f"replication {name}, n = {len(told)}": f"{expected.value:.{digits}f}",
                    "interval for one more run": expected.ends(f".{digits}f", 0.0, most),
                    f"ours, n = {len(own)}": f"{mean} ({least} to {greatest})",
                    "inside": f"{inside} of {len(own)}",
                }
            )
    return pd.DataFrame(rows)
