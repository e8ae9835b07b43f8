"""A batch for which there is no memory ends the run: fairseq would leave it out and go on."""

from pathlib import Path
from unittest.mock import MagicMock

import pytest
import torch

from tests.conftest import Workspace
from tests.fairseq_tasks.plain import plain_task

CUBLAS = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError),
        (RuntimeError(CUBLAS), MemoryError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError),
        (RuntimeError("shapes do not match"), RuntimeError),
    ],
)
def test_memory_that_is_full_is_told_from_other_errors(
    workspace: Workspace, tmp_path: Path, error: RuntimeError, expected: type[Exception]
) -> None:
    task, criterion = plain_task(workspace, tmp_path, "init=random"), MagicMock(side_effect=error)
    with pytest.raises(expected) as raised:
        task.train_step({"target": torch.zeros(1)}, MagicMock(), criterion, MagicMock(), 3)
    assert type(raised.value) is expected
    assert str(error) in str(raised.value)
