"""Quick dropout keeps the share it says, keeps the mean, and is decided by torch's seed."""

from pathlib import Path

import pytest
import torch
from scipy import stats

from fairseq_tasks.dropout import LEVELS, QuickDropout, quick_mask
from tests.conftest import Workspace
from tests.fairseq_tasks.plain import plain_settings, plain_task


@pytest.mark.parametrize("p", [0.1, 0.5, 0.003])
def test_the_share_dropped_is_the_one_asked_for(p: float) -> None:
    torch.manual_seed(1)
    mask = quick_mask(torch.Size([1_000, 1_001]), p)
    zeros = int((mask == 0).sum())
    assert stats.binomtest(zeros, mask.numel(), round(LEVELS * p) / LEVELS).pvalue > 1e-3
    kept = mask[mask != 0]
    assert float(kept.min()) == float(kept.max())
    assert float(kept[0]) == pytest.approx(1 / (1 - p), rel=1e-4)


def test_in_bfloat16_the_mask_has_the_values_of_torchs_own() -> None:
    x = torch.ones(1_000, dtype=torch.bfloat16)
    ours = quick_mask(x.shape, 0.1, torch.bfloat16)
    assert ours.dtype is torch.bfloat16
    assert set(ours.tolist()) == set(torch.nn.functional.dropout(x, 0.1).tolist())


def test_neighbours_are_decided_independently() -> None:
    torch.manual_seed(2)
    dropped = (quick_mask(torch.Size([4_000, 250]), 0.3) == 0).flatten()
    for distance in (1, 2, 3, 4, 8):
        together = int((dropped[distance:] & dropped[:-distance]).sum())
        share = round(LEVELS * 0.3) / LEVELS
        expected, n = share * share, dropped.numel() - distance
        assert abs(together - n * expected) < 5 * (n * expected) ** 0.5


def test_gradients_are_dropped_as_the_values_were() -> None:
    torch.manual_seed(3)
    x = torch.ones(50, 7, requires_grad=True)
    y = QuickDropout(0.4).train()(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, y.detach())


def test_the_seed_decides_and_evaluation_drops_nothing() -> None:
    dropout, x = QuickDropout(0.1).train(), torch.ones(40, 40)
    drawn = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        drawn.append(dropout(x))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(dropout.eval()(x), x)
    assert torch.equal(QuickDropout(0.0).train()(x), x)


def test_the_encoder_uses_it_everywhere(workspace: Workspace, tmp_path: Path) -> None:
    words = ("init=random",)
    model = plain_task(workspace, tmp_path, *words).build_model(plain_settings(workspace, tmp_path, *words).model)
    kinds = [(name, type(module)) for name, module in model.named_modules() if name.endswith("dropout_module")]
    assert {kind for _, kind in kinds} == {QuickDropout}
    assert any("self_attn" in name for name, _ in kinds)
