"""What a run says of itself: losses are looked at rarely, and before anything is built on one that is not finite."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fairseq_tasks import progress
from fairseq_tasks.progress import Progress
from foundation.errors import UsageError


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The tensors whose value was asked for, at which a GPU is waited for."""
    values: list[float] = []

    def looking(tensor: torch.Tensor) -> float:
        values.append(tensor.item())
        return values[-1]

    monkeypatch.setattr(torch.Tensor, "__float__", looking)
    return values


@pytest.fixture
def told(tmp_path: Path) -> Progress:
    told = Progress(tmp_path, tmp_path, {"examples": {"valid": 1}, "labels": ["a", "b"]}, lambda *_: None)
    told.write()
    return told


def test_a_loss_is_looked_at_only_when_progress_is_written(
    told: Progress, looked: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(5):
        told.batch(step, torch.tensor(0.5))
    assert (told.state["batches"], looked) == (5, [])
    told.look()
    assert looked == [2.5]
    monkeypatch.setattr(progress, "SECONDS", -1.0)
    told.batch(5, torch.tensor(0.25))
    assert looked == [2.5, 0.25, 0.25]
    assert (told.state["step"], told.state["loss"]) == (5, 0.25)


@pytest.mark.parametrize("what", [Progress.look, Progress.begin_evaluation])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_one_loss_that_is_not_finite_among_others_is_told_before_an_evaluation(
    told: Progress, what: Callable[[Progress], None], bad: float
) -> None:
    for loss in (0.5, bad, float("inf"), 0.5):
        told.batch(7, torch.tensor(loss))
    with pytest.raises(UsageError, match=r"after step 7: the training loss is (nan|-?inf); lower the learning rate"):
        what(told)
