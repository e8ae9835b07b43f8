"""Compute what a sweep's runs show and what they do not show: every group and every comparison, with intervals.

A group is a set of runs that differ only in the seed. A comparison is two groups that differ in one thing.
"""

import math
from dataclasses import asdict, dataclass, is_dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from analysis.alike import unequal_terms
from analysis.best_steps import GROUP, RunResult, by_group
from analysis.comparisons import SHARED, Comparison, compare
from analysis.groups import Group, group_of


@dataclass(frozen=True)
class Evidence:
    """Everything that the report says about the runs."""

    threshold: float
    groups: list[Group]
    comparisons: list[Comparison]  # pretrained against random comes first
    unequal: list[tuple[Comparison, list[str]]]  # comparisons on unequal terms, and how they differ

    def of_init(self) -> list[Comparison]:
        """Return the comparisons of pre-trained with random weights. They answer the report's question.

        Where a sweep has several numbers of training texts or several lengths, only the comparisons with the most texts
        and the usual length are returned.
        """
        found: dict[tuple[str, ...], Comparison] = {}
        for c in (c for c in self.comparisons if c.sides == ("pretrained", "random")):  # in the order of by_group
            found.setdefault(tuple(name for key, name in c.rest.items() if key not in ("train", "length")), c)
        return list(found.values())

    def leading(self) -> list[Comparison]:
        """Return the comparisons for titles: pre-trained with random, or else all with the sides of the first."""
        sides = self.comparisons[0].sides if self.comparisons else ()
        return self.of_init() or [comparison for comparison in self.comparisons if comparison.sides == sides]


def gather_evidence(results: list[RunResult], folders: dict[str, Path], threshold: float) -> Evidence:
    """Return a sweep's groups, and a comparison for each pair of groups that differ in one of init, backend and method.

    Comparisons on unequal terms are kept apart, in `unequal`. `folders` maps run names to folders. `threshold` is a
    test accuracy in percent.
    """
    found = [group_of(names, members, folders, threshold) for names, members in by_group(results).items()]
    groups = [group for group in found if group is not None]
    comparisons, unequal = [], []
    for pair in combinations(groups, 2):
        differing = [key for key in GROUP if pair[0].names[key] != pair[1].names[key]]
        if len(differing) != 1 or differing[0] not in SHARED:
            continue
        axis = differing[0]
        one, other = pair[::-1] if pair[0].names[axis] == "frozen" else pair  # frozen encoders are the second side
        of_random = {**one.names, "init": "random"}
        if axis == "init" and other.names != of_random and of_random in [group.names for group in groups]:
            continue  # each init is compared with random weights
        comparison = compare(axis, one, other, threshold)
        why_not = unequal_terms(axis, one, other)
        if why_not:
            unequal.append((comparison, why_not))
        else:
            comparisons.append(comparison)
    comparisons.sort(key=lambda comparison: list(SHARED).index(comparison.axis))
    return Evidence(threshold, groups, comparisons, unequal)


def as_json(evidence: Evidence) -> dict[str, Any]:
    """Return the content of statistics.json: every group and comparison."""
    groups = [
        {
            **group.names,
            "seeds": group.seeds,
            "test": group.test.tolist(),
            "spread": group.spread,
            "std_interval": group.std,
            "mean": {"over_seeds": group.over_seeds, "over_texts": group.over_texts},
            "best_step_minus_last": group.best_minus_last,
            "steps_to_threshold": [[bracket.low, bracket.high] for bracket in group.brackets],
            "censored": group.n_censored,
            "last_step": group.last_step,
            "no_texts": group.no_texts,
        }
        for group in evidence.groups
    ]
    comparisons = [
        {
            "axis": c.axis,
            "one": c.one.names,
            "other": c.other.names,
            "paired": c.paired,
            "left_out": c.left_out,
            "difference": {"over_seeds": c.difference, "over_texts": c.difference_over_texts},
            "permutation": c.permutation,
            "brown_forsythe_p": c.spread_p,
            "steps_ratio": c.steps and {"bounds": [c.steps.low, c.steps.high], "interval": c.steps.interval},
            "seeds_needed": {str(points): n for points, n in c.needed.items()},
        }
        for c in evidence.comparisons
    ]
    unequal = [{"title": c.title, "differs": why} for c, why in evidence.unequal]
    found: dict[str, Any] = as_plain(
        {"threshold": evidence.threshold, "groups": groups, "comparisons": comparisons, "not_compared": unequal}
    )
    return found


def as_plain(value: Any) -> Any:
    """Return a value as JSON has it: dataclasses become objects, NaN and infinity become null."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {key: as_plain(own) for key, own in value.items()}
    if isinstance(value, list):
        return [as_plain(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
