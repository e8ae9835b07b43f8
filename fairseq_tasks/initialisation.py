"""The only place where a model gets its first weights: `pretrained` or `random`, and nothing in between.

Stock fairseq continues with random weights when a checkpoint is missing. Here, with `pretrained`, every weight of the
encoder comes from the checkpoint, or the run stops before its first step.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary

from data_prep.binarise import read_dictionary
from data_prep.models.checkpoints import read_checkpoint
from foundation.errors import UsageError

ENCODER = "encoder.sentence_encoder."
HEADS = ("classification_heads.", "encoder.lm_head.")  # new in a classifier, which does not use the masked-LM head
BUFFERS = (".version", "._float_tensor")  # fairseq's counters, which hold no weight


def require_same_dictionary(checkpoint: Path, dictionary: Dictionary) -> None:
    """Raise `UsageError` unless the dictionary next to the checkpoint equals the data's, token for token."""
    path = checkpoint.parent / "dict.txt"
    theirs = read_dictionary(path)
    ours = [dictionary[index] for index in range(dictionary.nspecial, len(dictionary) - 1)]  # the last is <mask>
    if theirs == ours:
        return
    where = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), min(len(theirs), len(ours)))
    raise UsageError(
        f"the checkpoint's dictionary {path} ({len(theirs)} tokens) is not the data's ({len(ours)} tokens): they "
        f"differ first at line {where + 1}; prepare the data for this model"
    )


def encoder_weights(model: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Return the encoder's weights with their names: embeddings, positions and layers, no head."""
    return [(name, weight.detach()) for name, weight in model.named_parameters() if name.startswith(ENCODER)]


def load_encoder(model: Any, checkpoint: Path) -> dict[str, Any]:
    """Copy the checkpoint's encoder into `model`. Return the names of the loaded, the new and the unused weights.

    Raises `UsageError` when an encoder weight is missing in the checkpoint or in the model, or has another shape.
    """
    state = read_checkpoint(checkpoint)["model"]
    there = {name: tensor for name, tensor in state.items() if not name.startswith(HEADS[0])}
    model.upgrade_state_dict(there)  # fairseq's own: updates the names of older checkpoints, and adds the model's heads
    held = {name for name in there if not name.startswith(HEADS[0]) and not name.endswith(BUFFERS)}
    wanted = model.state_dict()
    encoder = dict(encoder_weights(model))
    missing = sorted(encoder.keys() - there.keys())
    if missing:
        raise UsageError(
            f"{checkpoint} lacks {len(missing)} of the encoder's {len(encoder)} weights, "
            f"the first {missing[0]}; it is of another architecture"
        )
    for name in encoder:
        if there[name].shape != encoder[name].shape:
            raise UsageError(
                f"{checkpoint}: {name} has shape {tuple(there[name].shape)}, the model's has "
                f"{tuple(encoder[name].shape)}; it is of another architecture"
            )
    unknown = [name for name in sorted(there.keys() - encoder.keys()) if name.startswith(ENCODER)]
    unknown = [name for name in unknown if not name.endswith(BUFFERS)]
    if unknown:
        raise UsageError(
            f"{checkpoint} has {len(unknown)} encoder weights that the model has not, the first "
            f"{unknown[0]}; it is of another architecture"
        )
    model.load_state_dict({name: there[name] for name in encoder}, strict=False)
    return {
        "encoder_weights_loaded": sorted(encoder),
        "new": sorted(name for name in wanted if name.startswith(HEADS)),
        "in_checkpoint_not_used": sorted(held - encoder.keys()),
    }


def digest_of(weights: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Return a SHA-256 over the names and float32 bytes of weights, sorted by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights, key=lambda named: named[0]):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def fingerprint(model: torch.nn.Module) -> str:
    """Return the digest of the encoder's weights."""
    return digest_of(encoder_weights(model))


def initialise(model: torch.nn.Module, init: str, checkpoint: str | None, dictionary: Dictionary) -> dict[str, Any]:
    """Give `model`, freshly drawn from its seed, the weights that `init` names. Return a record of what was done.

    `random` keeps the drawn weights. `pretrained` replaces the encoder's weights. In both cases the head is drawn from
    the seed, so both inits of a seed have the same head.
    """
    record: dict[str, Any] = {"init": init, "checkpoint": checkpoint}
    if init == "pretrained":
        if not checkpoint:
            raise UsageError("init=pretrained needs model.checkpoint")
        require_same_dictionary(Path(checkpoint), dictionary)
        record.update(load_encoder(model, Path(checkpoint)))
    elif init == "random":
        if checkpoint:
            raise UsageError(f"init=random takes no checkpoint, {checkpoint} was given")
    else:
        raise UsageError(f"init={init}: choose from pretrained, random")
    record["encoder_fingerprint"] = fingerprint(model)
    return record
