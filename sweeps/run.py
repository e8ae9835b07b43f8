"""Trains one run, in a process of its own: `python -m sweeps.run RUN_FOLDER`.

Reads RUN_FOLDER/config.yaml and writes everything else of the run folder. fairseq's own training does the work, with
the configuration that fairseq.yaml holds; the same can be had by hand:

    fairseq-hydra-train --config-dir RUN_FOLDER --config-name fairseq
"""

import argparse
import math
import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import Timeout
from omegaconf import DictConfig, OmegaConf, open_dict

from data_prep.whole_files import write_json, write_text
from hydra_conf.errors import UsageError
from sweeps.folders import lock_of, now, read_json, set_status, this_process
from sweeps.provenance import binarised_folder, input_hashes, provenance
from sweeps.seeds import STRIDE


def die_with_parent(gone: Callable[[], object]) -> None:
    """End this process when `gone` returns, which it does when the parent has ended, by SIGKILL too."""

    def watch() -> None:
        gone()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def stdin_closed() -> None:
    """Return when standard input is closed."""
    while os.read(sys.stdin.fileno(), 1):
        pass


def run_forked(folder: Path, log: Path, environment: dict[str, str]) -> None:
    """Train the run of `folder` in this process, just forked by the sweep's server; it says what it says in `log`."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    die_with_parent(parent.join)
    os.environ.update(environment)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(out, stream.fileno())
    sys.exit(run(folder))


def plan_steps(config: DictConfig) -> tuple[int, int]:
    """Return (optimiser steps, batches) of the whole run, counted on the real batches of every epoch."""
    from fairseq import tasks

    task = tasks.setup_task(config.task)
    dataset = task.load_dataset(config.dataset.train_subset)
    limit = config.optimization.max_update or math.inf
    steps = batches = 0
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
        frequencies = config.optimization.update_freq
        frequency = frequencies[min(epoch, len(frequencies)) - 1]
        in_epoch = len(iterator.frozen_batches)
        epoch_steps = math.ceil(in_epoch / frequency)
        if steps + epoch_steps > limit:
            taken = int(limit) - steps
            return steps + taken, batches + min(in_epoch, taken * frequency)
        steps, batches = steps + epoch_steps, batches + in_epoch
    return steps, batches


def with_schedule(config: DictConfig, steps: int, warmup_share: float) -> DictConfig:
    """Set the schedule's length and warm-up to this run's own, unless they were given, so that it ends at zero."""
    schedule = config.lr_scheduler
    if schedule._name == "polynomial_decay":
        with open_dict(config):
            schedule.total_num_update = schedule.total_num_update or float(steps)
            schedule.warmup_updates = schedule.warmup_updates or round(warmup_share * steps)
    return config


def train(folder: Path, config: DictConfig) -> None:
    """Train the run. Raises whatever stops it; returns only when every planned step was taken and evaluated."""
    import fairseq_cli.train  # first: it sets logging up, and fairseq's models would set it to DEBUG
    import torch
    from fairseq.distributed import utils as distributed_utils

    from sweeps.fairseq_config import fairseq_config, resolved

    torch.set_num_threads(config.launcher.threads)
    settings = resolved(fairseq_config(config, binarised_folder(config), folder, config.device, config.precision.name))
    steps, batches = plan_steps(settings)
    if steps + settings.optimization.max_epoch >= STRIDE:
        raise UsageError(f"{steps} steps: seeds are kept apart for {STRIDE} steps only; ask for fewer")
    settings = with_schedule(settings, steps, config.recipe.warmup_share)
    if config.backend.name == "fairseq":
        write_text(folder / "fairseq.yaml", OmegaConf.to_yaml(settings))
    record = provenance(config, input_hashes(config), config.launcher.threads)
    write_json(folder / "provenance.json", record)
    set_status(folder, planned_steps=steps, planned_batches=batches)
    try:
        if config.backend.name == "hf":
            from hf_tasks.train import train as train_with_transformers

            train_with_transformers(folder, config, settings, list(record["inputs"]["labels"]), steps)
        else:
            distributed_utils.call_main(settings, fairseq_cli.train.main)
    finally:
        write_json(folder / "provenance.json", {**record, "initialisation": read_json(folder / "initialisation.json")})
    progress = read_json(folder / "progress.json")
    taken = check_finished(progress, steps, batches, settings.dataset.valid_subset.split(","))
    set_status(folder, steps=taken, skipped_steps=steps - taken + progress["skipped"])


def check_finished(progress: dict[str, Any], steps: int, batches: int, splits: list[str]) -> int:
    """Return the steps taken; raise `UsageError` unless the whole plan was worked off and evaluated at its end.

    A batch whose gradients overflowed, or that did not fit in memory, is worked off without becoming a step.
    """
    taken = int(progress.get("step", 0))
    if progress.get("batches") != batches and taken != steps:
        raise UsageError(
            f"training stopped after {progress.get('batches', 0)} of {batches} batches; train.log says why"
        )
    for split in splits:
        if progress.get(split, {}).get("step") != taken:
            raise UsageError(f"{split} was not evaluated at the last step, {taken}")
    return taken


def run(folder: Path) -> int:
    """Train the run of `folder`, keep its status, and return an exit code: 0 done, 1 failed, 3 not ours to train."""
    try:
        lock = lock_of(folder).acquire(timeout=10)
    except (Timeout, OSError):
        print(f"error: {folder} is not a run folder, or another process is training it", file=sys.stderr)
        return 3
    with lock:
        attempts = read_json(folder / "status.json").get("attempts", 0) + 1
        set_status(folder, state="running", attempts=attempts, started=now(), error=None, **this_process())
        try:
            config = OmegaConf.load(folder / "config.yaml")
            assert isinstance(config, DictConfig)
            train(folder, config)
        except BaseException as error:
            if not isinstance(error, UsageError):
                traceback.print_exc()
            line = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}".split("\n")[0]
            print(f"error: {line}", flush=True)
            set_status(folder, state="failed", error=line, exit_code=1, finished=now())
            return 1
        set_status(folder, state="done", exit_code=0, finished=now())
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sweeps.run", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("folder", type=Path, help="run folder that holds config.yaml")
    parser.add_argument("--child", action="store_true", help="end when standard input closes")
    arguments = parser.parse_args()
    if arguments.child:
        die_with_parent(stdin_closed)
    return run(arguments.folder.absolute())


if __name__ == "__main__":
    sys.exit(main())
