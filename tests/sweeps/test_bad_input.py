"""Each mistake of a user's gives one sentence and a non-zero exit before anything trains or is written."""

import shutil
from pathlib import Path

import pytest
import torch

from sweeps.__main__ import main
from tests.conftest import Refusals, Workspace, refused, write_tiny_model

CASES = [
    (("model.checkpoint=/nowhere/model.pt",), "there is no checkpoint /nowhere/model.pt"),
    (("--seeds", "a"), "SEEDS=a: 'a' is not a whole number"),
    (("--seeds", ""), "SEEDS is empty"),
    (("--seeds", "1,1"), "SEEDS=1,1: 1 stands there twice"),
    (("--init", ""), "INIT=: an empty word"),
    (("--init", "nope"), "INIT=nope: there is no such init; choose from pretrained, random"),
    (("--dataset", "nope"), "DATASET=nope: there is no such dataset"),
    (("--model", "nope"), "MODEL=nope: there is no such model"),
    (("--method", "nope"), "METHOD=nope: there is no such method"),
    (("--backend", "nope"), "BACKEND=nope: there is no such backend"),
    (("--launcher", "nope"), "LAUNCHER=nope: there is no such launcher"),
    (("--experiment", "nope"), "EXPERIMENT=nope: there is no such experiment"),
    (("--precision", "nope"), "PRECISION=nope: choose from"),
    (("--precision", "fp16"), "PRECISION=fp16: on cpu choose from"),
    (("--device", "nope"), "DEVICE=nope: choose from auto, cpu, cuda"),
    (("--epochs", "0"), "recipe.epochs=0: it must be above 0"),
    (("--epochs", "many"), "recipe.epochs"),
    (("--jobs", "0"), "launcher.jobs=0: it must be at least 1"),
    (("--sweep", "a/b"), "SWEEP=a/b: it names one folder"),
    (("--data-dir", "elsewhere"), "is not prepared for tiny; run `make prep"),
    (("fairseq.model.encoder_layerz=1",), "'fairseq.model.encoder_layerz' (did you mean 'encoder_layers'?)"),
    (("fairseq.dataset.batchsize=1",), "'fairseq.dataset.batchsize' (did you mean 'batch_size'?)"),
    (("fairseq.optimisation.lr=[1]",), "'fairseq.optimisation' (did you mean 'optimization'?)"),
    (("fairseq.dataset.batch_size=a",), "fairseq.dataset.batch_size: Value 'a'"),
    (("fairseq.common.seed=3",), "fairseq.common.seed cannot be given; use SEEDS"),
    (("fairseq.checkpoint.restore_file=x.pt",), "use model.checkpoint"),
    (("fairseq.dataset.valid_subset=test",), "the best step is chosen on valid"),
    (("fairseq.dataset.required_batch_size_multiple=8",), "the batches hold 56 of 60 examples"),
    (
        ("fairseq.dataset.validate_interval_updates=3",),
        "cannot be given; use recipe.evaluate_every",
    ),
    (("recipe.evaluate_every=0",), "recipe.evaluate_every=0: to evaluate at step 0 and at each epoch's end, say epoch"),
    (
        ("recipe.evaluate_every=often",),
        "recipe.evaluate_every=often: choose from geometric, epoch, or",
    ),
    (("recipe.learning_rat=1",), "'recipe.learning_rat' (did you mean 'learning_rate'?)"),
    (("recipe.warmup_share=2",), "recipe.warmup_share=2.0: it is a share"),
    (("epochs=2",), "unknown configuration key 'epochs'"),
    (("not an override",), "is not a Hydra override"),
]


@pytest.mark.parametrize(("words", "message"), CASES, ids=[" ".join(words) for words, _ in CASES])
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    workspace: Workspace, refusals: Refusals, words: tuple[str, ...], message: str
) -> None:
    _, *given = workspace.sweep_words("--sweep", "bad", *words)
    assert message in refusals.of(main, given, workspace.root)
    assert not (workspace.root / "runs" / "bad").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_without_a_gpu_is_refused(workspace: Workspace) -> None:
    assert "DEVICE=cuda: this machine has no CUDA device" in refused(
        workspace.python("sweeps", "--model", "tiny", "--device", "cuda", *workspace.overrides)
    )


def test_a_runs_dir_that_cannot_be_written_is_named(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    answer = workspace.sweep("--runs-dir", str(tmp_path / "file" / "runs"))
    assert "cannot be written" in refused(answer)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncated", "is not a whole fairseq checkpoint"),
        ("other width", "it is of another architecture"),
        ("other dictionary", "is not the data's"),
    ],
)
def test_a_wrong_checkpoint_stops_the_sweep_before_it_trains(
    workspace: Workspace, refusals: Refusals, tmp_path: Path, damage: str, message: str
) -> None:
    folder = Path(shutil.copytree(workspace.model, tmp_path / "model"))
    if damage == "truncated":
        (folder / "model.pt").write_bytes((folder / "model.pt").read_bytes()[:5000])
    elif damage == "other width":
        write_tiny_model(folder, (folder / "texts.txt").read_text().split("\n"), width=32)
    else:
        (folder / "dict.txt").write_text("autre 1\n")
    _, *given = workspace.sweep_words("--sweep", "bad", f"model.checkpoint={folder / 'model.pt'}")
    sentence = refusals.of(main, given, workspace.root)
    assert message in sentence
    assert str(folder) in sentence
    assert not (workspace.root / "runs" / "bad").exists()
