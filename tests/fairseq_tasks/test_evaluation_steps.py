"""The steps at which a run is evaluated."""

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairseq_tasks.evaluation_steps import EARLIEST, evaluation_steps
from hydra_conf.compose import compose_config

LENGTHS = st.lists(st.integers(1, 400), min_size=1, max_size=6)


@pytest.mark.parametrize("init", ["pretrained", "random"])
def test_the_default_runs_are_evaluated_where_their_curves_move(init: str) -> None:
    """784 texts in batches of 8 make 98 steps an epoch."""
    recipe = compose_config([f"init={init}"]).recipe
    ends = [98 * epoch for epoch in range(1, recipe.epochs + 1)]
    assert evaluation_steps(ends, recipe.evaluate_every) == [0, 13, 25, 49, 98, 147, 196, 245, 294]


def test_epoch_is_step_0_and_each_epochs_end() -> None:
    assert evaluation_steps([98, 196], "epoch") == [0, 98, 196]


def test_a_number_is_its_multiples_and_each_epochs_end() -> None:
    assert evaluation_steps([8, 16], "3") == [0, 3, 6, 8, 9, 12, 15, 16]
    assert evaluation_steps([8, 16], "100") == [0, 8, 16]


@pytest.mark.parametrize(
    ("ends", "steps"), [([1, 2, 3], [0, 1, 2, 3]), ([2, 4], [0, 1, 2, 3, 4]), ([3, 6], [0, 2, 3, 5, 6])]
)
def test_epochs_of_a_few_steps_are_halved_too(ends: list[int], steps: list[int]) -> None:
    assert evaluation_steps(ends, "geometric") == steps


@given(LENGTHS)
def test_geometric_steps_are_dense_early_and_never_further_than_half_an_epoch_apart(lengths: list[int]) -> None:
    ends = list(accumulate(lengths))
    steps = evaluation_steps(ends, "geometric")
    assert steps[0] == 0
    assert steps[1] <= EARLIEST
    assert all(one < other <= 2 * one for one, other in pairwise(steps[1:]))
    for begin, end in pairwise([0, *ends]):
        within = [step for step in steps if begin <= step <= end]
        assert {begin, end} <= set(within)
        assert all(other - one <= -(-(end - begin) // 2) for one, other in pairwise(within))


@given(LENGTHS, st.integers(1, 1_000).map(str) | st.sampled_from(["geometric", "epoch"]))
def test_every_way_is_ascending_without_repeats_and_holds_step_0_and_each_epochs_end(
    lengths: list[int], every: str
) -> None:
    ends = list(accumulate(lengths))
    steps = evaluation_steps(ends, every)
    assert steps == sorted(set(steps))
    assert {0, *ends} <= set(steps)
    assert steps[-1] == ends[-1]
