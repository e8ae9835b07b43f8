"""What is said of the time that is left."""

import time
from pathlib import Path
from typing import Any

import pytest

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
