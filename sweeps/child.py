"""Starts one run in its own process on this machine, and writes the run's status when the process dies."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sweeps.folders import EXIT_DONE, EXIT_NOT_OURS, EXIT_STOPPED, read_json, set_status
from sweeps.run import explain

ANSWERED = (signal.SIGINT, signal.SIGTERM)  # the sweep handles these signals
STATUS_BYTES = 100_000  # a disk with less room than this counts as full


def environment_of(threads: int, gpu: str | None = None) -> dict[str, str]:
    """Return the environment variables of a run. With `gpu=None` the run keeps the GPUs that the cluster gave it."""
    given = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
    return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), **given}


class NewInterpreter(subprocess.Popen[bytes]):
    """A process of its own with the interface of multiprocessing's, so that a sweep treats forked runs alike."""

    @property
    def exitcode(self) -> int | None:
        return self.poll()

    def join(self) -> None:
        self.wait()


def start(folder: Path, environment: dict[str, str], digest: str) -> NewInterpreter:
    """Start `python -m sweeps.run`. It ends when this process ends, and trains only the configuration of `digest`."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the child ignores it
    try:
        with (folder / "train.log").open("ab") as out:
            return NewInterpreter(
                [sys.executable, "-m", "sweeps.run", str(folder), "--child", "--digest", digest],
                stdin=subprocess.PIPE,  # never written to: it closes when this process ends for any reason
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
            )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def note_death(folder: Path, code: int, ended_here: bool = False) -> None:
    """Write the status that a run's process could not write itself. `ended_here`: the sweep killed the process."""
    state = read_json(folder / "status.json").get("state")
    if state in ("done", "failed") or code in (EXIT_NOT_OURS, EXIT_STOPPED):
        return
    news = {"state": "failed", "exit_code": code}
    how = f"ended with exit code {code}"
    if code < 0:
        how = f"killed by signal {-code}"
        how += ", as by a machine that is out of memory: lower JOBS" if -code == signal.SIGKILL else ""
    if ended_here:
        news, how = {"state": "pending", "exit_code": code}, "ended with its sweep, before it could save"
    elif was_stopped(code):
        news, how = {"state": "pending", "exit_code": EXIT_STOPPED}, "asked to stop before it had begun"
    else:
        how += f"; last line: {_last_line(folder / 'train.log')}"
    if code > 0 and shutil.disk_usage(folder).free < STATUS_BYTES:
        how = explain(OSError(errno.ENOSPC, ""), folder)  # the process had no room to write this
    try:
        set_status(folder, **news, error=how)
    except OSError as error:
        print(f"{folder}: {how}; its status is not written: {explain(error, folder)}", flush=True)


def was_stopped(code: int) -> bool:
    """Return whether the exit code belongs to a run that was asked to stop, by a signal that it handles."""
    return code in (EXIT_STOPPED, -signal.SIGTERM, -signal.SIGUSR2)


def _last_line(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return text.strip().split("\n")[-1][:300]


class Child:
    """A run's process on a cluster node. `wait` takes no lock, so a signal handler may call it, too."""

    def __init__(self, folder: Path, threads: int, digest: str) -> None:
        self.process = start(folder, environment_of(threads), digest)
        self.code: int | None = None
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        self.code = self.process.wait()

    def wait(self, seconds: float = float("inf")) -> int | None:
        """Return the exit code, or None when the process has not ended within `seconds`."""
        end = time.monotonic() + seconds
        while self.code is None and time.monotonic() < end:
            time.sleep(0.1)
        return self.code

    def stop(self, seconds: float) -> None:
        """Let the run save at the end of its step. Kill the process when this takes longer than `seconds`."""
        self.process.terminate()
        if self.wait(seconds) is None:
            self.process.kill()
            self.wait()


def train_here(folder: Path, threads: int, retries: int, digest: str, began: Callable[[Child], None]) -> int:
    """Train a run and return the last exit code. Train it again when it fails and `retries` are left.

    `began` is called with the child process of each try. The run trains only the configuration with SHA-256 `digest`.
    """
    child = Child(folder, threads, digest)
    began(child)
    code = child.wait()
    assert code is not None
    note_death(folder, code)
    if retries and code not in (EXIT_DONE, EXIT_NOT_OURS) and not was_stopped(code):
        return train_here(folder, threads, retries - 1, digest, began)
    return code
