"""Pre-trains a model from random weights, and keeps a model folder at each dose: `python -m sweeps pretrain`.

Masked language modelling with fairseq, in the folder `runs/pretraining/<corpus>.<model>`. The model folders are
`data/models/<model>@<dose>`, at 0, 1, 2, 4 ... million tokens and at TOKENS. A training that was stopped goes on, and a
larger TOKENS makes a finished training longer: the learning rate does not depend on TOKENS.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

from filelock import Timeout
from omegaconf import DictConfig, OmegaConf, open_dict

from data_prep.__main__ import prepare_model
from data_prep.corpus import corpus_folder, prepare_corpus
from data_prep.doses import ABOUT, UNITS, dose_name
from foundation.errors import UsageError
from foundation.whole_files import require_no_dead_link, sha256_of, write_json, write_text
from hydra_conf.compose import choices, compose_config, flat, group_words, parse_words, quoted
from sweeps.child import environment_of, note_death, start
from sweeps.device import Machine, resolve_machine
from sweeps.folders import delete, lock_of, read_json, read_status, set_status
from sweeps.grid import resolved_yaml, shape_words
from sweeps.pool import POLL_SECONDS, Signals, SweepInterrupted
from sweeps.provenance import differing_inputs, differing_keys, provenance
from sweeps.run import PRETRAINING
from sweeps.screen import duration

SAY_EVERY = 30.0  # seconds
PATIENCE = 10.0  # seconds to wait for a process that is ending
NOT_COMPARED = ("tokens", "threads", "data_dir", "model.folder", "model.checkpoint", "corpus.file", "corpus.how_to_get")


def arguments_of_pretrain(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sweeps pretrain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", help="whose architecture and vocabulary to take (default: roberta_small_fr)")
    add("--corpus", help=f"one of: {', '.join(choices('corpus'))} (default: eltec_fra)")
    add("--tokens", default="64M", help="tokens to train on, as in 16M or 250k (default: %(default)s)")
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--precision", default="auto", help="auto, fp32 or bf16")
    add("--force", action="store_true", help="begin anew: delete the training and its model folders")
    add("--data-dir", type=Path, default=Path("data"))
    add("--runs-dir", type=Path, default=Path("runs"))
    add("overrides", nargs="*", help="Hydra overrides, such as pretraining.learning_rate=5e-4")
    return parse_words(parser, words)


def parse_tokens(text: str) -> int:
    """Return the number in `64M`, `250k` or `1000000`. Raises `UsageError` for anything else."""
    found = re.fullmatch(r"([1-9][0-9]*)([kMG]?)", text.strip())
    if not found:
        raise UsageError(f"TOKENS={text}: give a number of tokens, as in 64M, 250k or 1000000")
    return int(found[1]) * UNITS[found[2]]


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


def comparable(config: DictConfig) -> dict[str, Any]:
    """Return the settings that decide the weights of a given dose, as {dotted key: value}."""
    whole = flat(OmegaConf.to_container(config, resolve=True))
    left_out = tuple(f"{name}." for name in NOT_COMPARED)
    return {key: value for key, value in whole.items() if not f"{key}.".startswith(left_out)}


def inputs_of(config: DictConfig) -> dict[str, Any]:
    """Return the hashes of the binarised corpus."""
    folder = corpus_folder(config) / "input0"
    return {name: sha256_of(folder / name) for name in ("train.bin", "train.idx", "valid.bin", "valid.idx", "dict.txt")}


def train(folder: Path, config: DictConfig) -> None:
    """Train in the folder of a pre-training, from its last checkpoint if it has one. Runs in its own process.

    Raises any error that stops the training.
    """
    import torch
    from fairseq import tasks

    from fairseq_tasks.resume import Saver, take_up
    from fairseq_tasks.training import train as train_with_fairseq
    from fairseq_tasks.training import use_deterministic_algorithms
    from sweeps.fairseq_config import fairseq_config, resolved

    if config.device == "cuda":
        use_deterministic_algorithms()
    torch.set_num_threads(config.threads)
    inputs, pretraining = inputs_of(config), config.pretraining
    doses = doses_of(config.tokens, pretraining.first_dose)
    settings = fairseq_config(config, corpus_folder(config) / "input0", folder, config.device, config.precision.name)
    with open_dict(settings):
        settings.dataset.batch_size = settings.dataset.batch_size_valid = (
            pretraining.batch_tokens // pretraining.block_tokens
        )
        settings.dataset.validate_interval = config.tokens  # no evaluation at the end of an epoch
        settings.task.update(doses=doses, models=_models(config), vocabulary=str(Path(config.model.folder).absolute()))
        settings.task.about = {
            "model": config.model.name,
            "corpus": config.corpus.name,
            "added": list(config.corpus.add),
            "learning_rate": pretraining.learning_rate,
            "batch_tokens": pretraining.batch_tokens,
            "identity": identity(config, inputs),
        }
    settings = resolved(settings)
    task = tasks.setup_task(settings.task)
    task.load_dataset("train")
    steps = task.steps_of(config.tokens)
    settings.optimization.max_update, settings.optimization.max_epoch = steps, steps
    settings.lr_scheduler.warmup_updates = max(1, task.steps_of(pretraining.warmup_tokens))
    checkpoint, taken_up, damaged = take_up(folder)
    if changed := differing_inputs(read_json(folder / "provenance.json").get("inputs", inputs), inputs):
        raise UsageError(f"{', '.join(changed)}: the corpus is not the one that the training began with")
    write_json(folder / "provenance.json", provenance(config, inputs, config.threads))
    set_status(folder, planned_steps=steps, notes=damaged)
    if checkpoint is not None:
        print(f"going on from step {taken_up['step']}", flush=True)
    saver = Saver(folder, 10, taken_up.get("step", 0))
    evaluations = sorted({task.steps_of(dose) for dose in doses})
    train_with_fairseq(settings, steps, evaluations, saver, checkpoint, save_at_end=True)
    missing = [dose for dose in doses if not (model_folder(config, dose) / ABOUT).is_file()]
    if missing or read_json(folder / "progress.json").get("batches") != steps:
        raise UsageError("training stopped before its plan was complete; train.log says why")


def identity(config: DictConfig, inputs: dict[str, Any]) -> str:
    """Return a digest of what decides the weights of a dose: the settings and the corpus."""
    return hashlib.sha256(json.dumps([comparable(config), inputs], sort_keys=True).encode()).hexdigest()


def plan(arguments: argparse.Namespace) -> tuple[DictConfig, Path]:
    """Prepare the model's vocabulary and the corpus. Return the configuration and the folder of the training."""
    require_no_dead_link(arguments.runs_dir.absolute(), "RUNS_DIR")
    words = [*group_words(model=arguments.model, corpus=arguments.corpus), f"tokens={parse_tokens(arguments.tokens)}"]
    words.append(f"data_dir={quoted(arguments.data_dir.absolute())}")
    for override in arguments.overrides:
        if (key := override.partition("=")[0]) in ("tokens", "model", "corpus", "device", "data_dir"):
            raise UsageError(f"{key} cannot be given as an override: use {key.upper()}")
    config = compose_config([*words, *arguments.overrides], "pretrain")
    folder = arguments.runs_dir.absolute() / PRETRAINING / f"{config.corpus.name}.{config.model.name}"
    stored = read_config(folder)
    chosen = {"device": stored.device, stored.device: stored.precision.name} if stored and not arguments.force else {}
    machine = resolve_machine(arguments.device, arguments.precision, chosen)
    precision = machine.precision
    if precision == "fp16":
        if arguments.precision == "fp16":
            raise UsageError("PRECISION=fp16: pre-training takes bf16 or fp32, in which no step is skipped")
        precision = "bf16"
    vocabulary, known = prepare_model(config, ["random"])
    if config.model.shape_from_checkpoint:
        config = compose_config([*words, *shape_words(known), *arguments.overrides], "pretrain")
    config.device, config.precision.name = machine.device, precision
    config.threads = config.threads or (stored.threads if stored and not arguments.force else None) or _cores(machine)
    if config.pretraining.block_tokens > config.model.max_positions:
        raise UsageError(
            f"pretraining.block_tokens={config.pretraining.block_tokens}: {config.model.name} takes at most "
            f"{config.model.max_positions} tokens"
        )
    prepare_corpus(config, vocabulary)
    return config, folder


def _cores(machine: Machine) -> int:
    return 1 if machine.device == "cuda" else len(os.sched_getaffinity(0))


def read_config(folder: Path) -> DictConfig | None:
    """Return the configuration of a training that has begun, or None."""
    stored = OmegaConf.load(folder / "config.yaml") if (folder / "config.yaml").is_file() else None
    return stored if isinstance(stored, DictConfig) else None


def prepare_folder(config: DictConfig, folder: Path, force: bool) -> bool:
    """Write the configuration. Return whether there is anything to train.

    Raises `UsageError` when the folder, or a model folder that would be written, is of another training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with lock_of(folder).acquire(timeout=PATIENCE):
            return _prepare(config, folder, force)
    except Timeout as error:
        raise UsageError(f"{folder} is being trained by another process; wait for it, or stop it") from error


def _prepare(config: DictConfig, folder: Path, force: bool) -> bool:
    inputs, doses = inputs_of(config), doses_of(config.tokens, config.pretraining.first_dose)
    own = identity(config, inputs)
    written = [model_folder(config, dose) / ABOUT for dose in doses]
    if force:
        delete(list(folder.iterdir()))
        for path in Path(_models(config)).parent.glob(f"{config.model.name}@*/{ABOUT}"):
            shutil.rmtree(path.parent)
    elif stored := read_config(folder):
        made_from = read_json(folder / "provenance.json").get("inputs", inputs)
        differs = differing_keys(comparable(stored), comparable(config)) + differing_inputs(made_from, inputs)
        if differs:
            raise UsageError(f"{folder} was begun otherwise ({'; '.join(differs)}); FORCE=1 begins it anew")
    for path in written:
        if path.parent.exists() and read_json(path).get("identity") != own:
            raise UsageError(f"{path.parent} is of another training; move it away, or replace it with FORCE=1")
    if read_json(folder / "status.json").get("state") == "done" and all(path.is_file() for path in written):
        return False
    write_text(folder / "config.yaml", resolved_yaml(config))
    set_status(folder, state="pending")
    return True


class Watch:
    """Prints how far the training is: every SAY_EVERY seconds, and at each dose."""

    def __init__(self, config: DictConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.said_at = time.monotonic()
        self.first: tuple[float, int] | None = None
        self.losses = set(read_json(folder / "progress.json").get("losses", {}))

    def update(self) -> None:
        progress = read_json(self.folder / "progress.json")
        for tokens, loss in progress.get("losses", {}).items():
            if tokens not in self.losses:
                self.losses.add(tokens)
                print(f"{time.strftime('%H:%M:%S')} {int(tokens):,} tokens: held-out loss {loss:.3f} nats", flush=True)
        step, planned = progress.get("step", 0), read_json(self.folder / "status.json").get("planned_steps")
        now = time.monotonic()
        if not planned or not step or now - self.said_at < SAY_EVERY:
            return
        self.said_at = now
        began, first = self.first = self.first or (now, step)
        line = f"{time.strftime('%H:%M:%S')} step {step:,} of {planned:,}"
        line += f", loss {progress['loss']:.3f}" if "loss" in progress else ""
        if step > first:
            speed = (step - first) / (now - began)
            line += f", {speed * self.config.pretraining.batch_tokens:,.0f} tokens/s"
            line += f", {duration((planned - step) / speed)} left"
        print(line, flush=True)


def run_pretrain(words: list[str]) -> int:
    """Train until TOKENS, and list the model folders. Return 0, or 1 when the training failed."""
    arguments = arguments_of_pretrain(words)
    config, folder = plan(arguments)
    if prepare_folder(config, folder, arguments.force):
        print(
            f"pre-training {config.model.name} on {config.corpus.name}: {config.tokens:,} tokens, {config.device} "
            f"{config.precision.name}, {config.threads} threads; log: {folder / 'train.log'}",
            flush=True,
        )
        code = _train_in_child(config, folder)
        if code:
            print(f"error: {read_status(folder).get('error')}\n  log: {folder / 'train.log'}", flush=True)
            return 1
    checked = sorted(read_json(corpus_folder(config) / "manifest.json")["inputs"]["checked"])
    for dose in doses_of(config.tokens, config.pretraining.first_dose):
        path = model_folder(config, dose) / ABOUT
        about = read_json(path)
        if about.get("checked") != checked:
            write_json(path, {**about, "checked": checked})
        print(f"  {path.parent}: held-out loss {about['loss']:.3f} nats, {about['hours']:.2f} hours")
    return 0


def _train_in_child(config: DictConfig, folder: Path) -> int:
    """Train in a process of its own, and return its exit code. Raises `SweepInterrupted` after Ctrl-C or SIGTERM."""
    watch = Watch(config, folder)
    gpu = None if config.device == "cuda" else ""
    with Signals() as signals:
        child = start(folder, environment_of(config.threads, gpu), sha256_of(folder / "config.yaml"))
        while child.exitcode is None:
            time.sleep(POLL_SECONDS)
            signals.answer([child], lambda one: one.terminate(), lambda one: one.kill())
            watch.update()
        note_death(folder, child.exitcode, ended_here=len(signals.got) > 1)
        if signals.got:
            raise SweepInterrupted(signals.got[0])
    return child.exitcode
