"""Trains one pre-training in its own process, and says which model folders it makes and what decides them."""

import hashlib
import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from data_prep.corpus import corpus_folder
from data_prep.doses import ABOUT, NOT_LEARNED, dose_name, steps_of
from foundation.errors import UsageError
from foundation.whole_files import sha256_of
from hydra_conf.checks import learns_positions
from sweeps.beginning import begin
from sweeps.folders import read_json, set_status
from sweeps.provenance import comparable

NOT_COMPARED = (  # they do not decide the weights of a given dose
    *("tokens", "threads", "data_dir", "corpus.file", "corpus.how_to_get", "corpus.licence", "corpus.citation"),
    *(f"model.{key}" for key in ("folder", "checkpoint", "files", "licence", "citation", "max_unknown_share")),
    *(f"model.published_{key}" for key in ("matrices", "vocabulary", "architecture")),
    *("pretraining.first_dose", "fairseq.common"),
)
OF_SHORT_TEXTS = ("pretraining.first_block_tokens", "pretraining.growing_tokens")


def train(folder: Path, config: DictConfig) -> None:
    """Train in the folder of a pre-training, from its last checkpoint if it has one. Runs in its own process.

    Raises any error that stops the training.
    """
    from fairseq_tasks.resume import Saver
    from fairseq_tasks.training import train as train_with_fairseq
    from sweeps.fairseq_config import fairseq_config, resolved

    beginning = begin(folder, config, config.threads, inputs_of)
    pretraining = config.pretraining
    doses = doses_of(config.tokens, pretraining.first_dose)
    settings = fairseq_config(config, corpus_folder(config) / "input0", folder, config.device, config.precision.name)
    with open_dict(settings):
        settings.dataset.batch_size = settings.dataset.batch_size_valid = (
            pretraining.batch_tokens // pretraining.block_tokens
        )
        settings.dataset.validate_interval = config.tokens  # no evaluation at the end of an epoch
        settings.task.update(first_block=pretraining.first_block_tokens, growing_tokens=pretraining.growing_tokens)
        settings.task.update(doses=doses, models=_models(config), vocabulary=str(Path(config.model.folder).absolute()))
        settings.task.about = {
            "model": config.model.name,
            "corpus": config.corpus.name,
            "added": list(config.corpus.add),
            "learning_rate": pretraining.learning_rate,
            "batch_tokens": pretraining.batch_tokens,
            "first_texts": _first_texts(pretraining),
            "positions": _positions(config.fairseq.model),
            "identity": identity(config, beginning.record["inputs"]),
            "checked": checked_by(config),
        }
        steps = steps_of(config.tokens, pretraining.batch_tokens)
        settings.optimization.max_update = settings.optimization.max_epoch = steps
        settings.lr_scheduler.warmup_updates = max(1, steps_of(pretraining.warmup_tokens, pretraining.batch_tokens))
    settings = resolved(settings)
    for dose in missing(config):
        if beginning.checkpoint is not None and steps_of(dose, pretraining.batch_tokens) <= beginning.step:
            raise UsageError(
                f"{model_folder(config, dose)} is not there, and the training is past it, at "
                f"{beginning.step * pretraining.batch_tokens:,} tokens; put it back, or begin the training anew with "
                "FORCE=1"
            )
    beginning.write(folder)
    set_status(folder, planned_steps=steps)
    if beginning.step >= steps:  # it was stopped after its last step, or was longer before
        return
    evaluations = sorted({steps_of(dose, pretraining.batch_tokens) for dose in doses})
    saver = Saver(folder, 10, beginning.step)
    train_with_fairseq(settings, steps, evaluations, saver, beginning.checkpoint, save_at_end=True)
    if missing(config) or read_json(folder / "progress.json").get("batches") != steps:
        raise UsageError("training stopped before its plan was complete; train.log says why")


def _first_texts(pretraining: DictConfig) -> str:
    if pretraining.first_block_tokens is None:
        return "whole blocks"
    return f"{pretraining.first_block_tokens} tokens, whole blocks after {pretraining.growing_tokens:,} tokens"


def _positions(model: DictConfig) -> str:
    if not learns_positions(model):
        return NOT_LEARNED
    return "begin as sinusoids" if model.position_init == "sinusoidal" else "are drawn at first"


def doses_of(tokens: int, first: int) -> list[int]:
    """Return the doses of a training on `tokens` tokens: 0, `first` and its doubles up to `tokens`, and `tokens`."""
    doses = [0]
    while (following := 2 * doses[-1] or first) <= tokens:
        doses.append(following)
    return doses if doses[-1] == tokens else [*doses, tokens]


def model_folder(config: DictConfig, dose: int) -> Path:
    return Path(f"{_models(config)}{dose_name(dose)}")


def _models(config: DictConfig) -> str:
    return str(Path(config.data_dir).absolute() / "models" / f"{config.model.name}@")


def inputs_of(config: DictConfig) -> dict[str, Any]:
    """Return the hashes of the binarised corpus."""
    folder = corpus_folder(config) / "input0"
    return {name: sha256_of(folder / name) for name in ("train.bin", "train.idx", "valid.bin", "valid.idx", "dict.txt")}


def checked_by(config: DictConfig) -> dict[str, Any]:
    """Return the datasets whose texts were looked for in the corpus, as prep's manifest lists them."""
    return dict(read_json(corpus_folder(config) / "manifest.json")["inputs"]["checked"])


def missing(config: DictConfig) -> list[int]:
    """Return the doses whose model folder is not there."""
    doses = doses_of(config.tokens, config.pretraining.first_dose)
    return [dose for dose in doses if not (model_folder(config, dose) / ABOUT).is_file()]


def identity(config: DictConfig, inputs: dict[str, Any]) -> str:
    """Return a digest of what decides the weights of a dose: the settings and the corpus."""
    return hashlib.sha256(json.dumps([compared(config), inputs], sort_keys=True).encode()).hexdigest()


def compared(config: DictConfig) -> dict[str, Any]:
    """Return the settings that decide the weights of a dose.

    Those of short texts and of sinusoids are left out where there are none. So trainings from before these settings
    stay what they are, and saying what is usual changes nothing.
    """
    left_out = list(NOT_COMPARED)
    if config.pretraining.get("first_block_tokens") is None:
        left_out += OF_SHORT_TEXTS
    if config.fairseq.model.get("position_init") == "normal":
        left_out.append("fairseq.model.position_init")
    return comparable(config, left_out)
