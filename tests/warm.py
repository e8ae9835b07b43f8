"""Runs commands of the project in forked processes, so that packages are imported once and not for each command.

`python -m tests.warm` imports the packages and starts the server that runs are forked from. Then it forks a process for
each command that it reads. The process does what the command does: only its imports are done already. The server, too,
is forked, so that it imports nothing anew. A sitecustomize.py on PYTHONPATH is run in the command and in each of its
runs, as in a new interpreter, but after the imports.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import importlib.util
import json
import logging
import multiprocessing
import multiprocessing.process
import multiprocessing.util
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
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

OF_TORCH = "TORCHINDUCTOR_CACHE_DIR"  # torch sets it when it is first asked where it may compile
OF_PYTEST = "PYTEST_CURRENT_TEST"
OF_RAY = "RAY_CLIENT_MODE"  # ray sets it when it is imported
LEFT_OUT = (OF_PYTEST, OF_RAY, OF_TORCH, "PYTHONPATH")
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
NO_THREAD_OF_PYARROW = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}  # a process with threads is not forked
POLL_SECONDS = 0.01
CUSTOM = "sitecustomize.py"
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
    """Return what a forked process would not notice in this process's environment, were it another one by now."""
    return {name: value for name, value in os.environ.items() if name not in LEFT_OUT}


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

    def ask(self, **request: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def run(self, words: Sequence[str], folder: Path, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run `python -m <words>` in a folder. Raises `subprocess.TimeoutExpired` after `timeout` seconds."""
        with tempfile.TemporaryDirectory() as streams:
            out, err = (Path(streams) / name for name in ("out", "err"))
            process = Forked(self, words, folder, out, err)
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired as expired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait(timeout)
                expired.output, expired.stderr = out.read_bytes(), err.read_bytes()
                raise
            return subprocess.CompletedProcess(list(words), code, out.read_text(), err.read_text())


class Forked:
    """A command in a forked process, with what tests use of `subprocess.Popen`; its output goes to files."""

    def __init__(self, server: Warm, words: Sequence[str], folder: Path, out: Path, err: Path) -> None:
        self.server, self.words, self.out = server, list(words), out
        self.returncode: int | None = None
        request = {"words": self.words, "folder": str(folder), "out": str(out), "err": str(err)}
        self.pid = int(server.ask(**request, environment={**os.environ, "COLUMNS": "200"}))

    def wait(self, timeout: float) -> int:
        if self.returncode is None:
            self.returncode = self.server.ask(pid=self.pid, seconds=timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.words, timeout)
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def communicate(self, timeout: float) -> tuple[str, None]:
        """Return what the process printed, standard error included where both go to one file."""
        self.wait(timeout)
        return self.out.read_text(), None


def serve(backend: str) -> None:
    """Read one request per line from standard input, and answer each.

    A request starts a command, and the answer is its pid; or it waits for a pid, and the answer is the exit code, or
    null when the process runs longer than so many seconds.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an import says is no answer
    logging.basicConfig(level=logging.WARNING)  # before fairseq, which sets DEBUG

    from sweeps import child, pool  # first: it quietens fairseq

    preload = [*pool.IMPORTED, "tests.warm"]
    for module in (*IMPORTED, *preload):
        importlib.import_module(module)
    if backend == "hf" and importlib.util.find_spec("transformers"):
        importlib.import_module("hf_tasks.train")
        preload.append("hf_tasks.train")
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, child.ANSWERED)  # in the server for good, as `start_server` does
    forkserver.set_forkserver_preload(preload)
    gc.collect()
    gc.freeze()  # a collection in a forked process would copy every page
    spawn = multiprocessing.util.spawnv_passfds
    vars(multiprocessing.util)["spawnv_passfds"] = functools.partial(_fork_server, spawn)
    forkserver.ensure_running()
    vars(multiprocessing.util)["spawnv_passfds"] = spawn
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    # It runs, and is no child of the processes that are forked below, which would ask for it in vain.
    for server in (forkserver, forkserver._forkserver):
        setattr(server, "ensure_running", lambda: None)  # noqa: B010
    vars(importlib.import_module("data_prep.binarise"))["subprocess"] = types.SimpleNamespace(run=_run_forked)
    vars(importlib.import_module("sweeps.pretrain"))["start"] = _start_forked
    for module in ("sweeps.pool", "sweeps.pretrain"):
        vars(importlib.import_module(module))["POLL_SECONDS"] = 0.05
    assert len(os.listdir("/proc/self/task")) == 1, "a process with threads is not forked"
    for line in sys.stdin:
        request = json.loads(line)
        if "words" in request:
            answer: int | None = os.fork()
            if not answer:
                _become(**request)
        else:
            answer = _exit_code(request["pid"], time.monotonic() + request["seconds"])
        print(json.dumps(answer), file=answers, flush=True)


def _fork_server(spawn: Callable[..., int], executable: str, words: list[Any], kept: Sequence[int]) -> int:
    """Fork the server of runs, in the place of a new interpreter, which would import all that this one has imported."""
    code = os.fsdecode(words[-1])
    if "forkserver" not in code:
        return spawn(executable, words, kept)
    pid = os.fork()
    if not pid:
        for number in map(int, os.listdir("/proc/self/fd")):
            if number > 2 and number not in kept:
                with contextlib.suppress(OSError):
                    os.close(number)
        try:
            logging.root.handlers.clear()
            importlib.reload(importlib.import_module("fairseq_cli.train"))  # it sets up the logging of runs
            exec(code, {})
        finally:
            os._exit(1)
    return pid


def _exit_code(pid: int, deadline: float) -> int | None:
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            return None
        time.sleep(POLL_SECONDS)


def _start_forked(folder: Path, *more: Any) -> Any:
    """Start a pre-training in a process that is forked, as sweeps start their runs, in place of a new interpreter."""
    from sweeps.run import run_forked

    forked = multiprocessing.get_context("forkserver").Process(
        target=run_forked, args=(folder, folder / "train.log", *more)
    )
    forked.start()
    return forked


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


def _become(words: list[str], folder: str, environment: dict[str, str], out: str, err: str) -> None:
    """End as `python -m <words>` does in `folder`."""
    code: object = 1
    try:
        os.chdir(folder)
        vars(multiprocessing.process)["ORIGINAL_DIR"] = folder  # where forked runs start
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None
        for number, path in ((0, os.devnull), (1, out), (2, err)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
        streams = (os.fdopen(number, mode, closefd=False) for number, mode in enumerate("rww"))
        sys.stdin, sys.stdout, sys.stderr = streams
        logging.root.handlers.clear()  # of fairseq, which sets DEBUG where nobody was before it
        logging.root.setLevel(logging.WARNING)
        sys.path[0] = folder
        for place in map(Path, environment.get("PYTHONPATH", "").split(os.pathsep)):
            if (place / CUSTOM).is_file():
                customise(place / CUSTOM, words)
                pool = importlib.import_module("sweeps.pool")
                customised = importlib.import_module("tests.warm").run_customised  # pickled by the name of its module
                vars(pool)["run_forked"] = functools.partial(customised, str(place / CUSTOM))
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


def customise(path: Path, words: list[str]) -> None:
    """Run a sitecustomize.py as `python -m <words>` does at its start."""
    sys.orig_argv = [sys.executable, "-m", *words]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)


def run_customised(path: str, folder: Path, *more: Any) -> None:
    """Train a run as `python -m sweeps.run` does that finds a sitecustomize.py."""
    customise(Path(path), ["sweeps.run", str(folder)])
    importlib.import_module("sweeps.run").run_forked(folder, *more)


if __name__ == "__main__":
    serve(sys.argv[1])
