"""What is said of the time that is left."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeps import screen as screens
from sweeps.folders import RunKey
from sweeps.screen import Screen


def status(step: int) -> dict[str, Any]:
    return {"state": "running", "planned_steps": 100, "progress": {"step": step}}


def test_the_time_left_is_that_of_the_steps_taken_since_a_run_went_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """progress.json holds the last step before the cut until the run has gone back to its checkpoint."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    key = RunKey("d", "m", "fairseq", "full", "random", 0)
    folder = key.folder(tmp_path, "default")
    screen = Screen({folder: key})
    assert screen._left(folder, status(13)) == "-"
    now[0] = 50.0
    assert screen._left(folder, status(10)) == "-"
    now[0] = 60.0
    assert screen._left(folder, status(20)) == "0:01:20"
    assert screen._left(folder, status(100)) == "one evaluation"


class Sweep:
    """Made-up runs under one screen, with a clock that the test moves."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, lengths: list[int]) -> None:
        self.now = 0.0
        one = RunKey("d", "m", "fairseq", "full", "random", 0)
        keys = [replace(one, seed=seed, length=length) for seed, length in enumerate(lengths)]
        runs = {key.folder(root, "default"): key for key in keys}
        self.folders, self.states = list(runs), {folder: self.state("pending", 0) for folder in runs}
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(screens, "shown_status", lambda folder: self.states[folder])
        self.screen = Screen(runs)

    @staticmethod
    def state(state: str, step: int) -> dict[str, Any]:
        return {**status(step), "state": state}

    def at(self, seconds: float, **runs: tuple[str, int]) -> None:
        """Let runs have a state and a step at a time. `run_0` is the first run."""
        self.now = seconds
        for name, (state, step) in runs.items():
            self.states[self.folders[int(name.removeprefix("run_"))]] = self.state(state, step)
        self.screen.update()


@pytest.fixture
def sweep_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Sweep]:
    return lambda *lengths: Sweep(tmp_path, monkeypatch, list(lengths))


def test_the_time_left_of_a_sweep_counts_the_lengths_of_its_runs(
    sweep_of: Callable[..., Sweep], capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = sweep_of(1, 1, 3, 3)
    sweep.at(0)
    sweep.at(30, run_0=("running", 50))
    assert "left" not in capsys.readouterr().out.replace("0:00:30 left", "")
    sweep.at(100, run_0=("done", 100), run_2=("running", 50))  # 2.5 of 8 usual lengths
    assert "1 of 4 runs done, roughly 0:03:40 left" in capsys.readouterr().out
    sweep.at(100)
    assert "roughly" not in capsys.readouterr().out
    sweep.at(320, **{f"run_{number}": ("done", 100) for number in range(4)})
    assert "roughly" not in capsys.readouterr().out  # nothing is left, and the sweep says that all is done


def test_a_failed_run_is_no_work_done_and_none_to_do(
    sweep_of: Callable[..., Sweep], capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = sweep_of(1, 1, 1)
    sweep.at(0, run_0=("running", 0))
    sweep.at(10, run_0=("failed", 0), run_1=("running", 0))
    assert "roughly" not in capsys.readouterr().out
    sweep.at(1810, run_1=("done", 100), run_2=("running", 0))
    assert "1 of 3 runs done, 1 failed, roughly 0:30:10 left" in capsys.readouterr().out


def test_a_run_that_failed_before_is_still_to_be_trained(
    sweep_of: Callable[..., Sweep], capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = sweep_of(1, 1)
    sweep.at(0, run_0=("failed", 80), run_1=("running", 0))
    sweep.at(100, run_1=("done", 100))
    assert "1 of 2 runs done, roughly 0:00:20 left" in capsys.readouterr().out
    sweep.at(110, run_0=("running", 50))  # it has gone back to its checkpoint
    sweep.at(160, run_0=("running", 90))
    assert "failed" not in capsys.readouterr().out
    assert sweep.screen._whole([(at, sweep.states[at]) for at in sweep.folders])[1] == "roughly 0:00:11 left"


def test_the_last_run_is_not_taken_to_be_faster_than_others_beside_which_it_trained(
    sweep_of: Callable[..., Sweep], capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = sweep_of(1, 1, 1)
    sweep.at(0, run_0=("running", 0), run_1=("running", 0))
    sweep.at(600, run_0=("done", 100), run_1=("done", 100))
    assert "2 of 3 runs done, roughly 0:10:00 left" in capsys.readouterr().out
