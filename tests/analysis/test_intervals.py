"""Every interval against an independent computation: scipy, statsmodels, a formula written out, or brute force."""

import json
import math
import re
import subprocess
import sys
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

from analysis import intervals
from analysis.intervals import ratio_of_means
from tests.analysis.made_up import ONE, VALUES


def differ(*groups: list[float]) -> bool:
    return any(len(set(group)) > 1 for group in groups)


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


@given(st.integers(1, 400), st.data())
def test_a_share_has_wilsons_interval(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    assert intervals.share_interval(right, n) == pytest.approx(proportion_confint(right, n, method="wilson"), abs=1e-9)


def test_the_std_of_three_seeds_is_known_within_a_factor_of_twelve() -> None:
    low, high = intervals.std_factors(3)  # of a std with ddof 0
    assert (low, high) == pytest.approx((math.sqrt(3 / 7.377759), math.sqrt(3 / 0.0506356)))
    assert all(math.isnan(factor) for factor in intervals.std_factors(1))


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


@pytest.mark.parametrize("n", [3, 10])
def test_the_interval_of_a_share_holds_the_truth(n: int) -> None:
    rng = np.random.default_rng(n)
    held = given = 0
    for _ in range(2000):
        floor = rng.normal(0, 1, n)
        whole, part = 14 + rng.normal(0, 1.5, n) - floor, 5 + rng.normal(0, 1.5, n) - floor
        found = ratio_of_means(part, whole)
        given += found.has_interval
        held += found.has_interval and found.low <= 5 / 14 <= found.high
    assert given > 1900
    assert held / given == pytest.approx(0.95, abs=0.015)


def test_a_share_is_that_of_a_search_and_has_no_interval_where_there_is_no_gain() -> None:
    part, whole = np.array([4.0, 6.0, 5.5, 3.0]), np.array([13.0, 15.0, 12.5, 14.0])
    found = ratio_of_means(part, whole)
    assert found.value == pytest.approx(part.mean() / whole.mean())
    grid = np.linspace(0, 1, 100_001)
    rest = part - grid[:, None] * whole
    t = np.abs(rest.mean(axis=1)) / (rest.std(axis=1, ddof=1) / 2)
    possible = grid[t <= 3.182446305]
    assert found.low == pytest.approx(possible[0], abs=2e-5)
    assert found.high == pytest.approx(possible[-1], abs=2e-5)
    none = ratio_of_means([1.0, 2.0, 0.5], [3.0, -2.0, 1.0])
    assert none.why_none == "the interval of the whole holds 0"
    assert ratio_of_means([1.0], [2.0]).why_none == "one seed"
