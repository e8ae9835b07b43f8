"""Compute the interval of each estimate from runs over several seeds: pure functions on arrays.

Each interval names its target. docs/coverage.md has the coverage of each interval, by simulation. All raise
`ValueError` for NaN, an infinite value, a wrong shape or no value at all.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from analysis.estimates import (
    ALL_DIFFERENCES_THE_SAME,
    ALL_THE_SAME,
    LEVEL,
    NEW_TEXTS,
    ONE_SEED,
    SAME_TEXTS,
    Array,
    Estimate,
    are_alike,
    checked,
    checked_two,
    no_interval,
)


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
    first, second = checked_two(one, other)
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


def mean_over_seeds(values: ArrayLike) -> Estimate:
    """Return the mean of values over seeds, shape (runs,), and Student's t interval. Target: this test set."""
    return _students(checked(values), "Student's t")


def difference_over_seeds(one: ArrayLike, other: ArrayLike, paired: bool) -> Estimate:
    """Return mean(one) - mean(other) of values over seeds, shape (runs,) each, and its interval. Target: this test set.

    Paired runs (run k of both has the same seed) use Student's t of the differences, others Welch's t (Welch 1947).
    """
    first, second = checked_two(one, other, paired)
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
    top, bottom = checked_two(parts, wholes, paired=True)
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


def share_interval(n_right: int, n: int) -> tuple[float, float]:
    """Return Wilson's interval (1927) of a share, for one fixed classifier on new texts: two numbers from 0 to 1."""
    found = stats.binomtest(n_right, n).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)
