"""Compare two groups that differ in one thing: the difference, its intervals and its tests."""

import math
from dataclasses import dataclass

from analysis.common_seeds import pairs_of
from analysis.crossings import Ratio, ratio_of_steps
from analysis.estimates import Array, Estimate
from analysis.groups import Group, told
from analysis.intervals import difference_over_seeds, difference_over_texts
from analysis.significance import PValue, brown_forsythe, permutation_test, seeds_needed

DIFFERENCES = (1.0, 2.0, 5.0)  # points; the report gives the seeds needed to see each
SHARED = {  # axis of a comparison -> what two runs of one seed share, which makes them a pair
    "init": "the head's first weights, the batches and the dropout masks",
    "backend": "all first weights and the batches",
    "method": "all first weights and the batches",
}


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
