"""Trains a list of runs, several at a time. Each run has its own process, which ends when this process ends.

All runs are forked from one server process. The server has imported the packages that a run needs and has done nothing
else. It holds no data and no model, has only one thread, and nothing has drawn from its random streams. So a run starts
as in a fresh interpreter, without the seconds that the import of fairseq takes. With `launcher.fork_server=false` each
run starts as `python -m sweeps.run` instead. Runs on CUDA always start this way: fairseq counts the GPUs during its
import, and a process forked afterwards may be unable to use them. So do runs below a TMPDIR with a long name: the
server's socket is there, and its path is limited.
"""

import logging
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerProcess
from typing import Any

from sweeps.child import ANSWERED, NewInterpreter, environment_of, note_death, start, was_stopped
from sweeps.folders import EXIT_DONE, EXIT_NOT_OURS, is_owned, read_json
from sweeps.grid import PlannedRun
from sweeps.run import run_forked
from sweeps.standing import to_start

POLL_SECONDS = 0.5
STOPPING = (
    "stopping: each run saves at the end of its step, or keeps its last checkpoint while it is evaluated; once more "
    "ends them now"
)
LONGEST_FOLDER = 70  # bytes; a socket's path has at most 107 on Linux, and multiprocessing adds 33 for its own names
IMPORTED = [  # by the server, in order; the first optimizer would import torch._dynamo, in every run
    "sweeps.pool",
    "fairseq_cli.train",
    "fairseq_tasks",
    "sweeps.fairseq_config",
    "torch._dynamo",
]

logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)  # it asks for tensorboardX, unused here


@dataclass
class _Child:
    run: PlannedRun
    process: NewInterpreter | ForkServerProcess
    slot: int
    ended: bool = False  # True: this sweep killed the process while it ran

    def end(self) -> None:
        self.ended = self.process.exitcode is None
        self.process.kill()
        self.process.join()

    def note_death(self) -> int:
        """Write the status of a process that has ended, and return its exit code (negative: the signal)."""
        code = self.process.exitcode
        assert code is not None
        note_death(self.run.folder, code, self.ended)
        return code


def _start(run: PlannedRun, slot: int, gpus: tuple[str, ...], digest: str) -> _Child:
    environment = environment_of(run.config.launcher.threads, gpus[slot % len(gpus)] if gpus else "")
    if start_server(run, gpus):
        context = multiprocessing.get_context("forkserver")
        arguments = (run.folder, run.folder / "train.log", environment, digest)
        forked = context.Process(target=run_forked, args=arguments)
        forked.start()
        return _Child(run, forked, slot)
    return _Child(run, start(run.folder, environment, digest), slot)


def start_server(run: PlannedRun, gpus: tuple[str, ...]) -> bool:
    """Return whether runs like `run` are forked. If so, start their server unless it already runs.

    The server does its imports while this process goes on. SIGINT and SIGTERM stay blocked in the server, even when
    they are sent to the whole process group: only the sweep responds to them.
    """
    is_short = len(os.fsencode(tempfile.gettempdir())) <= LONGEST_FOLDER
    if gpus or not run.config.launcher.fork_server or not is_short:
        return False
    preload = [*IMPORTED, *(["hf_tasks.train"] if run.config.backend.name == "hf" else [])]
    multiprocessing.get_context("forkserver").set_forkserver_preload(preload)
    environment = dict(os.environ)
    resource_tracker.ensure_running()  # the tracker unblocks both signals when it starts
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ANSWERED)
    try:
        os.environ.update(environment_of(run.config.launcher.threads, ""))  # the server reads its thread count here
        os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"  # for pyarrow, which fairseq imports
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(environment)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return True


class Signals:
    """Records Ctrl-C and SIGTERM while a sweep runs, so that they do not end the sweep at once."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self.told = False
        self.before = {number: signal.getsignal(number) for number in ANSWERED}

    def __enter__(self) -> "Signals":
        for number in self.before:
            signal.signal(number, lambda number, _: self.got.append(number))
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def answer(
        self, running: Iterable[Any], ask_to_stop: Callable[[Any], object], end: Callable[[Any], object]
    ) -> None:
        """After the first signal, ask each run once to stop. After the second, end the runs."""
        if len(self.got) > 1:
            for one in running:
                end(one)
        elif self.got and not self.told:
            print(STOPPING, flush=True)
            self.told = True
            for one in running:
                ask_to_stop(one)


def run_all(
    runs: list[PlannedRun], jobs: int, gpus: tuple[str, ...], on_poll: Callable[[], None], retries: int = 0
) -> None:
    """Train all runs. A failed run does not stop the others. `on_poll` is called twice a second.

    If another sweep is training a run, wait for it, and train the run here if the other process dies. If another sweep
    has requested the run with a different configuration, leave the run to that sweep. The first Ctrl-C or SIGTERM lets
    each run save at the end of its step. The second ends all runs at once. Then `SweepInterrupted` is raised.
    """
    waiting, free = list(runs), list(range(jobs))
    attempts = {run.folder: 0 for run in runs}
    failed_before = {run.folder: read_json(run.folder / "status.json").get("attempts", 0) for run in runs}
    children: list[_Child] = []
    with Signals() as signals:
        try:
            while waiting or children:
                for run in list(waiting):
                    if free and not signals.got and not is_owned(run.folder):
                        waiting.remove(run)
                        if digest := to_start(run, failed_before[run.folder]):
                            attempts[run.folder] += 1
                            children.append(_start(run, free.pop(0), gpus, digest))
                time.sleep(POLL_SECONDS)
                signals.answer(children, lambda child: child.process.terminate(), _Child.end)
                for child in [child for child in children if child.process.exitcode is not None]:
                    code = child.note_death()
                    children.remove(child)
                    free.append(child.slot)
                    failed = code not in (EXIT_DONE, EXIT_NOT_OURS) and not was_stopped(code)
                    if code == EXIT_NOT_OURS or (failed and attempts[child.run.folder] <= retries):
                        failed_before[child.run.folder] = read_json(child.run.folder / "status.json").get("attempts", 0)
                        waiting.append(child.run)
                on_poll()
                if signals.got and not children:
                    raise SweepInterrupted(signals.got[0])
        finally:
            for child in children:
                child.end()
                child.note_death()


class SweepInterrupted(Exception):  # noqa: N818  not an error
    """The sweep was asked to stop, and every run has ended. `args[0]` is the signal."""

    @property
    def exit_code(self) -> int:
        return 128 + int(self.args[0])
