"""Test differences and spreads over seeds, and compute how many seeds show a difference: pure functions on arrays.

Tests raise `ValueError` for NaN, an infinite value, a wrong shape or no value at all.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from analysis.estimates import LEVEL, Array, are_alike, checked, checked_two

POWER = 0.8
EXACT_UP_TO = 99_999  # permutations; above this number a random sample is drawn
AT_A_TIME = 1_000  # permutations in memory at the same time
MOST_SEEDS = 10_000
NODES = 128  # of the numerical integral in `power_of`


@dataclass(frozen=True)
class PValue:
    """A p-value, NaN when there is none, and the smallest p-value that this number of seeds can give."""

    p: float
    smallest: float


def permutation_test(one: ArrayLike, other: ArrayLike, paired: bool) -> PValue:
    """Return the two-sided permutation test of a difference of means; both inputs have shape (runs,).

    Paired runs: the signs of the differences are flipped (Fisher 1935), in 2^n ways, so the smallest p of three pairs
    is 0.25. Unpaired runs: the values are dealt into the two groups, in C(n + k, n) ways, so the smallest p of 3
    against 3 is 0.1. More than 99,999 ways are drawn, not counted. There is no test when a group has one value.
    """
    first, second = checked_two(one, other, paired)
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
    first, second = checked_two(one, other)
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
