"""What runs over seeds allow one to say: pure functions on arrays, each interval with the target that it covers.

Two targets, because they have different widths: *this test set, new seeds* asks what other seeds would give on the same
test texts, *new texts, new seeds* what other seeds would give on other texts of the same kind. docs/statistics.md has
the coverage of each, by simulation (`python -m analysis.coverage`).

Every function raises `ValueError` for NaN, an infinite value, a wrong shape or no value at all.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower

SAME_TEXTS = "this test set, new seeds"
NEW_TEXTS = "new texts, new seeds"
LEVEL = 0.95
POWER = 0.8
EXACT_UP_TO = 99_999  # permutations; more than that are drawn
MOST_SEEDS = 10_000
FEW = 5  # seeds; with fewer the report says in words what they allow

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; `low` and `high` are NaN where there is none, and `method` says why."""

    value: float
    low: float
    high: float
    target: str
    method: str

    @property
    def has_interval(self) -> bool:
        return not math.isnan(self.low)

    def excludes(self, value: float) -> bool:
        return self.has_interval and not self.low <= value <= self.high


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over n seeds: `std` with ddof 0, as published, `std_sample` with ddof 1."""

    n: int
    mean: float
    std: float
    std_sample: float  # NaN for n = 1


@dataclass(frozen=True)
class PValue:
    """A p-value, NaN where there is none, and the smallest one that so many seeds can give."""

    p: float
    smallest: float


def checked(values: ArrayLike, dimensions: int = 1) -> Array:
    """Return the values as an array of float64. Raises `ValueError` as the module says."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions or array.size == 0:
        raise ValueError(f"expected values in {dimensions} dimension(s), at least one, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("a value is NaN or infinite; leave runs without a value out, and name them")
    return array


def spread(values: ArrayLike) -> Spread:
    """Return mean and standard deviations of values over seeds, shape (runs,)."""
    array = checked(values)
    sample = float(array.std(ddof=1)) if len(array) > 1 else math.nan
    return Spread(len(array), float(array.mean()), float(array.std()), sample)


def std_factors(n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return what a sample std of n normal values is to be multiplied by for the interval of the true one.

    Source: (n - 1) s^2 / sigma^2 is chi-squared with n - 1 degrees of freedom. NaN for n = 1.
    """
    if n < 2:
        return math.nan, math.nan
    low, high = stats.chi2.ppf([(1 + level) / 2, (1 - level) / 2], n - 1)
    return math.sqrt((n - 1) / low), math.sqrt((n - 1) / high)


def _around(value: float, error: float, freedom: float, target: str, method: str, level: float) -> Estimate:
    if error <= 1e-9 * max(1.0, abs(value)):  # an interval without width would claim what so few values cannot show
        return Estimate(value, math.nan, math.nan, target, "none: all values are the same")
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return Estimate(value, value - half, value + half, target, method)


def mean_over_seeds(values: ArrayLike, level: float = LEVEL) -> Estimate:
    """Return the mean of values over seeds, shape (runs,), and Student's t interval. Target: this test set, new seeds.

    One value has no interval, and so have values that are all the same.
    """
    array = checked(values)
    if len(array) < 2:
        return Estimate(float(array[0]), math.nan, math.nan, SAME_TEXTS, "none: one seed")
    n = len(array)
    error = float(array.std(ddof=1)) / math.sqrt(n)
    return _around(float(array.mean()), error, n - 1, SAME_TEXTS, f"Student's t, {n} seeds", level)


def difference_over_seeds(one: ArrayLike, other: ArrayLike, paired: bool, level: float = LEVEL) -> Estimate:
    """Return mean(one) - mean(other) and its interval. Target: this test set, new seeds.

    `one` and `other` have shape (runs,); `paired` says that run k of each has the same seed. Paired: Student's t of
    the differences; else Welch's t (Welch 1947). One seed of either has no interval.
    """
    first, second = checked(one), checked(other)
    if paired:
        if len(first) != len(second):
            raise ValueError(f"pairs need as many values of each, got {len(first)} and {len(second)}")
        found = mean_over_seeds(first - second, level)
        method = f"paired t, {len(first)} seeds" if found.has_interval else found.method
        return Estimate(found.value, found.low, found.high, SAME_TEXTS, method)
    gap, sizes = float(first.mean() - second.mean()), (len(first), len(second))
    if min(sizes) < 2:
        return Estimate(gap, math.nan, math.nan, SAME_TEXTS, "none: one seed")
    parts = [(float(array.var(ddof=1)) / len(array), len(array) - 1) for array in (first, second)]
    method = f"Welch's t, {sizes[0]} and {sizes[1]} seeds"
    error = math.sqrt(sum(part for part, _ in parts))
    return _around(gap, error, _freedom_of_sum(parts), SAME_TEXTS, method, level)


def _crossed(groups: list[tuple[float, Array]], level: float, method: str) -> Estimate:
    """Return the signed sum of the groups' means, seeds and texts both random, crossed; texts shared by all groups.

    With MS the mean squares of the two-way layout without replication of n runs by m texts, and V the variance over
    texts of the signed sum of the groups' means at each text, the variance is

        sum over groups of MS_seeds / (n m)  +  V / m  -  sum over groups of MS_residual / (n m)

    with components below zero taken as zero, and Satterthwaite's degrees of freedom for that sum of mean squares.
    """
    m = groups[0][1].shape[1]
    value = sum(sign * float(scores.mean()) for sign, scores in groups)
    if min(len(scores) for _, scores in groups) < 2 or m < 2:
        return Estimate(value, math.nan, math.nan, NEW_TEXTS, "none: one seed, or one text")
    seeds, residuals = [], []
    for _, scores in groups:
        n = len(scores)
        by_run, by_text = scores.mean(axis=1, keepdims=True), scores.mean(axis=0, keepdims=True)
        left = scores - by_run - by_text + scores.mean()
        seeds.append((float(by_run.var(ddof=1)) / n, n - 1))
        residuals.append((float((left**2).sum()) / ((n - 1) * (m - 1)) / (n * m), (n - 1) * (m - 1)))
    over_texts = sum(sign * scores.mean(axis=0) for sign, scores in groups)
    texts = float(np.var(over_texts, ddof=1)) / m
    keeps_texts = texts > sum(part for part, _ in residuals)
    terms = [(texts, m - 1)] if keeps_texts else []
    for (of_seeds, freedom), (rest, its_freedom) in zip(seeds, residuals, strict=True):
        keeps_seeds = of_seeds > rest
        terms += [(of_seeds, freedom)] if keeps_seeds else []
        terms += [((1 - keeps_seeds - keeps_texts) * rest, its_freedom)]
    error = math.sqrt(max(sum(part for part, _ in terms), 0.0))
    return _around(value, error, _freedom_of_sum(terms), NEW_TEXTS, method, level)


def _freedom_of_sum(parts: list[tuple[float, int]]) -> float:
    """Return Satterthwaite's degrees of freedom (1946) of a sum of variances, each with its own."""
    squares = sum(part**2 / freedom for part, freedom in parts)
    return float(sum(part for part, _ in parts) ** 2 / squares) if squares else 1.0


def _not_narrower(crossed: Estimate, over_seeds: Estimate) -> Estimate:
    """Return the interval for new texts, widened to that for this test set where it is narrower.

    With three seeds it can be: more degrees of freedom may outweigh more variance. To ask for more and be surer of it
    would be odd, so the wider one is given, which then holds its target more often than it says.
    """
    if not (crossed.has_interval and over_seeds.has_interval):
        return crossed
    half = max(crossed.high - crossed.value, over_seeds.high - over_seeds.value)
    return Estimate(crossed.value, crossed.value - half, crossed.value + half, crossed.target, crossed.method)


def mean_over_texts(scores: ArrayLike, level: float = LEVEL) -> Estimate:
    """Return the mean of scores, shape (runs, texts), and its interval. Target: new texts, new seeds.

    Source: the two-way random model, as `_crossed` gives it. One run has no interval.
    """
    array = checked(scores, dimensions=2)
    runs, texts = array.shape
    found = _crossed([(1.0, array)], level, f"crossed random effects, {runs} seeds by {texts} texts")
    return _not_narrower(found, mean_over_seeds(array.mean(axis=1), level))


def difference_over_texts(one: ArrayLike, other: ArrayLike, paired: bool, level: float = LEVEL) -> Estimate:
    """Return the difference of two mean scores on the same texts and its interval. Target: new texts, new seeds.

    `one` and `other` have shape (runs, texts); `paired` says that row k of each has the same seed.
    """
    first, second = checked(one, dimensions=2), checked(other, dimensions=2)
    if first.shape[1] != second.shape[1] or (paired and first.shape != second.shape):
        raise ValueError(
            f"scores of shapes {first.shape} and {second.shape} are not on the same texts, or not in pairs"
        )
    texts = first.shape[1]
    if paired:
        method = f"crossed random effects, {len(first)} paired seeds by {texts} texts"
        found = _crossed([(1.0, first - second)], level, method)
    else:
        method = f"crossed random effects, {len(first)} and {len(second)} seeds by {texts} texts"
        found = _crossed([(1.0, first), (-1.0, second)], level, method)
    return _not_narrower(found, difference_over_seeds(first.mean(axis=1), second.mean(axis=1), paired, level))


def permutation_test(one: ArrayLike, other: ArrayLike) -> PValue:
    """Return the two-sided permutation test of a difference of means; (runs,) and (runs,).

    All ways to deal the values into the two groups are counted when there are at most 99 999, else so many are drawn.
    The smallest p that n values against k can give is 2 / C(n + k, n): 0.1 for 3 against 3. One value has no test.
    """
    first, second = checked(one), checked(other)
    ways = math.comb(len(first) + len(second), len(first))
    smallest = min(1.0, 2 / ways) if ways <= EXACT_UP_TO else 2 / (EXACT_UP_TO + 1)
    if min(len(first), len(second)) < 2:
        return PValue(math.nan, smallest)
    found = stats.permutation_test(
        (first, second), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis), vectorized=True,
        n_resamples=EXACT_UP_TO, permutation_type="independent", rng=np.random.default_rng(0),
    )  # fmt: skip
    return PValue(float(found.pvalue), smallest)


def brown_forsythe(one: ArrayLike, other: ArrayLike) -> float:
    """Return the p-value of Brown and Forsythe's test (1974) that two groups, (runs,) each, spread alike.

    NaN with fewer than three values in a group, where distances from a median say nothing, and where no value differs
    from its group's median.
    """
    first, second = checked(one), checked(other)
    distances = [np.abs(array - np.median(array)) for array in (first, second)]
    if min(len(first), len(second)) < 3 or not any(array.any() for array in distances):
        return math.nan
    if all(np.ptp(array) == 0 for array in distances):
        return math.nan
    return float(stats.levene(first, second, center="median").pvalue)


def first_step_at(steps: ArrayLike, values: ArrayLike, threshold: float, interpolated: bool) -> float | None:
    """Return the first step at which a curve is at or above a threshold; None when it never is.

    `steps` and `values` have shape (evaluations,), steps rising. Interpolated: where the straight line from the
    evaluation before crosses the threshold.
    """
    at, curve = checked(steps), checked(values)
    if len(at) != len(curve) or (np.diff(at) <= 0).any():
        raise ValueError("steps and values must be as many, and steps must rise")
    above = np.flatnonzero(curve >= threshold)
    if not len(above):
        return None
    index = int(above[0])
    if index == 0 or not interpolated:
        return float(at[index])
    share = (threshold - curve[index - 1]) / (curve[index] - curve[index - 1])
    return float(at[index - 1] + share * (at[index] - at[index - 1]))


def ratio_over_seeds(one: ArrayLike, other: ArrayLike, paired: bool, level: float = LEVEL) -> Estimate:
    """Return the ratio of two geometric means, of `one` to `other`, and its interval. Target: this test set, new seeds.

    Both have shape (runs,) and are positive. Steps of runs that never reached the threshold are given as the last step,
    the same for all: the ratio is then one of steps counted no further than that, as restricted mean survival times
    count them (Royston and Parmar 2013). Raises `ValueError` for a value that is not positive.
    """
    first, second = checked(one), checked(other)
    if min(first.min(), second.min()) <= 0:
        raise ValueError("a ratio needs positive values; one was reached before the first step")
    found = difference_over_seeds(np.log(first), np.log(second), paired, level)
    value, low, high = (math.exp(bound) for bound in (found.value, found.low, found.high))
    method = found.method if not found.has_interval else f"{found.method}, of logarithms"
    return Estimate(value, low, high, SAME_TEXTS, method)


def area_under(steps: ArrayLike, values: ArrayLike) -> float:
    """Return a curve's mean height over its steps, (evaluations,) each: the area by trapezoids, by the last step."""
    at, curve = checked(steps), checked(values)
    if len(at) != len(curve) or (np.diff(at) <= 0).any():
        raise ValueError("steps and values must be as many, and steps must rise")
    return float(np.trapezoid(curve, at) / (at[-1] - at[0])) if len(at) > 1 else float(curve[0])


def seeds_needed(difference: float, std: float, paired: bool) -> int | None:
    """Return how many seeds (of each group) show a difference at 5 %, two-sided, with a probability of 80 %.

    `std` is over seeds, in the difference's unit: of the differences when paired, else of one group. None: more than
    10 000. Source: the non-central t distribution, as statsmodels has it.
    """
    if not (math.isfinite(difference) and math.isfinite(std)) or difference == 0 or std < 0:
        raise ValueError(f"no number of seeds for a difference of {difference} and a std of {std}")
    if std == 0:
        return 2
    power = (TTestPower() if paired else TTestIndPower()).power

    def is_enough(n: int) -> bool:
        return bool(power(abs(difference) / std, n, 1 - LEVEL) >= POWER)

    most = 2
    while not is_enough(most):  # doubled, not bisected from the top: far above 80 % the power is not computable
        if most >= MOST_SEEDS:
            return None
        most = min(2 * most, MOST_SEEDS)
    return bisect_left(range(most), True, lo=2, key=is_enough)


def share_interval(n_right: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return Wilson's interval (1927) of a share, for one fixed classifier on new texts: two numbers from 0 to 1."""
    found = stats.binomtest(n_right, n).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)
