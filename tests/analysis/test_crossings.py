"""When a curve passes a threshold: brackets, and bounds that hold whatever happens between two evaluations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.crossings import Bracket, bracket_of, geometric_bounds, mean_steps, ratio_of_steps
from fairseq_tasks.evaluation_steps import evaluation_steps

DEFAULT = evaluation_steps([98, 196, 294], "geometric")


def censored(last: int) -> Bracket:
    return Bracket(last + 1, math.inf)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(1, 400), st.integers(1, 100))
def test_the_bracket_holds_the_step_at_which_a_rising_curve_passes(gaps: list[int], passes: int, mark: int) -> None:
    steps = np.array([0, *np.cumsum(gaps)])
    found = bracket_of(steps, np.where(steps >= passes, mark, mark - 9), mark)  # known at the evaluations alone
    assert found.low <= passes or found.is_censored
    assert passes <= found.high
    assert found.low - 1 in steps
    assert found.is_censored == (passes > steps[-1])
    assert found.is_censored or found.high in steps
    assert not found.is_at_start


def test_a_curve_that_starts_above_or_ends_below_or_touches_is_told_so() -> None:
    assert bracket_of([0, 10], [70.0, 60.0], 70.0) == Bracket(0, 0)
    assert bracket_of([0, 10], [70.0, 60.0], 70.0).is_at_start
    assert bracket_of([0, 10, 20], [50.0, 65.9, 65.9], 70.0) == Bracket(21, math.inf)
    assert bracket_of([0, 10, 20], [50.0, 65.9, 70.0], 70.0) == Bracket(11, 20)
    assert bracket_of([0, 10, 20], [50.0, 71.0, 60.0], 70.0) == Bracket(1, 10)  # the first, though it falls again
    assert bracket_of([10, 20], [71.0, 60.0], 70.0) == Bracket(1, 10)  # no evaluation before
    assert bracket_of([0, 10, 20], [67.0, 68.0, 71.0], 70.0) == Bracket(1, 20)  # never clearly below
    with pytest.raises(ValueError, match="must rise"):
        bracket_of([0, 0], [1.0, 2.0], 1.0)


def test_an_evaluation_a_little_below_does_not_exclude_a_passage_before_it() -> None:
    """Random seed 0 of the default sweep passes 70 % at step 167 and stands at 69.25 % at step 196."""
    assert bracket_of(DEFAULT, [43, 57, 43, 43, 57, 57.75, 69.25, 72, 71.25], 70.0) == Bracket(148, 245)
    assert bracket_of(DEFAULT, [43, 57, 43, 43, 57, 57.75, 66.0, 72, 71.25], 70.0) == Bracket(148, 245)
    assert bracket_of(DEFAULT, [43, 57, 43, 43, 57, 57.75, 65.75, 72, 71.25], 70.0) == Bracket(197, 245)
    assert bracket_of(DEFAULT, [43, 57, 43, 43, 57, 57.75, 69.25, 69, 69.25], 70.0) == Bracket(148, math.inf)


def test_the_default_schedule_brackets_what_was_measured_every_14_steps() -> None:
    """Seed 0 of the default sweep, evaluated every 14 steps, passes 70 % at 35 (pre-trained) and 167 (random)."""
    assert DEFAULT == [0, 13, 25, 49, 98, 147, 196, 245, 294]
    one, other = (
        bracket_of(DEFAULT, [50.0 if step < passes else 80.0 for step in DEFAULT], 70.0) for passes in (35, 167)
    )
    assert (one, other) == (Bracket(26, 49), Bracket(148, 196))
    ratio = ratio_of_steps([other], [one], paired=True)
    assert ratio.low <= 167 / 35 <= ratio.high
    assert (ratio.low, ratio.high) == pytest.approx((148 / 49, 196 / 26))


@given(st.lists(st.tuples(st.floats(1.1, 280), st.floats(1.1, 280)), min_size=1, max_size=6), st.booleans())
def test_the_bounds_hold_the_ratio_of_the_runs_themselves(passes: list[tuple[float, float]], paired: bool) -> None:
    sides = [
        [bracket_of(DEFAULT, [50.0 if step < pair[side] else 80.0 for step in DEFAULT], 70.0) for pair in passes]
        for side in (0, 1)
    ]
    means = [stats.gmean([math.ceil(pair[side]) for pair in passes]) for side in (0, 1)]
    for brackets, mean in zip(sides, means, strict=True):
        low, high = geometric_bounds(brackets)
        assert low <= mean * (1 + 1e-9)
        assert mean <= high * (1 + 1e-9)
    ratio = ratio_of_steps(sides[0], sides[1], paired)
    assert ratio.low <= means[0] / means[1] * (1 + 1e-9)
    assert means[0] / means[1] <= ratio.high * (1 + 1e-9)
    if ratio.interval.has_interval:
        assert ratio.interval.low <= ratio.low
        assert ratio.interval.high >= ratio.high


def test_the_interval_runs_between_the_t_intervals_of_both_ends() -> None:
    random = [Bracket(148, 196), Bracket(197, 245), Bracket(148, 196)]
    pretrained = [Bracket(26, 49), Bracket(26, 49), Bracket(14, 25)]
    found = ratio_of_steps(random, pretrained, paired=True).interval
    lows = np.log([148 / 49, 197 / 49, 148 / 25])
    highs = np.log([196 / 26, 245 / 26, 196 / 14])
    assert found.low == pytest.approx(math.exp(stats.ttest_1samp(lows, 0).confidence_interval().low))
    assert found.high == pytest.approx(math.exp(stats.ttest_1samp(highs, 0).confidence_interval().high))
    other = ratio_of_steps(random, pretrained[:2], paired=False).interval
    welch = stats.ttest_ind(np.log([148, 197, 148]), np.log([49, 49]), equal_var=False).confidence_interval()
    assert other.low == pytest.approx(math.exp(welch.low))


@pytest.mark.parametrize(
    ("random", "pretrained", "low", "high"),
    [
        ([censored(294)] * 2, [Bracket(14, 25), Bracket(26, 49)], math.sqrt(295 / 25 * 295 / 49), math.inf),
        ([Bracket(148, 196), censored(294)], [Bracket(14, 25)] * 2, math.sqrt(148 / 25 * 295 / 25), math.inf),
        ([Bracket(148, 196)] * 2, [censored(294)] * 2, 0, 196 / 295),
        ([Bracket(148, 196), Bracket(50, 98)], [censored(294), Bracket(14, 25)], 0, math.sqrt(196 / 295 * 98 / 14)),
        ([censored(294)] * 2, [censored(294)] * 2, 0, math.inf),
        ([censored(294), Bracket(50, 98)], [Bracket(14, 25), censored(294)], 0, math.inf),
    ],
)
def test_runs_that_never_pass_leave_an_end_open(
    random: list[Bracket], pretrained: list[Bracket], low: float, high: float
) -> None:
    for paired in (True, False):
        found = ratio_of_steps(random, pretrained, paired)
        assert (found.low, found.high) == pytest.approx((low, high))
        assert found.is_known == (low > 1 or high < 1)
        assert found.is_half_open == (low == 0 and 1 < high < math.inf)
        if found.interval.has_interval:
            assert math.isinf(found.interval.high) == math.isinf(high)
            assert math.isinf(found.interval.low) == (low == 0)
        if not found.is_known and not found.is_half_open:
            assert found.interval.words() == "no interval: too many never pass"


def test_there_is_no_interval_of_one_seed_or_of_equal_brackets_and_no_ratio_of_zero_steps() -> None:
    one, other = Bracket(14, 25), Bracket(148, 196)
    assert ratio_of_steps([other], [one], True).interval.why_none == "one seed"
    assert (
        ratio_of_steps([other] * 3, [one] * 3, True).interval.why_none == "the evaluations do not tell the runs apart"
    )
    with pytest.raises(ValueError, match="before its first step"):
        ratio_of_steps([other], [Bracket(0, 0)], True)


def test_brackets_that_differ_at_one_end_are_not_said_to_be_the_same() -> None:
    same, other = Bracket(50, 98), [Bracket(99, 147), Bracket(99, 196), Bracket(99, 242)]
    why = "the seeds do not differ at one end of their brackets"
    assert ratio_of_steps([same] * 3, other, True).interval.why_none == why
    assert ratio_of_steps([same] * 3, other, False).interval.why_none == why
    assert mean_steps(other).why_none == why


def test_mean_steps_have_an_interval_of_both_ends() -> None:
    brackets = [Bracket(226, 450), Bracket(451, 675), Bracket(226, 450)]
    found = mean_steps(brackets)
    assert found.low == pytest.approx(stats.ttest_1samp([226, 451, 226], 0).confidence_interval().low)
    assert found.high == pytest.approx(stats.ttest_1samp([450, 675, 450], 0).confidence_interval().high)
    assert mean_steps([*brackets, censored(1125)]).high == math.inf
    assert mean_steps([brackets[0]] * 3).why_none == "the evaluations do not tell the runs apart"
    assert mean_steps(brackets[:1]).why_none == "one seed"


def test_an_interval_that_says_nothing_is_not_given() -> None:
    found = ratio_of_steps([Bracket(148, 196), Bracket(50, 98)], [Bracket(1, 13), Bracket(99, 147)], paired=True)
    assert found.interval.why_none == "its ends would be more than a factor of 1,000 apart"
    assert found.is_known


def test_bounds_that_say_nothing_are_not_known() -> None:
    found = ratio_of_steps([Bracket(8, 332)] * 2, [Bracket(1, 219)] * 2, paired=True)
    assert (found.low, found.high) == pytest.approx((8 / 219, 332))
    assert found.is_wide
    assert not found.is_known
    assert not ratio_of_steps([censored(294)] * 2, [Bracket(1, 219)] * 2, paired=True).is_wide
    late = ratio_of_steps([censored(294)] * 2, [Bracket(220, 300)] * 2, paired=True)
    assert late.is_half_open
    assert not late.is_known
