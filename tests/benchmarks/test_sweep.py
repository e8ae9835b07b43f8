"""The bench of a sweep: what it counts, and that every way trains the same."""

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from analysis.parameters import describe
from benchmarks.sweep import last_accuracy, rows_of, start_up
from benchmarks.task import flop_of, lengths
from foundation.errors import UsageError
from hydra_conf.compose import compose_config
from tests.conftest import SIZES, Workspace


def test_flops_are_those_that_torch_counts(workspace: Workspace) -> None:
    described, n = describe(compose_config(["model=tiny", f"data_dir={workspace.root / 'data'}"]), n_classes=2), 50
    model = described.model.eval()
    tokens = torch.randint(5, 40, (1, n))
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(tokens, features_only=True)
    assert flop_of(np.array([n]), described.shape) == counter.get_total_flops()


def test_lengths_are_of_real_tokens_cut(workspace: Workspace) -> None:
    found = lengths(workspace.binarised, "test", 64)
    manifest = json.loads((workspace.binarised / "manifest.json").read_text())
    assert len(found) == SIZES["test"]
    assert found.max() == 64
    whole = lengths(workspace.binarised, "test", 10_000)
    assert whole.sum() == manifest["tokens"]["test"] + SIZES["test"]  # and an <s> each
    assert int((whole > 64).sum()) == manifest["cut"]["test"]["examples"]


def test_start_up_and_accuracy_are_read_from_the_logs() -> None:
    judged = "2026-11-23 18:57:20 | INFO | valid | epoch 001 | valid on 'test' subset | loss 1 | accuracy {} | wps 2\n"
    begin = "2026-11-23 18:57:12 | INFO | fairseq.trainer | begin training epoch 1\n"
    log = begin + judged.format(48.2) + judged.format(51.5)
    assert start_up(log, datetime(2026, 11, 23, 18, 57, 2, 999_999)) == 10
    assert last_accuracy(log) == 51.5
    assert last_accuracy("test accuracy 83.25\n") == 83.25
    with pytest.raises(UsageError, match="does not say when training began"):
        start_up("nothing", datetime(2026, 11, 23))
    with pytest.raises(UsageError, match="tells no test accuracy"):
        last_accuracy(begin)


def test_with_a_gpu_every_way_has_a_row_in_each_of_its_precisions() -> None:
    assert rows_of(("stock", "ours"), ("fp16", "bf16")) == {
        "stock": ("stock", "fp16"),
        "ours": ("ours", "fp16"),
        "stock, bf16": ("stock", "bf16"),
        "ours, bf16": ("ours", "bf16"),
    }
    assert rows_of(("stock", "ours"), ("auto",)) == {"stock": ("stock", "fp32"), "ours": ("ours", "auto")}


@pytest.mark.slow
def test_every_way_trains_the_same_runs(workspace: Workspace) -> None:
    pytest.importorskip("transformers")
    words = ["--model", "tiny", "--rounds", "1", "--data-dir", str(Path("data"))]
    answer = workspace.python("benchmarks.sweep", *words, *workspace.overrides, timeout=900)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    measured = json.loads(answer.stdout.splitlines()[-1])["ways"]
    assert set(measured) == {"stock", "trainer", "ours"}
    for found in measured.values():
        assert 0 < found["start_up"][0] < found["seconds"][0] * 2  # ours start side by side
        assert set(found["accuracy"]) == {"pretrained", "random"}
        assert found["peak_gb"][0] > 0
