"""A thousand runs of 500 scalars; their states at a glance."""

import json
import random
import sys
import time
from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from analysis.__main__ import main
from analysis.event_files import read_sweep
from sweeps.folders import RunKey
from sweeps.status import show_status

pytestmark = pytest.mark.slow


def write_run(root: Path, model: str, init: str, seed: int) -> None:
    """Write a done run with 300 training losses and 25 evaluations of two splits, 4 scalars each."""
    folder = RunKey("amazon_fr", model, "fairseq", "full", init, seed).folder(root, "big")
    generator, best = random.Random(f"{model}{init}{seed}"), (-1, 0)
    ends = {}
    with SummaryWriter(str(folder / "tb/train_inner")) as writer:
        for step in range(1, 301):
            writer.add_scalar("loss", 1 / step, step)
    for split, n in (("valid", 100), ("test", 400)):
        with SummaryWriter(str(folder / "tb" / split)) as writer:
            for step in range(0, 300, 12):
                share = min(0.95, 0.5 + step * (0.0016 if init == "pretrained" else 0.001)) + generator.gauss(0, 0.02)
                right = max(0, min(n, int(n * share)))
                best = max(best, (right, -step)) if split == "valid" else best
                for tag, value in (("n_correct", right), ("n", n), ("accuracy", 100 * right / n), ("loss", 0.5)):
                    writer.add_scalar(tag, value, step)
                ends[split] = {"step": step, "n_correct": right, "n": n}
    (folder / "status.json").write_text(json.dumps({"state": "done"}))
    (folder / "progress.json").write_text(json.dumps({"best_step": -best[1], **ends}))


def test_a_thousand_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for model in ("a", "b"):
        for init in ("pretrained", "random"):
            for seed in range(250):
                write_run(tmp_path / "runs", model, init, seed)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["command", "--sweep", "big"])
    seconds = {}
    for name in ("everything, first", "everything, again"):
        start = time.monotonic()
        assert main() == 0
        seconds[name] = time.monotonic() - start
    assert "up to date" in capsys.readouterr().out
    start = time.monotonic()
    logs = read_sweep(tmp_path / "runs/big")
    seconds["event files"] = time.monotonic() - start
    assert len(logs.scalars) == 1_000 * 500
    start = time.monotonic()
    assert show_status(["--sweep", "big"]) == 0
    seconds["status"] = time.monotonic() - start
    assert "1000 done" in capsys.readouterr().out
    with capsys.disabled():
        print("\n" + "\n".join(f"{name}: {value:.1f} s" for name, value in seconds.items()))
