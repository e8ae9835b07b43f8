"""How many labels are needed, and which runs have a place in the curves."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.evidence import Evidence
from analysis.groups import Group
from analysis.labels import label_curves, labels_needed
from analysis.labels_words import worth
from analysis.ladder import ladders
from tests.analysis.made_up import evidence_of

SIZES = [24, 49, 98, 196, 392, 784]
Array = NDArray[np.float64]


def log_line(sizes: list[int], at_fewest: float, a_doubling: float) -> Array:
    return at_fewest + a_doubling * np.log2(np.array(sizes) / sizes[0])


def test_labels_needed_are_those_of_a_known_curve() -> None:
    """A curve that rises by 4 points a doubling reaches a level after as many doublings as the level asks for."""
    curve = log_line(SIZES, 60.0, 4.0)
    for labels in (24, 40, 100, 300, 784):
        level = 60.0 + 4.0 * math.log2(labels / 24)
        found = labels_needed(SIZES, curve[:, None] + [[-1.0, 0.0, 1.0]], level + np.array([-0.5, 0.5, 0.0]))
        assert (found.value or 24) == pytest.approx(labels, rel=1e-6)
        assert found.low <= labels <= found.high


def test_labels_needed_agree_with_a_search_through_every_number() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        rise = np.cumsum(rng.normal(3, 3, len(SIZES)))[:, None] + rng.normal(0, 1, (len(SIZES), 4))
        level = rng.uniform(rise.min() - 2, rise.max() + 2) + rng.normal(0, 1, 4)
        found = labels_needed(SIZES, rise, level)
        means = rise.mean(axis=1)
        isotonic = np.array(  # its definition: the largest of the smallest means of a stretch
            [
                max(min(means[begin : end + 1].mean() for end in range(k, len(means))) for begin in range(k + 1))
                for k in range(len(means))
            ]
        )
        numbers = np.arange(24, 785)
        reached = np.interp(np.log2(numbers), np.log2(SIZES), isotonic) >= level.mean()
        brute = math.inf if not reached.any() else 0 if reached[0] else numbers[reached.argmax()]
        assert found.value == brute or abs(found.value - brute) <= 1


def test_a_level_that_is_never_reached_or_reached_at_once_is_censored() -> None:
    curve = log_line(SIZES, 60.0, 2.0)[:, None] + [[-0.5, 0.0, 0.5]]
    over = labels_needed(SIZES, curve, [90.0, 91.0, 90.5])
    assert (over.value, over.low, over.high) == (math.inf, 784, math.inf)
    under = labels_needed(SIZES, curve, [40.0, 41.0, 40.5])
    assert (under.value, under.low, under.high) == (0, 0, 24)
    near = labels_needed(SIZES, curve, [69.0, 71.5, 70.5])  # the curve ends at 70
    assert math.isinf(near.high)
    assert 24 < near.low < 784


def test_one_seed_and_equal_seeds_have_no_interval() -> None:
    curve = log_line(SIZES, 60.0, 4.0)
    assert labels_needed(SIZES, curve[:, None], [68.0]).why_none == "one seed"
    assert labels_needed(SIZES, np.tile(curve[:, None], 3), [68.0] * 3).why_none == "all values are the same"


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_interval_of_labels_needed_holds_the_truth(n: int) -> None:
    """Curves that bend, seeds that share a shift, as fine-tuning runs of one seed do."""
    rng = np.random.default_rng(n)
    truth_curve = 55 + 25 * (1 - np.exp(-np.log2(np.array(SIZES) / 12) / 3))
    true = 150.0
    level = float(np.interp(math.log2(true), np.log2(SIZES), truth_curve))
    held = given = 0
    for _ in range(2_000):
        shared = rng.normal(0, 1, n)
        curve = truth_curve[:, None] + shared + rng.normal(0, 1.5, (len(SIZES), n))
        found = labels_needed(SIZES, curve, level + shared + rng.normal(0, 1.5, n))
        held += found.low <= true <= found.high
        given += found.has_interval
    assert given == 2_000
    assert 0.94 <= held / given <= 0.99  # the numbers that are not rejected may have gaps, and the interval spans them


def test_a_value_lies_in_its_interval_whatever_the_curve() -> None:
    rng = np.random.default_rng(8)
    for _ in range(1_000):
        n = int(rng.integers(2, 6))
        curve = rng.normal(70, 8, (4, 1)) + rng.normal(0, rng.choice([0.2, 3.0]), (4, n))
        found = labels_needed([25, 50, 100, 200], curve, rng.uniform(55, 85) + rng.normal(0, 1, n))
        assert found.low <= found.value <= found.high
    steep = labels_needed([25, 50, 100], [[60, 61, 62], [81, 82, 83], [84, 87, 90]], [71, 72, 73])
    assert 25 < steep.low <= steep.value <= steep.high < 50


def of_terms(evidence: Evidence, where: Callable[[Group], bool], **config: object) -> Evidence:
    """Return the evidence with a configuration for each group; it has these keys where the condition holds."""
    groups = [replace(group, config={"a": 1, **(config if where(group) else {})}) for group in evidence.groups]
    return replace(evidence, groups=groups)


BOTH = ("pretrained", "random")
THREE = {0: 70.0, 1: 71.0, 2: 73.0}


def test_a_first_look_with_one_seed_leaves_the_other_numbers_of_labels_their_seeds() -> None:
    points = {(init, n): THREE for n in (0, 30, 15) for init in BOTH} | {(init, 20): {0: 70.0} for init in BOTH}
    ((curves,), _) = label_curves(evidence_of(points))
    assert (curves.sizes, curves.seeds) == ([15, 30, 60], [0, 1, 2])
    assert len(curves.left_out) == 2
    assert all(
        "20 training texts" in said and said.endswith("(no runs of seed 1, 2 there)") for said in curves.left_out
    )
    ((curves,), _) = label_curves(evidence_of(points | {(init, 0): {0: 70.0} for init in BOTH}))
    assert (curves.sizes, curves.seeds) == ([15, 20, 30, 60], [0])  # the most labels stay


def test_a_number_of_labels_with_one_init_is_named() -> None:
    ((curves,), _) = label_curves(
        evidence_of({(init, n): THREE for n in (0, 15) for init in BOTH} | {(BOTH[0], 20): THREE})
    )
    assert curves.sizes == [15, 60]
    assert curves.left_out == [
        "d · m · fairseq · full · pretrained · 20 training texts (no runs of the other init on equal terms)"
    ]


def test_the_largest_set_of_labels_on_equal_terms_has_curves_and_the_terms_of_the_others_are_named() -> None:
    evidence = evidence_of({(init, n): THREE for n in (0, 30, 15) for init in BOTH})
    odd = of_terms(evidence, lambda group: group.n_train == 60, b=2)
    ((curves,), _) = label_curves(odd)
    assert curves.sizes == [15, 30]
    assert len(curves.left_out) == 2
    assert all("(other terms: b (2 against absent))" in said for said in curves.left_out)
    [], [why] = label_curves(of_terms(replace(evidence, groups=[g for g in odd.groups if g.n_train != 15]), is_60, b=2))
    assert "not two numbers of texts have both inits on equal terms. Left out: " in why
    assert "(other terms: b (absent against 2))" in why


def is_60(group: Group) -> bool:
    return group.n_train == 60


def test_runs_of_another_checkpoint_have_no_place_in_a_curve_or_a_ladder() -> None:
    points = {(init, n): THREE for n in (0, 30, 15) for init in BOTH} | {("bottom_2", 0): THREE}
    evidence = evidence_of(points)
    other = {"pretrained": "x", "bottom_2": "y", "random": None}
    groups = [replace(group, inputs={"checkpoint": other[group.names["init"]]}) for group in evidence.groups]
    [], [why] = ladders(replace(evidence, groups=groups))
    assert "no init is on equal terms. Left out: bottom_2 (other terms: checkpoint (input))" in why
    groups = [
        replace(group, inputs={"checkpoint": "z"}) if group.inputs["checkpoint"] and group.n_train == 30 else group
        for group in groups
    ]
    ((curves,), _) = label_curves(replace(evidence, groups=groups))
    assert curves.sizes == [15, 60]
    assert "30 training texts (other terms: checkpoint (input))" in curves.left_out[0]


def test_a_mean_that_is_equal_but_for_rounding_is_reached() -> None:
    lower, level = [73.1, 72.3, 70.7], [73.1, 70.7, 72.3]
    assert np.mean(lower) < np.mean(level)
    of = {("pretrained", 0): lower, ("random", 0): level, ("pretrained", 15): lower, ("random", 15): [60.0, 60.5, 61.0]}
    ((curves,), _) = label_curves(evidence_of({point: dict(enumerate(tests)) for point, tests in of.items()}))
    assert "pre-trained weights 72.03 % with 15: pre-training may be worth at least 4.0 times" in worth(curves, {})
    curve = np.array([60.0, np.mean(lower)])[:, None]
    assert labels_needed([15, 60], curve, [float(np.mean(level))]).value == pytest.approx(60)
