"""Opens a fairseq folder, or the best checkpoint of a run, as a model of ours, every weight of the encoder loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary
from omegaconf import OmegaConf

from data_prep.binarise import read_dictionary
from data_prep.checkpoints import read_checkpoint, read_shape
from fairseq_tasks.architectures import RobertaConfig, RobertaOfCheckpoint
from fairseq_tasks.classification import HEAD
from fairseq_tasks.initialisation import load_encoder


@dataclass(frozen=True)
class Opened:
    """A model, the dictionary of its texts, its shape, and the weights beside the encoder that were there too."""

    model: Any
    dictionary: Dictionary
    shape: dict[str, Any]
    has_lm_head: bool
    n_classes: int  # 0: no classification head


def open_checkpoint(checkpoint: Path, model_folder: Path) -> Opened:
    """Return the model in `checkpoint`, whose texts the dictionary in `model_folder` encodes, for evaluation.

    Raises `UsageError` when the file cannot be read, does not tell its shape, or lacks a weight of its encoder.
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
    beside = {
        name: tensor for name, tensor in state["model"].items() if name.startswith(("encoder.lm_head.", "classif"))
    }
    has_lm_head = "encoder.lm_head.dense.weight" in beside
    with torch.no_grad():
        model.load_state_dict(beside, strict=False)
    model.eval()
    return Opened(model, dictionary, shape, has_lm_head, 0 if out is None else out.shape[0])
