"""A sweep of three runs is killed (SIGKILL, every process of it) at random moments and called again each time.

Every fourth kill waits, after its random time, until a run is writing a checkpoint.

In the end everything must be as in a sweep that nobody disturbed: summary.json, every scalar, every weight. The short
form (5 kills) is part of the tests; `pytest -m slow -s tests/faults` kills 50 times.
"""

import collections
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from analysis.event_files import read_run
from sweeps.folders import find_runs, read_json
from tests.conftest import Workspace
from tests.sweeps.test_sweep import TIMING

WORDS = ("--init", "random", "--seeds", "0,1,2", "--jobs", "2")
LONGEST = 14.0  # seconds from the start of a sweep to its death
PATIENCE = 240.0  # seconds for what must happen at last
TELLING = {**os.environ, "PYTHONFAULTHANDLER": "1"}  # a process that aborts says where it was
OVERRIDES = ("launcher.save_every=1", "recipe.evaluate_every=3")


def moment(folder: Path) -> str:
    """Return what a run was doing when it was killed, from what it left behind."""
    if list((folder / "resume").glob(".*")):
        return "checkpoint writing"
    log = (folder / "train.log").read_text(errors="replace") if (folder / "train.log").is_file() else ""
    if log.rfind("Start iterating over samples") < log.rfind("fairseq_cli.train | {"):
        return "start-up"  # the evaluation before the first step included
    evaluated = log.rfind("| INFO | test |")  # the last thing that an evaluation says
    return "evaluation" if log.rfind("begin validation") > evaluated else "training"


def await_checkpoint(process: subprocess.Popen[bytes], root: Path) -> None:
    """Return when a run is writing a checkpoint, or when the sweep has ended."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and not any(root.glob("*/*/*/*/*/seed=*/resume/.*")):
        if time.monotonic() > end:
            raise AssertionError(what_hangs(process, root))
        time.sleep(0.001)


def what_hangs(process: subprocess.Popen[bytes], root: Path) -> str:
    """End a sweep that does not end; return what each of its processes was doing, which they write when they abort."""
    for victim in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGABRT)
    process.wait()
    told = [root.with_suffix(".log"), *root.rglob("status.json"), *root.rglob(".lock*"), *root.rglob("train.log")]
    return "\n".join(f"--- {path}\n{path.read_text(errors='replace')[-20_000:]}" for path in told if path.is_file())


def scalars(folder: Path) -> pd.DataFrame:
    table = read_run(folder)[0]
    kept = table[~table["tag"].isin(TIMING)][["split", "tag", "step", "value"]]
    return kept.sort_values(["split", "tag", "step"]).reset_index(drop=True)


def kill_sweep(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the sweep and every process below it at once."""
    below = psutil.Process(process.pid).children(recursive=True)
    for victim in [psutil.Process(process.pid), *below]:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    process.wait()
    psutil.wait_procs(below, timeout=10)


def figures(workspace: Workspace, sweep: str) -> dict[str, Any]:
    """Return summary.json of a sweep, without its name and folder."""
    answer = workspace.analyse("--sweep", sweep)
    assert answer.returncode == 0, answer.stderr
    summary: dict[str, Any] = json.loads((workspace.root / "results" / sweep / "summary.json").read_text())
    assert summary.pop("sweep") == sweep
    assert summary.pop("sweep_folder").endswith(f"/runs/{sweep}")
    return summary


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_a_sweep_killed_at_random_ends_as_one_that_was_not(workspace: Workspace, kills: int) -> None:
    calm = f"calm{kills}"
    words = [*WORDS, "--epochs", "25" if kills > 5 else "10", "--", *OVERRIDES]
    answer = workspace.sweep("--sweep", calm, *words)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    generator, hit = random.Random(kills), collections.Counter[str]()
    done = 0
    while done < kills:  # a sweep that has ended is followed by another, until there were so many kills
        killed = f"killed{kills}-{done}"
        root = workspace.root / "runs" / killed
        command = [sys.executable, "-m", *workspace.sweep_words("--sweep", killed, *words)]
        while True:
            with root.with_suffix(".log").open("ab") as said:
                process = subprocess.Popen(command, cwd=workspace.root, stdout=said, stderr=said, env=TELLING)
            end = time.monotonic() + (generator.uniform(2, LONGEST) if done < kills else PATIENCE)
            while time.monotonic() < end and process.poll() is None:
                time.sleep(0.02)
            assert done < kills or process.poll() is not None, what_hangs(process, root)
            if done % 4 == 3 and done < kills:  # a checkpoint takes so little time that chance would seldom find one
                await_checkpoint(process, root)
            if process.poll() is not None:
                break
            kill_sweep(process)
            done += 1
            for folder in find_runs(root).values():
                if read_json(folder / "status.json").get("state") == "running":
                    hit[moment(folder)] += 1
        assert process.returncode == 0
        assert figures(workspace, killed) == figures(workspace, calm)
        for key, folder in find_runs(workspace.root / "runs" / calm).items():
            other = root / folder.relative_to(workspace.root / "runs" / calm)
            pd.testing.assert_frame_equal(scalars(other), scalars(folder))
            assert read_json(other / "progress.json")["weights"] == read_json(folder / "progress.json")["weights"], key
    print(f"\n{done} kills of the sweep; of its runs they hit: {dict(hit) or 'none'}")
