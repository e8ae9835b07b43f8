"""Each mistake of a user's gives one sentence and a non-zero exit before anything trains or is written."""

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from data_prep.__main__ import main as prep
from sweeps.__main__ import main
from tests.conftest import Refusals, Workspace, refused, write_tiny_model

CASES = [
    (("model.checkpoint=/nowhere/model.pt",), "there is no checkpoint /nowhere/model.pt"),
    (("--seeds", "a"), "SEEDS=a: 'a' is not a whole number"),
    (("--seeds", ""), "SEEDS is empty"),
    (("--seeds", "1,1"), "SEEDS=1,1: 1 is given twice"),
    (("--init", "random,"), "INIT=random,: an empty word"),
    (("--init", "nope"), "INIT=nope: there is no such init; choose from: bottom_<n>, embed"),
    (("--init", "radom"), "INIT=radom: there is no such init (did you mean 'random'?)"),
    (("--dataset", "nope"), "DATASET=nope: there is no such dataset"),
    (("--model", "nope"), "MODEL=nope: there is no such model"),
    (("--method", "nope"), "METHOD=nope: there is no such method"),
    (("--backend", "nope"), "BACKEND=nope: there is no such backend"),
    (("--launcher", "nope"), "LAUNCHER=nope: there is no such launcher"),
    (("--experiment", "nope"), "EXPERIMENT=nope: there is no such experiment"),
    (("--precision", "nope"), "PRECISION=nope: choose from"),
    (("--precision", "fp16"), "PRECISION=fp16: on cpu choose from"),
    (("--device", "nope"), "DEVICE=nope: choose from auto, cpu, cuda"),
    (("--epochs", "0"), "EPOCHS=0: give a whole number above 0"),
    (("--epochs", "many"), "EPOCHS=many: give a whole number above 0"),
    (("recipe.learning_rate=fast",), "recipe.learning_rate=fast: it is no number"),
    (("--jobs", "0"), "JOBS=0: give a whole number above 0"),
    (("launcher.jobs=0",), "launcher.jobs=0: it is a number from 1"),
    (("--sweep", "a/b"), "SWEEP=a/b: it names one folder"),
    (("--sweep", ".."), "SWEEP=..: it names one folder"),
    (("--sweep", "pretraining"), "SWEEP=pretraining: `make pretrain` writes there"),
    (("--data-dir", "elsewhere"), "is not prepared for tiny; run `make prep"),
    (("fairseq.model.encoder_layerz=1",), "'fairseq.model.encoder_layerz' (did you mean 'encoder_layers'?)"),
    (("fairseq.dataset.batchsize=1",), "'fairseq.dataset.batchsize' (did you mean 'batch_size'?)"),
    (("fairseq.optimisation.lr=[1]",), "'fairseq.optimisation' (did you mean 'optimization'?)"),
    (("fairseq.dataset.batch_size=a",), "fairseq.dataset.batch_size: Value 'a'"),
    (("fairseq.common.seed=3",), "fairseq.common.seed cannot be given as an override: use SEEDS"),
    (("fairseq.checkpoint.restore_file=x.pt",), "use model.checkpoint"),
    (("fairseq.dataset.valid_subset=test",), "the best step is chosen on valid"),
    (("fairseq.dataset.required_batch_size_multiple=8",), "the batches hold 56 of 60 examples"),
    (("fairseq.dataset.validate_interval_updates=3",), "cannot be given: use recipe.evaluate_every"),
    (("fairseq.task.n_train=50",), "fairseq.task.n_train cannot be given as an override: use TRAIN"),
    (("recipe.evaluate_every=0",), "recipe.evaluate_every=0: to evaluate at step 0 and at each epoch's end, say epoch"),
    (
        ("recipe.evaluate_every=often",),
        "recipe.evaluate_every=often: choose from geometric, epoch, or",
    ),
    (("recipe.learning_rat=1",), "'recipe.learning_rat' (did you mean 'learning_rate'?)"),
    (("recipe.warmup_share=2",), "recipe.warmup_share=2.0: it is a share"),
    (("epochs=2",), "unknown configuration key 'epochs'"),
    (("not an override",), "is not a Hydra override"),
    (("fairseq.model.encoder_attention_heads=7",), "embed_dim must be divisible by num_heads); given was"),
    (("fairseq.model.activation_fn=nope",), "--activation-fn nope not supported); given was"),
    (("fairseq.model.pooler_activation_fn=nope",), "nope not supported); given was"),
    (("fairseq.model.encoder_layers=0",), "fairseq.model.encoder_layers=0: it is a number from 1"),
    (("fairseq.model.dropout=1.5",), "fairseq.model.dropout=1.5: it is a share"),
    (("fairseq.model.max_positions=32",), "use model.max_positions"),
    (("fairseq.model._name=transformer_lm",), "fairseq.model"),
    (("model.architecture=transformer_lm",), "fairseq.model"),
    (("fairseq.model=tiny",), "fairseq.model=tiny: it holds keys"),
    (("fairseq.optimization=null",), "fairseq.optimization=None: it holds keys"),
    (("fairseq.task.goes_on=true",), "fairseq.task.goes_on cannot be given"),
    (("fairseq.task.init=random",), "fairseq.task.init cannot be given: use INIT"),
    (("fairseq.task.max_positions=100",), "a text has from 5 to 64 tokens, those of model.max_positions"),
    (("fairseq.task.max_positions=4",), "a text has from 5 to 64 tokens"),
    (("fairseq.optimizer.adam_betas=x",), "fairseq.optimizer.adam_betas=x: it is a pair"),
    (("recipe.adam_betas=(0.9, 1)",), "adam_betas=(0.9, 1): it is a pair"),
    (("recipe.adam_betas=__import__('os').system('touch was_run')",), "it is a pair of numbers"),
    (("fairseq.optimizer._name=nag",), "fairseq.optimizer"),
    (("speed.adam=cpu_adam",), "fairseq.optimizer._name=cpu_adam: choose from warmstart_adam, adam"),
    (("fairseq.optimizer.weight_decay=-1",), "fairseq.optimizer.weight_decay=-1.0: it is a number from 0"),
    (("fairseq.optimization.lr=[]",), "fairseq.optimization.lr=[]: give one rate"),
    (("fairseq.optimization.lr=[5e-3,1e-5]",), "fairseq.optimization.lr=[0.005, 1e-05]: give one rate"),
    (("fairseq.optimization.lr=2e-5",), "fairseq.optimization.lr=2e-05: give one rate above 0, as in [2e-5]"),
    (("fairseq.optimization.lr=[fast]",), "fairseq.optimization.lr=['fast']: give one rate"),
    (("fairseq.optimization.lr=[nan]",), "fairseq.optimization.lr=[nan]: give one rate"),
    (("fairseq.optimization.lr=[0]",), "fairseq.optimization.lr=[0]: give one rate above 0"),
    (("fairseq.lr_scheduler.end_learning_rate=1",), "end_learning_rate=1: the learning rate falls to it from"),
    (("fairseq.common.fp16_init_scale=4",), "fp16_init_scale cannot be given: it is a setting of PRECISION=fp16"),
    (("fairseq.common.min_loss_scale=1",), "min_loss_scale cannot be given: it is a setting of PRECISION=fp16"),
    (("model.max_positions=1000000000",), "weights needs 954 GiB of memory, and this machine has"),
    (("fairseq.model.encoder_ffn_embed_dim=1000000000",), "lower model.max_positions or the sizes given of"),
    (("fairseq.dataset.num_workers=2",), "num_workers cannot be given: the texts fit into memory"),
    (("fairseq.optimization.lr=[1e-5],[2e-5]",), "a key takes one value, and there is no --multirun"),
    (("fairseq.optimization.update_freq=[]",), "fairseq.optimization.update_freq=[]: give how many"),
    (("fairseq.optimization.update_freq=[0]",), "fairseq.optimization.update_freq=[0]: give how many"),
    (("fairseq.optimization.max_epoch=0",), "fairseq.optimization.max_epoch cannot be given: use EPOCHS"),
    (("fairseq.optimization.stop_time_hours=1",), "stop_time_hours cannot be given: every planned step is trained"),
    (("fairseq.optimization.stop_min_lr=1e-6",), "stop_min_lr cannot be given: every planned step is trained"),
    (("fairseq.optimization.skip_remainder_batch=true",), "every example is trained on in every epoch"),
    (("fairseq.checkpoint.patience=2",), "patience cannot be given: every planned step is trained"),
    (("fairseq.checkpoint.best_checkpoint_metric=loss",), "the best step has the highest validation accuracy"),
    (("fairseq.checkpoint.maximize_best_checkpoint_metric=false",), "the best step has the highest validation"),
    (("fairseq.checkpoint.save_interval=3",), "save_interval cannot be given: use launcher.save_every"),
    (("fairseq.checkpoint.keep_last_epochs=3",), "keep_last_epochs cannot be given: a run keeps checkpoint_best.pt"),
    (("fairseq.checkpoint.no_save=false",), "would replace the run's own"),
    (("fairseq.dataset.batch_size=null",), "fairseq.dataset.batch_size=null: give recipe.batch_size"),
    (("fairseq.dataset.batch_size=0",), "fairseq.dataset.batch_size=0: it is a number from 1"),
    (("fairseq.dataset.max_tokens=10",), "should not exceed max_tokens=10); given was fairseq.dataset.max_tokens=10"),
    (("fairseq.dataset.validate_interval=2",), "validate_interval cannot be given: use recipe.evaluate_every"),
    (("fairseq.dataset.train_subset=test",), "train_subset cannot be given: runs train on train"),
    (("fairseq.common.log_interval=0",), "fairseq.common.log_interval=0: it is a number from 1"),
    (("fairseq.lr_scheduler._name=cosine",), "fairseq.lr_scheduler._name=cosine: choose from polynomial_decay"),
    (("fairseq.lr_scheduler.warmup_updates=99999",), "warmup_updates=99999 (recipe.warmup_share): the run has"),
    (("fairseq.lr_scheduler.total_num_update=0",), "total_num_update=0: the run has"),
    (("--epochs", "1000000"), "seeds are kept apart for 1,000,000 steps only"),
    (("recipe.learning_rate=nan",), "recipe.learning_rate=nan: it must be above 0"),
    (("recipe.weight_decay=nan",), "recipe.weight_decay=nan: it is no finite number"),
    (("fairseq.model.dropout=inf",), "fairseq.model.dropout=inf: it is no finite number"),
    (
        ("dataset.test_seed=5",),
        "dataset.test_seed=5: the data was prepared with 20260101; run `make prep MODEL=tiny ARGS=",
    ),
    (("method.r=8",), "method.r is a setting of METHOD=lora, and no run of this sweep has it"),
    (("fairseq.checkpoint.checkpoint_suffix=x",), "fairseq.checkpoint.no_save=false asks for"),
    (("fairseq.optimization.update_freq=[1000000000]",), "an epoch has 8 batches, and a step takes no more"),
    (("fairseq.model.encoder_layers=1000000000",), "GiB of memory, and this machine has"),
    (("launcher.minutes=1",), "launcher.minutes=1: LAUNCHER=local has no such setting"),
    (("hf=3",), "'hf=3': hf holds keys, as in hf.KEY=VALUE"),
    (("fairseq=3",), "'fairseq=3': fairseq holds keys, as in fairseq.KEY=VALUE"),
    (("fairseq.optimizer.adam_eps=0",), "fairseq.optimizer.adam_eps=0.0: it is a number above 0"),
    (("fairseq.model.no_token_positional_embeddings=true",), "cannot be given: a RoBERTa has position embeddings"),
    (("--epochs", "1", "recipe.epochs=2"), "EPOCHS=1 and recipe.epochs=2 are one setting; give one of them"),
    (
        ("recipe.learning_rate=1e-9", "fairseq.optimization.lr=[5e-3]"),
        "recipe.learning_rate=1e-9 and fairseq.optimization.lr=[5e-3] are one setting",
    ),
    (("dataset.package=null", "dataset.package.name=x"), "sets a key of something that is null"),
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


def test_a_link_to_nowhere_is_told_as_what_it_is(workspace: Workspace, refusals: Refusals, tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    _, *given = workspace.sweep_words("--runs-dir", str(tmp_path / "runs"))
    said = refusals.of(main, given, workspace.root)
    assert (
        f"{tmp_path}/runs is a link to {tmp_path}/disk, which is not there; make it, or give another RUNS_DIR" in said
    )
    words = ["search", "--model", "tiny", "--runs-dir", str(tmp_path / "runs"), *workspace.overrides]
    assert "is not there; make it, or give another RUNS_DIR" in refusals.of(main, words, workspace.root)
    words = ["--model", "tiny", "--data-dir", str(tmp_path / "runs" / "data")]
    assert "is not there; make it, or give another DATA_DIR" in refusals.of(prep, words, workspace.root)


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


@pytest.mark.skipif(find_spec("transformers") is None, reason="the extra hf is not installed")
@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("fairseq.model.encoder_attention_heads=7", "given was fairseq.model.encoder_attention_heads=7"),
        ("fairseq.dataset.max_tokens=10", "given was fairseq.dataset.max_tokens=10"),
        ("fairseq.checkpoint.patience=2", "every planned step is trained"),
        ("fairseq.lr_scheduler.warmup_updates=99999", "the learning rate would never get to its peak"),
    ],
)
def test_the_other_back_end_refuses_alike(workspace: Workspace, refusals: Refusals, word: str, message: str) -> None:
    _, *given = workspace.sweep_words("--sweep", "bad", "--backend", "hf", word)
    assert message in refusals.of(main, given, workspace.root)
    assert not (workspace.root / "runs" / "bad").exists()


def test_words_are_checked_before_the_data_is_there(
    refusals: Refusals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `make reproduce` does first."""
    assert "'statu' is no command of a sweep" in refusals.of(main, ["statu"], tmp_path)
    assert "there is no such backend" in refusals.of(main, ["--check", "--backend", "fairseq,nope"], tmp_path)
    assert "SEEDS=x: 'x' is not" in refusals.of(main, ["--check", "--seeds", "x"], tmp_path)
    assert "is not prepared" in refusals.of(main, [], tmp_path)
    monkeypatch.setattr(sys, "argv", ["sweeps", "--check"])
    assert main() == 0
    assert list(tmp_path.iterdir()) == []
