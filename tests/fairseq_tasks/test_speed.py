"""What makes a run fast changes nothing: after 50 steps the weights are those of fairseq's own parts.

In float64, where rounding cannot hide a difference: the two ways agree to 1e-9 while the weights move by 1e-2. Dropout
is off where the two ways draw masks of other shapes, and on where they draw the same.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.conftest import Workspace
from tests.fairseq_tasks.plain import plain_settings, plain_task

STEPS = 50
NO_DROPOUT = ("fairseq.model.dropout=0", "model.attention_dropout=0")


def weights_after(workspace: Workspace, folder: Path, *words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the weights before and after 50 steps of batches of 8, with a warm-up and a decay."""
    from fairseq import optim

    words = ("init=random", *words)
    settings = plain_settings(workspace, folder, *words)
    task = plain_task(workspace, folder, *words)
    torch.manual_seed(0)
    model = task.build_model(settings.model).double().train()
    first = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = optim.build_optimizer(settings.optimizer, list(model.parameters()))
    dataset = task.load_dataset("train")
    for step in range(STEPS):
        torch.manual_seed(1_000 + step)
        rows = torch.randint(len(dataset), (8,)).tolist()
        sample = dataset.collater([dataset[row] for row in rows])
        logits, _ = model(**sample["net_input"], classification_head_name="sentence_classification_head")
        optimizer.set_lr(1e-3 * min(1.0, (step + 1) / 10) * (1 - step / STEPS))
        optimizer.zero_grad()
        F.cross_entropy(logits, sample["target"].view(-1)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return first, dict(model.state_dict())


@pytest.mark.parametrize(
    ("quick", "dropout"),
    [
        ("speed.unpadded=true", NO_DROPOUT),
        (("speed.unpadded=true", "speed.first_token_only=true"), NO_DROPOUT),
        ("speed.adam=warmstart_adam", ()),
        ("speed=quick", NO_DROPOUT),
    ],
    ids=["unpadded", "first token only", "fused Adam, with dropout", "all"],
)
def test_the_weights_after_50_steps_are_the_same(
    workspace: Workspace, tmp_path: Path, quick: str | tuple[str, ...], dropout: tuple[str, ...]
) -> None:
    parts = (quick,) if isinstance(quick, str) else quick
    first, stock = weights_after(workspace, tmp_path, "speed=stock", *dropout)
    same_first, found = weights_after(workspace, tmp_path, "speed=stock", *dropout, *parts)
    assert all(torch.equal(first[name], same_first[name]) for name in first)
    moved = max(float((stock[name] - first[name]).abs().max()) for name in first)
    apart = {name: float((found[name] - stock[name]).abs().max()) for name in first}
    assert moved > 1e-2
    assert max(apart.values()) < 1e-9, max(apart, key=lambda name: apart[name])


def test_fused_adam_looks_at_no_step_on_the_gpu_and_counts_on_after_a_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cut after 3 of 6 steps, from a checkpoint that tells the count, and from an older one that does not."""
    from fairseq_tasks.fused_adam import FusedAdam

    def optimizer_of(weights: torch.nn.Parameter) -> FusedAdam:
        return FusedAdam([weights], lr=1e-2, betas=(0.9, 0.98), eps=1e-3, weight_decay=0.01)

    def steps(optimizer: FusedAdam, weights: torch.nn.Parameter, which: range) -> torch.Tensor:
        for step in which:
            weights.grad = 1e-3 * torch.sin(weights.detach() * step)
            optimizer.step()
        return weights.detach().clone()

    first = torch.linspace(-1, 1, 101)
    weights = torch.nn.Parameter(first.clone())
    optimizer = optimizer_of(weights)
    half = steps(optimizer, weights, range(3))
    saved = copy.deepcopy(optimizer.state_dict())
    older = copy.deepcopy(saved)
    del older["param_groups"][0]["taken"]
    looked: list[torch.Tensor] = []

    def looking(tensor: torch.Tensor) -> int:
        looked.append(tensor)
        return round(tensor.item())

    monkeypatch.setattr(torch.Tensor, "__int__", looking)
    whole = steps(optimizer, weights, range(3, 6))
    assert not looked
    for state, looks in ((saved, 0), (older, 1)):
        weights = torch.nn.Parameter(half.clone())
        optimizer = optimizer_of(weights)
        optimizer.load_state_dict(copy.deepcopy(state))
        assert torch.equal(steps(optimizer, weights, range(3, 6)), whole)
        assert len(looked) == looks


def test_fused_adam_without_its_epsilon_would_be_another_formula() -> None:
    """The test above can fail: torch's own epsilon gives other weights where gradients are small."""
    from fairseq.optim.adam import Adam

    from fairseq_tasks.fused_adam import FusedAdam

    settings = {"lr": 1e-2, "betas": (0.9, 0.98), "eps": 1e-3, "weight_decay": 0.01}
    ways = {"fairseq": Adam, "ours": FusedAdam, "torch": torch.optim.AdamW}
    ends = {}
    for way, kind in ways.items():
        weights = torch.nn.Parameter(torch.linspace(-1, 1, 101, dtype=torch.float64))
        optimizer = kind([weights], **settings)
        for step in range(20):
            weights.grad = 1e-3 * torch.sin(weights.detach() * step)
            optimizer.step()
        ends[way] = weights.detach()
    torch.testing.assert_close(ends["ours"], ends["fairseq"], rtol=0, atol=1e-14)
    assert float((ends["torch"] - ends["fairseq"]).abs().max()) > 1e-4
