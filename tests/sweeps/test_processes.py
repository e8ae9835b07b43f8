"""Processes: a killed run, a killed sweep, a folder that is owned."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from filelock import Timeout
from filelock._marker import encode_marker

from sweeps.folders import EXIT_DONE, LEASE, RunKey, acquire, is_owned, lock_of, read_status, take
from tests.conftest import Workspace, refused

WAIT = 120


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def start(workspace: Workspace, *words: str, group: bool = False) -> subprocess.Popen[str]:
    """Start a sweep; `group`: in a process group of its own, which `os.killpg` with its pid reaches."""
    command, pipe = [sys.executable, "-m", *workspace.sweep_words(*words)], subprocess.PIPE
    return subprocess.Popen(
        command, cwd=workspace.root, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=group
    )


def piped(workspace: Workspace, *words: str) -> subprocess.Popen[str]:
    """Start `python -m <words>` with its output in pipes, unbuffered."""
    command, pipe = [sys.executable, "-u", "-m", *words], subprocess.PIPE
    return subprocess.Popen(command, cwd=workspace.root, stdout=pipe, stderr=pipe, text=True)


def step_of(folder: Path) -> int:
    return int(read_status(folder)["progress"].get("step", 0))


def test_a_killed_sweep_leaves_no_child_and_called_again_ends_with_every_run_done(workspace: Workspace) -> None:
    words = ("--sweep", "killed", "--init", "random", "--seeds", "0,1", "--epochs", "40", "--jobs", "2")
    folders = [workspace.run_folder("random", seed, "killed") for seed in (0, 1)]
    process = start(workspace, *words)
    until(lambda: all(step_of(folder) > 0 for folder in folders))
    children = psutil.Process(process.pid).children(recursive=True)
    training = {json.loads((folder / "status.json").read_text())["pid"] for folder in folders}
    assert len(training) == 2
    assert training <= {child.pid for child in children}
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    psutil.wait_procs(children, timeout=10)
    assert not [child for child in children if child.is_running()]
    for folder in folders:
        assert json.loads((folder / "status.json").read_text())["state"] == "running"
        assert read_status(folder)["state"] == "failed"  # nobody owns it any more
    again = workspace.sweep(*words)
    assert again.returncode == 0, again.stdout
    for folder in folders:
        status = json.loads((folder / "status.json").read_text())
        assert (status["state"], status["attempts"]) == ("done", 2)


def test_a_failed_run_does_not_stop_the_others_and_is_named_with_its_log(workspace: Workspace) -> None:
    words = ("--sweep", "one-dies", "--init", "random", "--seeds", "0,1", "--epochs", "20", "--jobs", "2")
    doomed, other = (workspace.run_folder("random", seed, "one-dies") for seed in (0, 1))
    process = start(workspace, *words)
    until(lambda: step_of(doomed) > 0)
    os.kill(json.loads((doomed / "status.json").read_text())["pid"], signal.SIGKILL)
    output, _ = process.communicate(timeout=WAIT)
    assert process.returncode == 1
    assert read_status(other)["state"] == "done"
    assert "failed amazon_fr/tiny/fairseq/full/random/seed=0: killed by signal 9" in output
    assert str(doomed / "train.log") in output.replace("\n", "")


def test_a_sweep_whose_output_is_closed_goes_on(workspace: Workspace) -> None:
    """As by `make sweep | head`."""
    words = workspace.sweep_words("--sweep", "closed", "--init", "random", "--seeds", "0", "--epochs", "3")
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", *words],
        cwd=workspace.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith("sweep closed: 1 run")
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=WAIT) == 0
    assert read_status(workspace.run_folder("random", 0, "closed"))["state"] == "done"


def test_other_commands_end_without_a_word_when_their_output_is_closed(swept: Workspace) -> None:
    process = piped(swept, "sweeps", "status")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(timeout=WAIT) in (1, 128 + signal.SIGPIPE)  # 1: rich's own


def test_a_run_that_its_sweep_has_killed_is_not_blamed_on_memory(workspace: Workspace) -> None:
    folder = workspace.run_folder("random", 0, "ended-twice")
    process = start(workspace, "--sweep", "ended-twice", "--init", "random", "--seeds", "0", "--epochs", "60")
    until(lambda: step_of(folder) > 0)
    os.kill(json.loads((folder / "status.json").read_text())["pid"], signal.SIGSTOP)  # so that it cannot save
    os.kill(process.pid, signal.SIGINT)
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=WAIT)
    assert process.returncode == 130, output
    status = read_status(folder)
    assert (status["state"], status["error"]) == ("pending", "ended with its sweep, before it could save")


@pytest.mark.parametrize("fork", ["true", "false"])
def test_a_signal_to_the_whole_group_leaves_runs_that_go_on(workspace: Workspace, fork: str) -> None:
    """As `timeout` and a shell send it: the sweep, its server and its runs get it at once."""
    folder = workspace.run_folder("random", 0, f"group-{fork}")
    words = ("--sweep", f"group-{fork}", "--init", "random", "--seeds", "0", "--epochs", "60", "--force")
    process = start(workspace, *words, "--", f"launcher.fork_server={fork}", group=True)
    until(lambda: step_of(folder) > 0)
    os.killpg(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=WAIT)
    assert process.returncode == 143, output
    assert "the same command without FORCE=1 goes on from here" in output
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("pending", 75)


@pytest.mark.parametrize("fork", ["true", "false"])
def test_ctrl_c_before_a_run_has_begun_is_no_failure(workspace: Workspace, fork: str) -> None:
    folder = workspace.run_folder("random", 0, f"early-{fork}")
    words = ("--sweep", f"early-{fork}", "--init", "random", "--seeds", "0", "--epochs", "60")
    process = start(workspace, *words, "--", f"launcher.fork_server={fork}", group=True)
    until(lambda: (folder / "train.log").is_file())
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=WAIT)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert json.loads((folder / "status.json").read_text())["state"] == "pending"


def test_a_forked_run_is_the_run_of_a_new_interpreter(workspace: Workspace) -> None:
    """Seed 1 is forked after seed 0 was trained: what the server holds, and what ran before, must not reach it."""
    weights = {}
    for fork in ("true", "false"):
        sweep = f"fork-{fork}"
        words = ("--sweep", sweep, "--init", "random", "--seeds", "0,1", "--epochs", "1", "--jobs", "1")
        assert workspace.sweep(*words, "--", f"launcher.fork_server={fork}").returncode == 0
        folder = workspace.run_folder("random", 1, sweep)
        weights[fork] = torch.load(folder / "checkpoint_best.pt", weights_only=True)["model"]
        assert "sentence_classification_head.out_proj.weight" in " ".join(weights[fork])
        assert "begin training epoch 1" in (folder / "train.log").read_text()
    assert all(torch.equal(tensor, weights["false"][name]) for name, tensor in weights["true"].items())


@pytest.mark.parametrize("backend", ["fairseq", "hf"])
def test_runs_are_forked_from_a_server_without_threads(workspace: Workspace, backend: str) -> None:
    """A fork copies the locks that another thread holds, and nobody in the copy ever lets go of them."""
    if backend == "hf":
        pytest.importorskip("transformers")
    words = ("--sweep", f"server-{backend}", "--init", "random", "--seeds", "0", "--epochs", "20")
    process = start(workspace, *words, "--backend", backend)
    folder = workspace.root / "runs" / f"server-{backend}" / f"amazon_fr/tiny/{backend}/full/random/seed=0"
    until(lambda: step_of(folder) > 0 or process.poll() is not None)
    server = psutil.Process(json.loads((folder / "status.json").read_text())["pid"]).parent()
    assert server is not None
    assert server.parent() == psutil.Process(process.pid)
    assert server.num_threads() == 1
    output, _ = process.communicate(timeout=WAIT)
    assert process.returncode == 0, output


@pytest.mark.parametrize("set_back", [0, 5, 3600])
def test_a_lock_of_another_host_is_taken_over_when_it_is_not_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_back: int
) -> None:
    """A marker that another host wrote: its process cannot be looked up, only its renewals can be waited for.

    Afterwards the clock of this host is set back by so many seconds.
    """
    monkeypatch.setattr("sweeps.folders.LEASE", 1.0)
    with lock_of(tmp_path) as lock:
        record = lock.lock.owner if hasattr(lock, "lock") else lock_of(tmp_path).owner
        assert record is not None
    marker = tmp_path / ".lock"
    marker.write_bytes(encode_marker(record._replace(hostname="elsewhere", pid=1)))
    os.utime(marker, (time.time() + set_back, time.time() + set_back))
    assert is_owned(tmp_path) == (set_back < 10)
    with pytest.raises(Timeout), lock_of(tmp_path).acquire(timeout=0.3):
        pass
    until(lambda: not is_owned(tmp_path))
    assert marker.exists()
    with lock_of(tmp_path).acquire(timeout=10):
        assert lock_of(tmp_path).owner.hostname != "elsewhere"  # type: ignore[union-attr]
    assert not is_owned(tmp_path)


def test_a_lock_that_a_killed_process_left_empty_is_deleted_when_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed after it had made the file, and before it wrote its name into it."""
    marker = tmp_path / ".lock"
    marker.touch()
    assert is_owned(tmp_path)
    with pytest.raises(Timeout), lock_of(tmp_path).acquire(timeout=0.3):
        pass
    assert marker.exists()
    minute = time.time() - LEASE - 1
    os.utime(marker, (minute, minute))
    assert not is_owned(tmp_path)
    monkeypatch.setattr("sweeps.folders.LEASE", 1.0)
    for hold in (take, lambda folder: acquire(folder / ".lock")):
        marker.touch()
        with hold(tmp_path):
            assert marker.stat().st_size
        assert not marker.exists()


def test_force_redoes_a_done_run(workspace: Workspace) -> None:
    words = ("--sweep", "forced", "--init", "random", "--seeds", "0", "--epochs", "1")
    assert workspace.sweep(*words).returncode == 0
    assert "recipe.epochs: 1 -> 2" in refused(workspace.sweep(*words[:-1], "2"))
    assert workspace.sweep(*words[:-1], "2", "--force").returncode == 0
    status = json.loads((workspace.run_folder("random", 0, "forced") / "status.json").read_text())
    assert (status["attempts"], status["state"]) == (2, "done")


def test_a_run_key_names_its_folder_by_the_contract() -> None:
    key = RunKey("amazon_fr", "e5_small_fr", "fairseq", "full", "random", 2)
    assert key.folder(Path("runs"), "s") == Path("runs/s/amazon_fr/e5_small_fr/fairseq/full/random/seed=2")


def test_a_tmpdir_with_a_long_name_does_not_stop_a_sweep(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("job" * 30)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    answer = workspace.sweep("--sweep", "tmpdir", "--init", "random", "--seeds", "0", "--epochs", "1")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "each run starts a new interpreter: TMPDIR=" in answer.stdout


@pytest.mark.parametrize("end", ["", ">&-", "2>&-"])
def test_a_runs_process_ends_without_the_interpreters_end(tmp_path: Path, end: str) -> None:
    """fairseq's thread that makes batches may abort the process there. Here a function does that stands in for it."""
    (tmp_path / "sitecustomize.py").write_text("import atexit, os\natexit.register(os.abort)\n")
    (tmp_path / "config.yaml").touch()
    (tmp_path / "status.json").write_text('{"state": "done"}')
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    line = f"{shlex.join([sys.executable, '-m', 'sweeps.run', str(tmp_path)])} {end}"
    answer = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True)
    assert answer.returncode == EXIT_DONE, answer.stderr
