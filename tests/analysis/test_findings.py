"""Sentences on what runs made up for the purpose show; whole reports are in test_reports.py."""

import json
import math
from dataclasses import replace

import pytest
from scipy import stats

from analysis.comparisons import Comparison
from analysis.evidence import as_json, gather_evidence
from analysis.findings import (
    answer,
    doubts,
    faster,
    faster_side,
    flat,
    needed_words,
    no_answer,
    tighter,
    tighter_side,
)
from tests.analysis.made_up import made_up, nowhere, of_curves


def test_one_seed_says_that_it_is_one_draw() -> None:
    runs = [made_up((900, 80.0, 79.0), 0), made_up((900, 60.0, 64.0), 0, init="random")]
    evidence = gather_evidence(runs, nowhere(runs), 70.0)
    (c,) = evidence.comparisons
    assert "buys 15.00 points, no interval: one seed. One seed is one draw" in answer(c)
    assert c.needed == {}
    assert "One seed has no spread" in tighter(c)
    json.dumps(as_json(evidence), allow_nan=False)


def comparison(one: list[float], other: list[float]) -> Comparison:
    """Return a comparison of pre-trained and random runs of these test accuracies."""
    runs = [made_up((900, 80.0, test), seed) for seed, test in enumerate(one)]
    runs += [made_up((900, 80.0, test), seed, init="random") for seed, test in enumerate(other)]
    (c,) = gather_evidence(runs, nowhere(runs), 70.0).comparisons
    return c


def test_a_gap_that_may_be_nothing_is_called_that() -> None:
    assert "these runs do not show a difference" in answer(comparison([70.0, 80.0, 75.0], [76.0, 71.0, 77.0]))
    c = comparison([80.0, 81.0, 82.5], [70.0, 70.5, 73.0])
    assert doubts(c) == []
    unsure = replace(c.difference, low=-1.0, high=21.0)
    assert doubts(replace(c, difference_over_texts=unsure)) == [
        "The interval for new texts holds 0: on other texts there may be no difference."
    ]
    assert "and -1.00 to +21.00 for new texts, new seeds" in answer(replace(c, difference_over_texts=unsure))


def test_the_side_that_is_faster_or_tighter_is_named_only_where_the_interval_or_test_shows_it() -> None:
    wide, narrow = [60.0, 70.0, 80.0, 90.0, 65.0, 85.0], [75.0, 75.25, 75.5, 75.0, 75.25, 75.75]
    assert tighter_side(comparison(narrow, wide)) == "pretrained"
    assert tighter_side(comparison(wide, narrow)) == "random"
    assert "Pre-trained runs spread less." in tighter(comparison(narrow, wide))
    assert tighter_side(comparison(wide, wide[::-1])) is None
    c = comparison([80.0, 81.0], [75.0, 76.0])
    assert c.steps is not None
    for low, high, side in (
        (1.1, 3.0, "pretrained"),
        (0.2, 0.9, "random"),
        (0.9, 1.1, None),
        (1.2, math.inf, "pretrained"),
        (-math.inf, 0.5, "random"),
        (-math.inf, 1.5, None),
        (math.nan, math.nan, None),
    ):
        told = replace(
            c, steps=replace(c.steps, interval=replace(c.steps.interval, low=low, high=high, method="none: x"))
        )
        assert faster_side(told) == side
        assert ("runs are faster." in faster(told)) == (side is not None)


def test_no_number_of_seeds_is_told_where_the_differences_are_the_same_but_for_rounding() -> None:
    tests = [[100 * right / 300 for right in counts] for counts in ((211, 223, 229), (181, 193, 199))]
    c = comparison(*tests)
    assert c.needed == {}
    assert needed_words(c) == "none (all differences are the same)"


def test_two_back_ends_on_unequal_terms_are_no_pair_of_inits() -> None:
    runs = [made_up((900, 80.0, 79.0), 0), made_up((900, 60.0, 64.0), 0, init="random", dataset="cls_dvd")]
    evidence = gather_evidence(runs, nowhere(runs), 70.0)
    other = comparison([80.0], [70.0])
    of_back_ends = replace(other, axis="backend")
    assert "share dataset, model" in no_answer(replace(evidence, unequal=[(of_back_ends, ["x"])]), runs)
    assert "not on equal terms" in no_answer(replace(evidence, unequal=[(other, ["x"])]), runs)


def test_a_curve_that_rises_in_the_last_third_is_not_flat() -> None:
    pretrained = of_curves("pretrained", [50, 70, 80, 80.5], [50, 70, 80, 81])
    random = of_curves("random", [50, 55, 60, 61], [50, 55, 60, 62])
    (c,) = gather_evidence([*pretrained, *random], nowhere([*pretrained, *random]), 70.0).comparisons
    low, high = stats.ttest_1samp([1, 2], 0).confidence_interval()
    assert c.other.late_rise is not None
    assert c.other.late_rise[0] == 200
    assert (c.other.late_rise[1].low, c.other.late_rise[1].high) == pytest.approx((low, high))
    assert flat(c) == [
        "Test accuracy from step 200 to the last step, 300: pre-trained runs +0.75 points (95 % interval -2.43 to "
        "+3.93) and random runs +1.50 points (95 % interval -4.85 to +7.85). Random runs are not flat (a rise of 1 "
        "point or more): longer training may change the difference."
    ]


def test_curves_that_rise_by_less_than_a_point_are_flat_and_two_evaluations_do_not_tell() -> None:
    runs = [*of_curves("pretrained", [50, 70, 80, 80.9]), *of_curves("random", [50, 55, 60, 59.2])]
    (c,) = gather_evidence(runs, nowhere(runs), 70.0).comparisons
    assert flat(c)[0].endswith(" Both are flat (a rise or fall of less than 1 point).")
    nothing = replace(c, other=replace(c.other, one_answer=c.other.seeds))
    assert flat(nothing)[0].endswith("). Random runs learned nothing: they give every test text the same class.")
    assert "random runs +" not in flat(nothing)[0]  # from one class alone to another is no rise
    some = replace(c, other=replace(c.other, runs=c.other.runs * 2, one_answer=c.other.seeds))
    assert flat(some)[0].endswith("Random runs are not called flat, because some of them learned nothing.")
    falling = [*runs[:1], *of_curves("random", [50, 55, 60, 54])]
    (c,) = gather_evidence(falling, nowhere(falling), 70.0).comparisons
    assert flat(c)[0].endswith("Random runs are not flat (a fall of 1 point or more).")
    rising = [*runs[:2], *of_curves("random", [43, 43, 43, 57])]  # from one class alone to the other alone
    (c,) = gather_evidence(rising, nowhere(rising), 70.0).comparisons
    assert "not flat" in flat(c)[0]
    assert "not flat" not in flat(replace(c, other=replace(c.other, one_answer=c.other.seeds)))[0]
    short = [replace(run, curve=run.curve.iloc[[0, 3]]) for run in runs]
    (c,) = gather_evidence(short, nowhere(short), 70.0).comparisons
    assert flat(c) == []
