"""The unpadded encoder is fairseq's function: outputs and gradients, in both norm placements, both attention paths."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.models.transformer import TransformerEncoder
from fairseq.modules import gelu as fairseq_gelu
from torch.nn import Identity
from torch.utils._python_dispatch import TorchDispatchMode

from fairseq_tasks import unpadded
from fairseq_tasks.dropout import QuickDropout
from foundation.errors import UsageError
from tests.conftest import Workspace
from tests.fairseq_tasks.plain import plain_settings, plain_task

LENGTHS = (17, 3, 9, 2, 12)
by_products = unpadded._attend_by_products
aten = torch.ops.aten


WAYS = {
    "text by text": unpadded._attend_text_by_text,
    "products, as in bfloat16": lambda q, k, v, heads, packing: by_products(q, k, v, heads, Identity(), packing),
    "padded, as on CUDA": lambda q, k, v, heads, packing: unpadded._attend_padded(q, k, v, heads, 0.0, packing),
}


@pytest.fixture(params=list(WAYS))
def attention(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpadded, "_attend_text_by_text", WAYS[request.param])


def batch() -> torch.Tensor:
    tokens = torch.randint(4, 40, (len(LENGTHS), max(LENGTHS)))
    for row, length in enumerate(LENGTHS):
        tokens[row, length:] = 1
    return tokens


def answers(encoder: Any, forward: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return what `forward` returns and the gradients of its weighted sum, zeros where there are none."""
    encoder.zero_grad()
    out = forward()
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()  # type: ignore[no-untyped-call]
    return out.detach(), [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in encoder.parameters()]


@pytest.mark.usefixtures("attention")
@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("prenorm", [False, True])
def test_outputs_and_gradients_equal_fairseqs_own(
    workspace: Workspace, tmp_path: Path, prenorm: bool, first_only: bool
) -> None:
    words = ("init=random", f"fairseq.model.encoder_normalize_before={prenorm}")
    settings = plain_settings(workspace, tmp_path, *words)
    torch.manual_seed(0)
    model = plain_task(workspace, tmp_path, *words).build_model(settings.model).eval()
    encoder = model.encoder.sentence_encoder
    tokens = batch()
    real = tokens.ne(1).T

    def stock() -> torch.Tensor:
        out = TransformerEncoder.forward_scriptable(encoder, tokens)["encoder_out"][0]
        return out[0] if first_only else out[real]

    def ours() -> torch.Tensor:
        return encoder.first_tokens(tokens) if first_only else encoder(tokens)["encoder_out"][0][real]

    assert type(encoder).forward_scriptable is not TransformerEncoder.forward_scriptable
    expected, gradients = answers(encoder, stock)
    found, our_gradients = answers(encoder, ours)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(our_gradients, gradients, rtol=1e-3, atol=1e-3)


def test_bfloat16_gives_float32s_outputs_but_for_rounding(workspace: Workspace, tmp_path: Path) -> None:
    words = ("init=random",)
    torch.manual_seed(0)
    model = plain_task(workspace, tmp_path, *words).build_model(plain_settings(workspace, tmp_path, *words).model)
    encoder, tokens = model.eval().encoder.sentence_encoder, batch()
    exact = encoder.first_tokens(tokens)
    asked: list[torch.dtype] = []

    def noting(q: torch.Tensor, *others: Any) -> torch.Tensor:
        asked.append(q.dtype)
        return by_products(q, *others)

    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpadded, "_attend_by_products", noting)
        rounded = encoder.first_tokens(tokens)
    assert asked == [torch.bfloat16] * len(encoder.layers)
    assert 0 < float((rounded - exact).abs().max()) < 0.05


def test_packing_has_the_bits_of_a_mask_as_an_index() -> None:
    real = batch().ne(1)
    packing, x = unpadded.Packing.of(real), torch.randn(*real.shape, 8, requires_grad=True)
    firsts = torch.tensor([0, *packing.lengths[:-1]]).cumsum(0)
    padded = torch.zeros(*real.shape, 8)
    padded[real] = x.detach()[real]
    ours = (packing.pack(x), packing.unpack(packing.pack(x)), packing.firsts(packing.pack(x)))
    for found, expected in zip(ours, (x[real], padded, x[real][firsts]), strict=True):
        assert torch.equal(found, expected)
    weights = torch.randn(len(ours[0]), 8)
    gradients = [torch.autograd.grad((packed * weights).sum(), x)[0] for packed in (ours[0], x[real])]
    assert torch.equal(*gradients)


class Searches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that search a mask for its true elements: a GPU is waited for at each."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        indices = args[1] if func.overloadpacket in (aten.index, aten.index_put, aten.index_put_) else []
        self.n += func.overloadpacket in (aten.nonzero, aten.masked_select)
        self.n += any(index is not None and index.dtype is torch.bool for index in indices)
        return func(*args, **(kwargs or {}))


@pytest.mark.usefixtures("attention")
@pytest.mark.parametrize("first_only", [False, True])
def test_where_the_real_tokens_are_is_searched_for_once_a_step(
    workspace: Workspace, tmp_path: Path, first_only: bool
) -> None:
    words = ("init=random", "fairseq.model.encoder_layers=4", "model.attention_dropout=0")
    model = plain_task(workspace, tmp_path, *words).build_model(plain_settings(workspace, tmp_path, *words).model)
    encoder, tokens = model.train().encoder.sentence_encoder, batch()
    with Searches() as searches:
        out = encoder.first_tokens(tokens) if first_only else encoder(tokens)["encoder_out"][0]
        out.sum().backward()
    assert searches.n == 1


def test_gelu_in_bfloat16_is_fairseqs_without_the_copies() -> None:
    bits = {}
    for way in (fairseq_gelu, lambda x: unpadded._activate(fairseq_gelu, x)):
        x = torch.linspace(-9, 9, 100_000).bfloat16().requires_grad_()
        y = way(x)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        copied = "ToCopy" in type(y.grad_fn).__name__  # back from float32
        assert copied == (way is fairseq_gelu)
        bits[way] = (y.detach(), gradient)
    (ours, our_gradient), (theirs, gradient) = bits.values()
    assert torch.equal(ours, theirs)
    at_most = 0.0 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 2e-7
    torch.testing.assert_close(our_gradient, gradient, rtol=0, atol=at_most)


def test_attention_by_products_drops_weights_when_asked() -> None:
    torch.manual_seed(0)
    packing = unpadded.Packing.of(torch.ones(1, 200, dtype=torch.bool))
    q, k = torch.zeros(200, 8), torch.zeros(200, 8)
    kept = by_products(q, k, torch.ones(200, 8), 2, QuickDropout(0.25).eval(), packing)
    dropped = by_products(q, k, torch.ones(200, 8), 2, QuickDropout(0.25), packing)
    torch.testing.assert_close(kept, torch.ones(200, 8))
    assert float(dropped.std()) > 0.01
    assert abs(float(dropped.mean()) - 1) < 0.01


@pytest.mark.parametrize(("share", "training", "dropped"), [(0.1, True, True), (0.1, False, False), (0.0, True, False)])
def test_attention_weights_are_dropped_in_training_only_and_by_the_share_asked_for(
    workspace: Workspace, tmp_path: Path, share: float, training: bool, dropped: bool
) -> None:
    words = ("init=random", "fairseq.model.dropout=0", f"model.attention_dropout={share}")
    model = plain_task(workspace, tmp_path, *words).build_model(plain_settings(workspace, tmp_path, *words).model)
    encoder, tokens = model.train(training).encoder.sentence_encoder, batch()
    assert torch.equal(encoder.first_tokens(tokens), encoder.first_tokens(tokens)) != dropped


def test_the_head_reads_only_first_tokens(workspace: Workspace, tmp_path: Path) -> None:
    settings = plain_settings(workspace, tmp_path, "init=random")
    model = plain_task(workspace, tmp_path, "init=random").build_model(settings.model).eval()
    name, tokens = "sentence_classification_head", batch()
    quick, _ = model(tokens, classification_head_name=name)
    model.args.first_token_only = False
    whole, _ = model(tokens, classification_head_name=name)
    torch.testing.assert_close(quick, whole, rtol=1e-5, atol=1e-6)


def test_the_last_layer_cannot_be_cut_in_fairseqs_own_encoder(workspace: Workspace, tmp_path: Path) -> None:
    words = ("init=random", "speed.unpadded=false")
    task, settings = plain_task(workspace, tmp_path, *words), plain_settings(workspace, tmp_path, *words)
    with pytest.raises(UsageError, match=r"first_token_only needs speed\.unpadded"):
        task.build_model(settings.model)


def test_fairseqs_own_encoder_can_be_had(workspace: Workspace, tmp_path: Path) -> None:
    words = ("init=random", "speed=stock")
    model = plain_task(workspace, tmp_path, *words).build_model(plain_settings(workspace, tmp_path, *words).model)
    assert type(model.encoder.sentence_encoder) is TransformerEncoder
    names = {type(module).__name__ for module in model.modules()}
    assert "FairseqDropout" in names
    assert "QuickDropout" not in names
