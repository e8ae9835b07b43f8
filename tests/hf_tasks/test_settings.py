"""Each setting that both back ends are said to heed: one changed value changes what both of them do."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fairseq_cli.train
import pytest
from omegaconf import DictConfig, OmegaConf

pytest.importorskip("transformers", reason="the extra hf is not installed: make setup EXTRAS=dev,hf")

from transformers import modeling_utils

from analysis.event_files import read_run
from hf_tasks.arguments import HEEDED
from hydra_conf.compose import compose_config
from sweeps.device import Machine
from sweeps.fairseq_keys import HEEDED_BY_BOTH
from sweeps.folders import RunKey
from sweeps.grid import PlannedRun
from sweeps.preflight import preflight
from sweeps.provenance import input_hashes
from sweeps.run import run
from tests.conftest import Workspace

CHANGES: dict[str, Any] = {  # of the weights at the end of one epoch
    "dataset.batch_size": 5,
    "dataset.max_tokens": 150,
    "dataset.required_batch_size_multiple": 5,
    "optimization.clip_norm": 0.01,
    "optimization.lr": [1e-3],
    "optimization.max_update": 5,
    "model.encoder_layers": 1,
    "model.encoder_embed_dim": 32,
    "model.encoder_ffn_embed_dim": 32,
    "model.encoder_attention_heads": 2,
    "model.dropout": 0.5,
    "model.attention_dropout": 0.5,
    "model.pooler_dropout": 0.5,
    "model.activation_fn": "relu",
    "model.untie_weights_roberta": True,
    "task.max_positions": 12,
    "optimizer.adam_betas": "(0.5, 0.5)",
    "optimizer.adam_eps": 0.1,
    "optimizer.weight_decay": 0.9,
    "lr_scheduler.warmup_updates": 4,
    "lr_scheduler.total_num_update": 6,
    "lr_scheduler.end_learning_rate": 1e-3,
    "lr_scheduler.power": 3.0,
}
LOGGED = {
    "common.log_interval",
    "dataset.batch_size_valid",
    "dataset.valid_subset",
}  # these change what is logged, and how
CHANGES_OF_HF: dict[str, Any] = {
    "neftune_noise_alpha": 5.0,
    "optim": "sgd",
    "gradient_checkpointing": True,
}


@contextmanager
def as_it_was() -> Iterator[None]:
    """Put back what a run changes in its process, which trains no other: fairseq's functions, answers to signals."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("train", "validate", "validate_and_save"):
            patch.setattr(fairseq_cli.train, name, getattr(fairseq_cli.train, name))
        yield
    for number, handler in before.items():
        signal.signal(number, handler)


def train(
    workspace: Workspace, folder: Path, backend: str, changes: dict[str, Any], apart: bool = False
) -> dict[str, Any]:
    """Train one epoch of the tiny model with some keys changed, and return its progress.json.

    In this process, which is quick, unless `apart`: what fairseq logs is right in the first run of a process only.
    """
    words = [
        "model=tiny",
        f"backend={backend}",
        "init=random",
        "recipe.epochs=1",
        f"data_dir={workspace.root / 'data'}",
    ]
    config = compose_config([*words, "launcher.threads=1", *workspace.overrides])
    config = DictConfig(OmegaConf.to_container(config, resolve=True))
    config.device, config.precision.name, config.seed = "cpu", "fp32", 0
    for key, value in changes.items():
        OmegaConf.update(config, key, value, force_add=True)
    folder.mkdir(parents=True)
    OmegaConf.save(config, folder / "config.yaml")
    with as_it_was():
        code = workspace.python("sweeps.run", str(folder)).returncode if apart else run(folder)
    status = json.loads((folder / "status.json").read_text())
    assert code == 0, status["error"]
    told: dict[str, Any] = json.loads((folder / "progress.json").read_text())
    return told


@pytest.fixture(scope="module")
def usual(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("usual")
    return {backend: train(workspace, folder / backend, backend, {}) for backend in ("fairseq", "hf")}


def test_each_setting_has_its_test() -> None:
    named = {f"{group}.{key}" for group, keys in HEEDED_BY_BOTH.items() for key in keys}
    assert named == {*CHANGES, *LOGGED, "lr_scheduler._name"}  # of which there is one for both
    assert set(HEEDED) == set(CHANGES_OF_HF)


@pytest.mark.parametrize("backend", ["fairseq", "hf"])
@pytest.mark.parametrize("key", CHANGES)
def test_one_changed_value_changes_the_weights(
    workspace: Workspace, usual: dict[str, dict[str, Any]], tmp_path: Path, backend: str, key: str
) -> None:
    more = {"fairseq.dataset.batch_size": None} if key == "dataset.max_tokens" else {}
    told = train(workspace, tmp_path / "run", backend, {f"fairseq.{key}": CHANGES[key], **more})
    assert told["weights"] != usual[backend]["weights"]


@pytest.mark.parametrize("backend", ["fairseq", "hf"])
def test_what_is_logged_and_scored_is_as_asked_and_leaves_the_weights_alone(
    workspace: Workspace, usual: dict[str, dict[str, Any]], tmp_path: Path, backend: str
) -> None:
    changes = {
        "fairseq.common.log_interval": 3,
        "fairseq.dataset.batch_size_valid": 7,
        "fairseq.dataset.valid_subset": "valid",
    }
    told = train(workspace, tmp_path / "run", backend, changes, apart=True)
    assert told["weights"] == usual[backend]["weights"]
    assert set(told["evaluated"]) == {"valid"}
    table = read_run(tmp_path / "run")[0]
    inner = table[(table["split"] == "train_inner") & (table["tag"] == "loss")]
    assert inner["step"].tolist() == [3, 6]


def test_a_run_that_trains_elsewhere_is_not_refused_for_what_this_machine_lacks(workspace: Workspace) -> None:
    """transformers looks at the machine where its arguments are made: on a login node there is no GPU."""
    words = ["model=tiny", "backend=hf", "init=random", "launcher=slurm", f"data_dir={workspace.root / 'data'}"]
    config = compose_config([*words, *workspace.overrides])
    config.device, config.precision.name, config.seed = "cuda", "bf16", 0
    inputs = input_hashes(config)
    run = PlannedRun(RunKey("amazon_fr", "tiny", "hf", "full", "random", 0), config, inputs, Path("nowhere"), None)
    preflight([run], Machine("cuda", "bf16", ()), [])


@pytest.mark.parametrize("key", [key for key in CHANGES_OF_HF if key != "gradient_checkpointing"])
def test_one_changed_value_of_trainers_changes_the_weights(
    workspace: Workspace, usual: dict[str, dict[str, Any]], tmp_path: Path, key: str
) -> None:
    told = train(workspace, tmp_path / "run", "hf", {f"hf.{key}": CHANGES_OF_HF[key]})
    assert told["weights"] != usual["hf"]["weights"]


def test_gradient_checkpointing_computes_activations_again_and_changes_no_weight(
    workspace: Workspace, usual: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    plain = modeling_utils.checkpoint

    def counted(function: Any, *words: Any, **named: Any) -> Any:
        calls.append(function)
        return plain(function, *words, **named)

    monkeypatch.setattr(modeling_utils, "checkpoint", counted)
    told = train(workspace, tmp_path / "run", "hf", {"hf.gradient_checkpointing": True})
    assert told["weights"] == usual["hf"]["weights"]
    assert calls
