"""Runs a list of runs, so many at a time, each in a process of its own that dies with this one.

The processes are forked from one server, which has imported what a run needs and has done nothing else: it holds no
data, no model and no random stream that anyone has drawn from, so that a run starts as it would in a fresh interpreter,
without the seconds that importing fairseq takes. `launcher.fork_server=false` starts `python -m sweeps.run` instead, as
every run on CUDA does: fairseq counts the GPUs while it is imported, after which a fork may not be able to use them.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from sweeps.folders import NOT_OURS, STOPPED, is_owned, read_json, set_status
from sweeps.grid import PlannedRun
from sweeps.run import run_forked

POLL_SECONDS = 0.5
IMPORTED = ["fairseq_cli.train", "fairseq_tasks", "sweeps.fairseq_config", "sweeps.pool"]  # by the server, in order


@dataclass
class _Child:
    run: PlannedRun
    process: subprocess.Popen[bytes] | ForkServerProcess
    slot: int

    def exit_code(self) -> int | None:
        """Return the exit code, minus the signal when one ended it, None while it runs."""
        return self.process.poll() if isinstance(self.process, subprocess.Popen) else self.process.exitcode

    def ask_to_stop(self) -> None:
        self.process.terminate()

    def end(self) -> None:
        self.process.kill()
        if isinstance(self.process, subprocess.Popen):
            self.process.wait()
        else:
            self.process.join()


def _environment(run: PlannedRun, gpu: str) -> dict[str, str]:
    threads = str(run.config.launcher.threads)
    return {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "CUDA_VISIBLE_DEVICES": gpu}


def _start(run: PlannedRun, slot: int, gpus: tuple[str, ...]) -> _Child:
    environment = _environment(run, gpus[slot % len(gpus)] if gpus else "")
    log = run.folder / "train.log"
    if run.config.launcher.fork_server and not gpus:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*IMPORTED, *(["hf_tasks.train"] if run.config.backend.name == "hf" else [])])
        forked = context.Process(target=run_forked, args=(run.folder, log, environment))
        with _in_environment(environment):  # the server, started with the first run, reads its threads from it
            forked.start()
        return _Child(run, forked, slot)
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "sweeps.run", str(run.folder), "--child"],
            stdin=subprocess.PIPE,  # never written to: it closes when this process ends, however it ends
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
    return _Child(run, process, slot)


@contextmanager
def _in_environment(environment: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _note_death(child: _Child) -> int:
    """Write the status that a child killed in mid-run could not write itself; return its exit code."""
    code = child.exit_code()
    assert code is not None
    status = read_json(child.run.folder / "status.json")
    if status.get("state") in ("done", "failed") or code in (NOT_OURS, STOPPED):
        return code
    how = f"ended with exit code {code}"
    if code < 0:
        how = f"killed by signal {-code}"
        how += ", as by a machine that is out of memory: lower JOBS" if -code == signal.SIGKILL else ""
    try:
        set_status(child.run.folder, state="failed", exit_code=code,
                   error=f"{how}; last line: {_last_line(child.run.folder / 'train.log')}")  # fmt: skip
    except OSError as error:
        print(f"{child.run.key}: {how}, and {child.run.folder} cannot be written ({error.strerror})", flush=True)
    return code


def _last_line(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return text.strip().split("\n")[-1][:300]


class _Signals:
    """Counts Ctrl-C and SIGTERM while a sweep runs, instead of ending it wherever it is."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self.told = False
        self.before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def __enter__(self) -> "_Signals":
        for number in self.before:
            signal.signal(number, lambda number, _: self.got.append(number))
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def run_all(
    runs: list[PlannedRun], jobs: int, gpus: tuple[str, ...], on_poll: Callable[[], None], retries: int = 0
) -> None:
    """Run them all; a failed run does not stop the others. `on_poll` is called twice a second.

    Runs that another sweep is training are waited for, and trained here when its process dies. The first Ctrl-C or
    SIGTERM lets each run save at the end of its step, the second ends them at once; then `SweepInterrupted` is raised.
    """
    waiting, free = list(runs), list(range(jobs))
    attempts = {run.folder: 0 for run in runs}
    failed_before = {run.folder: read_json(run.folder / "status.json").get("attempts", 0) for run in runs}
    with _Signals() as signals, _children() as children:
        while waiting or children:
            if not signals.got:
                for run in [run for run in waiting if free]:
                    if free and not is_owned(run.folder):
                        waiting.remove(run)
                        if not _ended_elsewhere(run, failed_before[run.folder]):
                            attempts[run.folder] += 1
                            children.append(_start(run, free.pop(0), gpus))
            time.sleep(POLL_SECONDS)
            _answer(signals, children)
            for child in [child for child in children if child.exit_code() is not None]:
                code = _note_death(child)
                children.remove(child)
                free.append(child.slot)
                failed = code not in (0, NOT_OURS, STOPPED)
                if code == NOT_OURS or (failed and attempts[child.run.folder] <= retries):
                    failed_before[child.run.folder] = read_json(child.run.folder / "status.json").get("attempts", 0)
                    waiting.append(child.run)
            on_poll()
            if signals.got and not children:
                raise SweepInterrupted(signals.got[0])


def _ended_elsewhere(run: PlannedRun, attempts: int) -> bool:
    """Whether another sweep has trained the run since this one looked: it is done, or has failed there."""
    status = read_json(run.folder / "status.json")  # one that was killed says that it is running, and is trained here
    return status.get("state") == "done" or (status.get("state") == "failed" and status.get("attempts", 0) > attempts)


def _answer(signals: _Signals, children: list[_Child]) -> None:
    """Ask the runs to stop after the first signal, once; end them after the second."""
    if len(signals.got) > 1:
        for child in children:
            child.end()
    elif signals.got and not signals.told:
        print("stopping: each run saves at the end of its step; once more ends them now", flush=True)
        signals.told = True
        for child in children:
            child.ask_to_stop()


class SweepInterrupted(Exception):  # noqa: N818  no error
    """The sweep was asked to stop, and every run has ended. `args` holds the signal."""

    @property
    def exit_code(self) -> int:
        return 128 + int(self.args[0])


@contextmanager
def _children() -> Iterator[list[_Child]]:
    """End what is left of the children when the sweep stops early."""
    children: list[_Child] = []
    try:
        yield children
    finally:
        for child in children:
            child.end()
            _note_death(child)
