"""Turns the user's arguments into runs: one composed configuration for each run, checked for a fair comparison."""

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from data_prep.doses import require_checked
from data_prep.subsets import halves, require_texts
from foundation.errors import UsageError
from hydra_conf.compose import compose_config
from hydra_conf.words import CONF_DIR, group_words, parse_list
from sweeps.device import Machine
from sweeps.fairseq_keys import SPEED_ALONE
from sweeps.folders import ALL, RunKey, parse_training
from sweeps.provenance import PREP, comparable, input_hashes, prepared, require_tables
from sweeps.seeds import LARGEST

WORDS = {"seed": "SEEDS", "device": "DEVICE", "data_dir": "DATA_DIR", "axes": "EXPERIMENT"}
WORDS |= {"n_train": "TRAIN", "length": "TRAIN"}
WORDS |= {"init.layers": "INIT", "init.checkpoint": "model.checkpoint"}
WORDS |= {"fairseq.common.seed": "SEEDS", "fairseq.task.n_train": "TRAIN"}
WORDS |= {
    key: group.upper() for group in ("precision", "init", "backend", "method") for key in (group, f"{group}.name")
}
MAY_DIFFER = ("recipe.learning_rate", "recipe.warmup_share", "fairseq.optimization.lr")
OF_STEPS = {"lr_scheduler": ("total_num_update", "warmup_updates"), "optimization": ("max_update",)}
OF_INIT = ("init.", "fairseq.task.init", *MAY_DIFFER)  # keys, or their beginnings, that may differ between inits


@dataclass(frozen=True)
class Axes:
    """What a sweep varies."""

    backends: list[str]
    methods: list[str]
    inits: list[str]
    seeds: list[int]
    trains: list[str] = field(default_factory=lambda: ["all"])  # words of TRAIN
    datasets: list[str | None] = field(default_factory=lambda: [None])  # None: what the other words say
    models: list[str | None] = field(default_factory=lambda: [None])

    def pairs(self) -> list[tuple[str, str]]:
        """Return the (backend, method) pairs that exist. LoRA adapters need transformers and peft, so lora needs hf."""
        return [
            (backend, method)
            for backend in self.backends
            for method in self.methods
            if method != "lora" or backend == "hf"
        ]

    def kinds(self) -> list[list[str]]:
        """Return the overrides that choose a kind of run, for each dataset, model, backend, method and init."""
        return [
            group_words(dataset=dataset, model=model, backend=backend, method=method, init=init)
            for dataset, model, (backend, method), init in itertools.product(
                self.datasets, self.models, self.pairs(), self.inits
            )
        ]


@dataclass(frozen=True)
class PlannedRun:
    """One run, its whole configuration and the hashes of its inputs."""

    key: RunKey
    config: DictConfig
    inputs: dict[str, Any]
    folder: Path
    typed_threads: int | None  # launcher.threads as requested; None: this machine's share, or what a cut run had


def parse_seeds(text: str) -> list[int]:
    """Return the seeds in `0,1,2`. Raises `UsageError` for no seed, a non-number, a repeat or a seed out of range."""
    words = [word.strip() for word in text.split(",")]
    if words == [""]:
        raise UsageError("SEEDS is empty; give whole numbers such as SEEDS=0,1,2")
    for word in words:
        if not re.fullmatch(r"[0-9]{1,9}", word) or int(word) > LARGEST:
            raise UsageError(
                f"SEEDS={text}: {word!r} is not a whole number from 0 to {LARGEST}; give them as in SEEDS=0,1,2"
            )
    return parse_list("SEEDS", text, [int(word) for word in words])


def parse_train(text: str) -> list[str]:
    """Return the words of TRAIN, such as `halves,allx3` or `50,all`. Raises `UsageError` for another word."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word != "halves" and parse_training(word) is None:
            raise UsageError(
                f"TRAIN={text}: {word!r} is no number of training texts; give such numbers, all, or halves. A number "
                "or all may be followed by a length, as in allx3: 3 times the steps"
            )
    return parse_list("TRAIN", text, words)


def trainings(words: list[str], n: int) -> list[tuple[int, int]]:
    """Return (training texts, length) of each run that the words of TRAIN ask for, of `n` texts.

    Raises `UsageError` for more than `n` texts, for `n`, which is `all`, and for what is asked for twice.
    """
    found: list[tuple[int, int]] = []
    for word in words:
        parsed = parse_training(word)
        for texts, length in [parsed] if parsed is not None else [(size, 1) for size in [ALL, *halves(n)]]:
            if texts == n:
                times = f"x{length}" if length > 1 else ""
                raise UsageError(f"TRAIN={texts}{times}: these are all training texts; say all{times}")
            require_texts(texts, n)
            if (texts, length) in found:
                raise UsageError(f"TRAIN={','.join(words)}: {word} asks twice for {texts or 'all'} training texts")
            found.append((texts, length))
    return found


def refuse_axes(
    overrides: list[str], backends: list[str], methods: list[str], trains: Sequence[str] = ("all",)
) -> None:
    """Raise `UsageError` for an override of a key that has its own variable, or that no run of the sweep has."""
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key in WORDS or key.startswith("hydra."):
            instead = f": use {WORDS[key]}" if key in WORDS else ", runs do not heed it"
            raise UsageError(f"{key} cannot be given as an override{instead}")
        if key == "recipe.updates" and all(word.startswith("all") for word in trains):
            raise UsageError("recipe.updates is a setting of TRAIN=n, and no run of this sweep has it")
        if key.startswith("hf.") and "hf" not in backends:
            raise UsageError(f"{key} is a setting of BACKEND=hf, and no run of this sweep has it")
        if key.startswith("method.") and "lora" not in methods:
            raise UsageError(f"{key} is a setting of METHOD=lora, and no run of this sweep has it")
        of_fairseq = ("speed.", *(f"fairseq.model.{name}" for name in SPEED_ALONE))
        if "fairseq" not in backends and (key == "speed" or key.startswith(of_fairseq)):
            raise UsageError(f"{override}: it is a setting of BACKEND=fairseq, and no run of this sweep has it")


def number_words(overrides: list[str], **variables: str | None) -> list[str]:
    """Return the overrides that set EPOCHS and JOBS. `variables` are these variables under their lower-case names.

    Raises `UsageError` for no whole number, or if one setting is given twice, as a variable, a recipe key or a key of
    fairseq.
    """
    given = {override.lstrip("+~").partition("=")[0]: override for override in overrides}
    keys = {"epochs": "recipe.epochs", "jobs": "launcher.jobs"}
    asked = {name: value for name, value in variables.items() if value}
    for name, value in asked.items():
        if keys[name] in given:
            raise UsageError(f"{name.upper()}={value} and {given[keys[name]]} are one setting; give one of them")
    both = [("recipe.warmup_share", "fairseq.lr_scheduler.warmup_updates")]
    plain: Any = OmegaConf.to_container(OmegaConf.load(CONF_DIR / "backend" / "fairseq.yaml").fairseq, resolve=False)
    for group, settings in plain.items():
        for key, value in settings.items():
            found = re.search(r"\$\{(recipe\.\w+)\}", str(value))
            both += [(found[1], f"fairseq.{group}.{key}")] if found else []
    for one, other in both:
        if one in given and other in given:
            raise UsageError(f"{given[one]} and {given[other]} are one setting; give one of them")
    for name, value in asked.items():
        if not re.fullmatch(r"[0-9]{1,9}", value) or not int(value):
            raise UsageError(f"{name.upper()}={value}: give a whole number above 0")
    return [f"{keys[name]}={value}" for name, value in asked.items()]


def compose_runs(
    words: list[str], axes: Axes, overrides: list[str], machine: Machine, root: Path, prep: str = PREP
) -> list[PlannedRun]:
    """Compose one run for each dataset, model, backend, method, init, number of training texts and seed.

    `words` are the overrides that choose groups and keys, `overrides` are the user's own, `root` is `runs/<sweep>`.
    `prep` is the command that prepares their data. Raises `UsageError` for a bad configuration, for data that is not
    prepared, or if inits would differ in more than learning rate and warm-up.
    """
    runs: list[PlannedRun] = []
    compared: dict[str, dict[str, Any]] = {}  # what runs are compared within -> the configuration of each init
    for kind in axes.kinds():
        chosen = [*words, *kind]
        config = compose_config([*chosen, *overrides])
        manifest = prepared(config, prep)
        if config.model.shape_from_checkpoint:
            config = compose_config([*chosen, *shape_words(manifest, prep), *overrides])
        as_prepared(config, manifest, overrides, prep)
        require_tables(config, prep)
        with open_dict(config):
            config.device, config.precision.name = machine.device, machine.precision
        inputs = input_hashes(config, prep)
        if config.init.checkpoint is not None:
            require_checked(Path(config.init.checkpoint), Path(config.data_dir) / "splits" / config.dataset.name)
        within = "/".join(config[group].name for group in ("dataset", "model", "backend", "method"))
        init = config.init.name
        compared.setdefault(within, {})[init] = comparable(config)
        asked = trainings(axes.trains, inputs["examples"]["train"])
        if any(length > 1 for _, length in asked):
            _refuse_given_steps(config)
        for (texts, length), seed in itertools.product(asked, axes.seeds):
            own = config.copy()
            own.n_train, own.length, own.seed = texts or None, length, seed
            key = replace(RunKey.parse(f"{within}/{init}/seed={seed}"), train=texts, length=length)
            folder = key.folder(root.parent, root.name)
            runs.append(PlannedRun(key, own, inputs, folder, config.launcher.threads))
    for by_init in compared.values():
        _refuse_unfair(by_init)
    key, n = Counter(run.key for run in runs).most_common(1)[0]
    if n > 1:
        raise UsageError(f"{key} is asked for twice: two datasets or models have one name; give another")
    return runs


def as_prepared(config: DictConfig, manifest: dict[str, Any], overrides: list[str], prep: str) -> None:
    """Set the dataset settings to the values that the data was prepared with, also if the command leaves them out.

    Raises `UsageError` for an override with another value, because the override would change nothing.
    """
    found = manifest.get("dataset", {})  # a manifest of an older version has no such entry
    typed = {override.lstrip("+").partition("=")[0] for override in overrides}
    for key, value in found.items():
        asked = config.dataset[key]
        asked = OmegaConf.to_container(asked) if OmegaConf.is_config(asked) else asked
        if asked != value and any(word == f"dataset.{key}" or word.startswith(f"dataset.{key}.") for word in typed):
            raise UsageError(f"dataset.{key}={asked}: the data was prepared with {value}; run `{prep}` first")
        config.dataset[key] = value


def shape_words(manifest: dict[str, Any], prep: str = PREP) -> list[str]:
    """Return the overrides that give a model the shape that prep read from its checkpoint."""
    shape = manifest.get("shape")
    if not shape:
        raise UsageError(f"the data was prepared for a model of another kind; run `{prep}` again")
    own = [f"fairseq.model.{key}={value}" for key, value in shape.items() if key != "max_positions"]
    return [f"model.max_positions={shape['max_positions']}", *own]


def _refuse_given_steps(config: DictConfig) -> None:
    """Raise `UsageError` for a given number of steps: it would be the same in a run of several times the steps."""
    for group, keys in OF_STEPS.items():
        for key in (key for key in keys if config.fairseq[group].get(key)):
            raise UsageError(
                f"fairseq.{group}.{key}={config.fairseq[group][key]} is a number of steps, the same for every length; "
                "leave it out, or the lengths such as x3 in TRAIN"
            )


def unfair_keys(reference: dict[str, Any], other: dict[str, Any], free: tuple[str, ...] = OF_INIT) -> list[str]:
    """Return the keys in which two flat configurations differ but must be equal: all that do not begin as in `free`."""
    return [
        key
        for key in sorted(reference.keys() | other.keys())
        if reference.get(key) != other.get(key) and not key.startswith(free)
    ]


def _refuse_unfair(by_init: dict[str, dict[str, Any]]) -> None:
    reference_init, *others = by_init
    for init in others:
        reference, other = by_init[reference_init], by_init[init]
        for key in unfair_keys(reference, other):
            raise UsageError(
                f"{key} is {reference.get(key)} for init={reference_init} and {other.get(key)} for init={init}; "
                "inits are compared on equal terms, only learning rate and warm-up may differ"
            )


def resolved_yaml(config: DictConfig) -> str:
    """Return the whole configuration of a run as YAML, with every interpolation resolved."""
    return OmegaConf.to_yaml(OmegaConf.create(OmegaConf.to_container(config, resolve=True)))
