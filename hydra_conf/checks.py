"""Checks the values of a composed configuration, whose types Hydra has checked already."""

import math
import re
from collections.abc import Callable
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf

import hydra_conf.schema
from foundation.errors import UsageError
from hydra_conf.words import CONF_DIR, choices, nearest

Check = tuple[str, Callable[[Any], bool]]  # what a value is, and whether it is so


def _one_of(*words: str) -> Check:
    return f"choose from {', '.join(words)}", lambda value: value in words


def _from(smallest: int) -> Check:
    return f"it is a number from {smallest}", lambda value: value is None or value >= smallest


ABOVE_0: Check = "it must be above 0", lambda value: 0 < value < math.inf
CHECKS: dict[str, Check] = {
    "dataset.valid_share": ("it is a share of train, between 0 and 1", lambda value: 0 < value < 1),
    "dataset.leaks": _one_of("drop", "keep"),
    "model.max_unknown_share": ("it is a share, from 0 to 1", lambda value: 0 <= value <= 1),
    "recipe.epochs": ABOVE_0,
    "recipe.batch_size": ABOVE_0,
    "recipe.learning_rate": ABOVE_0,
    "recipe.warmup_share": ("it is a share of all steps, from 0 to below 1", lambda value: 0 <= value < 1),
    "recipe.updates": _one_of("full", "epochs"),
    "pretraining.block_tokens": _from(2),
    "pretraining.first_block_tokens": _from(2),
    "pretraining.growing_tokens": ABOVE_0,
    "pretraining.batch_tokens": _from(2),
    "pretraining.learning_rate": ABOVE_0,
    "pretraining.warmup_tokens": _from(0),
    "pretraining.mask_share": ("it is a share, above 0 and below 1", lambda value: 0 < value < 1),
    "pretraining.dropout": ("it is a share, from 0 to below 1", lambda value: 0 <= value < 1),
    "pretraining.first_dose": ABOVE_0,
    "device": _one_of("auto", "cpu", "cuda"),
    "method.r": _from(1),
    "method.alpha": _from(1),
    "method.dropout": ("it is a share, from 0 to below 1", lambda value: 0 <= value < 1),
    "method.bias": _one_of("none", "all", "lora_only"),  # which biases LoRA trains, in peft's words
    "launcher.save_every": _from(0),
    "launcher.retries": _from(0),
    "launcher.jobs": _from(1),
    "launcher.threads": _from(1),
    "launcher.minutes": _from(2),
    "launcher.memory_gb": _from(1),
    "launcher.gpus": _from(0),
    "threads": _from(1),
    "seed": ("it is a number from 0 to 2000", lambda value: 0 <= value <= 2_000),
}


def check_names(config: DictConfig, chosen: DictConfig) -> None:
    """Raise `UsageError` if the user's own data or model would take the folder of a known dataset or model."""
    for group in named_groups(config):
        own = None if OmegaConf.is_missing(config[group], "name") else config[group].name
        if own in choices(group) and own != chosen[group]:
            raise UsageError(
                f"{group}.name={own}: {group.upper()}={chosen[group]} would replace what prep made of "
                f"the known {group} of this name; give another"
            )


def named_groups(config: DictConfig) -> list[str]:
    """Return the groups of a configuration whose names are folders."""
    return [group for group in ("dataset", "model", "corpus") if group in config]


def check_values(config: DictConfig) -> None:
    for group in named_groups(config):
        if OmegaConf.is_missing(config[group], "name"):
            if group == "corpus":
                raise UsageError('CORPUS=text: say which one, ARGS="corpus.name=mine corpus.file=mine.txt"')
            raise UsageError(f"{group.upper()}=folder: say which one, {group.upper()}=path/to/folder")
        name = config[group].name
        if not re.fullmatch(r"\w[\w.+@-]*", name):
            raise UsageError(f"{group}.name={name}: it names folders; use letters, digits, . _ + - @")
    if "launcher" in config:
        _check_launcher(config.launcher)  # before the ranges of settings that a launcher may not have
    for key, (check, is_right) in CHECKS.items():
        value = OmegaConf.select(config, key)
        if key.partition(".")[0] not in config:
            continue
        if (not key.startswith("method.") or config.method.name == "lora") and not is_right(value):
            raise UsageError(f"{'DEVICE' if key == 'device' else key}={value}: {check}")
    _check_fairseq(config.fairseq)
    if "recipe" in config:
        _check_evaluation(config.recipe.evaluate_every)
    else:
        _check_pretraining(config.pretraining)
        if config.fairseq.model.position_init == "sinusoidal" and not learns_positions(config.fairseq.model):
            raise UsageError(
                "fairseq.model.position_init=sinusoidal: it needs learned positions (encoder_learned_pos=true, "
                "no_token_positional_embeddings=false); without them give fairseq.model.position_init=normal"
            )
    _refuse_no_numbers(config)


def learns_positions(model: DictConfig) -> bool:
    """Return whether an encoder has positions that are trained, as it has if nothing is said."""
    return bool(model.get("encoder_learned_pos", True)) and not model.get("no_token_positional_embeddings", False)


def _check_pretraining(settings: DictConfig) -> None:
    if settings.batch_tokens % settings.block_tokens:
        raise UsageError(
            f"pretraining.batch_tokens={settings.batch_tokens}: give a multiple of pretraining.block_tokens, "
            f"{settings.block_tokens}"
        )
    if settings.first_block_tokens is None:
        return
    times, rest = divmod(settings.block_tokens, settings.first_block_tokens)
    if rest or times < 2 or times & (times - 1):
        raise UsageError(
            f"pretraining.first_block_tokens={settings.first_block_tokens} does not go with pretraining.block_tokens="
            f"{settings.block_tokens}: give a half, a quarter, an eighth ... of it, or "
            "pretraining.first_block_tokens=null for whole blocks"
        )


def _check_evaluation(every: str) -> None:
    if every == "0":
        raise UsageError("recipe.evaluate_every=0: to evaluate at step 0 and at each epoch's end, say epoch")
    if every not in ("geometric", "epoch") and not re.fullmatch(r"[1-9][0-9]*", every):
        raise UsageError(f"recipe.evaluate_every={every}: choose from geometric, epoch, or give a number of steps")


def _check_fairseq(node: DictConfig) -> None:
    """Check the structure of the node, the splits and the learning rates before fairseq is imported."""
    for group, settings in node.items():
        if not isinstance(settings, DictConfig):
            raise UsageError(f"fairseq.{group!s}={settings}: it holds keys, as in fairseq.{group!s}.KEY=VALUE")
    splits = OmegaConf.select(node, "dataset.valid_subset")
    if splits not in ("valid,test", "valid"):
        raise UsageError(
            f"fairseq.dataset.valid_subset={splits}: it is `valid,test`, or `valid` alone; the best step is chosen on "
            "valid"
        )
    rates = OmegaConf.select(node, "optimization.lr")
    one = rates[0] if isinstance(rates, ListConfig) and len(rates) == 1 else None
    if isinstance(one, bool) or not isinstance(one, int | float) or not 0 < one < math.inf:
        raise UsageError(
            f"fairseq.optimization.lr={rates}: give one rate above 0, as in [2e-5]; the schedule lowers it"
        )


def betas_of(text: str, key: str) -> tuple[float, float]:
    """Return Adam's two decay rates from a text such as `(0.9, 0.98)`. Raises `UsageError` that names `key`."""
    numbers = re.findall(r"[^\s,()\[\]]+", text)
    try:
        pair = [float(number) for number in numbers]
    except ValueError:
        pair = []
    if len(pair) != 2 or not all(0 <= rate < 1 for rate in pair):
        raise UsageError(f"{key}={text}: it is a pair of numbers from 0 to below 1, such as (0.9, 0.98)")
    return pair[0], pair[1]


def _refuse_no_numbers(config: DictConfig) -> None:
    """Raise `UsageError` that names a key whose value is infinite or not a number (NaN)."""
    for name, value in flat(OmegaConf.to_container(config)).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{name}={value}: it is no finite number")


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return a nested dictionary as {dotted key: value}. An empty dictionary is a value."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return found


def _check_launcher(launcher: DictConfig) -> None:
    known = yaml.safe_load((CONF_DIR / "launcher" / f"{launcher.name}.yaml").read_text(encoding="utf-8"))
    unset = OmegaConf.structured(hydra_conf.schema.LauncherConfig)
    for key in sorted(set(launcher) - set(known)):
        if launcher[key] != unset[key]:
            raise UsageError(
                f"launcher.{key}={launcher[key]}: LAUNCHER={launcher.name} has no such setting"
                f"{nearest(key, list(known), 'its settings')}"
            )
    if launcher.name == "slurm" and launcher.gpus not in (0, 1):
        raise UsageError(f"launcher.gpus={launcher.gpus:g}: a run uses one GPU of a SLURM job; 0 trains on the CPU")
