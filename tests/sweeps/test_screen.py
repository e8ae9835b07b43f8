"""What is said of the time that is left."""

import time
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
    assert screen._left(folder, status(100)) == "its last evaluation"


def test_the_time_left_of_a_sweep_counts_the_lengths_of_its_runs_and_forgets_failed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    keys = [RunKey("d", "m", "fairseq", "full", "random", seed) for seed in (0, 1)]
    keys += [replace(keys[0], length=3), replace(keys[1], length=3)]
    folders = {key.folder(tmp_path, "default"): key for key in keys}
    states = {folder: {**status(0), "state": "pending"} for folder in folders}
    monkeypatch.setattr(screens, "shown_status", lambda folder: states[folder])
    screen, (one, other, longer, longest) = Screen(folders), folders
    screen.update()
    states[one] = status(50)
    now[0] = 30.0
    screen.update()
    assert "ended" not in capsys.readouterr().out
    states |= {one: {**status(100), "state": "done"}, longer: status(50)}
    now[0] = 100.0  # for 2.5 of 8 usual lengths
    screen.update()
    assert "1 of 4 runs ended, roughly 0:03:40 left for the others" in capsys.readouterr().out
    screen.update()
    assert "ended" not in capsys.readouterr().out
    states[longest] = {**status(0), "state": "failed"}
    screen.update()  # 5.5 of 8
    assert "2 of 4 runs ended, roughly 0:00:45 left for the others" in capsys.readouterr().out
    states |= {folder: {**status(100), "state": "done"} for folder in (other, longer)}
    screen.update()
    assert capsys.readouterr().out.rstrip().endswith("4 of 4 runs ended")
