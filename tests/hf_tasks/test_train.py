"""Runs with transformers: the same data, batches, first weights and schedule as fairseq's, so the same training."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

pytest.importorskip("transformers", reason="the extra hf is not installed: make setup EXTRAS=dev,hf")

from analysis.event_files import read_run
from hf_tasks.convert import convert
from hf_tasks.parity import sentences
from hf_tasks.predict import predict
from hf_tasks.source import source_of
from hf_tasks.train import polynomial_decay
from sweeps.__main__ import main
from tests.conftest import SIZES, Refusals, Workspace

EPOCHS = 3
STEPS_PER_EPOCH = math.ceil(SIZES["train"] / 8)
STEPS = EPOCHS * STEPS_PER_EPOCH
WITHOUT_DROPOUT = ("fairseq.model.dropout=0.0", "fairseq.model.attention_dropout=0.0", "recipe.learning_rate=1e-3")


@pytest.fixture(scope="session")
def mixed(workspace: Workspace) -> Workspace:
    """The workspace after a sweep `mixed` of both back ends and both methods, without dropout."""
    words = ("--backend", "fairseq,hf", "--method", "full,lora", "--seeds", "0", "--epochs", str(EPOCHS))
    answer = workspace.sweep("--sweep", "mixed", *words, *WITHOUT_DROPOUT, "fairseq.common.log_interval=4")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "there is no METHOD=lora with BACKEND=fairseq; these runs are left out" in answer.stdout
    assert "6 of 6 runs done" in answer.stdout
    return workspace


def folder_of(workspace: Workspace, backend: str, method: str, init: str) -> Path:
    return workspace.root / "runs/mixed/amazon_fr/tiny" / backend / method / init / "seed=0"


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def curve(folder: Path, split: str, tag: str) -> dict[int, float]:
    table = read_run(folder)[0]
    own = table[(table["split"] == split) & (table["tag"] == tag)].sort_values("step")
    return dict(zip(own["step"].tolist(), own["value"].tolist(), strict=True))


@pytest.mark.parametrize("init", ["pretrained", "random"])
def test_both_back_ends_start_from_the_same_function_and_train_alike(mixed: Workspace, init: str) -> None:
    """Without dropout nothing is left to chance: same weights, batches, rates, so the same losses all the way."""
    ours, theirs = (folder_of(mixed, backend, "full", init) for backend in ("fairseq", "hf"))
    prints = [read(folder, "provenance.json")["initialisation"]["encoder_fingerprint"] for folder in (ours, theirs)]
    assert prints[0] == prints[1]
    for split in ("valid", "test", "train_inner"):
        one, other = curve(ours, split, "loss"), curve(theirs, split, "loss")
        assert one.keys() == other.keys()
        assert max(abs(one[step] - other[step]) for step in one) < 2e-4
    assert curve(theirs, "valid", "loss")[0] == pytest.approx(curve(ours, "valid", "loss")[0], abs=1e-6)
    rates = [curve(folder, "train_inner", "lr") for folder in (ours, theirs)]
    assert rates[0] == pytest.approx(rates[1], abs=1e-9)


def test_an_hf_run_has_the_folder_of_a_fairseq_run(mixed: Workspace) -> None:
    for method in ("full", "lora"):
        folder = folder_of(mixed, "hf", method, "pretrained")
        status = read(folder, "status.json")
        assert (status["state"], status["steps"], status["planned_steps"]) == ("done", STEPS, STEPS)
        for split in ("valid", "test"):
            assert curve(folder, split, "n") == dict.fromkeys(range(0, STEPS + 1, STEPS_PER_EPOCH), SIZES[split])
            counts, shares = curve(folder, split, "n_correct"), curve(folder, split, "accuracy")
            assert all(abs(100 * counts[step] / SIZES[split] - shares[step]) < 1e-4 for step in counts)
        assert curve(folder, "train", "n") == dict.fromkeys(
            range(STEPS_PER_EPOCH, STEPS + 1, STEPS_PER_EPOCH), SIZES["train"]
        )
        assert (folder / "checkpoint_best.pt").is_file()
        answers, progress = pd.read_parquet(folder / "predictions.parquet"), read(folder, "progress.json")
        right = answers[answers["gold"] == answers["predicted"]].groupby("split").size()
        assert right["valid"] == progress["best_valid"]["n_correct"]
        assert right["test"] == curve(folder, "test", "n_correct")[progress["best_step"]]
        assert answers.groupby("split").size().to_dict() == {split: SIZES[split] for split in ("valid", "test")}
        assert read(folder, "provenance.json")["versions"]["transformers"]


def test_the_run_records_what_is_trained(mixed: Workspace) -> None:
    full, lora = (
        read(folder_of(mixed, "hf", method, "pretrained"), "provenance.json")["initialisation"]
        for method in ("full", "lora")
    )
    head = (64 * 64 + 64) + (64 * 2 + 2)
    adapters = 2 * 3 * 16 * (64 + 64)  # layers x projections x rank x (in + out)
    assert lora["trainable_parameters"] == head + adapters
    assert full["trainable_parameters"] == full["parameters"] - 64  # all but the token types, which fairseq has not
    assert lora["encoder_fingerprint"] == full["encoder_fingerprint"]


def test_the_same_run_twice_is_the_same_to_the_last_bit(workspace: Workspace) -> None:
    """With dropout; unrounded scalars and the best weights of two runs with one thread."""
    runs = []
    for sweep in ("hf-once", "hf-twice"):
        words = ("--sweep", sweep, "--backend", "hf", "--init", "random", "--seeds", "0", "--epochs", "1")
        answer = workspace.sweep(*words, "fairseq.common.log_interval=1")
        assert answer.returncode == 0, answer.stdout
        folder = workspace.root / "runs" / sweep / "amazon_fr/tiny/hf/full/random/seed=0"
        runs.append(
            (curve(folder, "train_inner", "loss"), torch.load(folder / "checkpoint_best.pt", weights_only=True))
        )
    (one, first), (other, second) = runs
    assert one == other
    assert all(torch.equal(first["model"][name], second["model"][name]) for name in first["model"])


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_best_checkpoint_gives_the_logged_counts_in_either_library(
    mixed: Workspace, tmp_path: Path, method: str
) -> None:
    """Of a LoRA run it holds the plain weights with the adapter's update added."""
    folder = folder_of(mixed, "hf", method, "random")
    best = read(folder, "progress.json")["best_valid"]
    convert(source_of(folder), tmp_path / "converted", sentences(40), print)
    split = mixed.root / "data/splits/amazon_fr/valid.jsonl"
    ours, theirs = (
        [(one.label, label) for one, label in predict(place, split)] for place in (folder, tmp_path / "converted")
    )
    assert ours == theirs
    assert sum(truth == label for truth, label in ours) == best["n_correct"]


def test_everything_is_in_one_table(mixed: Workspace) -> None:
    assert mixed.analyse("--sweep", "mixed").returncode == 0
    whole = (mixed.root / "results/mixed/tables/results.md").read_text()
    table = "".join(line for line in whole.splitlines() if line.startswith("|"))
    for name in ("(fairseq, full)", "(hf, full)", "(hf, lora)"):
        assert table.count(name) == 2
    assert len(json.loads((mixed.root / "results/mixed/summary.json").read_text())["groups"]) == 6
    comparisons = json.loads((mixed.root / "results/mixed/statistics.json").read_text())["comparisons"]
    assert sorted(comparison["axis"] for comparison in comparisons) == ["backend"] * 2 + ["init"] * 3 + ["method"] * 2
    report = (mixed.root / "results/mixed/report.md").read_text()
    assert report.count("fairseq minus hf: ") == 2  # each comparison of the back ends says which ends higher


def test_called_again_an_hf_run_is_not_trained_again(mixed: Workspace) -> None:
    words = (
        "--backend",
        "hf",
        "--seeds",
        "0",
        "--epochs",
        str(EPOCHS),
        *WITHOUT_DROPOUT,
        "fairseq.common.log_interval=4",
    )
    assert "2 runs, 2 done already, 0 to do" in mixed.sweep("--sweep", "mixed", *words).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--backend", "fairseq", "--method", "lora"), "METHOD=lora needs BACKEND=hf"),
        (("--backend", "hf", "hf.seed=1"), "hf.seed cannot be given: use SEEDS"),
        (("--backend", "hf", "hf.learning_rate=1"), "hf.learning_rate cannot be given: use recipe.learning_rate"),
        (("--backend", "hf", "hf.warmup_steps=3"), ": use recipe.warmup_share or fairseq.lr_scheduler.warmup_updates"),
        (("--backend", "hf", "hf.gradient_accumulation_steps=2"), "cannot be given: a step takes one batch"),
        (("--backend", "hf", "hf.save_steps=2"), "hf.save_steps cannot be given: use launcher.save_every"),
        (
            ("--backend", "hf", "--method", "lora", "method.r=0"),
            "method.r=0: it is a number from 1",
        ),
        (
            ("--backend", "hf", "--method", "lora", "method.target_modules.roberta=[nope]"),
            "target_modules.roberta=['nope']",
        ),
        (("--backend", "hf", "fairseq.optimization.update_freq=[2]"), "takes one batch per step"),
        (("--backend", "hf", "fairseq.optimization.lr=[5e-3,1e-5]"), "give one rate above 0, as in [2e-5]"),
        (("--backend", "hf", "fairseq.model.activation_dropout=0.5"), "BACKEND=hf: its runs do not heed it"),
        (("--backend", "hf", "fairseq.lr_scheduler._name=inverse_sqrt"), "BACKEND=hf has polynomial_decay only"),
        (("--backend", "hf", "fairseq.lr_scheduler.warmup_init_lr=0.1"), "warmup_init_lr"),
        (("--backend", "hf", "fairseq.common.fp16_init_scale=2"), "BACKEND=hf: its runs do not heed it"),
        (("--backend", "hf", "hf.lr_scheduler_type=cosine"), "hf.lr_scheduler_type cannot be given"),
        (("--backend", "hf", "hf.optin=sgd"), "hf.optin cannot be given (did you mean 'optim'?)"),
        (("--backend", "hf", "hf.bogus=2"), "hf.bogus cannot be given; runs heed: gradient_checkpointing, neftune"),
        (("--backend", "hf", "hf.optim=lomo"), "a run cannot be made of this configuration (ImportError: You need"),
        (("--backend", "hf", "hf.neftune_noise_alpha=-5"), "hf.neftune_noise_alpha=-5: it is a number above 0"),
        (("--backend", "hf", "hf.neftune_noise_alpha=x"), "hf.neftune_noise_alpha=x: it is a number above 0"),
        (("--backend", "hf", "hf.gradient_checkpointing=x"), "hf.gradient_checkpointing=x: it is true or false"),
        (("--backend", "hf", "hf.optim=sgd", "recipe.adam_eps=0.1"), "recipe.adam_eps=0.1: hf.optim=sgd does not heed"),
        (("--backend", "hf", "speed=stock"), "speed=stock: it is a setting of BACKEND=fairseq"),
        (("--backend", "hf", "fairseq.model.quick_dropout=false"), "it is a setting of BACKEND=fairseq"),
        (("--backend", "hf", "hf.optim=nope"), "the Trainer refuses its arguments"),
        (("--backend", "hf", "hf.neftune_noise_alpha=nan"), "hf.neftune_noise_alpha=nan: it is no finite number"),
        (("--backend", "hf", "fairseq.dataset.max_tokens=150"), "batches, and those of BACKEND=hf have as many each"),
        (("--backend", "hf", "model.checkpoint=/nowhere/model.pt"), "there is no checkpoint /nowhere/model.pt"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    workspace: Workspace, refusals: Refusals, words: tuple[str, ...], message: str
) -> None:
    _, *given = workspace.sweep_words("--sweep", "bad-hf", *words)
    assert message in refusals.of(main, given, workspace.root)
    assert not (workspace.root / "runs/bad-hf").exists()


@pytest.mark.parametrize(
    ("total", "warmup", "power", "end"),
    [
        (20, 0, 1.0, 0.0),
        (20, 1, 1.0, 0.0),
        (50, 3, 1.0, 0.0),
        (7, 6, 1.0, 0.0),
        (20, 4, 3.0, 0.0),
        (20, 4, 0.5, 0.125),
        (15, 4, 2.0, 0.25),
    ],
)
def test_the_schedule_is_fairseqs(total: int, warmup: int, power: float, end: float) -> None:
    """At each of 20 updates, beyond the end of a shorter schedule, too."""
    from fairseq.optim.lr_scheduler.polynomial_decay_schedule import (
        PolynomialDecayLRSchedule,
        PolynomialDecayLRScheduleConfig,
    )

    class Optimizer:
        rate = 0.0

        def set_lr(self, rate: float) -> None:
            self.rate = rate

        def get_lr(self) -> float:
            return self.rate

    config = PolynomialDecayLRScheduleConfig(
        warmup_updates=warmup, total_num_update=float(total), lr=[0.5], power=power, end_learning_rate=end
    )
    theirs = PolynomialDecayLRSchedule.__new__(PolynomialDecayLRSchedule)
    theirs.cfg, theirs.optimizer, theirs.lr = config, Optimizer(), 0.5
    theirs.end_learning_rate, theirs.power = config.end_learning_rate, config.power
    theirs.total_num_update = config.total_num_update
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    ours = polynomial_decay(optimizer, OmegaConf.structured(config))
    for done in range(20):
        assert ours.get_last_lr()[0] == pytest.approx(theirs.step_update(done))
        optimizer.step()
        ours.step()
