"""Compute what runs over several seeds can show: pure functions on arrays. Each interval names its target.

*This test set, new seeds* asks what other seeds would give on the same test texts; *new texts, new seeds* asks what
they would give on other texts of the same kind. docs/coverage.md has the coverage of each interval, by simulation.

Estimates and tests of arrays raise `ValueError` for NaN, an infinite value, a wrong shape or no value at all.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

SAME_TEXTS = "this test set, new seeds"
NEW_TEXTS = "new texts, new seeds"
LEVEL = 0.95
POWER = 0.8
EXACT_UP_TO = 99_999  # permutations; above this number a random sample is drawn
AT_A_TIME = 1_000  # permutations in memory at the same time
MOST_SEEDS = 10_000
NODES = 128  # of the numerical integral in `power_of`
ONE_SEED, ALL_THE_SAME, ALL_DIFFERENCES_THE_SAME = "one seed", "all values are the same", "all differences are the same"

Array = NDArray[np.float64]
Form = str | Callable[[float, bool], str]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, one end of which may be infinite.

    Without an interval, `low` and `high` are NaN and `method` says why.
    """

    value: float
    low: float
    high: float
    target: str
    method: str

    @property
    def has_interval(self) -> bool:
        return not math.isnan(self.low)

    @property
    def why_none(self) -> str:
        """The reason why there is no interval."""
        return self.method.removeprefix("none: ")

    def excludes(self, value: float) -> bool:
        return self.has_interval and not self.low <= value <= self.high

    def ends(self, form: Form = ".2f", least: float = -math.inf, most: float = math.inf) -> str:
        """Return `low to high`, `from low`, `up to high`, or `none (why)`. `least` and `most` limit the ends.

        `form` is a format, or a function of an end that is also told whether the end is the upper one.
        """
        if not self.has_interval:
            return f"none ({self.why_none})"
        low, high = max(self.low, least), min(self.high, most)
        if math.isinf(low) and math.isinf(high):
            return "none (no end is known)"

        def write(end: float, up: bool) -> str:
            return form(end, up) if callable(form) else f"{end:{form}}"

        if math.isinf(high):
            return f"from {write(low, False)}"
        return f"{'up' if math.isinf(low) else write(low, False)} to {write(high, True)}"

    def words(self, form: Form = ".2f", least: float = -math.inf, most: float = math.inf) -> str:
        """Return `95 % interval low to high`, or `no interval: why`, as `ends` writes them."""
        if not self.has_interval:
            return f"no interval: {self.why_none}"
        return f"{100 * LEVEL:.0f} % interval {self.ends(form, least, most)}"


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over n seeds. `std` has ddof 0, as published, and `std_sample` has ddof 1."""

    n: int
    mean: float
    std: float
    std_sample: float  # NaN for n = 1


@dataclass(frozen=True)
class PValue:
    """A p-value, NaN when there is none, and the smallest p-value that this number of seeds can give."""

    p: float
    smallest: float


def checked(values: ArrayLike, dimensions: int = 1) -> Array:
    """Return the values as an array of float64. Raises `ValueError` as the module docstring says."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions or array.size == 0:
        raise ValueError(f"expected values in {dimensions} dimension(s), at least one, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("a value is NaN or infinite; leave runs without a value out, and name them")
    return array


def are_alike(array: Array) -> bool:
    """Return whether all values are the same, apart from rounding.

    Accuracies are shares of texts, and a share like 0.1 has no exact binary form.
    """
    return bool(np.ptp(array) <= 1e-9 * max(1.0, float(np.abs(array).max())))


def spread(values: ArrayLike) -> Spread:
    """Return mean and standard deviations of values over seeds, shape (runs,)."""
    array = checked(values)
    sample = float(array.std(ddof=1)) if len(array) > 1 else math.nan
    return Spread(len(array), float(array.mean()), float(array.std()), sample)


def std_factors(n: int) -> tuple[float, float]:
    """Return the two factors that turn a std (ddof 0) of n normal values into the interval of the true std.

    Source: n std^2 / sigma^2 is chi-squared with n - 1 degrees of freedom. NaN for n = 1.
    """
    if n < 2:
        return math.nan, math.nan
    low, high = stats.chi2.ppf([(1 + LEVEL) / 2, (1 - LEVEL) / 2], n - 1)
    return math.sqrt(n / low), math.sqrt(n / high)


def std_interval(values: ArrayLike) -> Estimate:
    """Return the std (ddof 0) of values over seeds, shape (runs,), and the interval of the true std (`std_factors`)."""
    array = checked(values)
    if len(array) < 2:
        return no_interval(math.nan, ONE_SEED)
    std = float(array.std())
    if are_alike(array):
        return no_interval(0.0, ALL_THE_SAME)
    low, high = (std * factor for factor in std_factors(len(array)))
    return Estimate(std, low, high, SAME_TEXTS, "chi-squared")


def std_ratio(one: ArrayLike, other: ArrayLike) -> Estimate:
    """Return the sample std of `one` over that of `other`, (runs,) each, and its interval by the F distribution.

    The values must be independent and normal.
    """
    first, second = _two(one, other)
    if min(len(first), len(second)) < 2:
        return no_interval(math.nan, ONE_SEED)
    if are_alike(first) or are_alike(second):
        return no_interval(math.nan, ALL_THE_SAME)
    ratio = float(first.std(ddof=1) / second.std(ddof=1))
    low, high = stats.f.ppf([(1 + LEVEL) / 2, (1 - LEVEL) / 2], len(first) - 1, len(second) - 1)
    return Estimate(ratio, ratio / math.sqrt(low), ratio / math.sqrt(high), SAME_TEXTS, "F distribution")


def one_more_run(values: ArrayLike) -> Estimate:
    """Return the mean of values over seeds, (runs,), and the interval for the value of one more run.

    Source: Student's t prediction interval, mean +- t s sqrt(1 + 1/n).
    """
    array = checked(values)
    n, mean = len(array), float(array.mean())
    if n < 2:
        return no_interval(mean, ONE_SEED, "one more run")
    error = float(array.std(ddof=1)) * math.sqrt(1 + 1 / n)
    return _around(mean, error, n - 1, f"prediction interval, {n} seeds", "one more run")


def no_interval(value: float, why: str, target: str = SAME_TEXTS) -> Estimate:
    """Return an estimate that says why it has no interval."""
    return Estimate(value, math.nan, math.nan, target, f"none: {why}")


def _around(
    value: float, error: float, freedom: float, method: str, target: str = SAME_TEXTS, same: str = ALL_THE_SAME
) -> Estimate:
    if error <= 1e-9 * max(1.0, abs(value)):  # an interval of zero width would claim more than a few values can show
        return no_interval(value, same, target)
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    return Estimate(value, value - half, value + half, target, method)


def _students(array: Array, method: str, same: str = ALL_THE_SAME) -> Estimate:
    """Return the mean of values over seeds and Student's t interval. `same` says why equal values have none."""
    n = len(array)
    if n < 2:
        return no_interval(float(array[0]), ONE_SEED)
    error = float(array.std(ddof=1)) / math.sqrt(n)
    return _around(float(array.mean()), error, n - 1, f"{method}, {n} seeds", same=same)


def _two(one: ArrayLike, other: ArrayLike, paired: bool = False) -> tuple[Array, Array]:
    first, second = checked(one), checked(other)
    if paired and len(first) != len(second):
        raise ValueError(f"pairs need as many values of each, got {len(first)} and {len(second)}")
    return first, second


def mean_over_seeds(values: ArrayLike) -> Estimate:
    """Return the mean of values over seeds, shape (runs,), and Student's t interval. Target: this test set."""
    return _students(checked(values), "Student's t")


def difference_over_seeds(one: ArrayLike, other: ArrayLike, paired: bool) -> Estimate:
    """Return mean(one) - mean(other) of values over seeds, shape (runs,) each, and its interval. Target: this test set.

    Paired runs (run k of both has the same seed) use Student's t of the differences, others Welch's t (Welch 1947).
    """
    first, second = _two(one, other, paired)
    if paired:
        return _students(first - second, "paired t", ALL_DIFFERENCES_THE_SAME)
    gap, sizes = float(first.mean() - second.mean()), (len(first), len(second))
    if min(sizes) < 2:
        return no_interval(gap, ONE_SEED)
    parts = [(float(array.var(ddof=1)) / len(array), len(array) - 1) for array in (first, second)]
    error = math.sqrt(sum(part for part, _ in parts))
    return _around(gap, error, _freedom_of_sum(parts), f"Welch's t, {sizes[0]} and {sizes[1]} seeds")


def ratio_of_means(parts: ArrayLike, wholes: ArrayLike) -> Estimate:
    """Return mean(parts) / mean(wholes) and its interval. Target: this test set, new seeds.

    Both have shape (runs,), and value k of both is of the same seed. Source: Fieller (1954), the ratios r for which
    Student's t does not reject that parts - r wholes has a mean of 0. There is no interval for one seed, or when the
    interval of mean(wholes) holds 0: every ratio is then possible.
    """
    top, bottom = _two(parts, wholes, paired=True)
    n, mean, of = len(top), float(top.mean()), float(bottom.mean())
    ratio = mean / of if of else math.nan
    if n < 2:
        return no_interval(ratio, ONE_SEED)
    whole = _students(bottom, "t", ALL_DIFFERENCES_THE_SAME)
    if not whole.has_interval:
        return no_interval(ratio, whole.why_none)
    if not whole.excludes(0):
        return no_interval(ratio, "the interval of the whole holds 0")
    square = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) ** 2 / n
    (of_top, both), (_, of_bottom) = np.cov(top, bottom)
    a, b, c = of**2 - square * of_bottom, mean * of - square * both, mean**2 - square * of_top
    half = math.sqrt(max(b * b - a * c, 0.0)) / a
    if half <= 1e-9:
        return no_interval(ratio, ALL_THE_SAME)
    return Estimate(ratio, b / a - half, b / a + half, SAME_TEXTS, f"Fieller, {n} paired seeds")


def _crossed(groups: list[tuple[float, Array]], seeds_of: str, over_seeds: Estimate) -> Estimate:
    """Return the signed sum of the groups' means. Seeds and texts are random and crossed; all groups share the texts.

    MS are the mean squares of the two-way layout without replication of n runs by m texts. V is the variance over texts
    of the signed sum of the groups' means at each text. The variance of the result is

        sum over groups of MS_seeds / (n m)  +  V / m  -  sum over groups of MS_residual / (n m)

    Components below zero are set to zero. The sum of mean squares has Satterthwaite's degrees of freedom.

    With three seeds this interval can be narrower than `over_seeds`, the one for this test set: more degrees of freedom
    may outweigh more variance. Nobody can be surer about new texts than about this test set. So the wider interval is
    given; it covers its target more often than its level says. Where `over_seeds` has no interval, there is none.
    """
    m = groups[0][1].shape[1]
    value = sum(sign * float(scores.mean()) for sign, scores in groups)
    if not over_seeds.has_interval or m < 2:
        return no_interval(value, over_seeds.why_none if not over_seeds.has_interval else "one text", NEW_TEXTS)
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
    method = f"crossed random effects, {seeds_of} seeds by {m} texts"
    crossed = _around(value, error, _freedom_of_sum(terms), method, NEW_TEXTS)
    if not crossed.has_interval:
        return crossed
    half = max(crossed.high - crossed.value, over_seeds.high - over_seeds.value)
    return replace(crossed, low=value - half, high=value + half)


def _freedom_of_sum(parts: list[tuple[float, int]]) -> float:
    """Return Satterthwaite's degrees of freedom (1946) of a sum of variances. `parts` has (variance, its freedom)."""
    squares = sum(part**2 / freedom for part, freedom in parts)
    return float(sum(part for part, _ in parts) ** 2 / squares) if squares else 1.0


def mean_over_texts(scores: ArrayLike) -> Estimate:
    """Return the mean of scores, shape (runs, texts), and its interval (`_crossed`). Target: new texts, new seeds."""
    array = checked(scores, dimensions=2)
    return _crossed([(1.0, array)], f"{len(array)}", mean_over_seeds(array.mean(axis=1)))


def difference_over_texts(one: ArrayLike, other: ArrayLike, paired: bool) -> Estimate:
    """Return the difference of two mean scores on the same texts and its interval. Target: new texts, new seeds.

    `one` and `other` have shape (runs, texts); `paired` means that row k of both has the same seed.
    """
    first, second = checked(one, dimensions=2), checked(other, dimensions=2)
    if first.shape[1] != second.shape[1] or (paired and first.shape != second.shape):
        raise ValueError(
            f"scores of shapes {first.shape} and {second.shape} are not on the same texts, or not in pairs"
        )
    over_seeds = difference_over_seeds(first.mean(axis=1), second.mean(axis=1), paired)
    if paired:
        return _crossed([(1.0, first - second)], f"{len(first)} paired", over_seeds)
    return _crossed([(1.0, first), (-1.0, second)], f"{len(first)} and {len(second)}", over_seeds)


def permutation_test(one: ArrayLike, other: ArrayLike, paired: bool) -> PValue:
    """Return the two-sided permutation test of a difference of means; both inputs have shape (runs,).

    Paired runs: the signs of the differences are flipped (Fisher 1935), in 2^n ways, so the smallest p of three pairs
    is 0.25. Unpaired runs: the values are dealt into the two groups, in C(n + k, n) ways, so the smallest p of 3
    against 3 is 0.1. More than 99,999 ways are drawn, not counted. There is no test when a group has one value.
    """
    first, second = _two(one, other, paired)
    ways = 2 ** len(first) if paired else math.comb(len(first) + len(second), len(first))
    smallest = min(1.0, 2 / ways) if ways <= EXACT_UP_TO else 2 / (EXACT_UP_TO + 1)
    if min(len(first), len(second)) < 2:
        return PValue(math.nan, smallest)
    found = stats.permutation_test(
        (first, second),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        vectorized=True,
        n_resamples=EXACT_UP_TO,
        batch=AT_A_TIME,
        permutation_type="samples" if paired else "independent",
        rng=np.random.default_rng(0),
    )
    return PValue(float(found.pvalue), smallest)


def no_spread_test(one: ArrayLike, other: ArrayLike) -> str | None:
    """Return why two groups of values, (runs,) each, have no test of their spread, or None when they have a test."""
    first, second = _two(one, other)
    if min(len(first), len(second)) < 3:
        return "fewer than three runs have no test of their spread"
    if are_alike(first) and are_alike(second):
        return "all runs of a group are equally accurate"
    distances = [np.abs(array - np.median(array)) for array in (first, second)]
    if all(map(are_alike, distances)):
        return "every run is as far from its group's median as the others"
    return None


def brown_forsythe(one: ArrayLike, other: ArrayLike) -> float:
    """Return the p-value of Brown and Forsythe's test (1974) that two groups, (runs,) each, spread alike.

    NaN when `no_spread_test` says why there is no test.
    """
    if no_spread_test(one, other) is not None:
        return math.nan
    return float(stats.levene(checked(one), checked(other), center="median").pvalue)


def seeds_needed(difference: float, std: float, paired: bool) -> int | None:
    """Return how many seeds (of each group) show a difference at 5 %, two-sided, with a probability of 80 %.

    `std` is that of the differences when paired, otherwise that of one group. None means more than 10,000 seeds. Raises
    `ValueError` for a difference of zero, a negative std, and a difference or std that is NaN or infinite.
    """
    if not (math.isfinite(difference) and math.isfinite(std)) or difference == 0 or std < 0:
        raise ValueError(f"no number of seeds for a difference of {difference} and a std of {std}")
    if std == 0:
        return 2
    effect = abs(difference) / std
    n = bisect_left(range(MOST_SEEDS + 1), True, lo=2, key=lambda n: power_of(effect, n, paired) >= POWER)
    return n if n <= MOST_SEEDS else None


def power_of(effect: float, n: int, paired: bool) -> float:
    """Return the probability that a two-sided t test at 5 % shows a difference of `effect` stds with n seeds.

    `n` is the number of pairs, or of seeds in each group. Source: the non-central t distribution,
    P(|Z + d| > t sqrt(V / f)) with V chi-squared and f its degrees of freedom, integrated over the quantiles of V. The
    sum is finite for every effect; scipy and statsmodels give NaN for some large effects.
    """
    freedom = n - 1 if paired else 2 * (n - 1)
    centre = effect * math.sqrt(n if paired else n / 2)
    bound = float(stats.t.ppf((1 + LEVEL) / 2, freedom))
    places, weights = _gauss_legendre()
    angle = (places + 1) * math.pi / 4  # sin^2 puts more nodes at both ends, where the quantiles change fast
    share, weight = np.sin(angle) ** 2, weights * math.pi / 4 * np.sin(2 * angle)
    limits = bound * np.sqrt(stats.chi2.ppf(share, freedom) / freedom)
    return float(weight @ (special.ndtr(centre - limits) + special.ndtr(-centre - limits)))


@cache
def _gauss_legendre() -> tuple[Array, Array]:
    """Return the nodes and weights of a Gauss-Legendre sum on (-1, 1). Numpy takes milliseconds to find them."""
    places, weights = np.polynomial.legendre.leggauss(NODES)
    return places, weights


def share_interval(n_right: int, n: int) -> tuple[float, float]:
    """Return Wilson's interval (1927) of a share, for one fixed classifier on new texts: two numbers from 0 to 1."""
    found = stats.binomtest(n_right, n).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)
