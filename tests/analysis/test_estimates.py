"""How an estimate is worded, and which values are refused or taken as equal."""

import math

import pytest
from hypothesis import given

from analysis import estimates, intervals, significance
from tests.analysis.made_up import VALUES


@given(VALUES)
def test_mean_and_both_stds(values: list[float]) -> None:
    found = estimates.spread(values)
    mean = sum(values) / len(values)
    squares = sum((value - mean) ** 2 for value in values)
    assert found.n == len(values)
    assert found.mean == pytest.approx(mean)
    assert found.std == pytest.approx(math.sqrt(squares / len(values)))
    assert found.std_sample == pytest.approx(math.sqrt(squares / (len(values) - 1)))


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
