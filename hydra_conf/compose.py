"""Composes the typed root configuration from the groups and a list of Hydra overrides."""

import copy
import re
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Any, get_args, get_type_hints

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

import hydra_conf.schema
from foundation.errors import UsageError
from hydra_conf.checks import check_names, check_values
from hydra_conf.words import CONF_DIR, choices, nearest, quoted

# fairseq, transformers, sbatch and peft (for each type of model) check the keys of these nodes themselves.
FREE_FORM = ("fairseq", "hf", "launcher.options", "method.target_modules")
KINDS = {"Integer": "whole number", "Float": "number", "Boolean": "true or false"}

# Hydra copies its store for each configuration and only reads the copy. With fairseq's nodes in it, this is a third of
# the time.
ConfigStore.__deepcopy__ = lambda store, _: store


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
    check_names(config, chosen)
    check_values(config)
    return config


def recipe_of(model: str, init: str) -> str:
    """Return the recipe of an init: its own, else that of random weights, else the model's, else fairseq's usual one.

    `pretrained` does not take the recipe of random weights. The defaults list of warmstart.yaml asks.
    """
    of_random = [] if init == "pretrained" else [f"{model}_random"]
    known = choices("recipe")
    return next((name for name in (f"{model}_{init}", *of_random, model) if name in known), "roberta_fine_tuning")


OmegaConf.register_new_resolver("recipe_of", recipe_of, replace=True)


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
