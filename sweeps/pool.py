"""Runs a list of runs, so many at a time, each in a fresh process that dies with this one."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sweeps.folders import read_json, set_status
from sweeps.grid import PlannedRun

POLL_SECONDS = 0.5


@dataclass
class _Child:
    run: PlannedRun
    process: subprocess.Popen[bytes]
    slot: int


def _start(run: PlannedRun, slot: int, gpus: tuple[str, ...]) -> _Child:
    threads = str(run.config.launcher.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)] if gpus else ""
    with (run.folder / "train.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sweeps.run", str(run.folder), "--child"],
            stdin=subprocess.PIPE,  # never written to: it closes when this process ends, however it ends
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    return _Child(run, process, slot)


def _note_death(child: _Child) -> None:
    """Write the status that a child killed in mid-run could not write itself."""
    status = read_json(child.run.folder / "status.json")
    if status.get("state") in ("done", "failed"):
        return
    code = child.process.returncode
    how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    lines = (child.run.folder / "train.log").read_text(encoding="utf-8", errors="replace").strip().split("\n")
    set_status(child.run.folder, state="failed", error=f"{how}; last line: {lines[-1][:300]}", exit_code=code)


def run_all(runs: list[PlannedRun], jobs: int, gpus: tuple[str, ...], on_poll: Callable[[], None]) -> None:
    """Run them all; a failed run does not stop the others. `on_poll` is called twice a second."""
    waiting, free = list(runs), list(range(jobs))
    with _children() as children:
        while waiting or children:
            while waiting and free:
                children.append(_start(waiting.pop(0), free.pop(0), gpus))
            time.sleep(POLL_SECONDS)
            for child in [child for child in children if child.process.poll() is not None]:
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
            child.process.kill()
            child.process.wait()
            _note_death(child)
