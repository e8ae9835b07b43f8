"""Composes the typed root configuration from the groups and a list of Hydra overrides."""

import argparse
import copy
import difflib
import math
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

import hydra_conf.schema
from foundation.errors import UsageError

CONF_DIR = Path(__file__).parent.resolve()
# fairseq, transformers, sbatch and peft (for each type of model) check the keys of these nodes themselves.
FREE_FORM = ("fairseq", "hf", "launcher.options", "method.target_modules")
KINDS = {"Integer": "whole number", "Float": "number", "Boolean": "true or false"}
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

# Hydra copies its store for each configuration and only reads the copy. With fairseq's nodes in it, this is a third of
# the time.
ConfigStore.__deepcopy__ = lambda store, _: store


def choices(group: str) -> list[str]:
    """Return the choices of a group, in alphabetical order."""
    return sorted(path.stem for path in (CONF_DIR / group).glob("*.yaml"))


def nearest(key: str, known: list[str], called: str = "known keys") -> str:
    """Return ` (did you mean ...?)` with the known key most like `key`. If no key is similar, list all known keys."""
    near = difflib.get_close_matches(key, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else f"; {called}: {', '.join(sorted(known))}"


def parse_words(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    """Return the parsed words of a command with `overrides`. These may stand anywhere among its options.

    Every word after `--` is an override.
    """
    end = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_intermixed_args(words[:end])
    arguments.overrides += words[end + 1 :]
    return arguments


def compose_config(overrides: list[str], root: str = "warmstart") -> DictConfig:
    """Return a composed root configuration, with unresolved interpolations and struct mode on.

    `overrides` are plain Hydra overrides such as `dataset=amazon_fr` or `fairseq.optimization.lr=[2e-5]`. `root` is one
    of `hydra_conf.schema.ROOTS`.
    Raises `UsageError` for an unknown group, choice or key, or a value of the wrong type.
    """
    return copy.deepcopy(_composed(root, tuple(overrides)))


@cache
def _composed(root: str, overrides: tuple[str, ...]) -> DictConfig:
    """Return the configuration. Hydra needs a fifth of a second for it, and a sweep asks twice for each kind of run."""
    ours = [_admitted(override, root) for override in overrides]
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            config = compose(root, ours, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise UsageError(_explain(error, root)) from error
    except AssertionError as error:  # OmegaConf raises it for a key of a node that is null
        said = " ".join(overrides)
        raise UsageError(f"{said}: one of these sets a key of something that is null in this configuration") from error
    chosen = config.hydra.runtime.choices
    with open_dict(config):
        del config["hydra"]
    _check_names(config, chosen)
    _check_values(config)
    return config


def quoted(value: object) -> str:
    """Return a value, such as a path, in quotes, so that it may hold any character in an override."""
    return "'" + re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", r"\'"), str(value)) + "'"


def parse_list(name: str, text: str, values: list[Any] | None = None) -> list[Any]:
    """Return the comma-separated words of a variable. Raises `UsageError` for an empty word or a repeat."""
    words = values if values is not None else [word.strip() for word in text.split(",")]
    if "" in words:
        raise UsageError(f"{name}={text}: an empty word; give a list such as a,b")
    repeated = sorted({str(word) for word in words if words.count(word) > 1})
    if repeated:
        raise UsageError(f"{name}={text}: {', '.join(repeated)} is given twice; give each once")
    return words


def group_words(**chosen: str | None) -> list[str]:
    """Return the overrides that choose `dataset`, `model`... A group that is None or empty keeps its default.

    A model with a slash in it is a folder: `MODEL=path/to/folder` is `model=folder` named after that folder.
    """
    words = []
    for group, choice in chosen.items():
        if group == "model" and choice and "/" in choice:
            words += _folder_words(Path(choice).expanduser())
        elif group == "init" and choice:
            words += _init_words(choice)
        elif choice:
            words.append(f"{group}={choice}")
    return words


def _init_words(init: str) -> list[str]:
    """Return the overrides that choose an init. `bottom_2` is `init=bottom` with two layers."""
    layers = re.fullmatch(r"bottom_([1-9][0-9]*)", init)
    typed = re.search(r"[1-9][0-9]*$", init)
    known = [f"bottom_{typed[0] if typed else 2}" if name == "bottom" else name for name in choices("init")]
    if layers:
        return ["init=bottom", f"init.layers={layers[1]}"]
    if init not in known:
        raise UsageError(
            f"INIT={init}: there is no such init{nearest(init, known, 'choose from (bottom_ takes any number)')}"
        )
    return [f"init={init}"]


def _recipe_of(model: str, init: str) -> str:
    """Return the recipe of an init: its own, else that of random weights. The defaults list of warmstart.yaml asks."""
    own = f"{model}_{init}"
    return own if own in choices("recipe") or init in ("pretrained", "random") else f"{model}_random"


OmegaConf.register_new_resolver("recipe_of", _recipe_of, replace=True)


def _folder_words(folder: Path) -> list[str]:
    name = folder.absolute().resolve().name
    if name in choices("model"):
        raise UsageError(
            f"MODEL={folder}: a folder called {name} would be mistaken for the model of that name; "
            f"say MODEL={name}, or rename the folder"
        )
    if not folder.is_dir():
        raise UsageError(f"MODEL={folder}: there is no such folder; give one that holds a fairseq RoBERTa")
    return ["model=folder", f"model.folder={quoted(folder.absolute())}", f"model.name={quoted(name)}"]


def _admitted(override: str, root: str) -> str:
    """Return a user's override in Hydra's form. Raises `UsageError` if it is invalid or gives a list of values."""
    key, equals, value = override.partition("=")
    if equals and (CONF_DIR / key).is_dir() and value not in choices(key):
        raise UsageError(f"{key.upper()}={value}: there is no such {key}{nearest(value, choices(key), 'choose from')}")
    if equals and _is_text(key, root):
        return f"{key}={_plain(value)}"
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException as error:
        raise UsageError(f"{override!r} is not a Hydra override such as recipe.epochs=3") from error
    if parsed.is_sweep_override():
        raise UsageError(
            f"{override!r}: a key takes one value, and there is no --multirun; call once for each value, "
            "each with a SWEEP of its own"
        )
    key = parsed.key_or_group or ""
    if key in ("fairseq", "hf") and not isinstance(parsed.value(), dict):
        raise UsageError(f"{override!r}: {key} holds keys, as in {key}.KEY=VALUE")
    free = key.startswith(tuple(f"{name}." for name in FREE_FORM))
    plain = not override.startswith(("+", "~"))
    if not plain and not free:
        raise UsageError(f"{override!r}: keys cannot be added or removed outside of {' and '.join(FREE_FORM)}")
    return f"++{override}" if plain and free else override


def _is_text(key: str, root: str) -> bool:
    """Return whether a key holds a string according to the schema: a name, a path, a column."""
    *groups, last = key.split(".")
    node = _schema_of(groups, root)
    hint = get_type_hints(node).get(last) if node else None
    return hint is str or set(get_args(hint)) == {str, NoneType}


def _schema_of(groups: list[str], root: str) -> Any:
    """Return the class of the schema at a path, such as `ModelConfig` at `["model"]`, or None."""
    node: Any = hydra_conf.schema.ROOTS[root]
    for part in groups:
        hint = get_type_hints(node).get(part) if node else None
        node = next((kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)), None)
    return node


def _plain(value: str) -> str:
    """Return a text quoted, so that it may hold any characters. Leave `null` and quoted texts unchanged."""
    if value == "null":
        return value
    try:
        parsed = OverridesParser.create().parse_override(f"key={value}")
    except HydraException:
        return quoted(value)
    return value if isinstance(parsed._value, QuotedString) else quoted(value)


def _explain(error: Exception, root: str) -> str:
    """Turn Hydra's message into one sentence that names the wrong key and the nearest valid key."""
    cause = error.__cause__ or error
    text = " ".join(f"{error} {cause}".split())
    missing = re.search(r"Could not find '(\w+)/([^']*)'", text)
    if missing:
        group, choice = missing.groups()
        known = choices(group)
        if group == "recipe" and "_" in choice:
            return f"there is no recipe {choice!r} in hydra_conf/recipe; add one, or choose from {', '.join(known)}"
        return f"{group.upper()}={choice}: there is no such {group}; choose from {', '.join(known)}"
    full = re.search(r"full_key: ([\w.]+)", text)
    unknown = re.search(r"Key '([^']+)' (?:is )?not in (?:struct|'\w+')", text)
    unknown = (full or unknown) if unknown else re.search(r"Could not override '([\w./@]+)'", text)
    if unknown:
        *groups, last = unknown[1].split(".")
        while not (node := _schema_of(groups, root)):
            groups.pop()
        return f"unknown configuration key {unknown[1]!r}{nearest(last, [field.name for field in fields(node)])}"
    kind = re.search(r"Value '([^']*)' of type '\w+' could not be converted to (\w+)", text)
    if kind and full:
        return f"{full[1]}={kind[1]}: it is no {KINDS.get(kind[2], kind[2])}"
    return text.split(" full_key:")[0]


def _check_names(config: DictConfig, chosen: DictConfig) -> None:
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


def _check_values(config: DictConfig) -> None:
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
    _refuse_no_numbers(config)


def _check_pretraining(settings: DictConfig) -> None:
    if settings.batch_tokens % settings.block_tokens:
        raise UsageError(
            f"pretraining.batch_tokens={settings.batch_tokens}: give a multiple of pretraining.block_tokens, "
            f"{settings.block_tokens}"
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
