"""When a run is evaluated: at the planned steps in both back ends, at none twice, and without a trace in training."""

import math
from pathlib import Path

import pandas as pd
import pytest

from hydra_conf.compose import compose_config
from sweeps.folders import read_json
from sweeps.steps import planned
from tests.conftest import SIZES, Workspace
from tests.sweeps.test_sweep import scalars

STEPS_PER_EPOCH = math.ceil(SIZES["train"] / 8)
PLANNED = {
    "epoch": [0, STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH],
    "geometric": [0, 4, 8, 12, 16],
    "3": [0, 3, 6, 8, 9, 12, 15, 16],
}
OVERFLOWS = """
import sys
if "sweeps.run" in sys.orig_argv:
    import torch
    from fairseq.trainer import Trainer
    torch.Tensor.cuda = lambda self: self  # fairseq expects float16, and so a GPU, where gradients overflow
    plain, calls = Trainer.clip_grad_norm, []

    def clip_grad_norm(self, limit):
        calls.append(limit)
        if len(calls) == 5:
            raise OverflowError("as float16 gradients do")
        return plain(self, limit)

    Trainer.clip_grad_norm = clip_grad_norm
"""


def folder_of(workspace: Workspace, sweep: str, backend: str = "fairseq") -> Path:
    return Path(str(workspace.run_folder("random", 0, sweep)).replace("/fairseq/", f"/{backend}/"))


def steps_of(folder: Path, split: str) -> list[int]:
    """Return the steps at which a split's accuracy was logged."""
    table = scalars(folder)
    return table[(table["split"] == split) & (table["tag"] == "n_correct")]["step"].tolist()


@pytest.fixture(scope="module", params=["fairseq", "hf"])
def folders(request: pytest.FixtureRequest, workspace: Workspace) -> dict[str, Path]:
    """The folders of three runs that differ only in where they are evaluated."""
    if request.param == "hf":
        pytest.importorskip("transformers")
    made = {}
    for every in PLANNED:
        sweep = f"evaluated-{every}"
        words = ("--backend", request.param, "--init", "random", "--seeds", "0", "--epochs", "2")
        answer = workspace.sweep("--sweep", sweep, *words, f"recipe.evaluate_every={every}")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        made[every] = folder_of(workspace, sweep, request.param)
    return made


def test_both_splits_are_evaluated_at_the_planned_steps_and_at_none_twice(folders: dict[str, Path]) -> None:
    for every, steps in PLANNED.items():
        assert read_json(folders[every] / "progress.json")["evaluated"] == {"valid": steps, "test": steps}
        assert [steps_of(folders[every], split) for split in ("valid", "test")] == [steps, steps]


def test_evaluations_leave_no_trace_in_training(folders: dict[str, Path]) -> None:
    """With dropout, so that a random number drawn by an evaluation would show."""
    weights = {every: read_json(folder / "progress.json")["weights"] for every, folder in folders.items()}
    assert len(set(weights.values())) == 1
    shared = {every: scalars(folder) for every, folder in folders.items()}
    for every, table in shared.items():
        kept = table[table["step"].isin(PLANNED["epoch"]) & ~table["tag"].str.startswith("best_")]
        shared[every] = kept.reset_index(drop=True)
    assert len(shared["epoch"])
    pd.testing.assert_frame_equal(shared["geometric"], shared["epoch"], check_exact=True)
    pd.testing.assert_frame_equal(shared["3"], shared["epoch"], check_exact=True)


def test_the_seconds_of_evaluations_are_told(folders: dict[str, Path]) -> None:
    seconds = {every: read_json(folder / "progress.json")["evaluation_seconds"] for every, folder in folders.items()}
    assert 0 < seconds["epoch"] < seconds["3"] < 60


def test_a_batch_that_overflows_is_followed_by_no_second_evaluation_of_its_step(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fifth batch is no step: step 4 stands twice at a batch's end, and each epoch ends a step early."""
    (tmp_path / "sitecustomize.py").write_text(OVERFLOWS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    words = ("--sweep", "overflow", "--init", "random", "--seeds", "0", "--epochs", "2")
    answer = workspace.sweep(*words, "recipe.evaluate_every=geometric")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    folder = folder_of(workspace, "overflow")
    assert read_json(folder / "status.json")["skipped_steps"] == 1
    steps = [0, 4, 7, 8, 12, 15]
    assert read_json(folder / "progress.json")["evaluated"] == {"valid": steps, "test": steps}
    assert [steps_of(folder, split) for split in ("valid", "test")] == [steps, steps]


def test_the_plan_counts_real_batches(workspace: Workspace, tmp_path: Path) -> None:
    """Epochs of unequal length, and a limit of steps that ends the run within one."""
    from sweeps.fairseq_config import fairseq_config, resolved

    def plan(*words: str) -> tuple[int, list[int]]:
        config = compose_config(["model=tiny", "init=random", "recipe.epochs=3", *words, *workspace.overrides])
        settings = resolved(fairseq_config(config, workspace.binarised, tmp_path, "cpu", "fp32"))
        made = planned(settings, config)[1]
        return made.batches, made.evaluations

    assert plan() == (24, [0, 8, 16, 24])
    assert plan("fairseq.optimization.update_freq=[4,1]") == (24, [0, 2, 10, 18])
    assert plan("fairseq.optimization.max_update=11") == (11, [0, 8, 11])
    assert plan("fairseq.optimization.max_update=16") == (16, [0, 8, 16])
    assert plan("fairseq.optimization.max_update=11", "recipe.evaluate_every=geometric") == (11, [0, 4, 8, 10, 11])
