"""Trains one run in its own process: `python -m sweeps.run RUN_FOLDER`.

Reads RUN_FOLDER/config.yaml and writes the results into the run folder. With BACKEND=fairseq, fairseq's own training
does the work, with the configuration in RUN_FOLDER/fairseq.yaml. The same training can be started by hand:

    fairseq-hydra-train --config-dir RUN_FOLDER --config-name fairseq
"""

import argparse
import errno
import math
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from filelock import Timeout
from omegaconf import DictConfig, OmegaConf, open_dict

from foundation.counts import counted
from foundation.errors import UsageError, is_out_of_memory, print_anything
from foundation.whole_files import sha256_of, write_json, write_text
from sweeps.folders import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_NOT_OURS,
    EXIT_STOPPED,
    PRETRAINING,
    drop_leftovers,
    now,
    read_json,
    set_status,
    take,
)
from sweeps.provenance import binarised_folder, differing_inputs, input_hashes, provenance
from sweeps.seeds import STRIDE

SKIPPED_AT_MOST = 0.1  # of the planned steps: a run that skips more no longer follows its plan


def die_with_parent(gone: Callable[[], object]) -> None:
    """End this process when `gone` returns. `gone` must return when the parent has ended, also after SIGKILL."""

    def watch() -> None:
        gone()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def stdin_closed() -> None:
    """Wait until standard input is closed."""
    while os.read(sys.stdin.fileno(), 1):
        pass


def run_forked(folder: Path, log: Path, environment: dict[str, str], digest: str) -> None:
    """Train the run of `folder` in this process, which the sweep's server has just forked. Output goes to `log`."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    die_with_parent(parent.join)
    leave_ctrl_c_to_the_sweep()
    os.environ.update(environment)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(out, stream.fileno())
    sys.exit(run(folder, digest))


def leave_ctrl_c_to_the_sweep() -> None:
    """Ignore SIGINT, and unblock SIGTERM, which this process may have inherited as blocked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


@dataclass(frozen=True)
class Plan:
    """The plan of a run: the number of its batches, and the steps of its evaluations. The last one is the run's end."""

    batches: int
    evaluations: list[int]

    @property
    def steps(self) -> int:
        return self.evaluations[-1]


def planned(settings: DictConfig, config: DictConfig) -> tuple[DictConfig, Plan]:
    """Return fairseq's whole configuration with the run's length and schedule, and the plan of the run.

    A run on a subset of the training texts takes as many steps as a run on all of them and is evaluated at the same
    steps (`recipe.updates=full`): fewer texts in fewer steps would measure the steps. Its epochs are as many as needed.
    A run of length k takes k times the steps and is evaluated at k times each of the steps, so that it has as many
    evaluations to choose the best step from.
    """
    from fairseq_tasks.evaluation_steps import evaluation_steps

    every, is_subset = config.recipe.evaluate_every, bool(config.n_train) and config.recipe.updates == "full"
    if not is_subset and config.length == 1:
        ends, batches = plan_steps(settings)
        plan = Plan(batches, evaluation_steps(ends, every))
    else:
        usual = settings.copy()
        usual.task.n_train = None if is_subset else config.n_train
        usual_ends, _ = plan_steps(usual)
        last = config.length * usual_ends[-1]
        settings.optimization.max_update = settings.optimization.max_epoch = last
        ends, batches = plan_steps(settings)
        settings.optimization.max_epoch = len(ends)
        settings.dataset.validate_interval = len(ends) + 1  # no evaluation at the end of each of many epochs
        plan = Plan(batches, [config.length * step for step in evaluation_steps(usual_ends, every)])
    return with_schedule(settings, config, plan.steps), plan


def plan_steps(config: DictConfig) -> tuple[list[int], int]:
    """Return (the step at which each epoch ends, number of batches in the run), counted from the real batches.

    Raises `UsageError` when an epoch has fewer batches than a step takes, or when the run has so many steps and epochs
    that the random streams of two seeds would overlap.
    """
    from fairseq import tasks

    task = tasks.setup_task(config.task)
    dataset = task.load_dataset(config.dataset.train_subset)
    limit = config.optimization.max_update or math.inf
    frequencies = config.optimization.update_freq
    steps = batches = 0
    ends: list[int] = []
    for epoch in range(1, config.optimization.max_epoch + 1):
        iterator = task.get_batch_iterator(
            dataset=dataset,
            max_tokens=config.dataset.max_tokens,
            max_sentences=config.dataset.batch_size,
            max_positions=config.task.max_positions,
            ignore_invalid_inputs=True,
            required_batch_size_multiple=config.dataset.required_batch_size_multiple,
            seed=config.common.seed,
            epoch=epoch,
        )
        if steps == limit:
            break
        frequency = frequencies[min(epoch, len(frequencies)) - 1]
        in_epoch = len(iterator.frozen_batches)
        if max(frequencies) > in_epoch:
            raise UsageError(
                f"fairseq.optimization.update_freq={list(frequencies)}: an epoch has "
                f"{counted(in_epoch, 'batch', 'batches')}, and a step takes no more"
            )
        epoch_steps = math.ceil(in_epoch / frequency)
        if steps + epoch_steps > limit:
            taken = int(limit) - steps
            return [*ends, int(limit)], batches + min(in_epoch, taken * frequency)
        steps, batches = steps + epoch_steps, batches + in_epoch
        epochs = int(
            min(config.optimization.max_epoch, math.ceil(limit / epoch_steps) if limit < math.inf else math.inf)
        )
        if min(epochs * epoch_steps, limit) + epochs >= STRIDE:
            asked = f"{counted(epochs, 'epoch')} of {counted(epoch_steps, 'step')}"
            raise UsageError(f"{asked}: seeds are kept apart for {STRIDE:,} steps only; ask for fewer")
        ends.append(steps)
    return ends, batches


def with_schedule(settings: DictConfig, config: DictConfig, steps: int) -> DictConfig:
    """Set the schedule's length and warm-up from this run's `steps`, unless the user gave them.

    With this length the learning rate reaches zero at the last step. `settings` is fairseq's whole configuration of the
    run. `config` is our configuration, which shows what the user gave.
    """
    schedule, given = settings.lr_scheduler, config.fairseq.lr_scheduler
    with open_dict(settings):
        if "total_num_update" in schedule and "total_num_update" not in given:
            schedule.total_num_update = float(steps)
        if "warmup_updates" in schedule and "warmup_updates" not in given:
            schedule.warmup_updates = round(config.recipe.warmup_share * steps)
    return settings


@dataclass(frozen=True)
class Beginning:
    """Where a run or a pre-training begins: at its last checkpoint, or anew."""

    checkpoint: Path | None
    step: int  # of the checkpoint
    record: dict[str, Any]  # the provenance
    damaged: list[str]  # sentences on damaged checkpoints

    def write(self, folder: Path) -> None:
        """Write provenance.json, once nothing stands in the way of the training any more."""
        if self.checkpoint is not None:
            print(f"going on from step {self.step}", flush=True)
        write_json(folder / "provenance.json", self.record)
        set_status(folder, notes=[*read_json(folder / "status.json").get("notes", []), *self.damaged])


def begin(folder: Path, config: DictConfig, threads: int, hashes: Callable[[DictConfig], dict[str, Any]]) -> Beginning:
    """Set up torch, and take up the last checkpoint of a run or a pre-training.

    `hashes` returns the hashes of the inputs. Raises `UsageError` when there is no CUDA device, when an input has
    changed, or when the provenance of the checkpoint is lost.
    """
    import torch

    from fairseq_tasks.resume import take_up
    from fairseq_tasks.training import use_deterministic_algorithms

    if config.device == "cuda":
        if not torch.cuda.is_available():
            raise UsageError("this machine has no CUDA device that torch can use, and the run was planned for one")
        use_deterministic_algorithms()
    torch.set_num_threads(threads)
    checkpoint, taken_up, damaged = take_up(folder)
    step = int(taken_up.get("step", 0))
    before = read_json(folder / "provenance.json")
    record = provenance(config, hashes(config), threads)
    if checkpoint is not None and "inputs" not in before:
        raise UsageError(
            "provenance.json is missing or damaged, so the inputs that the run began with are not known; put it back, "
            "or call again with FORCE=1"
        )
    if changed := differing_inputs(before.get("inputs", record["inputs"]), record["inputs"]):
        raise UsageError(
            f"{', '.join(changed)}: not the one that the run was planned or begun with; put it back, or "
            "call again with FORCE=1"
        )
    if checkpoint is not None:
        record = resumed_record(before, record, step)
    return Beginning(checkpoint, step, record, damaged)


def train(folder: Path, config: DictConfig) -> None:
    """Train the run. A run that was interrupted goes on from its last checkpoint.

    Raises any error that stops the run. Returns only after `check_finished` has found the plan complete.
    """
    from fairseq_tasks.resume import Saver
    from fairseq_tasks.training import train as train_with_fairseq
    from sweeps.fairseq_config import fairseq_config, resolved

    beginning = begin(folder, config, config.launcher.threads, input_hashes)
    settings = resolved(fairseq_config(config, binarised_folder(config), folder, config.device, config.precision.name))
    settings, plan = planned(settings, config)
    steps = plan.steps
    beginning.write(folder)
    if config.backend.name == "fairseq":
        write_text(folder / "fairseq.yaml", OmegaConf.to_yaml(settings))
    set_status(folder, planned_steps=steps, planned_batches=plan.batches)
    saver = Saver(folder, config.launcher.save_every, beginning.step)
    try:
        if config.backend.name == "hf":
            from hf_tasks.train import train as train_with_transformers

            labels = list(beginning.record["inputs"]["labels"])
            train_with_transformers(folder, config, settings, labels, plan.evaluations, saver, beginning.checkpoint)
        else:
            train_with_fairseq(settings, plan.batches, plan.evaluations, saver, beginning.checkpoint)
    finally:
        made = {"initialisation": read_json(folder / "initialisation.json")}
        write_json(folder / "provenance.json", {**beginning.record, **made})
    progress = read_json(folder / "progress.json")
    taken = check_finished(progress, plan, settings.dataset.valid_subset.split(","))
    set_status(folder, steps=taken, skipped_steps=steps - taken)


def resumed_record(before: dict[str, Any], now_made: dict[str, Any], step: int) -> dict[str, Any]:
    """Return a run's provenance with a new entry in `resumed`: the step, and the values that differ from the start."""
    differs = {name: value for name, value in now_made.items() if before.get(name) != value}
    return {**now_made, **before, "resumed": [*before.get("resumed", []), {"step": step, **differs}]}


def check_finished(progress: dict[str, Any], plan: Plan, splits: list[str]) -> int:
    """Return the number of steps taken. Raise `UsageError` unless the run completed its plan and its evaluations.

    A complete run has trained on every planned batch once, and on no other batch. Every planned step was taken or
    skipped. A step is skipped when its gradients overflow in float16, and at most SKIPPED_AT_MOST of the steps may be
    skipped. `step` is the back end's own count. fairseq does not count skipped steps, so its count may end before the
    last planned step. The run must then be evaluated at its own last step.
    """
    batches, step, overflowed = (int(progress.get(name, 0)) for name in ("batches", "step", "overflowed"))
    if batches > plan.batches:
        raise UsageError(
            f"{batches} batches were trained on where {plan.batches} were planned; drop what changes how many batches "
            "make a step"
        )
    if batches < plan.batches:
        raise UsageError(f"training stopped after {batches} of {plan.batches} batches; train.log says why")
    if step + overflowed != plan.steps:
        raise UsageError(f"{step} steps were taken and {overflowed} skipped of {plan.steps}; train.log says why")
    due = {step, *(planned for planned in plan.evaluations if planned <= step)}
    for split in splits:
        missing = due - set(progress.get("evaluated", {}).get(split, []))
        if missing:
            raise UsageError(f"{split} was not evaluated at step {min(missing)} of {step}; train.log says why")
    skipped = overflowed + int(progress.get("skipped", 0))
    if skipped > SKIPPED_AT_MOST * plan.steps:
        raise UsageError(
            f"{skipped} of {plan.steps} steps were skipped, as their gradients overflowed in float16, and at most "
            f"{SKIPPED_AT_MOST:.0%} may be; train with PRECISION=bf16 or PRECISION=fp32"
        )
    return plan.steps - skipped


def explain(error: BaseException, folder: Path) -> str:
    """Return one sentence that says what stopped a run and what the user can do."""
    said = f"{type(error).__name__}: {error}".split("\n")[0]
    if isinstance(error, UsageError):
        return str(error)
    pretrains = folder.parent.name == PRETRAINING
    if is_out_of_memory(error):
        lower = "pretraining.batch_tokens" if pretrains else "recipe.batch_size, model.max_positions or JOBS"
        return f"out of memory ({said}); lower {lower}"
    if isinstance(error, FloatingPointError):
        from fairseq_tasks.progress import cure

        fp16 = read_json(folder / "provenance.json").get("precision") == "fp16"
        return f"the gradients are not finite any more ({said.split('. ')[0]}); {cure(fp16)}"
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT) or "PytorchStreamWriter" in str(error):
        free = shutil.disk_usage(folder).free / 1e6
        less = "" if pretrains else ", or set launcher.save_every=0,"
        return (
            f"the disk of {folder} is full ({free:.0f} MB left); free some space{less} and call again: nothing that "
            "was saved is lost"
        )
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{getattr(error, 'filename', None) or folder} cannot be written ({said}); mend it and call again"
    return said


def let_go(error: BaseException | None) -> None:
    """Clear the frames of an error, which closes their files. A deleted checkpoint fills the disk while it is open."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def run(folder: Path, digest: str | None = None) -> int:
    """Train the run of `folder`, update its status, and return one of the exit codes in sweeps/folders.py.

    `digest` is the SHA-256 of the config.yaml to train. If the folder holds another config.yaml, nothing is changed.
    """
    print_anything()
    import fairseq_cli.train  # noqa: F401  first: it sets up logging, which fairseq's models would set to DEBUG

    from fairseq_tasks.resume import Stopped, stop_asked

    try:
        lock = take(folder)
    except (Timeout, OSError):
        print(f"error: {folder} is not a run folder, or another process is training it", file=sys.stderr)
        return EXIT_NOT_OURS
    with lock:
        if digest is not None and sha256_of(folder / "config.yaml") != digest:
            print(f"error: {folder} was asked for with another configuration in the meantime", file=sys.stderr)
            return EXIT_NOT_OURS
        if read_json(folder / "status.json").get("state") == "done":
            return EXIT_DONE  # another sweep was quicker
        for number in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, lambda *_: stop_asked.set())
        try:
            drop_leftovers(folder)
            attempts = read_json(folder / "status.json").get("attempts", 0) + 1
            news = {"attempts": attempts, "started": now(), "host": socket.gethostname(), "pid": os.getpid()}
            set_status(folder, state="running", error=None, **news)
            config = OmegaConf.load(folder / "config.yaml")
            assert isinstance(config, DictConfig)
            if "corpus" in config:
                from sweeps.pretrain import train as pretrain

                pretrain(folder, config)
            else:
                train(folder, config)
            set_status(folder, state="done", exit_code=EXIT_DONE, finished=now())
            if "corpus" not in config:  # a pre-training may be made longer
                shutil.rmtree(folder / "resume", ignore_errors=True)
            return EXIT_DONE
        except Stopped:
            print("stopped; called again it goes on", flush=True)
            set_status(folder, state="pending", exit_code=EXIT_STOPPED, finished=now())
            return EXIT_STOPPED
        except BaseException as error:
            said, whole = explain(error, folder), traceback.format_exc()
            let_go(error)
            with suppress(OSError):  # if the disk is still full, `note_death` reports it
                if not isinstance(error, UsageError):
                    print(whole, flush=True)
                print(f"error: {said}", flush=True)
            with suppress(OSError):
                set_status(folder, state="failed", error=said, exit_code=EXIT_FAILED, finished=now())
            return EXIT_FAILED


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sweeps.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="run folder that holds config.yaml")
    parser.add_argument("--child", action="store_true", help="end when standard input closes")
    parser.add_argument("--digest", help="SHA-256 of the config.yaml that is to be trained")
    arguments = parser.parse_args()
    if arguments.child:
        leave_ctrl_c_to_the_sweep()
        die_with_parent(stdin_closed)
    return run(arguments.folder.absolute(), arguments.digest)


def leave(code: int) -> NoReturn:
    """End this process, but not the interpreter first.

    A training that stops within an epoch leaves fairseq's thread that makes batches ahead. If this thread is in torch's
    code when the interpreter ends, it aborts the process, and a run that is done looks as if it had died.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # it was closed before the process began
                stream.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    leave(main())
