"""Each interval holds the truth that it is for about as often as it says."""

import pytest

import analysis.crossings
import benchmarks.coverage
from benchmarks.coverage import INTERVALS, coverage, coverage_of_bootstraps


def test_every_interval_in_use_covers_its_own_target_at_ten_seeds() -> None:
    found = coverage(10, repeats=1_500, seed=1)
    used = {key: share for key, share in found.items() if not key[0].startswith("(not used)")}
    assert len(used) == len(INTERVALS) - 1
    for key, (share, given) in used.items():
        assert share >= 0.93, key
        assert share <= 0.97 or "brackets" in key[0] or "labels" in key[0], key  # these hold more than they say
        assert given >= 0.95, key


def test_the_intervals_of_steps_hold_their_targets_at_three_seeds_of_a_curve_that_bends() -> None:
    for key, (share, given) in coverage(3, repeats=400, seed=2).items():
        if "brackets" in key[0]:
            assert share >= 0.95, key
            assert given >= 0.5, key


def test_a_schedule_that_sees_every_second_step_leaves_the_t_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks.coverage, "STEPS", list(range(0, 1_000, 2)))
    monkeypatch.setattr(analysis.crossings, "WAVER", 0.0)  # these curves rise
    monkeypatch.setattr(
        benchmarks.coverage, "INTERVALS", [judged for judged in INTERVALS if "ratio of steps, paired" in judged[0]]
    )
    ((share, given),) = coverage(5, repeats=1_000, seed=3).values()
    assert 0.93 <= share <= 0.985  # little more than the nominal share, as the brackets are narrow
    assert given == 1


def test_a_bootstrap_of_three_seeds_covers_too_little_and_one_of_texts_too_much() -> None:
    found = {
        (name.partition(") ")[2], target.partition(",")[0]): share
        for (name, target), (share, _) in coverage_of_bootstraps(3, repeats=300).items()
    }
    assert found["mean, bootstrap of seeds", "this test set"] < 0.82
    assert found["mean, bootstrap of seeds and texts", "this test set"] > 0.97
    assert found["mean, bootstrap of seeds and texts", "new texts"] == pytest.approx(0.95, abs=0.04)
