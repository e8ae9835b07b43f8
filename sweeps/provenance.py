"""Records what a run was made from: hashes of its inputs, versions, machine."""

import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from data_prep.stages import read_manifest
from foundation.errors import UsageError
from foundation.whole_files import sha256_of
from hydra_conf.checks import flat
from hydra_conf.schema import DatasetConfig, RootConfig
from hydra_conf.words import quoted

PACKAGES = (
    "ve-fairseq",
    "fairseq-fixed",
    "torch",
    "sentencepiece",
    "hydra-core",
    "omegaconf",
    "numpy",
    "tensorboard",
    "transformers",
    "peft",
    "accelerate",
    "tokenizers",
    "safetensors",
)
USUAL = {field.name: field.default for field in fields(DatasetConfig)} | {"labels": None}  # of the user's own tables
PREP = "make prep"  # where the words of the sweep are not known
# Paths and launcher settings do not change what a run is. Its inputs are compared by their hashes.
NOT_COMPARED = (
    "axes",
    "data_dir",
    "dataset.train",
    "dataset.valid",
    "dataset.test",
    "launcher",
    "model.folder",
    "model.checkpoint",
    "init.checkpoint",
    "recipe.source",  # words
    "fairseq.task.checkpoint",
)


def binarised_folder(config: DictConfig) -> Path:
    return Path(config.data_dir).absolute() / "bin" / f"{config.dataset.name}.{config.model.name}"


def prepared(config: DictConfig, prep: str = PREP) -> dict[str, Any]:
    """Return the manifest of the binarised data. Raises `UsageError` with `prep` if there is none."""
    data = binarised_folder(config)
    manifest = read_manifest(data)
    if manifest is None:
        made = sorted(
            path.parent.name.removesuffix(f".{config.model.name}")
            for path in data.parent.glob(f"*.{config.model.name}/manifest.json")
        )
        others = f" (prepared for this model: {', '.join(made)})" if made else ""
        raise UsageError(
            f"{data} is not there: {config.dataset.name} is not prepared for {config.model.name}; run "
            f"`{prep}` first{others}"
        )
    return manifest


def own_tables(config: DictConfig) -> list[str]:
    """Return the overrides of prep for the user's own tables that `config` lacks: as in prep, else `...`."""
    if config.dataset.reader != "table":
        return []
    splits = read_manifest(Path(config.data_dir) / "splits" / config.dataset.name) or {}
    own = config.dataset
    given = given_tables(splits) or {"train": "...", **({} if own.n_test is not None else {"test": "..."})}
    if own.n_test is not None:  # test texts are brought or drawn, never both
        given.pop("test", None)
    if own.test is not None:
        given.pop("n_test", None)
    return table_words({key: value for key, value in given.items() if own[key] == USUAL[key]})


def require_tables(config: DictConfig, prep: str) -> None:
    """Raise `UsageError` with `prep` when the data was prepared from another table than the configuration names."""
    inputs = (read_manifest(Path(config.data_dir) / "splits" / config.dataset.name) or {}).get("inputs", {})
    read = inputs.get("raw", {})
    for part in ("train", "valid", "test"):
        path = config.dataset[part]
        of_part = read.get(part, read.get("all") if part == "train" else None)
        if path is not None and Path(path).is_file() and sha256_of(Path(path)) != of_part:
            raise UsageError(f"dataset.{part}={path}: the data was not prepared from this file; run `{prep}` first")


def given_tables(splits: dict[str, Any]) -> dict[str, Any]:
    """Return what prep was told of the user's own tables, by the manifest of their splits: files, and unusual settings.

    Empty for other datasets.
    """
    files: dict[str, Any] = splits.get("source", {}).get("files", {})
    settings = splits.get("inputs", {}).get("settings", {}) if files else {}
    kept = {key: value for key, value in settings.items() if key in USUAL and key not in ("name", "reader")}
    unusual = {key: value for key, value in kept.items() if value != USUAL[key]}
    return {**files, **unusual}


def table_words(given: dict[str, Any]) -> list[str]:
    """Return what `given_tables` found as overrides of prep."""

    def word(value: Any) -> str:
        if isinstance(value, list):
            return f"[{','.join(map(quoted, value))}]"
        return str(value) if re.fullmatch(r"[\w ./-]+", str(value)) or value == "..." else quoted(value)

    return [f"dataset.{key}={word(value)}" for key, value in given.items()]


def input_hashes(config: DictConfig, prep: str = PREP) -> dict[str, Any]:
    """Return the hash of each file of the binarised data, its example counts, its classes and the checkpoint's hash.

    The checkpoint's hash is None for init=random. Raises `UsageError` when the data is not prepared or the checkpoint
    does not exist.
    """
    manifest = prepared(config, prep)
    checkpoint = config.init.checkpoint
    if checkpoint is not None and not Path(checkpoint).is_file():
        said = f"there is no checkpoint {checkpoint} (model.checkpoint); init=pretrained cannot start from it"
        if config.model.vocabulary_of:
            names, raw = ", ".join(file.name for file in config.model.files), Path(config.data_dir) / "raw"
            said += f". Put {names} into {raw / config.model.name} and run `{prep}`; "
            said += "INIT=random needs none of it"
        raise UsageError(said)
    found = {
        "data": manifest["outputs"],
        "examples": manifest["examples"],
        "labels": manifest["labels"],
        "checkpoint": sha256_of(Path(checkpoint)) if checkpoint else None,
    }
    # Runs of earlier versions do not record it: their head kept its first weights, so they are other runs.
    return found | ({"trained": "adapter and head"} if config.method.name == "lora" else {})


def comparable(config: DictConfig, left_out: Sequence[str] = NOT_COMPARED) -> dict[str, Any]:
    """Return the resolved configuration as {dotted key: value}, without the keys and nodes in `left_out`."""
    whole = flat(OmegaConf.to_container(config, resolve=True))
    begins = tuple(f"{name}." for name in left_out)
    return {key: value for key, value in whole.items() if not f"{key}.".startswith(begins)}


def differing_keys(stored: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """Return `key: stored -> asked` for each key whose value differs.

    If one side lacks a key, the key's default counts. So a new key makes no difference to a run of an earlier version.
    """
    usual = defaults()
    pairs = {
        key: (stored.get(key, usual.get(key, "absent")), asked.get(key, usual.get(key, "absent")))
        for key in sorted(stored.keys() | asked.keys())
    }
    return [f"{key}: {before} -> {now}" for key, (before, now) in pairs.items() if before != now]


@cache
def defaults() -> dict[str, Any]:
    """Return the default of every key that has one, as {dotted key: value}."""
    return comparable(OmegaConf.structured(RootConfig))


def differing_inputs(made_from: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return the names of the inputs that differ (data, checkpoint...)."""
    return [f"{name} (input)" for name in found if made_from.get(name) != found[name]]


def provenance(config: DictConfig, inputs: dict[str, Any], threads: int) -> dict[str, Any]:
    """Return the record for provenance.json. After training, sweeps/run.py adds the record of the initialisation."""
    import torch

    on_cuda = config.device == "cuda"
    return {
        "inputs": inputs,
        "git_commit": _git_commit(),
        "versions": {"python": platform.python_version(), **_versions()},
        "host": platform.node(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(0) if on_cuda else _cpu_name(),
        "precision": config.precision.name,
        "threads": threads,
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return answer.stdout.strip() or None


def _cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="ignore").split("\n")
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
