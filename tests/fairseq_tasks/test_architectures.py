"""The registered architectures have the published and the declared shapes."""

from typing import Any

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_DATACLASS_REGISTRY
from omegaconf import OmegaConf

import fairseq_tasks
from fairseq_tasks.architectures import POSITION_INITS, Float32Head, RobertaSmall, RobertaSmallConfig
from foundation.errors import UsageError


def test_all_are_registered_for_fairseqs_own_command_line() -> None:
    assert fairseq_tasks
    assert {"roberta_small", "roberta_e5_small", "roberta_tiny"} <= set(ARCH_MODEL_REGISTRY)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("roberta_small", (4, 512, 512, 8, 256)), ("roberta_e5_small", (12, 384, 1536, 12, 256))],
)
def test_shapes(name: str, shape: tuple[int, ...]) -> None:
    config = MODEL_DATACLASS_REGISTRY[name]
    found = (config.encoder_layers, config.encoder_embed_dim, config.encoder_ffn_embed_dim)
    assert (*found, config.encoder_attention_heads, config.max_positions) == shape


def build(vocabulary: int, **settings: Any) -> RobertaSmall:
    dictionary = Dictionary()
    for number in range(vocabulary - len(dictionary)):
        dictionary.add_symbol(f"piece{number}")

    class Task:
        source_dictionary = dictionary

    return RobertaSmall.build_model(OmegaConf.structured(RobertaSmallConfig(**settings)), Task())


def test_roberta_small_has_the_published_number_of_encoder_weights() -> None:
    matrices = [p for p in build(32000).encoder.sentence_encoder.parameters() if p.dim() == 2]
    assert sum(matrix.numel() for matrix in matrices) == 22_807_552


def test_sinusoidal_positions_are_one_rotation_apart_and_as_large_as_drawn_ones() -> None:
    drawn, made = (build(100, position_init=kind).encoder.sentence_encoder.embed_positions for kind in POSITION_INITS)
    weight, first = made.weight.detach(), made.padding_idx + 1
    assert not weight[made.padding_idx].any()
    products = weight[first:] @ weight[first:].T
    for distance in (1, 7, 100):  # the product of two positions depends on their distance alone
        assert products.diagonal(distance).std() < 1e-6
        assert products.diagonal(distance).mean() < 0.99 * products.diagonal(0).mean()
    assert weight[first:].std().item() == pytest.approx(0.02, rel=1e-5)
    assert drawn.weight[first:].std().item() == pytest.approx(0.02, rel=0.02)
    assert made.weight.requires_grad
    with pytest.raises(UsageError, match="position_init=cosine: choose from normal, sinusoidal"):
        build(100, position_init="cosine")
    for without in ({"encoder_learned_pos": False}, {"no_token_positional_embeddings": True}):
        with pytest.raises(UsageError, match="position_init=sinusoidal needs learned positions"):
            build(100, position_init="sinusoidal", **without)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_head_stays_in_float32_when_its_model_is_halved_and_its_logits_do_not_tie(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    head = Float32Head(64, 64, 2, "tanh", 0.0)
    exact = {name: weight.clone() for name, weight in head.named_parameters()}
    model = torch.nn.ModuleDict({"head": head, "encoder": torch.nn.Linear(2, 2)}).to(kind)
    assert model["encoder"].weight.dtype is kind
    assert all(torch.equal(weight, exact[name]) for name, weight in head.named_parameters())
    features = torch.randn(1, 1, 64).repeat(1_000, 1, 1) * (1 + 1e-3 * torch.randn(1_000, 1, 1))
    logits = head(features.to(kind))
    assert logits.dtype is torch.float32
    assert len(logits.unique()) > 2 * len(logits.to(kind).unique())
    assert head.double().dense.weight.dtype is torch.float64
