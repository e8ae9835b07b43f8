"""Trains one run in its own process: `python -m sweeps.run RUN_FOLDER`.

Reads RUN_FOLDER/config.yaml and writes the results into the run folder. With BACKEND=fairseq, fairseq's own training
does the work, with the configuration in RUN_FOLDER/fairseq.yaml. The same training can be started by hand:

    fairseq-hydra-train --config-dir RUN_FOLDER --config-name fairseq
"""

import argparse
import errno
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
from pathlib import Path
from typing import NoReturn

from filelock import Timeout
from omegaconf import DictConfig, OmegaConf

from foundation.errors import UsageError, is_out_of_memory, print_anything
from foundation.whole_files import sha256_of, write_json, write_text
from sweeps.beginning import begin
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
from sweeps.provenance import binarised_folder, input_hashes
from sweeps.steps import check_finished, planned


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
                from sweeps.pretrain_run import train as pretrain

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
