"""Every statistic against an independent computation: scipy, statsmodels, a formula written out, or brute force."""

import json
import math
import re
import subprocess
import sys
import tracemalloc
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from analysis import estimates, intervals, significance

VALUES = st.lists(st.integers(0, 400).map(lambda right: right / 4), min_size=2, max_size=9)  # ties are normal
ONE, OTHER = [79.5, 78.5, 80.1], [65.4, 66.7, 67.4]


def differ(*groups: list[float]) -> bool:
    return any(len(set(group)) > 1 for group in groups)


@given(VALUES)
def test_mean_and_both_stds(values: list[float]) -> None:
    found = estimates.spread(values)
    mean = sum(values) / len(values)
    squares = sum((value - mean) ** 2 for value in values)
    assert found.n == len(values)
    assert found.mean == pytest.approx(mean)
    assert found.std == pytest.approx(math.sqrt(squares / len(values)))
    assert found.std_sample == pytest.approx(math.sqrt(squares / (len(values) - 1)))


@given(VALUES)
def test_the_interval_of_a_mean_is_students(values: list[float]) -> None:
    found = intervals.mean_over_seeds(values)
    assert found.value == pytest.approx(np.mean(values))
    assert found.target == "this test set, new seeds"
    if differ(values):
        assert (found.low, found.high) == pytest.approx(DescrStatsW(values).tconfint_mean())


@given(VALUES, VALUES)
def test_the_difference_of_other_seeds_is_welchs(one: list[float], other: list[float]) -> None:
    found = intervals.difference_over_seeds(one, other, paired=False)
    assert found.value == pytest.approx(np.mean(one) - np.mean(other))
    if differ(one, other):
        expected = CompareMeans(DescrStatsW(one), DescrStatsW(other)).tconfint_diff(usevar="unequal")
        assert (found.low, found.high) == pytest.approx(expected)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=2, max_size=9))
def test_the_difference_of_the_same_seeds_is_the_paired_t(pairs: list[tuple[float, float]]) -> None:
    one, other = ([pair[side] for pair in pairs] for side in (0, 1))
    assume(np.std(np.subtract(one, other)) > 1e-3)
    found = intervals.difference_over_seeds(one, other, paired=True)
    interval = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_one_seed_and_equal_seeds_have_no_interval_and_say_why() -> None:
    for found, why in (
        (intervals.mean_over_seeds([80.0]), "none: one seed"),
        (intervals.mean_over_seeds([80.0, 80.0, 80.0]), "none: all values are the same"),
        (intervals.difference_over_seeds([80.0], [70.0, 71.0], paired=False), "none: one seed"),
        (intervals.difference_over_seeds([80.0], [70.0], paired=True), "none: one seed"),
        (
            intervals.difference_over_seeds([80.0, 81.0], [70.0, 71.0], paired=True),
            "none: all differences are the same",
        ),
        (intervals.difference_over_seeds([80.0, 80.0], [70.0, 70.0], paired=False), "none: all values are the same"),
        (intervals.mean_over_texts([[100.0, 0.0, 100.0]]), "none: one seed"),
        (intervals.mean_over_texts([[100.0], [0.0]]), "none: one text"),
        (intervals.mean_over_texts([[100.0, 100.0], [100.0, 100.0]]), "none: all values are the same"),
        (intervals.mean_over_texts([[100.0, 0.0, 100.0], [0.0, 100.0, 100.0]]), "none: all values are the same"),
        (intervals.std_interval([80.0]), "none: one seed"),
        (intervals.std_interval([80.0, 80.0]), "none: all values are the same"),
        (intervals.std_ratio([80.0], [70.0, 71.0]), "none: one seed"),
        (intervals.std_ratio([80.0, 81.0], [70.0, 70.0]), "none: all values are the same"),
        (intervals.one_more_run([80.0]), "none: one seed"),
        (intervals.one_more_run([80.0, 80.0]), "none: all values are the same"),
    ):
        assert not found.has_interval
        assert not found.excludes(0)
        assert math.isnan(found.high)
        assert found.method == why
        assert found.ends() == f"none ({why.removeprefix('none: ')})"
        assert found.words() == f"no interval: {why.removeprefix('none: ')}"


def test_an_interval_is_worded_with_its_ends_and_an_open_end_is_said() -> None:
    def estimate(low: float, high: float) -> estimates.Estimate:
        return estimates.Estimate(1.0, low, high, estimates.SAME_TEXTS, "made up")

    assert estimate(-1.234, 101.5).ends() == "-1.23 to 101.50"
    assert estimate(-1.234, 101.5).ends("+.1f", least=0, most=100) == "+0.0 to +100.0"
    assert estimate(2.0, math.inf).ends(".1f") == "from 2.0"
    assert estimate(-math.inf, 2.0).ends(".1f") == "up to 2.0"
    assert estimate(-math.inf, math.inf).ends() == "none (no end is known)"
    assert estimate(1.0, 2.0).words() == "95 % interval 1.00 to 2.00"
    assert estimate(1.0, 2.0).excludes(0.99)
    assert estimate(1.0, 2.0).excludes(2.01)
    assert not estimate(1.0, 2.0).excludes(1.0)
    assert not estimate(1.0, math.inf).excludes(1e9)


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
    squares = {
        "runs": (residual(dummies[1]) - both) / (n - 1),
        "texts": (residual(dummies[0]) - both) / (m - 1),
        "rest": both / ((n - 1) * (m - 1)),
    }
    components = [max(squares["runs"] - squares["rest"], 0) / m, max(squares["texts"] - squares["rest"], 0) / n]
    variance = components[0] / n + components[1] / m + squares["rest"] / (n * m)
    assume(variance > 1e-6)
    assume(min(abs(squares[name] - squares["rest"]) for name in ("runs", "texts")) > 1e-6)
    found = intervals.mean_over_texts(scores)
    assert found.value == pytest.approx(scores.mean())
    terms = {"runs": n - 1, "texts": m - 1, "rest": (n - 1) * (m - 1)}
    kept = [name for name in ("runs", "texts") if squares[name] > squares["rest"]]
    weights = {**dict.fromkeys(kept, 1), "rest": 1 - len(kept)}
    freedom = (n * m * variance) ** 2 / sum((weights[name] * squares[name]) ** 2 / terms[name] for name in weights)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(variance)
    over_seeds = intervals.mean_over_seeds(scores.mean(axis=1))
    if not over_seeds.has_interval:  # all runs are equally accurate: none for this test set, so none for new texts
        assert not found.has_interval
        return
    half = max(half, over_seeds.high - over_seeds.value)
    assert (found.low, found.high) == pytest.approx((scores.mean() - half, scores.mean() + half))


def test_a_paired_difference_over_texts_is_the_mean_of_differences_and_the_unpaired_one_is_wider_when_seeds_agree() -> (
    None
):
    rng = np.random.default_rng(3)
    of_seed = rng.normal(0, 3, (6, 1))
    one, other = (of_seed + rng.normal(mean, 1, (6, 80)) for mean in (80, 70))
    paired = intervals.difference_over_texts(one, other, paired=True)
    direct = intervals.mean_over_texts(one - other)
    assert (paired.value, paired.low, paired.high) == (direct.value, direct.low, direct.high)
    unpaired = intervals.difference_over_texts(one, other, paired=False)
    assert unpaired.value == pytest.approx(paired.value)
    assert unpaired.high - unpaired.low > 2 * (paired.high - paired.low)
    assert unpaired.target == paired.target == "new texts, new seeds"


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


@given(VALUES, VALUES)
def test_a_std_and_a_ratio_of_stds_have_the_intervals_of_normal_values(one: list[float], other: list[float]) -> None:
    assume(len(set(one)) > 1 and len(set(other)) > 1)
    n, k = len(one), len(other)
    std = intervals.std_interval(one)
    assert std.value == pytest.approx(np.std(one))
    squares = np.var(one) * n
    assert (std.low, std.high) == pytest.approx(
        tuple(math.sqrt(squares / stats.chi2.ppf(q, n - 1)) for q in (0.975, 0.025))
    )
    ratio = intervals.std_ratio(one, other)
    assert ratio.value == pytest.approx(np.std(one, ddof=1) / np.std(other, ddof=1))
    back = intervals.std_ratio(other, one)
    assert (ratio.low, ratio.high) == pytest.approx((1 / back.high, 1 / back.low))
    assert ratio.low == pytest.approx(ratio.value / math.sqrt(stats.f.ppf(0.975, n - 1, k - 1)))


def test_one_more_run_is_within_a_prediction_interval() -> None:
    values = np.array(ONE)
    found = intervals.one_more_run(values)
    half = 4.302653 * values.std(ddof=1) * math.sqrt(4 / 3)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), rel=1e-6)


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


@given(st.integers(1, 400), st.data())
def test_a_share_has_wilsons_interval(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    assert intervals.share_interval(right, n) == pytest.approx(proportion_confint(right, n, method="wilson"), abs=1e-9)


def test_the_std_of_three_seeds_is_known_within_a_factor_of_twelve() -> None:
    low, high = intervals.std_factors(3)  # of a std with ddof 0
    assert (low, high) == pytest.approx((math.sqrt(3 / 7.377759), math.sqrt(3 / 0.0506356)))
    assert all(math.isnan(factor) for factor in intervals.std_factors(1))


@pytest.mark.parametrize("bad", [[80.0, math.nan], [80.0, math.inf], []])
def test_nan_infinity_and_nothing_are_refused_everywhere(bad: list[float]) -> None:
    good, grid = [1.0, 2.0], [bad, bad]
    for call in (
        lambda: estimates.spread(bad),
        lambda: intervals.mean_over_seeds(bad),
        lambda: intervals.difference_over_seeds(bad, good, paired=False),
        lambda: intervals.difference_over_seeds(good, bad, True),
        lambda: significance.permutation_test(good, bad, False),
        lambda: significance.brown_forsythe(bad, good),
        lambda: intervals.std_interval(bad),
        lambda: intervals.std_ratio(good, bad),
        lambda: intervals.one_more_run(bad),
        lambda: intervals.mean_over_texts(grid),
        lambda: intervals.difference_over_texts(grid, grid, True),
    ):
        with pytest.raises(ValueError, match="NaN or infinite|at least one"):
            call()


def test_shapes_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="pairs need as many"):
        intervals.difference_over_seeds([1.0, 2.0], [1.0], paired=True)
    with pytest.raises(ValueError, match="not on the same texts"):
        intervals.difference_over_texts([[1.0, 2.0]], [[1.0]], paired=False)
    with pytest.raises(ValueError, match="1 dimension"):
        estimates.spread([[1.0], [2.0]])


def test_new_texts_never_have_the_narrower_interval() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3, 10):
        for _ in range(50):
            of_seed = rng.normal(0, 0.3, (2, n, 1))
            one, other = 100.0 * (rng.normal(1, 1, 60) + of_seed + rng.normal(0, 0.5, (2, n, 60)) > 0)
            for paired in (True, False):
                texts = intervals.difference_over_texts(one, other, paired)
                seeds = intervals.difference_over_seeds(one.mean(axis=1), other.mean(axis=1), paired)
                if seeds.has_interval:
                    assert texts.low <= seeds.low + 1e-9
                    assert texts.high >= seeds.high - 1e-9


def test_shares_of_300_texts_that_are_equal_but_for_rounding_are_taken_as_equal() -> None:
    one, other = ([100 * right / 300 for right in counts] for counts in ((211, 211, 214, 214), (240, 240, 247, 247)))
    assert "as far from its group's median" in (significance.no_spread_test(one, other) or "")
    assert math.isnan(significance.brown_forsythe(one, other))
    shifted = [100 * (right - 30) / 300 for right in (211, 223, 229)]
    gaps = intervals.difference_over_seeds([100 * right / 300 for right in (211, 223, 229)], shifted, paired=True)
    assert gaps.why_none == "all differences are the same"
    third = [100 * 0.1 * 3, 30.0]
    assert not intervals.std_interval(third).has_interval
    assert not intervals.std_ratio(third, [1.0, 2.0]).has_interval


def test_the_command_of_the_page_on_precision_gives_its_interval(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/precision.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (bf16|fp32) \| .*? \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    assert [name for name, *_ in rows] == ["bf16", "fp32"]
    for name, *seeds in rows:
        tests = [float(value) for value in ", ".join(seeds).split(", ")]
        assert len(tests) == 32
        folder = tmp_path / f"results/{name}-whole"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps({"runs": [{"test": test} for test in tests]}))
    (command,) = re.findall(r'\.venv/bin/python -c "(import json\n.*?)"\n```', page, re.DOTALL)
    answer = subprocess.run([sys.executable, "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [line.split()[1:] for line in answer.stdout.splitlines()] == [["-0.64", "+0.94"], ["-0.83", "+1.13"]]
    assert "98.3 % interval -0.83 to +1.13" in page
