"""What keeps a long sweep small, and the sentences of what ends one."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from fairseq_tasks import resume
from fairseq_tasks.resume import KEPT, Saver, take_up
from sweeps.__main__ import main
from sweeps.child import note_death
from sweeps.folders import EXIT_FAILED, find_runs, read_json, set_status
from sweeps.run import explain
from tests.conftest import Refusals, Workspace


def test_pruned_runs_make_the_same_report_and_are_done(swept: Workspace) -> None:
    shutil.copytree(swept.root / "runs" / "default", swept.root / "runs" / "pruned")
    too_early = swept.python("sweeps", "prune", "--sweep", "pruned")
    assert too_early.returncode == 2
    assert "run `make figures` first" in too_early.stderr
    assert swept.analyse("--sweep", "pruned").returncode == 0
    summary = swept.root / "results" / "pruned" / "summary.json"
    before = summary.read_text()
    folders = list(find_runs(swept.root / "runs" / "pruned").values())
    (folders[1] / ".checkpoint_best.pt.put").write_text("left by an earlier version")
    set_status(folders[0], note="changed after the report was made")
    assert all((folder / "checkpoint_best.pt").is_file() for folder in folders)
    answer = swept.python("sweeps", "prune", "--sweep", "pruned")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("3 of 4 runs pruned, ")
    assert not (folders[1] / ".checkpoint_best.pt.put").exists()
    assert [(folder / "checkpoint_best.pt").exists() for folder in folders] == [True, False, False, False]
    shutil.rmtree(swept.root / "results" / "pruned")
    assert swept.analyse("--sweep", "pruned").returncode == 0
    assert summary.read_text() == before
    words = ("--sweep", "pruned", "--seeds", "0,1", "--epochs", "6")
    assert "4 done already, 0 to do" in swept.sweep(*words).stdout


def test_only_runs_that_a_report_tells_of_are_pruned(swept: Workspace, refusals: Refusals, tmp_path: Path) -> None:
    shutil.copytree(swept.root / "runs" / "default", tmp_path / "runs" / "told")
    folders = list(find_runs(tmp_path / "runs" / "told").values())
    shutil.rmtree(folders[0] / "tb")  # the report leaves this run out
    where = ("--sweep", "told", "--runs-dir", str(tmp_path / "runs"))
    assert swept.analyse(*where).returncode == 0
    shutil.copytree(tmp_path / "runs", tmp_path / "others")
    others = ["prune", "--sweep", "told", "--runs-dir", str(tmp_path / "others")]
    assert f"is of {tmp_path}/runs/told; run `make figures` first" in refusals.of(main, others, swept.root)
    assert swept.python("sweeps", "prune", *where).stdout.startswith("3 of 4 runs pruned, ")
    assert [(folder / "checkpoint_best.pt").exists() for folder in folders] == [True, False, False, False]


def test_a_run_keeps_so_many_checkpoints_and_one_long_log_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "LOG_BYTES", 100)
    saver = Saver(tmp_path, every=1)
    log = (tmp_path / "train.log").open("a")
    for step in range(1, 6):
        log.write(f"{step}" * 60 + "\n")
        log.flush()
        saver.save(step, {"step": step}, lambda folder: (folder / "state.pt").write_text("state"), seen=step)
    assert sorted(path.name for path in (tmp_path / "resume").iterdir()) == [f"step={step}" for step in (4, 5)][-KEPT:]
    assert (tmp_path / "train.log").read_text() == "5" * 60 + "\n"
    assert (tmp_path / "train.log.1").read_text() == "3" * 60 + "\n" + "4" * 60 + "\n"
    checkpoint, manifest, damaged = take_up(tmp_path)
    assert checkpoint == tmp_path / "resume" / "step=5"
    assert (manifest["notes"], damaged) == ({"seen": 5}, [])
    assert read_json(tmp_path / "progress.json") == {"step": 5}


def test_saving_takes_a_small_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("fairseq_tasks.resume.time.monotonic", lambda: now[0])
    saver = Saver(tmp_path, every=10)

    def write(folder: Path) -> None:
        now[0] += 3.0

    assert [saver.due(step) for step in (9, 10)] == [False, True]
    saver.save(10, {}, write)
    now[0] += 149.0
    assert not saver.due(20)
    now[0] += 1.0
    assert saver.due(30)
    assert not Saver(tmp_path, every=0).due(10)


def test_what_ends_a_run_is_one_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as no_memory:
        torch.empty(2**50)
    sentences = {
        "out of memory": no_memory.value,
        "lower recipe.batch_size": MemoryError(),
        "is full": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        "cannot be written": OSError(errno.EROFS, os.strerror(errno.EROFS), "status.json"),
        "lower the learning rate": FloatingPointError("Minimum loss scale reached"),
    }
    for said, error in sentences.items():
        sentence = explain(error, tmp_path)
        assert said in sentence
        assert "\n" not in sentence
    pretraining = tmp_path / "pretraining" / "novels.tiny"
    pretraining.mkdir(parents=True)
    assert "lower pretraining.batch_tokens" in explain(MemoryError(), pretraining)
    assert "launcher" not in explain(sentences["is full"], pretraining)


@pytest.mark.parametrize(
    ("code", "state", "said"),
    [
        (-9, "failed", "out of memory: lower JOBS"),
        (-15, "pending", "asked to stop"),
        (-12, "pending", "asked to stop"),
        (EXIT_FAILED, "failed", "last line: what it said"),
    ],
)
def test_a_death_that_a_run_could_not_tell_of_is_told(tmp_path: Path, code: int, state: str, said: str) -> None:
    set_status(tmp_path, state="running")
    (tmp_path / "train.log").write_text("first\nwhat it said\n")
    note_death(tmp_path, code)
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["state"] == state
    assert said in status["error"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--launcher", "local", "launcher.minutes=5"], "LAUNCHER=local has no such setting"),
        (["--launcher", "ray", "launcher.partition=gpu"], "LAUNCHER=ray has no such setting"),
        (["--launcher", "slurm", "launcher.gpus=2"], "a run uses one GPU"),
        (["--launcher", "slurm", "launcher.minutes=1"], "it is a number from 2"),
        (["--launcher", "slurm", "launcher.gpus=0", "--device", "cuda"], "DEVICE=cuda, but launcher.gpus=0"),
        (["--launcher", "slurm", "--precision", "bf32"], "PRECISION=bf32"),
        (["--launcher", "local", "--no-wait"], "WAIT=0 needs LAUNCHER=slurm"),
        (["--launcher", "ray", "--no-wait"], "WAIT=0 needs LAUNCHER=slurm"),
        (["--launcher", "kubernetes"], "LAUNCHER=kubernetes: there is no such launcher"),
    ],
)
def test_a_launcher_takes_its_own_settings_only(
    workspace: Workspace, refusals: Refusals, words: list[str], said: str
) -> None:
    if {"slurm", "ray"} & set(words):
        pytest.importorskip("submitit")
        pytest.importorskip("ray")
    given = ["--model", "tiny", *words[:2], *[word for word in words[2:] if word.startswith("--") or "=" not in word]]
    overrides = [word for word in words[2:] if "=" in word]
    assert said in refusals.of(main, [*given, "--", *overrides, *workspace.overrides], workspace.root)


def test_no_sbatch_and_no_cluster_are_one_sentence(
    workspace: Workspace, refusals: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "/nowhere")
    words = ["--model", "tiny", "--sweep", "nowhere", "--seeds", "0", "--launcher", "slurm", "--", "launcher.gpus=0"]
    assert "there is no sbatch here" in refusals.of(main, [*words, *workspace.overrides], workspace.root)
    pytest.importorskip("ray")
    words[words.index("slurm")] = "ray"
    said = refusals.of(main, [*words, "launcher.address=127.0.0.1:1", *workspace.overrides], workspace.root)
    assert "no Ray cluster answers at launcher.address=127.0.0.1:1" in said
