"""The only place where a model gets its first weights.

    pretrained   every weight of the encoder comes from the checkpoint
    bottom_2     the embeddings with their layer norm and the first 2 layers come from the checkpoint, the rest is drawn
    embeddings   the token and position embeddings come from the checkpoint, the rest is drawn
    shuffled     each weight tensor holds the values of the checkpoint's tensor in random order
    statistics   each weight tensor is drawn normal, with the mean and the std of the checkpoint's tensor
    random       every weight is drawn, as fairseq draws it

Stock fairseq continues with random weights when a checkpoint is missing. Here a checkpoint that an init needs fits the
model weight for weight, or the run stops before its first step.
"""

import hashlib
import re
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
REMADE = ("shuffled", "statistics")  # inits that make new weights of the checkpoint's
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


def part_of(name: str) -> str:
    """Return the part of the encoder that a weight belongs to: embeddings, layernorm_embedding, layer 0, layer 1..."""
    first, *rest = name.removeprefix(ENCODER).split(".")
    if first == "layers":
        return f"layer {rest[0]}"
    return "embeddings" if first in ("embed_tokens", "embed_positions") else first


def parts_loaded(init: str, n_layers: int) -> list[str] | None:
    """Return the parts of an encoder of `n_layers` layers that an init takes from the checkpoint; None: all parts.

    Raises `UsageError` for an unknown init, or for more layers than the encoder has.
    """
    layers = re.fullmatch(r"bottom_([1-9][0-9]*)", init)
    if layers is not None:
        if int(layers[1]) > n_layers:
            raise UsageError(f"INIT={init}: the encoder has {n_layers} layers; give a number from 1 to {n_layers}")
        return ["embeddings", "layernorm_embedding", *(f"layer {number}" for number in range(int(layers[1])))]
    if init not in ("pretrained", "embeddings", *REMADE):
        raise UsageError(
            f"init={init}: choose from pretrained, bottom_<layers>, embeddings, shuffled, statistics, random"
        )
    return ["embeddings"] if init == "embeddings" else None


def remade(init: str, name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return a new tensor in the place of the checkpoint's `tensor`: its values shuffled, or drawn by its statistics.

    The numbers depend on the seed of the run, the init and the name of the weight. They come from a generator of their
    own: the head, the batches and the dropout masks stay those of the other inits of this seed.
    """
    seed = hashlib.sha256(f"{torch.initial_seed()} {init} {name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(seed[:8], "little") >> 1)
    values = tensor.float()
    if init == "shuffled":
        return values.flatten()[torch.randperm(values.numel(), generator=generator)].view_as(values)
    drawn = torch.randn(values.shape, generator=generator)
    return values.mean() + values.std(correction=0) * drawn


def load_encoder(model: Any, checkpoint: Path, init: str = "pretrained") -> dict[str, Any]:
    """Give `model` what `init` takes of the checkpoint's encoder. Return a record of every weight by name.

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
    for name, weight in encoder.items():
        if there[name].shape != weight.shape:
            raise UsageError(
                f"{checkpoint}: {name} has shape {tuple(there[name].shape)}, the model's has "
                f"{tuple(weight.shape)}; it is of another architecture"
            )
    unknown = sorted(name for name in held - encoder.keys() if name.startswith(ENCODER))
    if unknown:
        raise UsageError(
            f"{checkpoint} has {len(unknown)} encoder weights that the model has not, the first "
            f"{unknown[0]}; it is of another architecture"
        )
    parts = parts_loaded(init, len({part_of(name) for name in encoder if part_of(name).startswith("layer ")}))
    taken = {name: there[name] for name in encoder if parts is None or part_of(name) in parts}
    if init in REMADE:
        taken = {name: remade(init, name, tensor) for name, tensor in taken.items()}
    model.load_state_dict(dict(taken), strict=False)  # fairseq adds the heads to the dictionary that it is given
    loaded, made = ([], sorted(taken)) if init in REMADE else (sorted(taken), [])
    return {
        "encoder_weights_loaded": loaded,
        "encoder_weights_remade": made,
        "new": sorted(name for name in wanted if name.startswith(HEADS) or name in encoder.keys() - taken.keys()),
        "in_checkpoint_not_used": sorted(held - taken.keys()),
    }


def digest_of(weights: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Return a SHA-256 over the names and float32 bytes of weights, sorted by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights, key=lambda named: named[0]):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def initialise(model: torch.nn.Module, init: str, checkpoint: str | None, dictionary: Dictionary) -> dict[str, Any]:
    """Give `model`, freshly drawn from its seed, the weights that `init` names. Return a record of what was done.

    The head is drawn from the seed with every init, so all inits of a seed have the same head.
    """
    record: dict[str, Any] = {"init": init, "checkpoint": checkpoint}
    if init == "random" and checkpoint:
        raise UsageError(f"init=random takes no checkpoint, {checkpoint} was given")
    if init != "random":
        if not checkpoint:
            raise UsageError(f"init={init} needs model.checkpoint")
        require_same_dictionary(Path(checkpoint), dictionary)
        record.update(load_encoder(model, Path(checkpoint), init))
    weights = encoder_weights(model)
    parts = sorted({part_of(name) for name, _ in weights})
    record["fingerprints"] = {part: digest_of(pair for pair in weights if part_of(pair[0]) == part) for part in parts}
    record["encoder_fingerprint"] = digest_of(weights)
    return record
