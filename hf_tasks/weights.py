"""Renames the weights of a RoBERTa from fairseq's names to transformers' names and back, bit for bit."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from foundation.errors import UsageError

FAIRSEQ_HEAD = "classification_heads.sentence_classification_head."
LAYER, THEIR_LAYER = "encoder.sentence_encoder.layers.#.", "roberta.encoder.layer.#."  # #: the layer's number
PARTS = {  # beginning of a name in fairseq -> in transformers
    "encoder.sentence_encoder.embed_tokens.": "roberta.embeddings.word_embeddings.",
    "encoder.sentence_encoder.embed_positions.": "roberta.embeddings.position_embeddings.",
    "encoder.sentence_encoder.layernorm_embedding.": "roberta.embeddings.LayerNorm.",
    "encoder.lm_head.dense.": "lm_head.dense.",
    "encoder.lm_head.layer_norm.": "lm_head.layer_norm.",
    "encoder.lm_head.weight": "lm_head.decoder.weight",
    "encoder.lm_head.bias": "lm_head.bias",
    f"{FAIRSEQ_HEAD}dense.": "classifier.dense.",
    f"{FAIRSEQ_HEAD}out_proj.": "classifier.out_proj.",
    f"{LAYER}self_attn.q_proj.": f"{THEIR_LAYER}attention.self.query.",
    f"{LAYER}self_attn.k_proj.": f"{THEIR_LAYER}attention.self.key.",
    f"{LAYER}self_attn.v_proj.": f"{THEIR_LAYER}attention.self.value.",
    f"{LAYER}self_attn.out_proj.": f"{THEIR_LAYER}attention.output.dense.",
    f"{LAYER}self_attn_layer_norm.": f"{THEIR_LAYER}attention.output.LayerNorm.",
    f"{LAYER}fc1.": f"{THEIR_LAYER}intermediate.dense.",
    f"{LAYER}fc2.": f"{THEIR_LAYER}output.dense.",
    f"{LAYER}final_layer_norm.": f"{THEIR_LAYER}output.LayerNorm.",
}
TOKEN_TYPES = "roberta.embeddings.token_type_embeddings.weight"  # not in fairseq: zero, never trained
TWICE = "lm_head.decoder.bias"  # transformers also names it lm_head.bias
NO_WEIGHT = (".version", "._float_tensor")  # not weights: fairseq's counters


def _renamed(name: str, parts: dict[str, str]) -> str:
    plain, number = re.sub(r"\d+", "#", name, count=1), "".join(re.findall(r"\d+", name)[:1])
    for one, other in parts.items():
        if plain.startswith(one):
            return other.replace("#", number) + plain.removeprefix(one)
    raise UsageError(f"the weight {name} has no place in a RoBERTa of the other library")


def to_transformers(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return fairseq's weights under transformers' names, and zeros for the token types, which fairseq does not have.

    Raises `UsageError` for a weight that has no place in transformers' RoBERTa.
    """
    renamed = {_renamed(name, PARTS): tensor for name, tensor in weights.items() if not name.endswith(NO_WEIGHT)}
    width = renamed["roberta.embeddings.word_embeddings.weight"].shape[1]
    renamed[TOKEN_TYPES] = torch.zeros(1, width)
    if "lm_head.bias" in renamed:
        renamed[TWICE] = renamed["lm_head.bias"]
    return renamed


def to_fairseq(weights: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return transformers' weights under fairseq's names.

    Raises `UsageError` for a weight that has no place in fairseq, such as trained token types.
    """
    if TOKEN_TYPES in weights and bool(weights[TOKEN_TYPES].any()):
        raise UsageError(f"{TOKEN_TYPES} is not zero, and fairseq's RoBERTa has none; it cannot be converted exactly")
    parts = {other: one for one, other in PARTS.items()}
    return {_renamed(name, parts): tensor for name, tensor in weights.items() if name not in (TOKEN_TYPES, TWICE)}


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return, under fairseq's names, the weights of a folder that `convert` wrote."""
    if not (folder / "model.safetensors").is_file():
        raise UsageError(f"{folder} holds no model.safetensors; `make convert` writes such a folder")
    weights = load_file(folder / "model.safetensors")
    if not any(name.startswith("roberta.") for name in weights):
        weights = {f"roberta.{name}": tensor for name, tensor in weights.items()}
    if "lm_head.dense.weight" in weights and "lm_head.decoder.weight" not in weights:  # tied weights are saved once
        weights["lm_head.decoder.weight"] = weights["roberta.embeddings.word_embeddings.weight"]
    return to_fairseq(weights)
