"""Opens fairseq checkpoints without running code from them, and reads the model's shape from them."""

import argparse
from pathlib import Path
from typing import Any

from foundation.errors import UsageError

SHAPE = {  # a RoBERTa's settings, with fairseq's value for a setting that older checkpoints lack
    "encoder_layers": None,
    "encoder_embed_dim": None,
    "encoder_ffn_embed_dim": None,
    "encoder_attention_heads": None,
    "activation_fn": "gelu",
    "pooler_activation_fn": "tanh",
    "encoder_normalize_before": False,
    "layernorm_embedding": True,
    "encoder_learned_pos": True,
    "no_token_positional_embeddings": False,
    "no_scale_embedding": True,
    "untie_weights_roberta": False,
}
EMBEDDING = "sentence_encoder.embed_tokens.weight"  # after the prefix `encoder.`, or `decoder.` in old checkpoints
POSITIONS = "sentence_encoder.embed_positions.weight"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a fairseq checkpoint: `model` (tensors by name), `args` or `cfg`, and everything else in it.

    Code in the file never runs: only tensors, plain containers and `argparse.Namespace` (in old checkpoints) are
    allowed. Raises `UsageError` when the file is missing, is cut short or holds anything else.
    """
    import torch

    if not path.is_file():
        raise UsageError(f"there is no checkpoint {path}; run prep first, or give an existing one as model.checkpoint")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
        weights = {str(name): tensor for name, tensor in state["model"].items() if isinstance(tensor, torch.Tensor)}
        return {**state, "model": weights}
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError, KeyError... for a bad file
        reason = str(error).split("\n")[0].split(". ")[0]
        raise UsageError(f"{path} is not a whole fairseq checkpoint that can be read safely ({reason})") from error


def optimizer_history(step: int) -> dict[str, Any]:
    """Return the entry that fairseq's loading functions need in a checkpoint, without any optimiser state."""
    return {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": step}


def _arguments(path: Path, state: dict[str, Any]) -> dict[str, Any]:
    """Return the model's own arguments, from `cfg.model` or, in older checkpoints, `args`."""
    config = state.get("cfg")
    model = config.get("model") if isinstance(config, dict) else None
    for held in (model, state.get("args")):
        if isinstance(held, argparse.Namespace):
            return vars(held)
        if isinstance(held, dict) and held:
            return held
    raise UsageError(
        f"{path} does not say what model it is of: it holds neither args nor cfg.model; say it yourself, as in "
        "model.shape_from_checkpoint=false model.architecture=roberta_small model.max_positions=256"
    )


def _weight(path: Path, weights: dict[str, Any], name: str) -> Any:
    for prefix in ("encoder.", "decoder."):
        if prefix + name in weights and weights[prefix + name].dim() == 2:
            return weights[prefix + name]
    raise UsageError(f"{path} is not of a RoBERTa: it has no matrix encoder.{name}")


def read_shape(path: Path, state: dict[str, Any], n_symbols: int) -> dict[str, Any]:
    """Return the architecture settings in the checkpoint's own arguments, and its `max_positions`.

    `state` is the result of `read_checkpoint(path)`. `n_symbols` is the number of lines of the dictionary in the same
    folder. Raises `UsageError` when the arguments do not give the shape, or when the rows, width or positions of the
    weights disagree with the arguments and the dictionary.
    """
    given, weights = _arguments(path, state), state["model"]
    shape: dict[str, Any] = {name: given.get(name, default) for name, default in SHAPE.items()}
    shape["max_positions"] = given.get("max_positions") or given.get("tokens_per_sample")
    for name, value in shape.items():
        kind = int if SHAPE.get(name) is None else type(SHAPE[name])
        if type(value) is not kind or (type(value) is int and value < 1):
            raise UsageError(f"{path}: its arguments say {name}={value!r}; its shape cannot be read from them")
    rows, width = _weight(path, weights, EMBEDDING).shape
    if rows != n_symbols + 5:
        raise UsageError(
            f"{path} has {rows} embedding rows; dict.txt beside it has {n_symbols} lines, which with "
            f"fairseq's four and <mask> make {n_symbols + 5}: they do not belong together"
        )
    # fairseq counts positions from the padding index 1, plus 1: the first two rows are not positions
    positions = _weight(path, weights, POSITIONS).shape[0] - 2 if shape["encoder_learned_pos"] else None
    for name, found in {"encoder_embed_dim": width, "max_positions": positions}.items():
        if found is not None and shape[name] != found:
            raise UsageError(f"{path}: its arguments say {name}={shape[name]}, its weights {found}")
    return shape


def count_matrices(weights: dict[str, Any]) -> int:
    """Count the weights in the encoder's matrices: embedding, positions, projections, feed-forward; no biases."""
    return sum(
        tensor.numel()
        for name, tensor in weights.items()
        if name.startswith(("encoder.sentence_encoder.", "decoder.sentence_encoder.")) and tensor.dim() == 2
    )
