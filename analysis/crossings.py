"""Find when an accuracy curve first reaches a threshold. The evaluations give a bracket of steps, not the exact step.

Nothing is interpolated, because curves bend: a straight line gave 60 steps where evaluations 14 steps apart gave 35.
Curves also go up and down: a curve passed 70 % at step 167 and was at 69.25 % at step 196. So an evaluation less than
WAVER below the threshold does not exclude an earlier crossing; between two evaluations that are clearly below, the
curve is taken to stay below. A run that never reaches the threshold is censored: its bracket has no upper end.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.estimates import ALL_THE_SAME, SAME_TEXTS, Estimate, checked, no_interval
from analysis.intervals import difference_over_seeds, mean_over_seeds

WAVER = 4.0  # points; the largest fall of a run of the default sweep between two evaluations after its first epoch
WIDEST = 1_000.0  # ratio of the ends of an interval, or of two bounds; with wider ends they say nothing
TOO_WIDE = "its ends would be more than a factor of 1,000 apart"
SAME_BRACKETS = "the evaluations do not tell the runs apart"
SAME_END = "the seeds do not differ at one end of their brackets"


@dataclass(frozen=True)
class Bracket:
    """The range of steps in which a run first reaches the threshold, both ends included."""

    low: int  # one step after the last evaluation clearly below the threshold
    high: float  # the first evaluation at or above the threshold; infinity when there is none

    @property
    def is_censored(self) -> bool:
        return math.isinf(self.high)

    @property
    def is_at_start(self) -> bool:
        """True when the run is at or above the threshold before its first step."""
        return self.high == 0


@dataclass(frozen=True)
class Ratio:
    """How many times as many steps one group needs as another: a ratio of geometric means over seeds.

    `low` and `high` bound the ratio of these runs (0 and infinity when nothing is known). `interval` is for new seeds,
    and includes the uncertainty of seeds and of brackets.
    """

    low: float
    high: float
    interval: Estimate

    @property
    def is_wide(self) -> bool:
        """True when the two bounds are so far apart that they say nothing."""
        return self.low > 0 and math.isfinite(self.high) and self.high > WIDEST * self.low

    @property
    def is_half_open(self) -> bool:
        """True when there is one bound, and it does not say which group needs fewer steps: at least 0.3, at most 2."""
        return (0 < self.low <= 1 and math.isinf(self.high)) or (self.low == 0 and 1 <= self.high < math.inf)

    @property
    def is_known(self) -> bool:
        """True when the runs give at least one bound of the ratio, and bounds that say something."""
        return (self.low > 0 or math.isfinite(self.high)) and not self.is_wide and not self.is_half_open


def bracket_of(steps: ArrayLike, values: ArrayLike, threshold: float) -> Bracket:
    """Return the bracket in which a curve first reaches a threshold.

    `steps` and `values` have shape (evaluations,). Raises `ValueError` when their lengths differ or steps do not rise.
    """
    at, curve = checked(steps), checked(values)
    if len(at) != len(curve) or (np.diff(at) <= 0).any():
        raise ValueError("steps and values must be as many, and steps must rise")
    above = np.flatnonzero(curve >= threshold)
    first = int(above[0]) if len(above) else len(curve)
    if first == 0:
        return Bracket(min(1, int(at[0])), float(at[0]))
    below = np.flatnonzero(curve[:first] < threshold - WAVER)
    low = int(at[below[-1]]) + 1 if len(below) else 1
    return Bracket(low, float(at[first]) if len(above) else math.inf)


def geometric_bounds(brackets: list[Bracket]) -> tuple[float, float]:
    """Return the smallest and the largest geometric mean of steps that the brackets, shape (runs,), allow.

    The largest is infinity when a run is censored. Raises `ValueError` when a run starts at or above the threshold:
    zero steps have no logarithm.
    """
    low, high = _logs(brackets)
    return math.exp(low.mean()), math.exp(high.mean())


def ratio_of_steps(one: list[Bracket], other: list[Bracket], paired: bool) -> Ratio:
    """Return how many times as many steps the runs of `one` need as the runs of `other`; each has shape (runs,).

    The true mean logarithm of the ratio lies between the means of l and u, the smallest and the largest logarithms that
    the brackets allow. So the interval runs from the lower end of the t interval of l to the upper end of that of u
    (Horowitz and Manski 2000), which covers the target at least as often as its level says. An end that censored runs
    leave open is infinite. Raises `ValueError` as `geometric_bounds` does.
    """
    (low, high), (low_other, high_other) = _logs(one), _logs(other)
    ends = [(low, high_other), (high, low_other)]  # for the smallest and the largest ratio
    with np.errstate(over="ignore"):
        least, greatest = (float(np.exp(first.mean() - second.mean())) for first, second in ends)
    estimates = [_around_end(first, second, paired) for first, second in ends]
    return Ratio(least, greatest, _interval_of_ratio(estimates, _why_alike(one, other)))


def _interval_of_ratio(ends: list[Estimate | None], why_alike: str) -> Estimate:
    for end in ends:
        if end is not None and not end.has_interval:
            return no_interval(math.nan, why_alike if end.why_none.startswith("all ") else end.why_none)
    lower = -math.inf if ends[0] is None else math.exp(ends[0].low)
    upper = math.inf if ends[1] is None else math.exp(ends[1].high)
    if math.isinf(lower) and math.isinf(upper):
        return no_interval(math.nan, "too many never pass")
    if math.isfinite(upper) and upper > WIDEST * lower > 0:
        return no_interval(math.nan, TOO_WIDE)
    return Estimate(math.nan, lower, upper, SAME_TEXTS, "t of both ends' logarithms, seeds and brackets")


def mean_steps(brackets: list[Bracket]) -> Estimate:
    """Return the interval of the mean number of steps over seeds, shape (runs,).

    It runs from the lower end of the t interval of the brackets' lower ends to the upper end of that of the upper ends.
    """
    low = mean_over_seeds([bracket.low for bracket in brackets])
    if not low.has_interval:
        return no_interval(math.nan, _why_alike(brackets) if low.why_none == ALL_THE_SAME else low.why_none)
    if any(bracket.is_censored for bracket in brackets):
        return replace(low, value=math.nan, high=math.inf)
    high = mean_over_seeds([bracket.high for bracket in brackets])
    return replace(low, value=math.nan, high=high.high if high.has_interval else high.value)


def _why_alike(*groups: list[Bracket]) -> str:
    """Return why there is no interval when one end of the brackets is the same in all runs of each group."""
    return SAME_BRACKETS if all(len(set(group)) == 1 for group in groups) else SAME_END


def _logs(brackets: list[Bracket]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if any(bracket.is_at_start for bracket in brackets):
        raise ValueError("a run is above the threshold before its first step")
    return np.log([float(bracket.low) for bracket in brackets]), np.log([bracket.high for bracket in brackets])


def _around_end(one: NDArray[np.float64], other: NDArray[np.float64], paired: bool) -> Estimate | None:
    """Return the t interval of a mean difference of logarithms, or None when a censored run makes it infinite."""
    is_finite = np.isfinite(one).all() and np.isfinite(other).all()
    return difference_over_seeds(one, other, paired) if is_finite else None
