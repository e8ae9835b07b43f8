"""The same sweeps on a GPU: they learn in each precision, go on where they were, and give the same bits twice."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sweeps.folders import read_json, read_status
from tests.conftest import SIZES, Workspace
from tests.sweeps.test_cut_runs import same
from tests.sweeps.test_float16 import curve
from tests.sweeps.test_processes import start, step_of, until

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

EPOCHS = 15
STEPS = 8 * EPOCHS


@pytest.fixture(params=["fairseq", "hf"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "hf":
        pytest.importorskip("transformers")
    return str(request.param)


@pytest.fixture(params=["fp16", "bf16"])
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def words_of(sweep: str, backend: str, precision: str) -> list[str]:
    words = ["--device", "cuda", "--precision", precision, "--backend", backend, "--sweep", sweep]
    return [*words, "--init", "random", "--seeds", "0", "--epochs", str(EPOCHS), "--", "launcher.save_every=1"]


def folder_of(workspace: Workspace, sweep: str, backend: str) -> Path:
    return Path(str(workspace.run_folder("random", 0, sweep)).replace("/fairseq/", f"/{backend}/"))


def trained(workspace: Workspace, sweep: str, backend: str, precision: str) -> Path:
    """Train one run; return its folder."""
    answer = workspace.sweep(*words_of(sweep, backend, precision))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return folder_of(workspace, sweep, backend)


def test_cuda_alone_means_fp16(workspace: Workspace) -> None:
    words = ["sweeps", "--model", "tiny", "--device", "cuda", "--sweep", "cuda", "--init", "random", "--seeds", "0"]
    answer = workspace.python(*words, "--epochs", str(EPOCHS), *workspace.overrides)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert read_json(folder_of(workspace, "cuda", "fairseq") / "provenance.json")["precision"] == "fp16"


def test_a_run_learns_scores_every_example_and_works_off_its_plan(
    workspace: Workspace, backend: str, precision: str
) -> None:
    folder = trained(workspace, f"cuda-{precision}", backend, precision)
    record, status = read_json(folder / "provenance.json"), read_json(folder / "status.json")
    assert (record["precision"], record["device"]) == (precision, torch.cuda.get_device_name(0))
    assert status["planned_steps"] == STEPS
    progress = read_json(folder / "progress.json")
    assert progress["batches"] == STEPS
    assert status["skipped_steps"] == progress["overflowed"] + progress["skipped"] <= 0.1 * STEPS
    assert set(curve(folder, "n", "test")) == {SIZES["test"]}
    losses = curve(folder, "loss")
    assert losses[-1] < 0.3 < 0.5 < losses[0]
    assert curve(folder, "accuracy", "test")[-1] > 80
    assert bool(curve(folder, "loss_scale", "train")) == (precision == "fp16" and backend == "fairseq")
    logits = np.stack(pd.read_parquet(folder / "predictions.parquet")["logits"].to_list())
    assert float((logits == logits.astype(np.float16)).mean()) < 0.1


def test_one_run_twice_gives_the_same_bits(workspace: Workspace, backend: str, precision: str) -> None:
    one, other = (trained(workspace, f"cuda-{n}-{precision}", backend, precision) for n in ("once", "twice"))
    same(one, other)


def test_a_run_that_is_cut_ends_with_the_same_bits(workspace: Workspace, backend: str, precision: str) -> None:
    whole = trained(workspace, f"cuda-whole-{precision}", backend, precision)
    sweep = f"cuda-cut-{precision}"
    cut = folder_of(workspace, sweep, backend)
    process = start(workspace, *words_of(sweep, backend, precision))
    until(lambda: step_of(cut) > 8 or process.poll() is not None)
    os.kill(json.loads((cut / "status.json").read_text())["pid"], signal.SIGTERM)
    process.communicate(timeout=120)
    assert read_status(cut)["state"] == "pending"
    assert trained(workspace, sweep, backend, precision) == cut
    assert len(read_json(cut / "provenance.json")["resumed"]) == 1
    same(cut, whole)
