"""A run that is cut goes on where it was and ends as if nothing had happened: weights, scalars, answers."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from sweeps.folders import read_json, read_status
from tests.conftest import Workspace
from tests.sweeps.test_processes import start, step_of, until
from tests.sweeps.test_sweep import scalars

WORDS = ("--init", "random", "--seeds", "0", "--epochs", "8")
OVERRIDES = ("launcher.save_every=1", "recipe.evaluate_every=3")


def folder_of(workspace: Workspace, sweep: str, backend: str = "fairseq") -> Path:
    return Path(str(workspace.run_folder("random", 0, sweep)).replace("/fairseq/", f"/{backend}/"))


def words_of(sweep: str, backend: str = "fairseq", *more: str) -> list[str]:
    return [*WORDS, "--sweep", sweep, "--backend", backend, *more, "--", *OVERRIDES]


def outcome(folder: Path) -> dict[str, Any]:
    """Return everything that must not depend on what happened on the way."""
    progress = read_json(folder / "progress.json")
    answers = pd.read_parquet(folder / "predictions.parquet")
    return {
        **{name: progress[name] for name in ("weights", "best_valid", "valid", "test", "batches")},
        "answers": answers["logits"].map(list).tolist(),
    }


@pytest.fixture(scope="module", params=["fairseq", "hf"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "hf":
        pytest.importorskip("transformers")
    return str(request.param)


@pytest.fixture(scope="module")
def undisturbed(workspace: Workspace, backend: str) -> Path:
    answer = workspace.sweep(*words_of("undisturbed", backend))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    folder = folder_of(workspace, "undisturbed", backend)
    assert not (folder / "resume").exists()
    return folder


def cut(
    workspace: Workspace, sweep: str, backend: str, how: Callable[[Path, int], None], after: int, *more: str
) -> Path:
    """Start a sweep and cut it by `how` (run folder, pid of the sweep) when its run is past step `after`."""
    folder = folder_of(workspace, sweep, backend)
    process = workspace.begin(*words_of(sweep, backend, *more))
    until(lambda: step_of(folder) > after or process.poll() is not None)
    how(folder, process.pid)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert read_status(folder)["state"] != "done"
    return folder


def same(folder: Path, undisturbed: Path) -> None:
    assert outcome(folder) == outcome(undisturbed)
    pd.testing.assert_frame_equal(scalars(folder), scalars(undisturbed))


def test_a_run_that_was_asked_to_stop_ends_with_the_same_bits(
    workspace: Workspace, backend: str, undisturbed: Path
) -> None:
    def terminate(folder: Path, _: int) -> None:
        os.kill(json.loads((folder / "status.json").read_text())["pid"], signal.SIGTERM)

    folder = cut(workspace, "terminated", backend, terminate, after=20)
    status = read_status(folder)
    assert (status["state"], status["exit_code"]) == ("pending", 75)
    saved = max(int(path.name.removeprefix("step=")) for path in (folder / "resume").iterdir())
    answer = workspace.sweep(*words_of("terminated", backend))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert read_json(folder / "provenance.json")["resumed"][0]["step"] == saved
    assert saved > 0
    assert f"goes on from step {saved}" in answer.stdout
    assert not list(folder.glob(".*.put"))
    same(folder, undisturbed)


def test_a_run_is_saved_where_every_save_falls_on_an_epochs_end(workspace: Workspace, backend: str) -> None:
    """One step an epoch."""
    sweeps = [f"epoch-ends-{backend}-{how}" for how in ("undisturbed", "terminated")]
    words = ("--init", "random", "--seeds", "0", "--epochs", "30", "--backend", backend, "--")
    own = ("recipe.batch_size=60", "recipe.evaluate_every=epoch", "launcher.save_every=1")
    assert workspace.sweep("--sweep", sweeps[0], *words, *own).returncode == 0
    undisturbed, folder = (folder_of(workspace, sweep, backend) for sweep in sweeps)
    process = workspace.begin("--sweep", sweeps[1], *words, *own)
    until(lambda: step_of(folder) > 4)
    os.kill(json.loads((folder / "status.json").read_text())["pid"], signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "it was asked to stop; the same command goes on" in " ".join(output.split())
    answer = workspace.sweep("--sweep", sweeps[1], *words, *own)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert read_json(folder / "provenance.json")["resumed"][0]["step"] > 0
    same(folder, undisturbed)


def test_a_run_in_bfloat16_that_was_killed_ends_with_the_same_bits(
    workspace: Workspace, backend: str, undisturbed: Path
) -> None:
    in_bf16 = ("--precision", "bf16")
    assert workspace.sweep(*words_of("undisturbed-bf16", backend, *in_bf16)).returncode == 0
    folder = cut(workspace, "killed-bf16", backend, lambda _, pid: os.kill(pid, signal.SIGKILL), 10, *in_bf16)
    until(lambda: read_status(folder)["state"] == "failed")  # its process has noticed that the sweep is dead
    answer = workspace.sweep(*words_of("killed-bf16", backend, *in_bf16))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    record = read_json(folder / "provenance.json")
    assert (len(record["resumed"]), record["precision"]) == (1, "bf16")
    same(folder, folder_of(workspace, "undisturbed-bf16", backend))
    assert outcome(folder)["weights"] != outcome(undisturbed)["weights"]


@pytest.mark.parametrize("backend", ["fairseq"], indirect=True)  # the sweep answers it, whatever the back end
def test_ctrl_c_saves_and_says_130_and_the_same_command_goes_on(
    workspace: Workspace, backend: str, undisturbed: Path
) -> None:
    sweep, folder = "interrupted", folder_of(workspace, "interrupted", backend)
    process = workspace.begin(*words_of(sweep, backend))
    until(lambda: step_of(folder) > 0)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "the same command goes on from here" in output
    assert read_status(folder)["state"] == "pending"
    assert list((folder / "resume").glob("step=*"))
    assert workspace.sweep(*words_of(sweep, backend)).returncode == 0
    same(folder, undisturbed)


def damage_newest(folder: Path) -> Path:
    """Flip one byte in the middle of the largest file of the newest checkpoint; return the checkpoint."""
    newest = max((folder / "resume").glob("step=*"), key=lambda path: int(path.name.removeprefix("step=")))
    largest = max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(bytes(content))
    return newest


@pytest.fixture(scope="module")
def killed(workspace: Workspace) -> Path:
    """Return the run folder of a sweep that was killed when its run had two checkpoints."""

    def kill(folder: Path, pid: int) -> None:
        until(lambda: len(list((folder / "resume").glob("step=*"))) == 2)
        os.kill(pid, signal.SIGKILL)

    folder = cut(workspace, "two-saved", "fairseq", kill, after=5)
    until(lambda: read_status(folder)["state"] == "failed")  # its process has noticed that the sweep is dead
    return folder


@pytest.mark.parametrize("backend", ["fairseq"], indirect=True)  # both back ends' checkpoints are read by one code
@pytest.mark.parametrize("how", ["flipped", "cut short", "all", "log cut short"])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_is_taken(
    workspace: Workspace, backend: str, undisturbed: Path, killed: Path, how: str
) -> None:
    sweep = "damaged-" + how.replace(" ", "-")
    shutil.copytree(workspace.root / "runs" / "two-saved", workspace.root / "runs" / sweep)
    folder = folder_of(workspace, sweep)
    checkpoints = list((folder / "resume").glob("step=*"))
    if how == "flipped":
        damage_newest(folder)
    elif how == "cut short":
        os.truncate(damage_newest(folder) / "state.pt", 1_000)
    elif how == "all":
        for path in checkpoints:
            os.truncate(path / "state.pt", 1_000)
    else:
        for path in (folder / "tb" / "valid").iterdir():
            os.truncate(path, 100)
    answer = workspace.sweep(*words_of(sweep))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "was not used" in answer.stdout.replace("\n", " ")
    resumed = read_json(folder / "provenance.json").get("resumed", [])
    assert len(checkpoints) == 2
    assert len(resumed) == (1 if how in ("flipped", "cut short") else 0)
    same(folder, undisturbed)


def test_two_sweeps_at_once_share_the_runs_and_train_each_once(workspace: Workspace) -> None:
    of_three = ("--sweep", "shared", "--init", "random", "--seeds", "0,1,2", "--epochs", "10")
    both = [workspace.begin(*of_three, "--jobs", "1") for _ in range(2)]
    outputs = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    for seed in range(3):
        status = read_json(workspace.run_folder("random", seed, "shared") / "status.json")
        assert (status["state"], status["attempts"]) == ("done", 1)


@pytest.fixture
def meddle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes every Python that is started run some lines first."""

    def at_start(lines: str) -> None:
        (tmp_path / "sitecustomize.py").write_text(lines)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return at_start


# What happens to the runs of seeds 1, 2 and 3 in their twelfth batch, and what their status then says.
BEFALLS = {
    1: ('loss * float("nan")', r"step 1[12]: the training loss is nan; lower the learning rate"),
    2: ("torch.empty(2**50)", r"out of memory \(.*can't allocate memory.*\); lower recipe.batch_size"),
    3: ("out_of_gpu_memory()", r"out of memory \(.*after step 11: CUDA out of memory.*\); lower recipe.bat"),
}
AT_TWELFTH = """
import sys
if "sweeps.run" in sys.orig_argv and "seed=0" not in " ".join(sys.orig_argv):
    import torch
    from torch.nn import functional
    real, seen = functional.nll_loss, []
    happens = {}[int(" ".join(sys.orig_argv).partition("seed=")[2][0])]

    def out_of_gpu_memory():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def nll_loss(scores, *more, **named):
        seen.append(scores.requires_grad)
        loss = real(scores, *more, **named)
        return eval(happens) if scores.requires_grad and sum(seen) == 12 else loss

    functional.nll_loss = nll_loss
"""


def test_what_befalls_one_run_fails_it_with_a_sentence_and_the_others_go_on(
    workspace: Workspace, meddle: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--init", "random", "--seeds", "0,1,2,3", "--epochs", "3", "--", "launcher.save_every=5")
    assert workspace.sweep("--sweep", "nothing-befalls", *words).returncode == 0
    meddle(AT_TWELFTH.replace("{}", repr({seed: happens for seed, (happens, _) in BEFALLS.items()}), 1))
    answer = workspace.sweep("--sweep", "befalls", *words)
    assert answer.returncode == 1, answer.stdout
    assert "1 of 4 runs done" in answer.stdout
    assert read_status(workspace.run_folder("random", 0, "befalls"))["state"] == "done"
    for seed, (_, said) in BEFALLS.items():
        folder = workspace.run_folder("random", seed, "befalls")
        status = read_json(folder / "status.json")
        assert status["state"] == "failed"
        assert re.search(said, status["error"]), status["error"]
        assert status["error"] in " ".join(answer.stdout.split())
        assert read_json(folder / "progress.json")["batches"] < 12  # it ended there, not at the end of training
        assert not list(folder.glob("crash*"))
    monkeypatch.delenv("PYTHONPATH")
    again = workspace.sweep("--sweep", "befalls", *words)
    assert again.returncode == 0, again.stdout
    for seed in (0, *BEFALLS):
        same(workspace.run_folder("random", seed, "befalls"), workspace.run_folder("random", seed, "nothing-befalls"))


@pytest.mark.parametrize("backend", ["fairseq"], indirect=True)  # what reads clocks is the same code for both back ends
def test_a_clock_that_is_set_back_by_an_hour_changes_nothing(
    workspace: Workspace, backend: str, undisturbed: Path, killed: Path, meddle: Callable[[str], None]
) -> None:
    shutil.copytree(workspace.root / "runs" / "two-saved", workspace.root / "runs" / "set-back")
    folder = folder_of(workspace, "set-back")
    meddle("import time\nreal = time.time\ntime.time = lambda: real() - 3600\n")
    answer = workspace.sweep(*words_of("set-back"))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert len(read_json(folder / "provenance.json")["resumed"]) == 1
    files = sorted((folder / "tb" / "train").iterdir(), key=lambda path: path.stat().st_mtime)
    assert [path.name for path in files] == sorted((path.name for path in files), reverse=True)  # named by the clock
    assert len(files) == 2
    same(folder, undisturbed)


def test_a_failed_run_is_tried_again_when_asked_and_its_attempts_are_counted(workspace: Workspace) -> None:
    words = ("--sweep", "retried", "--init", "random", "--seeds", "0", "--epochs", "2")
    answer = workspace.sweep(*words, "--", "recipe.learning_rate=1e30", "launcher.retries=1")
    assert answer.returncode == 1
    assert read_json(workspace.run_folder("random", 0, "retried") / "status.json")["attempts"] == 2


def test_a_second_ctrl_c_ends_everything_now_and_the_same_command_goes_on(workspace: Workspace) -> None:
    words = ("--sweep", "twice-interrupted", "--init", "random", "--seeds", "0", "--epochs", "8", "--", *OVERRIDES)
    folder = workspace.run_folder("random", 0, "twice-interrupted")
    process = start(workspace, *words)
    until(lambda: step_of(folder) > 0)
    children = psutil.Process(process.pid).children(recursive=True)
    pid = json.loads((folder / "status.json").read_text())["pid"]
    os.kill(pid, signal.SIGSTOP)  # a run that cannot save
    os.kill(process.pid, signal.SIGINT)
    time.sleep(2)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    psutil.wait_procs(children, timeout=10)
    assert not [child for child in children if child.is_running()]
    again = workspace.sweep(*words)
    assert again.returncode == 0, again.stdout


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB of its own, which a test may mount otherwise."""
    disk = tmp_path / "small"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_read_only_or_full_is_said_and_in_the_end_the_run_goes_on(
    workspace: Workspace, small_disk: Path
) -> None:
    words = ("--runs-dir", str(small_disk), "--init", "random", "--seeds", "0", "--epochs", "10", "--sweep", "full")

    def sweep() -> subprocess.CompletedProcess[str]:
        answer = workspace.sweep(*words, "--", "launcher.save_every=1")
        assert "Traceback" not in answer.stdout + answer.stderr
        return answer

    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    read_only = sweep()
    assert read_only.returncode == 2
    assert "cannot be written (Read-only file system); give another RUNS_DIR" in read_only.stderr
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    full = sweep()
    assert full.returncode == 1, full.stdout
    assert "is full" in full.stdout.replace("\n", " ")
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    again = sweep()
    assert again.returncode == 0, again.stdout + again.stderr
