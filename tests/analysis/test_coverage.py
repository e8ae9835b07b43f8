"""Each interval holds the truth that it is for about as often as it says."""

import pytest

from analysis.coverage import INTERVALS, coverage, coverage_of_bootstraps


def test_every_interval_in_use_covers_its_own_target_at_ten_seeds() -> None:
    found = coverage(10, repeats=1_500, seed=1)
    used = {key: share for key, share in found.items() if not key[0].startswith("(not used)")}
    assert len(used) == len(INTERVALS) - 1
    for key, share in used.items():
        assert 0.93 <= share <= 0.97, key


def test_a_bootstrap_of_three_seeds_covers_too_little_and_one_of_texts_too_much() -> None:
    found = {(name.partition(") ")[2], target.partition(",")[0]): share
             for (name, target), share in coverage_of_bootstraps(3, repeats=300).items()}  # fmt: skip
    assert found["mean, bootstrap of seeds", "this test set"] < 0.82
    assert found["mean, bootstrap of seeds and texts", "this test set"] > 0.97
    assert found["mean, bootstrap of seeds and texts", "new texts"] == pytest.approx(0.95, abs=0.04)
