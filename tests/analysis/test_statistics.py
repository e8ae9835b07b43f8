"""Every statistic against an independent computation: scipy, statsmodels, a formula written out, or brute force."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from analysis import statistics as own

VALUES = st.lists(st.integers(0, 400).map(lambda right: right / 4), min_size=2, max_size=9)  # ties are normal
ONE, OTHER = [79.5, 78.5, 80.1], [65.4, 66.7, 67.4]


def differ(*groups: list[float]) -> bool:
    return any(len(set(group)) > 1 for group in groups)


@given(VALUES)
def test_mean_and_both_stds(values: list[float]) -> None:
    found = own.spread(values)
    mean = sum(values) / len(values)
    squares = sum((value - mean) ** 2 for value in values)
    assert found.n == len(values)
    assert found.mean == pytest.approx(mean)
    assert found.std == pytest.approx(math.sqrt(squares / len(values)))
    assert found.std_sample == pytest.approx(math.sqrt(squares / (len(values) - 1)))


@given(VALUES)
def test_the_interval_of_a_mean_is_students(values: list[float]) -> None:
    found = own.mean_over_seeds(values)
    assert found.value == pytest.approx(np.mean(values))
    assert found.target == "this test set, new seeds"
    if differ(values):
        assert (found.low, found.high) == pytest.approx(DescrStatsW(values).tconfint_mean())


@given(VALUES, VALUES)
def test_the_difference_of_other_seeds_is_welchs(one: list[float], other: list[float]) -> None:
    found = own.difference_over_seeds(one, other, paired=False)
    assert found.value == pytest.approx(np.mean(one) - np.mean(other))
    if differ(one, other):
        expected = CompareMeans(DescrStatsW(one), DescrStatsW(other)).tconfint_diff(usevar="unequal")
        assert (found.low, found.high) == pytest.approx(expected)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=2, max_size=9))
def test_the_difference_of_the_same_seeds_is_the_paired_t(pairs: list[tuple[float, float]]) -> None:
    one, other = ([pair[side] for pair in pairs] for side in (0, 1))
    assume(np.std(np.subtract(one, other)) > 1e-3)
    found = own.difference_over_seeds(one, other, paired=True)
    interval = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_one_seed_and_equal_seeds_have_no_interval_and_say_why() -> None:
    for found, why in (
        (own.mean_over_seeds([80.0]), "none: one seed"),
        (own.mean_over_seeds([80.0, 80.0, 80.0]), "none: all values are the same"),
        (own.difference_over_seeds([80.0], [70.0, 71.0], paired=False), "none: one seed"),
        (own.difference_over_seeds([80.0], [70.0], paired=True), "none: one seed"),
        (own.difference_over_seeds([80.0, 81.0], [70.0, 71.0], paired=True), "none: all values are the same"),
        (own.mean_over_texts([[100.0, 0.0, 100.0]]), "none: one seed, or one text"),
        (own.mean_over_texts([[100.0, 100.0], [100.0, 100.0]]), "none: all values are the same"),
    ):
        assert not found.has_interval
        assert not found.excludes(0)
        assert math.isnan(found.high)
        assert found.method == why


@given(arrays(np.int8, st.tuples(st.integers(2, 5), st.integers(2, 12)), elements=st.integers(0, 1)))
def test_the_interval_over_texts_is_that_of_the_two_way_random_model(
    right: "np.ndarray[tuple[int, int], np.dtype[np.int8]]",
) -> None:
    n, m = right.shape
    scores = 100.0 * right
    runs, texts = (axis.ravel() for axis in np.meshgrid(np.arange(n), np.arange(m), indexing="ij"))
    dummies = [np.eye(k)[index][:, 1:] for k, index in ((n, runs), (m, texts))]

    def residual(*columns: "np.ndarray[tuple[int, int], np.dtype[np.float64]]") -> float:
        return float(OLS(scores.ravel(), np.column_stack([np.ones(n * m), *columns])).fit().ssr)

    both = residual(*dummies)
    squares = {"runs": (residual(dummies[1]) - both) / (n - 1), "texts": (residual(dummies[0]) - both) / (m - 1),
               "rest": both / ((n - 1) * (m - 1))}  # fmt: skip
    components = [max(squares["runs"] - squares["rest"], 0) / m, max(squares["texts"] - squares["rest"], 0) / n]
    variance = components[0] / n + components[1] / m + squares["rest"] / (n * m)
    assume(variance > 1e-6)
    assume(min(abs(squares[name] - squares["rest"]) for name in ("runs", "texts")) > 1e-6)
    found = own.mean_over_texts(scores)
    assert found.value == pytest.approx(scores.mean())
    terms = {"runs": n - 1, "texts": m - 1, "rest": (n - 1) * (m - 1)}
    kept = [name for name in ("runs", "texts") if squares[name] > squares["rest"]]
    weights = {**dict.fromkeys(kept, 1), "rest": 1 - len(kept)}
    freedom = (n * m * variance) ** 2 / sum((weights[name] * squares[name]) ** 2 / terms[name] for name in weights)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(variance)
    over_seeds = own.mean_over_seeds(scores.mean(axis=1))
    if over_seeds.has_interval:
        half = max(half, over_seeds.high - over_seeds.value)
    assert (found.low, found.high) == pytest.approx((scores.mean() - half, scores.mean() + half))


def test_a_paired_difference_over_texts_is_the_mean_of_differences_and_the_unpaired_one_is_wider_when_seeds_agree() -> (
    None
):
    rng = np.random.default_rng(3)
    of_seed = rng.normal(0, 3, (6, 1))
    one, other = (of_seed + rng.normal(mean, 1, (6, 80)) for mean in (80, 70))
    paired = own.difference_over_texts(one, other, paired=True)
    direct = own.mean_over_texts(one - other)
    assert (paired.value, paired.low, paired.high) == (direct.value, direct.low, direct.high)
    unpaired = own.difference_over_texts(one, other, paired=False)
    assert unpaired.value == pytest.approx(paired.value)
    assert unpaired.high - unpaired.low > 2 * (paired.high - paired.low)
    assert unpaired.target == paired.target == "new texts, new seeds"


@given(VALUES.filter(lambda values: len(values) <= 5), VALUES.filter(lambda values: len(values) <= 4))
def test_the_permutation_test_counts_every_way_to_deal_the_values(one: list[float], other: list[float]) -> None:
    values, n = [*one, *other], len(one)
    seen = np.mean(one) - np.mean(other)
    gaps = []
    for chosen in combinations(range(len(values)), n):
        rest = [values[index] for index in range(len(values)) if index not in chosen]
        gaps.append(np.mean([values[index] for index in chosen]) - np.mean(rest))
    tails = [np.mean([gap >= seen - 1e-9 for gap in gaps]), np.mean([gap <= seen + 1e-9 for gap in gaps])]
    assert own.permutation_test(one, other).p == pytest.approx(min(1.0, 2 * min(tails)))


def test_three_against_three_cannot_go_below_a_tenth() -> None:
    found = own.permutation_test(ONE, OTHER)
    assert found.p == pytest.approx(0.1)
    assert found.smallest == pytest.approx(0.1)
    assert math.isnan(own.permutation_test([1.0], [2.0]).p)
    many = own.permutation_test(np.arange(12), np.arange(12) + 100)
    assert many.p == pytest.approx(many.smallest) == pytest.approx(2e-5)  # drawn: 24 values can be dealt 2.7 M ways


@given(VALUES.filter(lambda values: len(values) > 2), VALUES.filter(lambda values: len(values) > 2))
def test_brown_forsythe_is_an_f_test_of_distances_from_the_median(one: list[float], other: list[float]) -> None:
    distances = [np.abs(np.subtract(values, np.median(values))) for values in (one, other)]
    assume(all(np.ptp(part) > 0 for part in distances))
    expected = stats.f_oneway(*distances).pvalue
    assume(math.isfinite(expected))
    assert own.brown_forsythe(one, other) == pytest.approx(expected)


def test_brown_forsythe_is_silent_where_it_can_say_nothing() -> None:
    assert math.isnan(own.brown_forsythe([1.0, 2.0], [1.0, 5.0, 9.0]))
    assert math.isnan(own.brown_forsythe([1.0, 1.0, 1.0], [2.0, 2.0, 2.0]))


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 100)), min_size=1, max_size=12), st.integers(1, 100))
def test_the_first_step_at_a_threshold(points: list[tuple[int, int]], threshold: int) -> None:
    steps = np.cumsum([gap for gap, _ in points])
    values = [value for _, value in points]
    found = own.first_step_at(steps, values, threshold, interpolated=False)
    reached = [int(step) for step, value in zip(steps, values, strict=True) if value >= threshold]
    assert found == (reached[0] if reached else None)
    between = own.first_step_at(steps, values, threshold, interpolated=True)
    if between is None or found is None:
        assert between is found is None
    else:
        assert between <= found
        assert np.interp(between, steps, values) == pytest.approx(threshold) or between == steps[0]


def test_a_ratio_of_steps_is_the_exponent_of_a_difference_of_logarithms() -> None:
    random, pretrained = [200.0, 392.0, 392.0], [50.0, 40.0, 80.0]
    found = own.ratio_over_seeds(random, pretrained, paired=True)
    expected = stats.ttest_rel(np.log(random), np.log(pretrained)).confidence_interval()
    assert found.value == pytest.approx(stats.gmean(random) / stats.gmean(pretrained))
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))
    with pytest.raises(ValueError, match="positive"):
        own.ratio_over_seeds([0.0, 1.0], [1.0, 2.0], paired=True)


def test_the_area_under_a_curve_is_its_mean_height() -> None:
    assert own.area_under([0, 10, 30], [50, 70, 90]) == pytest.approx((10 * 60 + 20 * 80) / 30)
    assert own.area_under([0], [50]) == 50
    with pytest.raises(ValueError, match="rise"):
        own.area_under([0, 0], [1, 2])


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("effect", [3.0, 1.0, 0.6, 0.1])
def test_so_many_seeds_and_not_one_fewer_have_the_power(effect: float, paired: bool) -> None:
    def power(n: int) -> float:
        freedom, centre = (n - 1, effect * math.sqrt(n)) if paired else (2 * n - 2, effect * math.sqrt(n / 2))
        bound = stats.t.ppf(0.975, freedom)
        return float(stats.nct.sf(bound, freedom, centre) + stats.nct.cdf(-bound, freedom, centre))

    n = own.seeds_needed(2 * effect, 2.0, paired)
    assert n is not None
    assert power(n) >= 0.8
    assert n == 2 or power(n - 1) < 0.8


def test_seeds_that_no_one_has_are_not_promised() -> None:
    assert own.seeds_needed(0.01, 2.0, paired=False) is None
    assert own.seeds_needed(1.0, 0.0, paired=True) == 2
    with pytest.raises(ValueError, match="no number of seeds"):
        own.seeds_needed(0.0, 2.0, paired=True)


@given(st.integers(1, 400), st.data())
def test_a_share_has_wilsons_interval(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    assert own.share_interval(right, n) == pytest.approx(proportion_confint(right, n, method="wilson"), abs=1e-9)


def test_the_std_of_three_seeds_is_known_within_a_factor_of_twelve() -> None:
    low, high = own.std_factors(3)
    assert (low, high) == pytest.approx((math.sqrt(2 / 7.377759), math.sqrt(2 / 0.0506356)))
    assert all(math.isnan(factor) for factor in own.std_factors(1))


@pytest.mark.parametrize("bad", [[80.0, math.nan], [80.0, math.inf], []])
def test_nan_infinity_and_nothing_are_refused_everywhere(bad: list[float]) -> None:
    good, grid = [1.0, 2.0], [bad, bad]
    for call in (
        lambda: own.spread(bad), lambda: own.mean_over_seeds(bad),
        lambda: own.difference_over_seeds(bad, good, paired=False), lambda: own.difference_over_seeds(good, bad, True),
        lambda: own.permutation_test(good, bad), lambda: own.brown_forsythe(bad, good),
        lambda: own.first_step_at(good, bad, 1.0, True), lambda: own.ratio_over_seeds(bad, good, False),
        lambda: own.area_under(good, bad), lambda: own.mean_over_texts(grid),
        lambda: own.difference_over_texts(grid, grid, True),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="NaN or infinite|at least one"):
            call()


def test_shapes_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="pairs need as many"):
        own.difference_over_seeds([1.0, 2.0], [1.0], paired=True)
    with pytest.raises(ValueError, match="not on the same texts"):
        own.difference_over_texts([[1.0, 2.0]], [[1.0]], paired=False)
    with pytest.raises(ValueError, match="1 dimension"):
        own.spread([[1.0], [2.0]])


def test_new_texts_never_have_the_narrower_interval() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3, 10):
        for _ in range(50):
            of_seed = rng.normal(0, 0.3, (2, n, 1))
            one, other = 100.0 * (rng.normal(1, 1, 60) + of_seed + rng.normal(0, 0.5, (2, n, 60)) > 0)
            for paired in (True, False):
                texts = own.difference_over_texts(one, other, paired)
                seeds = own.difference_over_seeds(one.mean(axis=1), other.mean(axis=1), paired)
                if seeds.has_interval:
                    assert texts.low <= seeds.low + 1e-9
                    assert texts.high >= seeds.high - 1e-9
