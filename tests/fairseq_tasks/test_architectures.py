"""The registered architectures have the published and the declared shapes."""

import pytest
import torch
from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_DATACLASS_REGISTRY
from omegaconf import OmegaConf

import fairseq_tasks
from fairseq_tasks.architectures import Float32Head, RobertaSmall, RobertaSmallConfig


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


def test_roberta_small_has_the_published_number_of_encoder_weights() -> None:
    from fairseq.data import Dictionary

    dictionary = Dictionary()
    for number in range(32000 - len(dictionary)):
        dictionary.add_symbol(f"piece{number}")

    class Task:
        source_dictionary = dictionary

    model = RobertaSmall.build_model(OmegaConf.structured(RobertaSmallConfig()), Task())
    matrices = [p for p in model.encoder.sentence_encoder.parameters() if p.dim() == 2]
    assert sum(matrix.numel() for matrix in matrices) == 22_807_552


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
