"""Every test and number of seeds against an independent computation: scipy, brute force or simulation."""

import math
import tracemalloc
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from analysis import significance
from tests.analysis.made_up import ONE, OTHER, VALUES


@given(VALUES.filter(lambda values: len(values) <= 5), VALUES.filter(lambda values: len(values) <= 4))
def test_the_unpaired_permutation_test_counts_every_way_to_deal_the_values(
    one: list[float], other: list[float]
) -> None:
    values, n = [*one, *other], len(one)
    seen = np.mean(one) - np.mean(other)
    gaps = []
    for chosen in combinations(range(len(values)), n):
        rest = [values[index] for index in range(len(values)) if index not in chosen]
        gaps.append(np.mean([values[index] for index in chosen]) - np.mean(rest))
    tails = [np.mean([gap >= seen - 1e-9 for gap in gaps]), np.mean([gap <= seen + 1e-9 for gap in gaps])]
    assert significance.permutation_test(one, other, paired=False).p == pytest.approx(min(1.0, 2 * min(tails)))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=8))
def test_the_paired_permutation_test_flips_the_signs_of_the_differences(pairs: list[tuple[int, int]]) -> None:
    one, other = ([pair[side] for pair in pairs] for side in (0, 1))
    gaps = np.subtract(one, other)
    sums = [float(np.dot(signs, gaps)) for signs in product((-1, 1), repeat=len(gaps))]
    tails = [np.mean([total >= gaps.sum() for total in sums]), np.mean([total <= gaps.sum() for total in sums])]
    found = significance.permutation_test(one, other, paired=True)
    assert found.p == pytest.approx(min(1.0, 2 * min(tails)))
    assert found.smallest == 2 / 2 ** len(pairs)


def test_three_pairs_cannot_go_below_a_quarter_and_three_against_three_not_below_a_tenth() -> None:
    for paired, smallest in ((True, 0.25), (False, 0.1)):
        found = significance.permutation_test(ONE, OTHER, paired)
        assert found.p == pytest.approx(smallest)
        assert found.smallest == pytest.approx(smallest)
        assert math.isnan(significance.permutation_test([1.0], [2.0], paired).p)
        many = significance.permutation_test(np.arange(20), np.arange(20) + 100.0, paired)
        assert many.p == pytest.approx(many.smallest) == pytest.approx(2e-5)  # drawn: a million ways and more
    with pytest.raises(ValueError, match="pairs need as many"):
        significance.permutation_test([1.0, 2.0], [1.0], paired=True)


def test_a_true_null_of_pairs_is_rejected_as_often_as_it_says() -> None:
    rng, rejected = np.random.default_rng(0), 0
    for _ in range(400):
        shared, noise = rng.normal(0, 1, 8), rng.normal(0, 1, (2, 8))
        rejected += (
            significance.permutation_test(noise[0] + shared, noise[1] - shared, paired=True).p <= 0.05
        )  # correlation -0.5
    assert 0.02 <= rejected / 400 <= 0.08  # 0.109 by the unpaired test


def test_many_runs_take_little_memory() -> None:
    rng = np.random.default_rng(0)
    for paired in (True, False):
        tracemalloc.start()
        significance.permutation_test(rng.normal(0, 1, 250), rng.normal(0, 1, 250), paired)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100e6


@given(VALUES.filter(lambda values: len(values) > 2), VALUES.filter(lambda values: len(values) > 2))
def test_brown_forsythe_is_an_f_test_of_distances_from_the_median(one: list[float], other: list[float]) -> None:
    distances = [np.abs(np.subtract(values, np.median(values))) for values in (one, other)]
    assume(all(np.ptp(part) > 0 for part in distances))
    expected = stats.f_oneway(*distances).pvalue
    assume(math.isfinite(expected))
    assert significance.brown_forsythe(one, other) == pytest.approx(expected)


def test_brown_forsythe_says_why_where_it_can_say_nothing() -> None:
    for one, other, why in (
        ([1.0, 2.0], [1.0, 5.0, 9.0], "fewer than three runs"),
        ([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], "equally accurate"),
        ([1.0, 1.0, 3.0, 3.0], [2.0, 2.0, 2.0], "as far from its group's median"),
    ):
        assert math.isnan(significance.brown_forsythe(one, other))
        assert why in (significance.no_spread_test(one, other) or "")
    assert significance.no_spread_test([1.0, 2.0, 4.0], [2.0, 2.0, 2.0]) is None


@pytest.mark.parametrize("paired", [True, False])
def test_the_power_is_that_of_a_simulated_t_test(paired: bool) -> None:
    rng, repeats = np.random.default_rng(0), 40_000
    for n, effect in ((2, 3.0), (3, 1.0), (3, 8.0), (10, 0.6)):
        one = rng.normal(effect, 1, (repeats, n))
        if paired:
            p = stats.ttest_1samp(one, 0, axis=1).pvalue
        else:
            p = stats.ttest_ind(one, rng.normal(0, 1, (repeats, n)), axis=1).pvalue
        assert significance.power_of(effect, n, paired) == pytest.approx(float(np.mean(p < 0.05)), abs=0.01)


@pytest.mark.parametrize("paired", [True, False])
def test_every_effect_has_its_number_of_seeds_and_more_effect_needs_no_more_seeds(paired: bool) -> None:
    def by_closed_form(effect: float, n: int) -> float:
        freedom, centre = (n - 1, effect * math.sqrt(n)) if paired else (2 * n - 2, effect * math.sqrt(n / 2))
        bound = stats.t.ppf(0.975, freedom)
        return float(stats.nct.sf(bound, freedom, centre) + stats.nct.cdf(-bound, freedom, centre))

    before = significance.MOST_SEEDS
    for effect in np.arange(0.3, 14, 0.1):
        n = significance.seeds_needed(float(effect), 1.0, paired)
        assert n is not None
        assert 2 <= n <= before
        before = n
        powers = {k: significance.power_of(float(effect), k, paired) for k in range(2, n + 2)}
        assert all(0 < power <= 1 + 1e-9 for power in powers.values())
        assert sorted(powers.values()) == pytest.approx(list(powers.values()), abs=1e-9)
        assert n == min(k for k, power in powers.items() if power >= 0.8)
        for k, power in powers.items():
            if math.isfinite(by_closed_form(float(effect), k)):  # it has holes
                assert power == pytest.approx(by_closed_form(float(effect), k), abs=1e-5)
    assert before == 2


def test_seeds_that_no_one_has_are_not_promised() -> None:
    assert significance.seeds_needed(0.01, 2.0, paired=False) is None
    assert significance.seeds_needed(1.0, 0.0, paired=True) == 2
    assert significance.seeds_needed(-5.0, 1.14, paired=True) == significance.seeds_needed(5.0, 1.14, paired=True) == 3
    for difference, std in ((0.0, 2.0), (1.0, -1.0), (math.nan, 1.0), (1.0, math.inf)):
        with pytest.raises(ValueError, match="no number of seeds"):
            significance.seeds_needed(difference, std, paired=True)
