"""The unpadded encoder is fairseq's function: outputs and gradients, in both norm placements."""

from pathlib import Path

import pytest
import torch
from fairseq.models.transformer import TransformerEncoder

from tests.conftest import Workspace
from tests.fairseq_tasks.plain import plain_settings, plain_task


@pytest.mark.parametrize("prenorm", [False, True])
def test_outputs_and_gradients_equal_fairseqs_own(workspace: Workspace, tmp_path: Path, prenorm: bool) -> None:
    words = ("init=random", f"fairseq.model.encoder_normalize_before={prenorm}")
    settings = plain_settings(workspace, tmp_path, *words)
    torch.manual_seed(0)
    model = plain_task(workspace, tmp_path, *words).build_model(settings.model).eval()
    encoder = model.encoder.sentence_encoder
    tokens = torch.randint(4, 40, (5, 17))
    for row, length in enumerate((17, 3, 9, 1, 12)):
        tokens[row, length:] = 1
    real = tokens.ne(1).T

    def run(forward: object) -> tuple[torch.Tensor, list[torch.Tensor]]:
        encoder.zero_grad()
        assert callable(forward)
        out = forward(encoder, tokens)["encoder_out"][0]
        (out[real] ** 2).sum().backward()
        return out[real].detach(), [p.grad.clone() for p in encoder.parameters() if p.grad is not None]

    ours, our_gradients = run(type(encoder).forward_scriptable)
    stock, stock_gradients = run(TransformerEncoder.forward_scriptable)
    assert type(encoder).forward_scriptable is not TransformerEncoder.forward_scriptable
    torch.testing.assert_close(ours, stock, rtol=1e-5, atol=1e-5)
    assert len(our_gradients) == len(stock_gradients)
    for one, other in zip(our_gradients, stock_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
