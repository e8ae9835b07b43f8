"""The same sweep on a GPU, in fp16, one GPU a run."""

import json

import pytest
import torch

from analysis.event_files import read_run
from tests.conftest import SIZES, Workspace

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def test_a_cuda_sweep_trains_in_fp16_and_scores_every_example(workspace: Workspace) -> None:
    words = ["sweeps", "--model", "tiny", "--device", "cuda", "--sweep", "cuda", "--seeds", "0,1", "--epochs", "6"]
    answer = workspace.python(*words, *workspace.overrides)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    for init in ("pretrained", "random"):
        for seed in (0, 1):
            folder = workspace.run_folder(init, seed, "cuda")
            assert json.loads((folder / "provenance.json").read_text())["precision"] == "fp16"
            status = json.loads((folder / "status.json").read_text())
            assert status["steps"] + status["skipped_steps"] == status["planned_steps"]
            table = read_run(folder)[0]
            counts = table[(table["split"] == "test") & (table["tag"] == "n")]
            assert set(counts["value"]) == {SIZES["test"]}
            assert "loss_scale" in set(table["tag"])
