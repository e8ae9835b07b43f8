"""Training in float16 as on a GPU, on a CPU: it learns, skips what overflows and says so, and goes on where it was."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from fairseq_tasks import training
from foundation.errors import UsageError
from hydra_conf.compose import compose_config
from sweeps import pretrain_run, run
from sweeps.fairseq_config import fairseq_config
from sweeps.fairseq_keys import refuse_unheeded, with_nothing_given
from sweeps.folders import read_json, read_status
from tests.conftest import Workspace
from tests.sweeps.test_cut_runs import same
from tests.sweeps.test_processes import step_of, until
from tests.sweeps.test_sweep import scalars
from tests.warm import warm

EPOCHS = 15
STEPS = 8 * EPOCHS
SOME = f"fairseq.common.fp16_init_scale={2**16}"  # gradients overflow until the loss's scale is halved a few times
MANY = f"fairseq.common.fp16_init_scale={2**19}"
TOO_MANY = f"fairseq.common.fp16_init_scale={2**40}"


@pytest.mark.parametrize("key", ["memory_efficient_fp16", "memory_efficient_bf16", "amp"])
def test_precision_is_chosen_by_one_word(key: str, workspace: Workspace, tmp_path: Path) -> None:
    config = compose_config(["model=tiny", "init=random", f"fairseq.common.{key}=true"])
    settings, usual = (
        fairseq_config(one, workspace.binarised, tmp_path, "cuda", "fp16")
        for one in (config, with_nothing_given(config))
    )
    with pytest.raises(UsageError, match=f"fairseq.common.{key} cannot be given: use PRECISION"):
        refuse_unheeded(config, settings, usual)


def test_batches_a_step_that_change_ask_for_how_long_a_scale_is_kept(workspace: Workspace, tmp_path: Path) -> None:
    words = ["model=tiny", "init=random", "fairseq.optimization.update_freq=[4,1]"]
    fairseq_config(compose_config(words), workspace.binarised, tmp_path, "cuda", "bf16")
    with pytest.raises(UsageError, match=r"update_freq=\[4, 1\] in float16 asks for fairseq.common.fp16_scale_window"):
        fairseq_config(compose_config(words), workspace.binarised, tmp_path, "cuda", "fp16")
    given = compose_config([*words, "fairseq.common.fp16_scale_window=128"])
    fairseq_config(given, workspace.binarised, tmp_path, "cuda", "fp16")


@pytest.mark.parametrize(("train", "root"), [(run.train, "warmstart"), (pretrain_run.train, "pretrain")])
def test_a_run_on_a_gpu_asks_for_the_same_bits_before_it_computes(
    train: Callable[[Path, DictConfig], None], root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked() -> None:
        raise UsageError("asked")

    config = compose_config(["model=tiny", "seed=0", "device=cuda", "precision=bf16"], root)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="this machine has no CUDA device that torch can use"):
        train(tmp_path, config)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(training, "use_deterministic_algorithms", asked)
    with pytest.raises(UsageError, match="^asked$"):
        train(tmp_path, config)


def test_the_same_bits_are_torchs_deterministic_algorithms_with_a_workspace_of_cublas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (
        "import os, torch",
        "from fairseq_tasks.training import use_deterministic_algorithms as use",
        "use()",
        "print(os.environ['CUBLAS_WORKSPACE_CONFIG'], torch.are_deterministic_algorithms_enabled())",
        "print(torch.is_deterministic_algorithms_warn_only_enabled())",
    )
    (tmp_path / "asks.py").write_text("\n".join(lines))
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    for expected in (":4096:8", ":16:8"):
        if expected == ":16:8":
            monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", expected)
        answer = warm("fairseq").run(["asks"], tmp_path, 60)
        assert answer.stdout.split()[-3:] == [expected, "True", "False"], answer.stderr


def test_a_checkpoint_without_its_float32_weights_is_not_taken_up(tmp_path: Path) -> None:
    """As runs in float16 wrote it before their float32 weights were saved."""
    place = {"iterations_in_epoch": 3}
    torch.save({"extra_state": {"train_iterator": place, "scaler": {}}}, tmp_path / "state.pt")
    optimizer = SimpleNamespace(fp32_params=torch.zeros(3), scaler=SimpleNamespace())
    with pytest.raises(UsageError, match="holds no float32 weights, .*; call again with FORCE=1"):
        training._take_up(optimizer, tmp_path)


def folder_of(workspace: Workspace, sweep: str) -> Path:
    return workspace.run_folder("random", 0, sweep)


def curve(folder: Path, tag: str, split: str = "valid") -> list[float]:
    """Return the values of a tag, in the order of steps."""
    table = scalars(folder)
    return list(table[(table["split"] == split) & (table["tag"] == tag)].sort_values("step")["value"])


def test_a_run_in_float16_learns_and_its_logits_are_of_float32(
    workspace: Workspace, float16_on_cpu: tuple[str, ...]
) -> None:
    answer = workspace.sweep("--sweep", "fp16", "--epochs", str(EPOCHS), *float16_on_cpu)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    folder = folder_of(workspace, "fp16")
    assert read_json(folder / "provenance.json")["precision"] == "fp16"
    losses, right = curve(folder, "loss"), curve(folder, "accuracy", "test")
    assert losses[-1] < 0.1 < 0.5 < losses[0]
    assert right[-1] > 90
    assert curve(folder, "loss_scale", "train")
    logits = np.stack(pd.read_parquet(folder / "predictions.parquet")["logits"].to_list())
    assert float((logits == logits.astype(np.float16)).mean()) < 0.1


def test_skipped_steps_are_counted_and_told_and_no_batch_comes_twice(
    workspace: Workspace, float16_on_cpu: tuple[str, ...]
) -> None:
    """The last epoch is cut by `max_update`, so that fairseq alone would make up for the steps that it skipped."""
    words = ("--sweep", "fp16-skips", "--epochs", str(EPOCHS), *float16_on_cpu, MANY)
    answer = workspace.sweep(*words, f"fairseq.optimization.max_update={STEPS - 3}")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    folder = folder_of(workspace, "fp16-skips")
    status, progress = read_json(folder / "status.json"), read_json(folder / "progress.json")
    skipped = (folder / "train.log").read_text().count("gradient overflow detected")
    assert 0 < skipped < 0.1 * STEPS
    assert progress["batches"] == status["planned_batches"] == STEPS - 3
    assert (status["skipped_steps"], status["steps"]) == (skipped, STEPS - 3 - skipped)
    assert progress["evaluated"]["test"][-1] == status["steps"]
    report = workspace.analyse("--sweep", "fp16-skips")
    assert report.returncode == 0, report.stdout + report.stderr
    told = (workspace.root / "results/fp16-skips/tables/results.md").read_text()
    assert f"skipped {skipped} of {STEPS - 3} steps: the gradients overflowed" in told


def test_a_run_that_skips_too_many_steps_fails_and_is_told_another_precision(
    workspace: Workspace, float16_on_cpu: tuple[str, ...]
) -> None:
    answer = workspace.sweep("--sweep", "fp16-fails", "--epochs", "4", *float16_on_cpu, TOO_MANY)
    assert answer.returncode == 1, answer.stdout
    status = read_json(folder_of(workspace, "fp16-fails") / "status.json")
    said = r"^\d+ of 32 steps were skipped, .* at most 10% may be; train with PRECISION=bf16 or PRECISION=fp32$"
    assert re.search(said, status["error"]), status["error"]


@pytest.mark.parametrize(
    ("sweep", "word"),
    [
        ("fp16-nan", "recipe.learning_rate=1e30"),
        ("fp16-least-scale", f"fairseq.common.min_loss_scale={2**19}"),
    ],
)
def test_numbers_that_are_not_finite_ask_for_another_precision(
    workspace: Workspace, float16_on_cpu: tuple[str, ...], sweep: str, word: str
) -> None:
    answer = workspace.sweep("--sweep", sweep, "--epochs", "2", *float16_on_cpu, MANY, word)
    assert answer.returncode == 1, answer.stdout
    error = read_json(folder_of(workspace, sweep) / "status.json")["error"]
    assert error.endswith("; train with PRECISION=bf16 or PRECISION=fp32"), error
    assert "learning rate" not in error


@pytest.mark.parametrize("flat", [True, False])
def test_a_run_in_float16_that_is_cut_ends_with_the_same_bits(
    workspace: Workspace, float16_on_cpu: tuple[str, ...], flat: bool
) -> None:
    """After steps that overflowed, so that the scale of the loss is another one than at the start."""
    own = ("launcher.save_every=1", "recipe.evaluate_every=3", f"fairseq.common.fp16_no_flatten_grads={not flat}", SOME)
    words = [["--sweep", f"fp16-{how}-{flat}", "--epochs", "8", *float16_on_cpu, *own] for how in ("whole", "cut")]
    whole, cut = (folder_of(workspace, f"fp16-{how}-{flat}") for how in ("whole", "cut"))
    answer = workspace.sweep(*words[0])
    assert answer.returncode == 0, answer.stdout + answer.stderr
    process = workspace.begin(*words[1])
    until(lambda: step_of(cut) > 20 or process.poll() is not None)
    os.kill(read_json(cut / "status.json")["pid"], signal.SIGTERM)
    process.communicate(timeout=120)
    assert read_status(cut)["state"] == "pending"
    again = workspace.sweep(*words[1])
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(read_json(cut / "provenance.json")["resumed"]) == 1
    same(cut, whole)
    assert read_json(cut / "status.json")["skipped_steps"] == read_json(whole / "status.json")["skipped_steps"] > 0
