"""When a run counts as finished."""

import pytest

from hydra_conf.errors import UsageError
from sweeps.run import check_finished


def progress(step: int, batches: int, valid: int, test: int) -> dict[str, object]:
    return {"step": step, "batches": batches, "valid": {"step": valid}, "test": {"step": test}}


def test_every_planned_step_taken_and_evaluated_is_finished() -> None:
    assert check_finished(progress(10, 10, 10, 10), steps=10, batches=10, splits=["valid", "test"]) == 10


def test_a_batch_without_a_step_is_counted_and_not_hidden() -> None:
    """An fp16 overflow consumes a batch; the plan is worked off all the same, two steps short."""
    assert check_finished(progress(8, 10, 8, 8), steps=10, batches=10, splits=["valid", "test"]) == 8


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "stopped after 0 of 10 batches"),
        (progress(5, 5, 5, 5), "stopped after 5 of 10 batches"),
        (progress(10, 10, 10, 5), "test was not evaluated at the last step, 10"),
        (progress(10, 10, 5, 10), "valid was not evaluated at the last step, 10"),
    ],
)
def test_anything_less_is_a_failure(state: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_finished(state, steps=10, batches=10, splits=["valid", "test"])
