"""The seeds that two groups are paired by, and the seeds that all points of a curve share."""

from itertools import chain, combinations

import numpy as np
import pytest

from analysis.common_seeds import of_common_seeds, pairs_of
from analysis.evidence import gather_evidence
from tests.analysis.made_up import made_up, nowhere


@pytest.mark.parametrize(
    ("one", "other", "pairs"),
    [
        ([0, 1, 2], [0, 1, 2], [0, 1, 2]),
        ([0], [0], [0]),
        ([0, 1, 2], [0, 1], [0, 1]),
        (list(range(10)), [seed for seed in range(10) if seed != 4], [0, 1, 2, 3, 5, 6, 7, 8, 9]),
        ([0, 1, 2], [2, 3, 4], []),  # one pair has no interval
        (list(range(10)), [8, 9, *range(10, 18)], []),  # two pairs of ten would waste the rest
        ([0, 1, 2, 3], [0, 1], [0, 1]),  # just half of the larger group
        ([0, 1], [1], []),  # one pair has no interval
        ([0, 1], [10, 11, 12], []),
        ([0], [1], []),
    ],
)
def test_the_seeds_that_both_groups_have_are_paired(one: list[int], other: list[int], pairs: list[int]) -> None:
    assert pairs_of(one, other) == pairs
    assert pairs_of(other, one) == pairs


def test_the_most_runs_of_common_seeds_stay_in_a_curve() -> None:
    """As an exhaustive search finds them, over every set of seeds of the point that stays."""
    runs = [made_up((98, 80.0, 70.0 + seed), seed) for seed in range(4)]
    [group] = gather_evidence(runs, nowhere(runs), 70.0).groups
    rng = np.random.default_rng(4)
    for _ in range(200):
        own = {
            place: [seed for seed in range(4) if rng.random() < 0.6] or [0] for place in range(int(rng.integers(2, 6)))
        }
        points = {place: [group.only(seeds)] * (1 + place % 2) for place, seeds in own.items()}
        chosen, left_out = of_common_seeds(points, 1)
        sets = chain.from_iterable(combinations(own[1], n) for n in range(1, len(own[1]) + 1))
        kept = [(seeds, [place for place in own if set(seeds) <= set(own[place])]) for seeds in sets]
        most = max(
            len(seeds) * sum(len(points[place]) for place in places) * (len(places) > 1) for seeds, places in kept
        )
        assert sum(of.n for groups in chosen.values() for of in groups) == most
        assert not chosen or 1 in chosen
        assert len({tuple(of.seeds) for groups in chosen.values() for of in groups}) <= 1
        n_runs = sum(len(seeds) * len(points[place]) for place, seeds in own.items())
        if chosen:
            named = sum("a seed that not all have" in said for said in left_out)
            of_dropped = sum(len(own[place]) * len(points[place]) for place in own if place not in chosen)
            assert named + of_dropped + most == n_runs
