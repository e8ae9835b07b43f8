"""Pre-trains a model from random weights, and keeps a model folder at each dose: `python -m sweeps pretrain`.

Masked language modelling with fairseq, in the folder `runs/pretraining/<corpus>.<model>`. The model folders are
`data/models/<model>@<dose>`, at 0, 2, 4, 8 ... million tokens and at TOKENS. A training that was stopped goes on, and a
larger TOKENS makes a finished training longer: the learning rate does not depend on TOKENS.
"""

import argparse
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

from filelock import Timeout
from omegaconf import DictConfig

from data_prep.__main__ import prepare_model
from data_prep.corpus import prepare_corpus
from data_prep.doses import ABOUT, UNITS, doses_of_model
from foundation.errors import UsageError
from foundation.whole_files import require_no_dead_link, sha256_of, write_json, write_text
from hydra_conf.compose import compose_config
from hydra_conf.words import choices, group_words, parse_words, quoted
from sweeps.child import environment_of, note_death, start
from sweeps.device import require_device, resolve_machine
from sweeps.folders import EXIT_NOT_OURS, EXIT_STOPPED, PRETRAINING, delete, lock_of, read_json, read_status, set_status
from sweeps.grid import resolved_yaml, shape_words
from sweeps.pool import POLL_SECONDS, Signals, SweepInterrupted
from sweeps.pretrain_run import checked_by, compared, doses_of, identity, inputs_of, missing, model_folder
from sweeps.provenance import differing_inputs, differing_keys
from sweeps.screen import duration
from sweeps.standing import last_step, stored_config

SAY_EVERY = 30.0  # seconds
PATIENCE = 10.0  # seconds to wait for a process that is ending
LEFT_BEHIND = 600.0  # seconds after which a model folder is not being written any more
# glibc hands blocks of more than 32 MB back and takes them anew, page by page, many times a step. Here it keeps them,
# in huge pages where the system has some. Other C libraries do not read the variable.
KEEPS_MEMORY = ":".join(
    f"glibc.malloc.{what}" for what in ("hugetlb=1", "mmap_max=0", "trim_threshold=100000000000", "arena_max=1")
)
HEEDED = (
    "fairseq.model.",
    "fairseq.task.leave_unmasked_prob",
    "fairseq.task.random_token_prob",
    "fairseq.common.log_interval",
)


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
    found = re.fullmatch(r"([1-9][0-9]{0,14})([kMG]?)", text.strip())
    if not found:
        raise UsageError(f"TOKENS={text}: give a number of tokens, as in 64M, 250k or 1000000")
    return int(found[1]) * UNITS[found[2]]


def plan(arguments: argparse.Namespace) -> tuple[DictConfig, Path]:
    """Prepare the model's vocabulary and the corpus. Return the configuration and the folder of the training."""
    require_no_dead_link(arguments.runs_dir.absolute(), "RUNS_DIR")
    words = [*group_words(model=arguments.model, corpus=arguments.corpus), f"tokens={parse_tokens(arguments.tokens)}"]
    words.append(f"data_dir={quoted(arguments.data_dir.absolute())}")
    refuse_overrides(arguments.overrides)
    config = compose_config([*words, *arguments.overrides], "pretrain")
    growing = [word for word in arguments.overrides if word.startswith("pretraining.growing_tokens=")]
    if growing and config.pretraining.first_block_tokens is None:
        raise UsageError(f"{growing[0]}: it has an effect only with pretraining.first_block_tokens, such as 32")
    folder = arguments.runs_dir.absolute() / PRETRAINING / f"{config.corpus.name}.{config.model.name}"
    stored = None if arguments.force else begun_with(folder)
    chosen = {"device": stored.device, stored.device: stored.precision.name} if stored else {}
    machine = resolve_machine(arguments.device, arguments.precision, chosen)
    require_device(machine, PRETRAINING)
    precision = machine.precision
    if precision == "fp16":
        if arguments.precision == "fp16":
            raise UsageError("PRECISION=fp16: pre-training takes bf16 or fp32, in which no step is skipped")
        precision = "bf16"
    vocabulary, known = prepare_model(config, ["random"])
    if config.model.shape_from_checkpoint:
        config = compose_config([*words, *shape_words(known), *arguments.overrides], "pretrain")
    config.device, config.precision.name = machine.device, precision
    cores = 1 if machine.device == "cuda" else len(os.sched_getaffinity(0))
    config.threads = config.threads or (stored.threads if stored else None) or cores
    if config.pretraining.block_tokens > config.model.max_positions:
        raise UsageError(
            f"pretraining.block_tokens={config.pretraining.block_tokens}: {config.model.name} takes at most "
            f"{config.model.max_positions} tokens"
        )
    prepare_corpus(config, vocabulary)
    return config, folder


def refuse_overrides(overrides: list[str]) -> None:
    """Raise `UsageError` for an override that has a variable or a setting of its own, or that has no effect."""
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        group = key.partition(".")[0]
        if group in ("tokens", "device", "data_dir", "precision") or key in ("model", "corpus"):
            raise UsageError(f"{key} cannot be given as an override: use {group.upper()}")
        if group == "fairseq" and not key.startswith(HEEDED):
            raise UsageError(
                f"{key}: pre-training takes {', '.join(f'{name}*' if name[-1] == '.' else name for name in HEEDED)} "
                "of fairseq's keys; the others follow from pretraining.* (hydra_conf/pretrain.yaml)"
            )


def begun_with(folder: Path) -> DictConfig | None:
    """Return the configuration of a training that has begun, or None. Raises `UsageError` if it cannot be read."""
    stored = stored_config(folder)
    if stored is None and last_step(folder) is not None:
        raise UsageError(
            f"{folder / 'config.yaml'} cannot be read, and a training has begun there; put it back, or begin the "
            "training anew with FORCE=1"
        )
    return stored


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
    inputs, stored = inputs_of(config), stored_config(folder) if force else begun_with(folder)
    own, anew = {identity(config, inputs)}, force
    done = read_json(folder / "status.json").get("state") == "done"
    models = model_folder(config, 0).parent
    there = doses_of_model(models, config.model.name)
    if stored is not None:
        made_from = read_json(folder / "provenance.json").get("inputs", inputs)
        own.add(identity(stored, made_from))
        before, now = with_usual(compared(stored)), with_usual(compared(config))
        settings, data = differing_keys(before, now), differing_inputs(made_from, inputs)
        trained = (
            done
            or last_step(folder) is not None
            or any(about["identity"] in own and about["dose"] for about in there.values())
        )
        if trained and (settings or data) and not force:
            differs = "; ".join(settings + data)
            raise UsageError(f"{folder} was begun otherwise ({differs}); {to_go_on(before, now, bool(data))}")
        anew = anew or bool(settings or data)  # nothing was trained with the former settings
    for dose in doses_of(config.tokens, config.pretraining.first_dose):
        path = model_folder(config, dose)
        if path.exists() and there.get(path, {}).get("identity") not in own:
            raise UsageError(f"{path} is of another training; move it away")
    half_written = re.compile(rf"\.{re.escape(config.model.name)}@[0-9]+[kMG]?\.[a-z0-9_]{{8}}")
    for path in models.glob(".*"):  # what a killed process had begun to write, not what another one writes just now
        if half_written.fullmatch(path.name) and time.time() - path.stat().st_mtime > LEFT_BEHIND:
            shutil.rmtree(path)
    if anew:
        delete(list(folder.iterdir()))
        for path in (path for path, about in there.items() if about["identity"] in own):
            print(f"  {'FORCE=1 deletes' if force else 'made anew:'} {path}", flush=True)
            shutil.rmtree(path)
    elif done and not missing(config):
        return False
    elif done and last_step(folder) is None:
        raise UsageError(
            f"{folder / 'resume'} holds no checkpoint, so the training cannot go on; put it back, or FORCE=1 deletes "
            "the training and its models, and begins anew"
        )
    write_text(folder / "config.yaml", resolved_yaml(config))
    set_status(folder, state="pending")
    return True


def with_usual(settings: dict[str, Any]) -> dict[str, Any]:
    """Return compared settings with those that `compared` leaves out where they are usual, as a user writes them."""
    return {"pretraining.first_block_tokens": None, "fairseq.model.position_init": "normal"} | settings


def to_go_on(before: dict[str, Any], now: dict[str, Any], of_data: bool) -> str:
    """Return how to go on with a training that was begun with the settings `before`. `of_data`: data differ."""
    anew = "FORCE=1 deletes it and its models, and begins anew"
    if of_data:
        return anew
    own = ("pretraining.", *HEEDED)
    differing = [key for key in sorted(before) if key.startswith(own) and (key not in now or before[key] != now[key])]
    words = [f"{key}={'null' if before[key] is None else before[key]}" for key in differing]
    typed = f", in ARGS: {' '.join(words)}" if words and not any(" " in word for word in words) else ""
    return f"to go on, give them as they were{typed}; {anew}"


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
    try:
        return _pretrain(arguments)
    except OSError as error:
        where = f"{error.filename or arguments.runs_dir}: {error.strerror}"
        raise UsageError(f"{where}; free some space, or choose another DATA_DIR or RUNS_DIR") from error


def _pretrain(arguments: argparse.Namespace) -> int:
    config, folder = plan(arguments)
    if prepare_folder(config, folder, arguments.force):
        print(
            f"pre-training {config.model.name} on {config.corpus.name}: {config.tokens:,} tokens, {config.device} "
            f"{config.precision.name}, {config.threads} threads; log: {folder / 'train.log'}",
            flush=True,
        )
        code = _train_in_child(config, folder)
        if code == EXIT_NOT_OURS:
            raise UsageError(f"{folder} is being trained by another process; wait for it, or stop it")
        if read_status(folder).get("state") != "done":
            said = "it was stopped; the same command goes on from here" if code == EXIT_STOPPED else ""
            print(f"error: {said or read_status(folder).get('error')}\n  log: {folder / 'train.log'}", flush=True)
            return 1
    checked = checked_by(config)  # perhaps more datasets than when the models were written
    own, guess = identity(config, inputs_of(config)), None
    for path, about in doses_of_model(model_folder(config, 0).parent, config.model.name).items():
        if about["identity"] == own:
            write_json(path / ABOUT, {**about, "checked": checked})
            short = about.get("untrained_from")
            print(
                f"  {path}: held-out loss {about['loss']:.3f} nats, {about['hours']:.2f} hours"
                + (f"; positions from {short} on are not trained" if short else "")
            )
            guess = about.get("frequency_loss", guess)  # a model from before it was recorded has none
    if guess is not None:
        print(f"  a guess from token frequencies alone: {guess:.3f} nats")
    return 0


def _train_in_child(config: DictConfig, folder: Path) -> int:
    """Train in a process of its own, and return its exit code. Raises `SweepInterrupted` after Ctrl-C or SIGTERM."""
    watch = Watch(config, folder)
    environment = environment_of(config.threads, None if config.device == "cuda" else "")
    if config.device == "cpu":
        given = os.environ.get("GLIBC_TUNABLES", "")  # it comes last, where it counts
        environment["GLIBC_TUNABLES"] = f"{KEEPS_MEMORY}:{given}".rstrip(":")
    with Signals() as signals:
        child = start(folder, environment, sha256_of(folder / "config.yaml"))
        while child.exitcode is None:
            time.sleep(POLL_SECONDS)
            signals.answer([child], lambda one: one.terminate(), lambda one: one.kill())
            watch.update()
        note_death(folder, child.exitcode, ended_here=len(signals.got) > 1)
        if signals.got:
            raise SweepInterrupted(signals.got[0])
    return child.exitcode
