"""Makes Trainer's arguments and optimiser from a run's configuration, and refuses what a run does not heed."""

import math
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from transformers import PreTrainedModel, Trainer, TrainingArguments

from foundation.errors import UsageError
from hydra_conf.checks import betas_of
from hydra_conf.words import nearest

HEEDED = ["gradient_checkpointing", "neftune_noise_alpha", "optim"]  # of TrainingArguments
INSTEAD = {  # words in keys of TrainingArguments -> what the user sets instead
    "seed": "use SEEDS",
    "output": "use RUNS_DIR",
    "epochs": "use EPOCHS",
    "fp16": "use PRECISION",
    "bf16": "use PRECISION",
    "cpu": "use DEVICE",
    "save": "use launcher.save_every",
    "eval": "use recipe.evaluate_every",
    "batch": "use recipe.batch_size",
    "logging": "use fairseq.common.log_interval",
    "scheduler": "the schedule is polynomial decay, with the settings of fairseq.lr_scheduler",
    "warmup": "use recipe.warmup_share or fairseq.lr_scheduler.warmup_updates",
    "accumulation": "a step takes one batch",
    "learning_rate": "use recipe.learning_rate",
    "weight_decay": "use recipe.weight_decay",
    "adam_beta": "use recipe.adam_betas",
    "adam_epsilon": "use recipe.adam_eps",
    "grad_norm": "use recipe.clip_norm",
}


def training_arguments(
    folder: Path, config: DictConfig, settings: DictConfig, steps: int, elsewhere: bool = False
) -> TrainingArguments:
    """Return Trainer's arguments: this module's from the configuration, the user's from its node `hf`.

    With `elsewhere`, the arguments are only checked here. The run trains on another machine, which may have other
    devices. Raises `UsageError` for a key that runs do not heed, and for a value that Trainer refuses.
    """
    given: dict[str, Any] = dict(config.hf)
    for key in given:
        if key not in HEEDED:
            instead = next((f": {said}" for word, said in INSTEAD.items() if word in key), "")
            raise UsageError(f"hf.{key} cannot be given{instead or nearest(key, HEEDED, 'runs heed')}")
    noise, saves_memory = given.get("neftune_noise_alpha"), given.get("gradient_checkpointing", False)
    if noise is not None and not (isinstance(noise, int | float) and 0 < noise < math.inf):
        raise UsageError(f"hf.neftune_noise_alpha={noise}: it is a number above 0")
    if not isinstance(saves_memory, bool):
        raise UsageError(f"hf.gradient_checkpointing={saves_memory}: it is true or false")
    beta1, beta2 = betas_of(str(settings.optimizer.adam_betas), "fairseq.optimizer.adam_betas")
    try:
        return TrainingArguments(
            output_dir=str(folder),
            seed=settings.common.seed,
            use_cpu=settings.common.cpu or elsewhere,
            fp16=settings.common.fp16 and not elsewhere,
            bf16=settings.task.autocast and not elsewhere,
            max_steps=steps,
            per_device_train_batch_size=settings.dataset.batch_size or 1,
            learning_rate=float(settings.optimization.lr[0]),
            weight_decay=settings.optimizer.weight_decay,
            adam_beta1=beta1,
            adam_beta2=beta2,
            adam_epsilon=settings.optimizer.adam_eps,
            max_grad_norm=settings.optimization.clip_norm,
            logging_steps=settings.common.log_interval,
            logging_nan_inf_filter=False,
            report_to="none",
            save_strategy="no",
            eval_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            **given,
        )
    except (TypeError, ValueError) as error:
        raise UsageError(f"the Trainer refuses its arguments: {str(error).splitlines()[0]}") from error


def check_optimizer(arguments: TrainingArguments, model: PreTrainedModel, overrides: list[str]) -> None:
    """Build the optimiser of a run. Raises transformers' errors, and `UsageError` for an override without effect.

    `overrides` are the user's own.
    """
    kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
    kind([weight for weight in model.parameters() if weight.requires_grad], **settings)
    name = str(getattr(arguments.optim, "value", arguments.optim))
    for override in overrides if not name.startswith("adam") else []:
        key = override.lstrip("+~").partition("=")[0]
        if key.rpartition(".")[2] in ("adam_betas", "adam_eps"):
            raise UsageError(f"{override}: hf.optim={name} does not heed it")
