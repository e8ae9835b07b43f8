"""Runs a list of runs, so many at a time, each in a process of its own that dies with this one.

The processes are forked from one server, which has imported what a run needs and has done nothing else: it holds no
data, no model and no random stream that anyone has drawn from, so that a run starts as it would in a fresh interpreter,
without the seconds that importing fairseq takes. `launcher.fork_server=false` starts `python -m sweeps.run` instead, as
every run on CUDA does: fairseq counts the GPUs while it is imported, after which a fork may not be able to use them.
"""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from sweeps.folders import read_json, set_status
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
    with log.open("wb") as out:
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


def _note_death(child: _Child) -> None:
    """Write the status that a child killed in mid-run could not write itself."""
    status = read_json(child.run.folder / "status.json")
    if status.get("state") in ("done", "failed"):
        return
    code = child.exit_code()
    assert code is not None
    how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    set_status(child.run.folder, state="failed", exit_code=code,
               error=f"{how}; last line: {_last_line(child.run.folder / 'train.log')}")  # fmt: skip


def _last_line(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return text.strip().split("\n")[-1][:300]


def run_all(runs: list[PlannedRun], jobs: int, gpus: tuple[str, ...], on_poll: Callable[[], None]) -> None:
    """Run them all; a failed run does not stop the others. `on_poll` is called twice a second."""
    waiting, free = list(runs), list(range(jobs))
    with _children() as children:
        while waiting or children:
            while waiting and free:
                children.append(_start(waiting.pop(0), free.pop(0), gpus))
            time.sleep(POLL_SECONDS)
            for child in [child for child in children if child.exit_code() is not None]:
                _note_death(child)
                children.remove(child)
                free.append(child.slot)
            on_poll()


@contextmanager
def _children() -> Iterator[list[_Child]]:
    """End what is left of the children when the sweep stops early (Ctrl-C)."""
    children: list[_Child] = []
    try:
        yield children
    finally:
        for child in children:
            child.end()
            _note_death(child)
