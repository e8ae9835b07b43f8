"""When a run counts as finished, and what is said of what stopped it."""

from pathlib import Path

import pytest
import torch

from foundation.errors import UsageError
from foundation.whole_files import write_json
from sweeps.run import explain
from sweeps.steps import Plan, check_finished

PLAN = Plan(batches=20, evaluations=[0, 10, 20])
BOTH = ["valid", "test"]


def progress(step: int, batches: int, valid: list[int], test: list[int], **more: int) -> dict[str, object]:
    return {"step": step, "batches": batches, "evaluated": {"valid": valid, "test": test}, **more}


def test_every_planned_step_taken_and_every_planned_evaluation_made_is_finished() -> None:
    assert check_finished(progress(20, 20, [0, 10, 20], [0, 10, 20]), PLAN, BOTH) == 20


def test_a_batch_without_a_step_is_counted_and_not_hidden() -> None:
    """An fp16 overflow consumes a batch; the plan is worked off all the same, two steps short."""
    assert check_finished(progress(18, 20, [0, 9, 10, 18], [0, 9, 10, 18], overflowed=2), PLAN, BOTH) == 18


def test_a_step_that_the_trainer_counts_and_did_not_take_is_none() -> None:
    assert check_finished(progress(20, 20, [0, 10, 20], [0, 10, 20], skipped=2), PLAN, BOTH) == 18


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "stopped after 0 of 20 batches"),
        (progress(10, 10, [0, 10], [0, 10]), "stopped after 10 of 20 batches"),
        (progress(20, 10, [0, 10, 20], [0, 10, 20]), "stopped after 10 of 20 batches"),
        (progress(20, 40, [0, 10, 20], [0, 10, 20]), "40 batches were trained on where 20 were planned"),
        (progress(18, 20, [0, 10, 18], [0, 10, 18]), "18 steps were taken and 0 skipped of 20"),
        (progress(20, 20, [0, 10, 20], [0, 10]), "test was not evaluated at step 20 of 20"),
        (progress(20, 20, [0, 10], [0, 10, 20]), "valid was not evaluated at step 20 of 20"),
        (progress(20, 20, [0, 20], [0, 10, 20]), "valid was not evaluated at step 10 of 20"),
        (progress(18, 20, [0, 10, 18], [0, 10], overflowed=2), "test was not evaluated at step 18 of 18"),
        (progress(9, 20, [0, 9], [0, 9], overflowed=11), "11 of 20 steps were skipped.*PRECISION=bf16"),
        (progress(20, 20, [0, 10, 20], [0, 10, 20], skipped=3), "3 of 20 steps were skipped.*at most 10%"),
    ],
)
def test_anything_less_or_more_is_a_failure(state: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_finished(state, PLAN, BOTH)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_memory_that_is_full_is_said_to_be(error: BaseException, tmp_path: Path) -> None:
    assert explain(error, tmp_path).startswith("out of memory (")


@pytest.mark.parametrize(
    ("precision", "cure"),
    [
        ("fp32", "lower the learning rate"),
        ("bf16", "lower the learning rate"),
        ("fp16", "train with PRECISION=bf16 or PRECISION=fp32"),
    ],
)
def test_gradients_that_are_not_finite_are_cured_by_precision(precision: str, cure: str, tmp_path: Path) -> None:
    write_json(tmp_path / "provenance.json", {"precision": precision})
    error = FloatingPointError("Minimum loss scale reached (0.1). Your loss is exploding. Lower the learning rate.")
    assert explain(error, tmp_path).endswith(f"(FloatingPointError: Minimum loss scale reached (0.1)); {cure}")
