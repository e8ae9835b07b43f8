"""When a run counts as finished."""

import pytest

from hydra_conf.errors import UsageError
from sweeps.run import Plan, check_finished

PLAN = Plan(batches=10, evaluations=[0, 5, 10])


def progress(step: int, batches: int, valid: list[int], test: list[int]) -> dict[str, object]:
    return {"step": step, "batches": batches, "evaluated": {"valid": valid, "test": test}}


def test_every_planned_step_taken_and_every_planned_evaluation_made_is_finished() -> None:
    assert check_finished(progress(10, 10, [0, 5, 10], [0, 5, 10]), PLAN, ["valid", "test"]) == 10


def test_a_batch_without_a_step_is_counted_and_not_hidden() -> None:
    """An fp16 overflow consumes a batch; the plan is worked off all the same, two steps short."""
    assert check_finished(progress(8, 10, [0, 4, 5, 8], [0, 4, 5, 8]), PLAN, ["valid", "test"]) == 8


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "stopped after 0 of 10 batches"),
        (progress(5, 5, [0, 5], [0, 5]), "stopped after 5 of 10 batches"),
        (progress(10, 10, [0, 5, 10], [0, 5]), "test was not evaluated at step 10 of 10"),
        (progress(10, 10, [0, 5], [0, 5, 10]), "valid was not evaluated at step 10 of 10"),
        (progress(10, 10, [0, 10], [0, 5, 10]), "valid was not evaluated at step 5 of 10"),
        (progress(8, 10, [0, 5, 8], [0, 5]), "test was not evaluated at step 8 of 8"),
    ],
)
def test_anything_less_is_a_failure(state: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_finished(state, PLAN, ["valid", "test"])
