"""A real sweep of the tiny model by real fairseq: what stands on disk, and that every number on it is true."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from analysis.event_files import read_run
from tests.conftest import EPOCHS, SIZES, Workspace, refused

RUNS = [(init, seed) for init in ("pretrained", "random") for seed in (0, 1)]
STEPS_PER_EPOCH = math.ceil(SIZES["train"] / 8)
STEPS = EPOCHS * STEPS_PER_EPOCH
TIMING = {"ups", "wps", "wall", "train_wall", "gb_free"}


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def scalars(folder: Path) -> pd.DataFrame:
    table = read_run(folder)[0]
    kept = table[~table["tag"].isin(TIMING)]
    return kept[["split", "tag", "step", "value"]].sort_values(["split", "tag", "step"]).reset_index(drop=True)


def test_each_run_has_its_own_complete_folder(swept: Workspace) -> None:
    for init, seed in RUNS:
        folder = swept.run_folder(init, seed)
        status = read(folder, "status.json")
        assert status["state"] == "done"
        assert status["steps"] == status["planned_steps"] == STEPS
        assert (status["attempts"], status["skipped_steps"], status["exit_code"]) == (1, 0, 0)
        for name in ("config.yaml", "fairseq.yaml", "provenance.json", "checkpoint_best.pt", "train.log"):
            assert (folder / name).is_file()
        for split in ("train_inner", "train", "valid", "test"):
            assert len(list((folder / "tb" / split).iterdir())) == 1
        assert not list(folder.glob(".*.tmp"))


def test_every_example_is_scored_at_step_0_and_at_each_epochs_end(swept: Workspace) -> None:
    for init, seed in RUNS:
        table = read_run(swept.run_folder(init, seed))[0]
        for split in ("valid", "test"):
            counts = table[(table["split"] == split) & (table["tag"] == "n")]
            assert counts["step"].tolist() == list(range(0, STEPS + 1, STEPS_PER_EPOCH))
            assert counts["value"].tolist() == [SIZES[split]] * (EPOCHS + 1)


def test_every_training_example_is_seen_once_an_epoch(swept: Workspace) -> None:
    table = read_run(swept.run_folder("pretrained", 0))[0]
    counts = table[(table["split"] == "train") & (table["tag"] == "n")]
    assert counts["value"].tolist() == [SIZES["train"]] * EPOCHS


def test_the_tiny_model_learns(swept: Workspace) -> None:
    """So that the tests around this one compare curves that move."""
    for init, seed in RUNS:
        assert read(swept.run_folder(init, seed), "progress.json")["best_valid"]["n_correct"] >= 0.7 * SIZES["valid"]


def test_accuracy_is_exact(swept: Workspace) -> None:
    logged = read_run(swept.run_folder("random", 1))[0]
    table = logged.pivot_table(index=["split", "step"], columns="tag", values="value")
    share = 100 * table["n_correct"] / table["n"]
    assert (share - table["accuracy"]).abs().max() < 1e-4  # event files hold float32; stock rounds to 0.1


def test_the_best_checkpoint_gives_the_logged_counts_and_the_loss_in_nats(swept: Workspace) -> None:
    """Scored anew, one text at a time, by code that shares nothing with the task's evaluation."""
    from fairseq.data import Dictionary
    from fairseq.data.indexed_dataset import make_dataset

    from fairseq_tasks.architectures import RobertaTiny

    folder = swept.run_folder("pretrained", 0)
    best = read(folder, "progress.json")["best_valid"]
    state = torch.load(folder / "checkpoint_best.pt", weights_only=True)
    assert state["extra_state"]["best_valid"] == best
    dictionary = Dictionary.load(str(swept.binarised / "input0/dict.txt"))
    dictionary.add_symbol("<mask>")

    class Task:
        source_dictionary = dictionary

    model = RobertaTiny.build_model(OmegaConf.create(state["cfg"]["model"]), Task())
    model.register_classification_head("sentence_classification_head", num_classes=2)
    model.load_state_dict(state["model"])
    model.eval()
    texts = make_dataset(str(swept.binarised / "input0/valid"), impl="mmap")
    labels = make_dataset(str(swept.binarised / "label/valid"), impl="mmap")
    n_correct, loss = 0, 0.0
    for text, label in zip(texts, labels, strict=True):
        tokens = torch.cat([torch.tensor([0]), text])
        tokens = torch.cat([tokens[:63], torch.tensor([2])]) if len(tokens) > 64 else tokens
        with torch.no_grad():
            logits, _ = model(tokens[None].long(), classification_head_name="sentence_classification_head")
        chances = torch.softmax(logits[0].double(), dim=0)
        target = int(label[0]) - 4
        n_correct += int(chances.argmax()) == target
        loss -= math.log(chances[target])
    assert n_correct == best["n_correct"]
    assert loss / SIZES["valid"] == pytest.approx(best["loss"], abs=1e-5)


def test_fairseqs_own_loader_reads_the_best_checkpoint(swept: Workspace) -> None:
    from fairseq.checkpoint_utils import load_model_ensemble_and_task

    path = str(swept.run_folder("random", 0) / "checkpoint_best.pt")
    models, _, _ = load_model_ensemble_and_task([path], arg_overrides={"save_dir": str(swept.root)})
    assert "sentence_classification_head" in models[0].classification_heads


def test_the_encoder_at_step_0_is_one_for_pretrained_and_each_seeds_own_for_random(swept: Workspace) -> None:
    prints = {
        (init, seed): read(swept.run_folder(init, seed), "provenance.json")["initialisation"]["encoder_fingerprint"]
        for init, seed in RUNS
    }
    assert prints["pretrained", 0] == prints["pretrained", 1]
    assert len(set(prints.values())) == 3


def test_provenance_names_inputs_versions_and_machine(swept: Workspace) -> None:
    record = read(swept.run_folder("pretrained", 0), "provenance.json")
    assert set(record["inputs"]) == {"data", "examples", "labels", "checkpoint"}
    assert record["inputs"]["examples"] == SIZES
    assert record["versions"]["torch"]
    assert record["threads"] >= 1
    assert record["precision"] == "fp32"


def test_seeds_and_inits_have_curves_of_their_own(swept: Workspace) -> None:
    curves = {
        tuple(table[(table["split"] == "train_inner") & (table["tag"] == "loss")]["value"])
        for table in (scalars(swept.run_folder(init, seed)) for init, seed in RUNS)
    }
    assert len(curves) == len(RUNS)


def test_the_learning_rate_ends_at_zero(swept: Workspace) -> None:
    table = read_run(swept.run_folder("random", 0))[0]
    rates = table[(table["split"] == "train") & (table["tag"] == "lr")].sort_values("step")["value"]
    assert rates.iloc[0] > 0
    assert rates.iloc[-1] == 0


def test_called_again_nothing_is_retrained(swept: Workspace) -> None:
    before = {path: path.stat().st_mtime_ns for path in (swept.root / "runs/default").rglob("*") if path.is_file()}
    answer = swept.sweep("--seeds", "0,1", "--epochs", str(EPOCHS))
    assert answer.returncode == 0
    assert "4 runs, 4 done already, 0 to do" in answer.stdout
    after = {path: path.stat().st_mtime_ns for path in before if path.name != ".lock"}
    assert after == {path: time for path, time in before.items() if path.name != ".lock"}


def test_another_configuration_is_refused_and_names_the_keys(swept: Workspace) -> None:
    sentence = refused(swept.sweep("--seeds", "0,1", "--epochs", "9"))
    assert "recipe.epochs: 6 -> 9" in sentence
    assert "FORCE=1" in sentence


def test_other_data_is_refused(swept: Workspace, tmp_path: Path) -> None:
    path = swept.run_folder("pretrained", 0) / "provenance.json"
    whole = path.read_text()
    record = json.loads(whole)
    record["inputs"]["data"]["input0/train.bin"] = "0" * 64
    path.write_text(json.dumps(record))
    try:
        assert "data (input)" in refused(swept.sweep("--seeds", "0,1", "--epochs", str(EPOCHS)))
    finally:
        path.write_text(whole)


def test_status_shows_every_run(swept: Workspace) -> None:
    answer = swept.python("sweeps", "status")
    assert answer.returncode == 0
    assert answer.stdout.count("  done  ") == 4
    assert answer.stdout.endswith("\n4 done\n")
    assert f"{STEPS}/{STEPS}" in answer.stdout
    assert "left" not in answer.stdout  # nothing is timed


def test_a_sweep_warns_of_little_free_memory(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = "types.SimpleNamespace(available=10**9, total=24 * 10**9)"
    (tmp_path / "sitecustomize.py").write_text(f"import types, psutil\npsutil.virtual_memory = lambda: {free}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answer = workspace.sweep("--sweep", "memory", "--init", "random", "--seeds", "0", "--epochs", "1")
    said = "warning 1.0 GB of memory is free, and 1 run may take 4 GB; end other programs if runs die"
    assert answer.returncode == 0
    assert said in " ".join(answer.stdout.split())


def test_status_of_no_sweep_is_one_sentence(swept: Workspace) -> None:
    assert "holds no run" in refused(swept.python("sweeps", "status", "--sweep", "nope"))


def test_the_same_run_twice_is_the_same_to_the_last_bit(swept: Workspace) -> None:
    """Unrounded scalars, best weights and final weights (stock's last checkpoint) of two runs with one thread."""
    last = ("fairseq.checkpoint.no_save=false", "fairseq.checkpoint.checkpoint_suffix=-stock")
    for sweep in ("once", "twice"):
        words = ("--seeds", "0", "--epochs", "2", "--jobs", "2", *last)
        answer = swept.sweep("--sweep", sweep, *words)
        assert answer.returncode == 0, answer.stdout
    for init in ("pretrained", "random"):
        one, other = swept.run_folder(init, 0, "once"), swept.run_folder(init, 0, "twice")
        pd.testing.assert_frame_equal(scalars(one), scalars(other), check_exact=True)
        for name in ("checkpoint_best.pt", "checkpoint_last-stock.pt"):
            first, second = (torch.load(folder / name, weights_only=False)["model"] for folder in (one, other))
            assert first.keys() == second.keys()
            assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_batch_size_of_ones_own_keeps_the_plan_and_the_schedule_true(swept: Workspace) -> None:
    words = ("--init", "random", "--seeds", "0", "--epochs", "2", "fairseq.dataset.batch_size=16")
    assert swept.sweep("--sweep", "batch", *words).returncode == 0
    folder = swept.run_folder("random", 0, "batch")
    assert read(folder, "status.json")["steps"] == 2 * math.ceil(SIZES["train"] / 16)
    table = read_run(folder)[0]
    assert table[(table["split"] == "train") & (table["tag"] == "lr")].sort_values("step")["value"].iloc[-1] == 0


def test_of_tied_evaluations_the_earliest_is_best(swept: Workspace) -> None:
    """A learning rate too small to move a weight ties every evaluation; stock fairseq would keep the last."""
    words = ("--init", "random", "--seeds", "0", "--epochs", "2", "fairseq.optimization.lr=[1e-30]")
    answer = swept.sweep("--sweep", "tie", *words)
    assert answer.returncode == 0, answer.stdout
    folder = swept.run_folder("random", 0, "tie")
    assert read(folder, "progress.json")["best_step"] == 0
    state = torch.load(folder / "checkpoint_best.pt", weights_only=True)
    assert state["extra_state"]["best_valid"]["step"] == 0


def test_evaluation_every_n_steps_finds_and_keeps_a_best_step_between_epochs(swept: Workspace) -> None:
    words = ("--init", "pretrained", "--seeds", "0", "--epochs", "1", "recipe.evaluate_every=3")
    assert swept.sweep("--sweep", "often", *words).returncode == 0
    folder = swept.run_folder("pretrained", 0, "often")
    table = read_run(folder)[0]
    steps = table[(table["split"] == "test") & (table["tag"] == "n")]["step"].tolist()
    assert steps == [0, 3, 6, STEPS_PER_EPOCH]
    counts = table[(table["split"] == "valid") & (table["tag"] == "n_correct")].sort_values("step")
    earliest = counts["step"].tolist()[int(counts["value"].to_numpy().argmax())]
    assert torch.load(folder / "checkpoint_best.pt", weights_only=True)["extra_state"]["best_valid"]["step"] == earliest


def test_fairseq_hydra_train_runs_the_stored_configuration_by_hand(swept: Workspace, tmp_path: Path) -> None:
    folder = swept.run_folder("pretrained", 0)
    by_hand = tmp_path / "by_hand"
    answer = swept.python(
        "fairseq_cli.hydra_train",
        "--config-dir",
        str(folder),
        "--config-name",
        "fairseq",
        f"checkpoint.save_dir={by_hand}",
        f"task.save_dir={by_hand}",
        f"common.tensorboard_logdir={by_hand / 'tb'}",
        f"task.tensorboard_logdir={by_hand / 'tb'}",
        f"hydra.run.dir={tmp_path / 'hydra'}",
    )
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr[-2000:]
    ours, theirs = read(folder, "progress.json"), read(by_hand, "progress.json")
    assert theirs["step"] == ours["step"]
    prints = [read(place, "initialisation.json")["encoder_fingerprint"] for place in (folder, by_hand)]
    assert prints[0] == prints[1]
    assert theirs["best_valid"]["n_correct"] == ours["best_valid"]["n_correct"]
