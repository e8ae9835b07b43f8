"""What a sweep's runs say, and what they do not: every group and every comparison, with intervals.

A group is the runs that differ in nothing but the seed; a comparison is two groups that differ in one thing.
"""

import math
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.answers import right_answers
from analysis.best_steps import GROUP, RunResult, by_group
from analysis.statistics import (
    FEW,
    Estimate,
    PValue,
    Spread,
    area_under,
    brown_forsythe,
    difference_over_seeds,
    difference_over_texts,
    first_step_at,
    mean_over_seeds,
    mean_over_texts,
    permutation_test,
    ratio_over_seeds,
    seeds_needed,
    spread,
    std_factors,
)

DIFFERENCES = (1.0, 2.0, 5.0)  # points, for which the number of seeds needed is told
WHY_PAIRED = {
    "init": "runs of one seed share the head's first weights, the batches and the dropout masks",
    "backend": "runs of one seed share all first weights and the batches",
    "method": "runs of one seed share all first weights and the batches",
}
ORDER = {"init": ["pretrained", "random"], "backend": ["fairseq", "hf"], "method": ["full", "lora"]}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """Runs alike but for the seed. Accuracies in percent; `steps` to the threshold, None where it was never reached."""

    names: dict[str, str]  # dataset, model, backend, method, init
    runs: list[RunResult]  # those with a test accuracy
    steps: list[float | None]  # interpolated between evaluations
    steps_evaluated: list[float | None]  # the first evaluation at or above
    apart: float  # the most steps between two evaluations
    last_step: float  # of the shortest run
    areas: list[float]  # mean test accuracy over all steps
    right: Array | None  # (runs, texts) of 0 or 100
    texts: list[str]  # their ids
    no_texts: str | None  # why `right` is None

    @property
    def seeds(self) -> list[int]:
        return [result.key.seed for result in self.runs]

    @property
    def test(self) -> Array:
        return np.array([result.test for result in self.runs], dtype=np.float64)

    @property
    def title(self) -> str:
        return " · ".join(self.names.values())

    @property
    def n_censored(self) -> int:
        return sum(step is None for step in self.steps)

    @property
    def counted_steps(self) -> Array:
        """Steps to the threshold, the last step for runs that never reached it."""
        return np.array([self.last_step if step is None else step for step in self.steps])

    @property
    def spread(self) -> Spread:
        return spread(self.test)

    @property
    def over_seeds(self) -> Estimate:
        return mean_over_seeds(self.test)

    @property
    def over_texts(self) -> Estimate | None:
        return None if self.right is None else mean_over_texts(self.right)

    @property
    def best_minus_last(self) -> Estimate:
        """Test accuracy at the best step less that at the last one: what choosing a step by validation brings."""
        return mean_over_seeds([(run.test or 0) - (run.last_test or 0) for run in self.runs])


@dataclass(frozen=True)
class Comparison:
    """Two groups that differ in `axis` only; differences are `one` minus `other`, in points of test accuracy."""

    axis: str  # init, backend or method
    one: Group
    other: Group
    threshold: float  # percent
    paired: bool
    why: str
    difference: Estimate
    difference_over_texts: Estimate | None
    permutation: PValue
    spread_p: float  # Brown and Forsythe's, NaN below three runs
    steps_ratio: Estimate | None  # steps to the threshold, `other` to `one`; None when one began above it
    area: Estimate
    needed: dict[float, int | None]  # points -> seeds to see them with a power of 80 %

    @property
    def sides(self) -> tuple[str, str]:
        """The two values of `axis`."""
        return self.one.names[self.axis], self.other.names[self.axis]

    @property
    def spread_ratio(self) -> float:
        """Sample std of `other` over that of `one`; NaN when either is not known or `one`'s is zero."""
        one, other = self.one.spread.std_sample, self.other.spread.std_sample
        return other / one if one and math.isfinite(one) and math.isfinite(other) else math.nan

    @property
    def title(self) -> str:
        rest = [name for key, name in self.one.names.items() if key != self.axis]
        return f"{self.one.names[self.axis]} against {self.other.names[self.axis]}: {' · '.join(rest)}"


def group_of(
    names: tuple[str, ...], results: list[RunResult], folders: dict[str, Path], threshold: float
) -> Group | None:
    """Return the group of these runs, or None when none of them has a test accuracy."""
    runs = [result for result in results if result.test is not None]
    if not runs:
        return None
    curves = [result.curve.dropna(subset=["test"]) for result in runs]
    pairs = [(curve["step"].to_numpy(float), curve["test"].to_numpy(float)) for curve in curves]
    right, texts, no_texts = right_answers(runs, folders)
    return Group(
        names=dict(zip(GROUP, names, strict=True)),
        runs=runs,
        steps=[first_step_at(steps, values, threshold, interpolated=True) for steps, values in pairs],
        steps_evaluated=[first_step_at(steps, values, threshold, interpolated=False) for steps, values in pairs],
        apart=max(float(np.diff(steps).max(initial=0)) for steps, _ in pairs),
        last_step=float(min(steps[-1] for steps, _ in pairs)),
        areas=[area_under(steps, values) for steps, values in pairs],
        right=right,
        texts=texts,
        no_texts=no_texts,
    )


def compare(axis: str, one: Group, other: Group, threshold: float) -> Comparison:
    """Return the comparison of two groups that differ in `axis`; paired when both have the same seeds."""
    paired = one.seeds == other.seeds
    why = f"paired: {WHY_PAIRED.get(axis, '')}" if paired else (
        f"not paired: seeds {_list(one.seeds)} against {_list(other.seeds)}"
    )  # fmt: skip
    difference = difference_over_seeds(one.test, other.test, paired)
    over_texts = None
    if one.right is not None and other.right is not None and one.texts == other.texts:
        over_texts = difference_over_texts(one.right, other.right, paired)
    end = min(one.last_step, other.last_step)
    steps = [np.minimum(group.counted_steps, end) for group in (one, other)]
    ratio = ratio_over_seeds(steps[1], steps[0], paired) if min(part.min() for part in steps) > 0 else None
    std = _std_of_difference(one.test, other.test, paired)
    return Comparison(
        axis=axis, one=one, other=other, threshold=threshold, paired=paired, why=why,
        difference=difference,
        difference_over_texts=over_texts,
        permutation=permutation_test(one.test, other.test),
        spread_p=brown_forsythe(one.test, other.test),
        steps_ratio=ratio,
        area=difference_over_seeds(one.areas, other.areas, paired),
        needed={points: seeds_needed(points, std, paired) for points in DIFFERENCES} if math.isfinite(std) else {},
    )  # fmt: skip


def _list(seeds: list[int]) -> str:
    return ",".join(map(str, seeds))


def _std_of_difference(one: Array, other: Array, paired: bool) -> float:
    """Return the std that a power calculation asks for: of the differences, or pooled over the two groups."""
    if min(len(one), len(other)) < 2:
        return math.nan
    if paired:
        return float((one - other).std(ddof=1))
    freedom = len(one) + len(other) - 2
    return math.sqrt(((len(one) - 1) * one.var(ddof=1) + (len(other) - 1) * other.var(ddof=1)) / freedom)


@dataclass(frozen=True)
class Evidence:
    """Everything that the report says of the runs."""

    threshold: float
    groups: list[Group]
    comparisons: list[Comparison]  # pretrained against random first

    def of_init(self) -> list[Comparison]:
        """Return the comparisons of pre-trained with random weights, which answer the question."""
        return [comparison for comparison in self.comparisons if comparison.sides == ("pretrained", "random")]

    def leading(self) -> list[Comparison]:
        """Return the comparisons that titles speak of: those that answer, or those of the first axis that there is."""
        axis = self.comparisons[0].axis if self.comparisons else ""
        return self.of_init() or [comparison for comparison in self.comparisons if comparison.axis == axis]


def gather_evidence(results: list[RunResult], folders: dict[str, Path], threshold: float) -> Evidence:
    """Return the groups of a sweep and every comparison of two that differ in one of init, backend and method.

    `folders` holds the runs' folders by name; `threshold` is a test accuracy in percent.
    """
    found = [group_of(names, members, folders, threshold) for names, members in by_group(results).items()]
    groups = [group for group in found if group is not None]
    comparisons = []
    for one, other in combinations(groups, 2):
        differing = [key for key in GROUP if one.names[key] != other.names[key]]
        if len(differing) == 1 and differing[0] in ORDER:
            known = ORDER[differing[0]]
            first, second = sorted((one, other), key=lambda group: _rank(known, group.names[differing[0]]))
            comparisons.append(compare(differing[0], first, second, threshold))
    comparisons.sort(key=lambda comparison: list(ORDER).index(comparison.axis))
    return Evidence(threshold, groups, comparisons)


def _rank(known: list[str], name: str) -> tuple[int, str]:
    return (known.index(name) if name in known else len(known), name)


def what_n_allows(n: int) -> list[str]:
    """Return sentences about what so many seeds allow one to say; none from five seeds on."""
    if n >= FEW:
        return []
    if n == 1:
        return ["One seed is one draw: no interval, no spread, and nothing about what another seed would give."]
    low, high = std_factors(n)
    ways = math.comb(2 * n, n)
    bound = {2: "12.7", 3: "4.3", 4: "3.2"}[n]
    return [
        f"With {n} seeds the 95 % interval of a mean reaches {bound} standard errors to each side (from 10 seeds on: "
        "about 2.3), and rests on accuracies being roughly normal over seeds, which so few cannot show.",
        f"The true std over seeds may be {low:.2f} to {high:.1f} times the one seen: a claim that one init spreads "
        "less than another needs more seeds.",
        f"A permutation test of {n} against {n} cannot give a p below {2 / ways:.2g}"
        + (", so it can never reach 0.05." if 2 / ways > 0.05 else "."),
    ]


def as_json(evidence: Evidence) -> dict[str, Any]:
    """Return statistics.json: every group and comparison; NaN becomes null."""
    return {
        "threshold": evidence.threshold,
        "groups": [
            {**group.names, "seeds": group.seeds, "test": group.test.tolist(), "spread": _plain(asdict(group.spread)),
             "mean": {"over_seeds": _estimate(group.over_seeds), "over_texts": _estimate(group.over_texts)},
             "best_step_minus_last": _estimate(group.best_minus_last), "steps_to_threshold": group.steps,
             "steps_to_threshold_evaluated": group.steps_evaluated, "censored": group.n_censored,
             "last_step": group.last_step, "area_under_curve": group.areas, "no_texts": group.no_texts}
            for group in evidence.groups
        ],
        "comparisons": [
            {"axis": c.axis, "one": c.one.names, "other": c.other.names, "paired": c.paired, "why": c.why,
             "difference": {"over_seeds": _estimate(c.difference), "over_texts": _estimate(c.difference_over_texts)},
             "permutation": _plain(asdict(c.permutation)), "brown_forsythe_p": _null(c.spread_p),
             "std_ratio": _null(c.spread_ratio), "steps_ratio": _estimate(c.steps_ratio),
             "area_difference": _estimate(c.area), "seeds_needed": {str(k): v for k, v in c.needed.items()}}
            for c in evidence.comparisons
        ],
    }  # fmt: skip


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {key: _null(value) if isinstance(value, float) else value for key, value in record.items()}


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else _plain(asdict(estimate))
