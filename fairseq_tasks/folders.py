"""Opens a fairseq folder, or the best checkpoint of a run, as a model of this package. Loads all encoder weights."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary
from omegaconf import OmegaConf

from data_prep.binarise import read_dictionary
from data_prep.models.checkpoints import read_checkpoint, read_shape
from fairseq_tasks.architectures import RobertaConfig, RobertaOfCheckpoint
from fairseq_tasks.classification import HEAD
from fairseq_tasks.initialisation import load_encoder
from foundation.errors import UsageError


@dataclass(frozen=True)
class Opened:
    """A model, the dictionary of its texts, its shape, and which heads its checkpoint has."""

    model: Any
    dictionary: Dictionary
    shape: dict[str, Any]
    has_lm_head: bool
    n_classes: int  # 0: no classification head
    longest: int  # tokens of a text, with <s> and </s>: the limit of the run, else the number of positions


def open_checkpoint(checkpoint: Path, model_folder: Path) -> Opened:
    """Return the model in `checkpoint` for evaluation, with the dictionary in `model_folder`.

    Raises `UsageError` when the file cannot be read, does not give its shape, or lacks a weight of its encoder.
    """
    state = read_checkpoint(checkpoint)
    symbols = read_dictionary(model_folder / "dict.txt")
    shape = read_shape(checkpoint, state, len(symbols))
    dictionary = Dictionary.load(str(model_folder / "dict.txt"))
    dictionary.add_symbol("<mask>")

    class Task:
        source_dictionary = dictionary

    model = RobertaOfCheckpoint.build_model(OmegaConf.structured(RobertaConfig(**shape)), Task())
    load_encoder(model, checkpoint)
    out = state["model"].get(f"classification_heads.{HEAD}.out_proj.weight")
    if out is not None:
        model.register_classification_head(HEAD, num_classes=out.shape[0])
    has_lm_head = _load_beside(model, state["model"], "encoder.lm_head.", checkpoint)
    _load_beside(model, state["model"], "classification_heads.", checkpoint)
    model.eval()
    longest = int(shape["max_positions"] if out is None else state["cfg"]["task"]["max_positions"])
    return Opened(model, dictionary, shape, has_lm_head, 0 if out is None else out.shape[0], longest)


def _load_beside(model: Any, there: dict[str, torch.Tensor], prefix: str, checkpoint: Path) -> bool:
    """Load a whole head, or nothing. Return whether the checkpoint has the head.

    Old checkpoints call the encoder `decoder`. Raises `UsageError` when the checkpoint has only a part of the head:
    the other part would keep its random weights.
    """
    named = {re.sub(r"^decoder\.", "encoder.", name): tensor for name, tensor in there.items()}
    wanted = {name for name in model.state_dict() if name.startswith(prefix)}
    found = {name: named[name] for name in wanted & named.keys()}
    if found and wanted - found.keys():
        raise UsageError(
            f"{checkpoint} holds {len(found)} of the {len(wanted)} weights of {prefix.rstrip('.')}; "
            f"{min(wanted - found.keys())} is missing"
        )
    if not found:
        return False
    model.load_state_dict(found, strict=False)  # fairseq's own method adds the model's heads that `found` lacks
    return True
