"""Compute what a sweep's runs show and what they do not show: every group and every comparison, with intervals.

A group is a set of runs that differ only in the seed. A comparison is two groups that differ in one thing.
"""

import math
from dataclasses import asdict, dataclass, is_dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.alike import configuration, inputs_of, unequal_terms
from analysis.answers import answers_to_test, right_answers
from analysis.best_steps import GROUP, RunResult, by_group
from analysis.crossings import Bracket, Ratio, bracket_of, ratio_of_steps
from analysis.statistics import (
    Estimate,
    PValue,
    Spread,
    brown_forsythe,
    difference_over_seeds,
    difference_over_texts,
    mean_over_seeds,
    mean_over_texts,
    permutation_test,
    seeds_needed,
    spread,
    std_interval,
)
from foundation.counts import counted
from sweeps.folders import ALL

DIFFERENCES = (1.0, 2.0, 5.0)  # points; the report gives the seeds needed to see each
SHARED = {  # axis of a comparison -> what two runs of one seed share, which makes them a pair
    "init": "the head's first weights, the batches and the dropout masks",
    "backend": "all first weights and the batches",
    "method": "all first weights and the batches",
}
CLEARLY = 2.0  # points of test accuracy above the commonest class; a run that gets there has learned something
ALL_TEXTS, USUAL = "all training texts", "usual length"

Array = NDArray[np.float64]


def told(names: dict[str, str]) -> list[str]:
    """Return the names to tell of a group or comparison. All training texts and the usual length go without saying."""
    return [name for key, name in names.items() if name not in (ALL_TEXTS, USUAL) or key not in ("train", "length")]


@dataclass(frozen=True)
class Group:
    """Runs that differ only in the seed. Accuracies in percent."""

    names: dict[str, str]  # dataset, model, backend, method, init, train, length
    runs: list[RunResult]  # the runs with a test accuracy
    brackets: list[Bracket]  # for each run, of the steps to the threshold
    config: dict[str, Any]  # configuration of the first run, {dotted key: value}
    right: Array | None  # shape (runs, texts): 100 for a correct answer, 0 for a wrong answer
    texts: list[str]  # the ids of the texts
    no_texts: str | None  # why `right` is None
    n_train: int | None  # training texts of a run; None: not recorded
    one_answer: list[int]  # seeds of the runs that give every test text the same class, and were never clearly better
    inputs: dict[str, Any]  # what the first run was made from

    @property
    def n(self) -> int:
        return len(self.runs)

    @property
    def seeds(self) -> list[int]:
        return [result.key.seed for result in self.runs]

    @property
    def test(self) -> Array:
        return np.array([result.test for result in self.runs], dtype=np.float64)

    @property
    def title(self) -> str:
        return " · ".join(told(self.names))

    @property
    def is_whole(self) -> bool:
        """True when the runs are trained on all training texts, for the usual number of steps."""
        return (self.names["train"], self.names["length"]) == (ALL_TEXTS, USUAL)

    @property
    def length(self) -> int:
        """How many times the usual number of steps the runs take."""
        return self.runs[0].key.length

    @property
    def last_step(self) -> int:
        """The step of the last evaluation of the longest run."""
        return max(int(run.curve["step"].max()) for run in self.runs)

    @property
    def n_censored(self) -> int:
        return sum(bracket.is_censored for bracket in self.brackets)

    @property
    def spread(self) -> Spread:
        return spread(self.test)

    @property
    def std(self) -> Estimate:
        return std_interval(self.test)

    @property
    def over_seeds(self) -> Estimate:
        return mean_over_seeds(self.test)

    @property
    def over_texts(self) -> Estimate | None:
        return None if self.right is None else mean_over_texts(self.right)

    @property
    def best_minus_last(self) -> float:
        """Mean test accuracy at the best step minus the mean at the last step: the gain from choosing by validation."""
        return float(np.mean([(run.test or 0) - (run.last_test or 0) for run in self.runs]))

    @property
    def late_rise(self) -> tuple[int, Estimate] | None:
        """A step at or before two thirds of the last step, and the mean rise of test accuracy from it to the last step.

        The step is the latest at which every run was evaluated. None when it is step 0.
        """
        curves = [run.curve.dropna(subset=["test"]).set_index("step")["test"] for run in self.runs]
        shared = set.intersection(*(set(curve.index) for curve in curves))
        start = max((int(step) for step in shared if 3 * step <= 2 * self.last_step), default=0)
        if start == 0:
            return None
        return start, mean_over_seeds([curve.iloc[-1] - curve[start] for curve in curves])

    def only(self, seeds: list[int]) -> "Group":
        """Return the group with only the runs of these seeds."""
        kept = [number for number, run in enumerate(self.runs) if run.key.seed in seeds]
        return replace(
            self,
            runs=[self.runs[number] for number in kept],
            brackets=[self.brackets[number] for number in kept],
            right=None if self.right is None else self.right[kept],
            one_answer=[seed for seed in self.one_answer if seed in seeds],
        )


@dataclass(frozen=True)
class Comparison:
    """Two groups that differ only in `axis`. Differences are `one` minus `other`, in points of test accuracy.

    When the runs are paired, both groups contain only the seeds of the pairs.
    """

    axis: str  # init, backend or method
    one: Group
    other: Group
    threshold: float  # percent
    paired: bool
    left_out: list[str]  # the runs without a partner
    difference: Estimate
    difference_over_texts: Estimate | None
    permutation: PValue
    spread_p: float  # p of Brown and Forsythe's test, NaN when there is no test
    steps: Ratio | None  # steps to the threshold, `other` to `one`; None when a run starts at or above it
    needed: dict[float, int | None]  # points -> seeds needed to see them with a power of 80 %

    @property
    def sides(self) -> tuple[str, str]:
        """The two values of `axis`."""
        return self.one.names[self.axis], self.other.names[self.axis]

    @property
    def is_without_passing(self) -> bool:
        """True when no run of either group reaches the threshold."""
        return all(group.n_censored == group.n for group in (self.one, self.other))

    @property
    def rest(self) -> dict[str, str]:
        """The names that both groups share."""
        return {key: name for key, name in self.one.names.items() if key != self.axis}

    @property
    def title(self) -> str:
        return f"{self.sides[0]} against {self.sides[1]}: {' · '.join(told(self.rest))}"


def texts_of(train: int) -> str:
    """Return the number of training texts of a run in words."""
    return counted(train, "training text") if train != ALL else ALL_TEXTS


def names_of(group: tuple[Any, ...]) -> dict[str, str]:
    """Return the names of a group in words. `group` has the values of GROUP."""
    *names, train, times = group
    length = USUAL if times == 1 else f"{times} times the steps"
    return dict(zip(GROUP, [*names, texts_of(train), length], strict=True))


def group_of(
    names: tuple[Any, ...], results: list[RunResult], folders: dict[str, Path], threshold: float
) -> Group | None:
    """Return the group of these runs, or None when no run has a test accuracy."""
    runs = [result for result in results if result.test is not None]
    if not runs:
        return None
    curves = [result.curve.dropna(subset=["test"]) for result in runs]
    answers = [answers_to_test(folders[str(run.key)]) for run in runs]
    right, texts, no_texts = right_answers(runs, folders, answers)
    inputs = inputs_of(folders[str(runs[0].key)])
    return Group(
        names=names_of(names),
        runs=runs,
        brackets=[bracket_of(curve["step"], curve["test"], threshold) for curve in curves],
        config=configuration(folders[str(runs[0].key)]),
        right=right,
        texts=texts,
        no_texts=no_texts,
        n_train=runs[0].key.train or (inputs.get("examples") or {}).get("train"),
        one_answer=[
            run.key.seed
            for run, own in zip(runs, answers, strict=True)
            if own is not None and own["predicted"].nunique() == 1 and _never_learns(run, own["gold"])
        ],
        inputs=inputs,
    )


def _never_learns(run: RunResult, gold: pd.Series) -> bool:
    """Return whether a run is at no evaluation clearly better on the test texts than their commonest class."""
    commonest = 100 * gold.value_counts(normalize=True).iloc[0]
    return bool(run.curve["test"].max() <= commonest + CLEARLY)


def of_common_seeds(points: dict[int, list[Group]], needed: int) -> tuple[dict[int, list[Group]], list[str]]:
    """Return the points of a curve with the runs of the seeds that all of them have, and what is left out, and why.

    A point that lacks seeds of the others is left out when more runs stay in the curve without it. The point `needed`
    always stays. Fewer than two points are no curve: no seed is in all of them.
    """
    own = {
        place: frozenset[int].intersection(*(frozenset(group.seeds) for group in at)) for place, at in points.items()
    }
    candidates = {own[needed]}
    for there in set(own.values()):
        candidates |= {seeds & there for seeds in candidates}

    def with_all(seeds: frozenset[int]) -> list[int]:
        return [place for place in own if seeds <= own[place]]

    def kept_runs(seeds: frozenset[int]) -> tuple[int, int, list[int]]:
        kept = with_all(seeds)
        n = sum(len(points[place]) for place in kept) * len(seeds)
        return (n if len(kept) > 1 else 0), len(kept), [-seed for seed in sorted(seeds)]  # on a tie the lower seeds

    seeds = max(candidates, key=kept_runs)
    kept = with_all(seeds) if kept_runs(seeds)[0] else []
    left_out = [
        f"{group.title} (no runs of seed {', '.join(map(str, sorted(seeds - own[place])))} there)"
        for place in own
        if place not in kept
        for group in points[place]
    ]
    others = [run for place in kept for group in points[place] for run in group.runs if run.key.seed not in seeds]
    chosen = {place: [group.only(sorted(seeds)) for group in points[place]] for place in kept}
    return chosen, left_out + [f"{run.key} (a seed that not all have)" for run in others]


def with_left_out(why: str, left_out: list[str]) -> str:
    """Return why there is no curve, with what had no place in it before."""
    return f"{why}. Left out: {'; '.join(left_out)}" if left_out else why


def pairs_of(one: list[int], other: list[int]) -> list[int]:
    """Return the seeds to pair: the seeds that both groups have, at least two and at least half of the larger group.

    Groups with the same seeds are always paired. No seeds: the groups are compared unpaired, with all their runs.
    """
    both = sorted(set(one) & set(other))
    if one == other or (len(both) >= 2 and 2 * len(both) >= max(len(one), len(other))):
        return both
    return []


def compare(axis: str, one: Group, other: Group, threshold: float) -> Comparison:
    """Return the comparison of two groups that differ in `axis`, paired where `pairs_of` finds pairs."""
    pairs, left_out = pairs_of(one.seeds, other.seeds), []
    if pairs:
        left_out = [str(run.key) for group in (one, other) for run in group.runs if run.key.seed not in pairs]
        one, other = one.only(pairs), other.only(pairs)
    paired = bool(pairs)
    over_texts = None
    if one.right is not None and other.right is not None and one.texts == other.texts:
        over_texts = difference_over_texts(one.right, other.right, paired)
    is_at_start = any(bracket.is_at_start for bracket in [*one.brackets, *other.brackets])
    std = _std_of_difference(one.test, other.test, paired)
    difference = difference_over_seeds(one.test, other.test, paired)
    return Comparison(
        axis=axis,
        one=one,
        other=other,
        threshold=threshold,
        paired=paired,
        left_out=left_out,
        difference=difference,
        difference_over_texts=over_texts,
        permutation=permutation_test(one.test, other.test, paired),
        spread_p=brown_forsythe(one.test, other.test),
        steps=None if is_at_start else ratio_of_steps(other.brackets, one.brackets, paired),
        needed={points: seeds_needed(points, std, paired) for points in DIFFERENCES} if difference.has_interval else {},
    )


def _std_of_difference(one: Array, other: Array, paired: bool) -> float:
    """Return the std for a power calculation: the std of the differences, or the std pooled over the two groups."""
    if min(len(one), len(other)) < 2:
        return math.nan
    if paired:
        return float((one - other).std(ddof=1))
    freedom = len(one) + len(other) - 2
    return math.sqrt(((len(one) - 1) * one.var(ddof=1) + (len(other) - 1) * other.var(ddof=1)) / freedom)


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
