"""Runs commands of the project in forked processes, so that packages are imported once and not for each command.

`python -m tests.warm` imports the packages and starts the server that runs are forked from. Then it forks a process for
each command that it reads. The process does what the command does: only its imports are done already.
"""

import atexit
import functools
import importlib
import importlib.util
import json
import logging
import multiprocessing.process
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

OF_PYTEST = "PYTEST_CURRENT_TEST"
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
NO_THREAD_OF_PYARROW = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}  # a process with threads is not forked
POLL_SECONDS = 0.01
IMPORTED = (  # what the commands import, the slow packages among them
    "sweeps.fairseq_config",
    "sweeps.preflight",
    "analysis.report",
    "analysis.figures",
    "fairseq_tasks",
    "data_prep.preprocess",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sklearn.feature_extraction.text",
)


def environment() -> dict[str, str]:
    """Return this process's environment, without what pytest notes in it."""
    return {name: value for name, value in os.environ.items() if name != OF_PYTEST}


@functools.cache
def warm(backend: str) -> "Warm":
    """Return the process for `fairseq` or for `hf`: runs of fairseq do not find transformers imported."""
    return Warm(backend)


class Warm:
    """One such process, with the environment of this one when it was started."""

    def __init__(self, backend: str) -> None:
        self.environment = environment()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", backend],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
            env={**os.environ, **THREADS, **NO_THREAD_OF_PYARROW},
        )

    def run(self, words: Sequence[str], folder: Path, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run `python -m <words>` in a folder. Raises `subprocess.TimeoutExpired` after `timeout` seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with tempfile.TemporaryDirectory() as streams:
            out, err = (Path(streams) / name for name in ("out", "err"))
            environment = {**os.environ, "COLUMNS": "200"}
            request = {"words": list(words), "folder": str(folder), "out": str(out), "err": str(err)}
            print(json.dumps({**request, "environment": environment, "timeout": timeout}), file=self.process.stdin)
            self.process.stdin.flush()
            code = json.loads(self.process.stdout.readline())
            if code is None:
                raise subprocess.TimeoutExpired(list(words), timeout, out.read_bytes(), err.read_bytes())
            return subprocess.CompletedProcess(list(words), code, out.read_text(), err.read_text())


def serve(backend: str) -> None:
    """Read one request per line from standard input, and answer each with an exit code, or null after its timeout."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an import says is no answer
    logging.basicConfig(level=logging.WARNING)  # before fairseq, which sets DEBUG

    from sweeps import child, pool  # first: it quietens fairseq

    for module in IMPORTED:
        importlib.import_module(module)

    preload = list(pool.IMPORTED)
    if backend == "hf" and importlib.util.find_spec("transformers"):
        importlib.import_module("hf_tasks.train")
        preload.append("hf_tasks.train")
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, child.ANSWERED)  # in the server for good, as `start_server` does
    forkserver.set_forkserver_preload(preload)
    forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    # It runs, and is no child of the processes that are forked below, which would ask for it in vain.
    for server in (forkserver, forkserver._forkserver):
        setattr(server, "ensure_running", lambda: None)  # noqa: B010
    vars(importlib.import_module("data_prep.binarise"))["subprocess"] = types.SimpleNamespace(run=_run_forked)
    assert len(os.listdir("/proc/self/task")) == 1, "a process with threads is not forked"
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(**request)
        print(json.dumps(_exit_code(pid, time.monotonic() + request["timeout"])), file=answers, flush=True)


def _exit_code(pid: int, deadline: float) -> int | None:
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(POLL_SECONDS)


def _run_forked(command: Sequence[str], **_: Any) -> subprocess.CompletedProcess[str]:
    """Run `[python, "-m", *words]` in a process that is forked here, and return what it printed."""
    streams = Path(tempfile.mkdtemp())  # no TemporaryDirectory: the forked process would delete it at its exit
    out, err = streams / "out", streams / "err"
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        _become(list(command[2:]), str(Path.cwd()), dict(os.environ), str(out), str(err))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    answer = subprocess.CompletedProcess(list(command), code, out.read_text(), err.read_text())
    shutil.rmtree(streams)
    return answer


def _become(words: list[str], folder: str, environment: dict[str, str], out: str, err: str, **_: Any) -> None:
    """End as `python -m <words>` does in `folder`."""
    code: object = 1
    try:
        os.chdir(folder)
        vars(multiprocessing.process)["ORIGINAL_DIR"] = folder  # where forked runs start
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None
        for number, path in ((0, os.devnull), (1, out), (2, err)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
        streams = (os.fdopen(number, mode, closefd=False) for number, mode in enumerate("rww"))
        sys.stdin, sys.stdout, sys.stderr = streams
        logging.root.handlers.clear()  # of fairseq, which sets DEBUG where nobody was before it
        logging.root.setLevel(logging.WARNING)
        sys.path[0] = folder
        sys.argv = ["-m", *words[1:]]
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else code is not None)


if __name__ == "__main__":
    serve(sys.argv[1])
