"""The door of initialisation: every encoder weight from the checkpoint, or one sentence and no training."""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from data_prep.models.checkpoints import read_checkpoint
from fairseq_tasks.initialisation import ENCODER, encoder_weights, fingerprint
from foundation.errors import UsageError
from tests.conftest import Workspace, write_tiny_model
from tests.fairseq_tasks.plain import plain_settings, plain_task


@pytest.fixture
def folder(workspace: Workspace, tmp_path: Path) -> Path:
    """A copy of the tiny model's folder that the test may damage."""
    return Path(shutil.copytree(workspace.model, tmp_path / "model"))


def build(workspace: Workspace, save_dir: Path, *overrides: str) -> torch.nn.Module:
    torch.manual_seed(11)
    task = plain_task(workspace, save_dir, *overrides)
    model: torch.nn.Module = task.build_model(plain_settings(workspace, save_dir, *overrides).model)
    return model


def rewrite(path: Path, change: Any) -> None:
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)


def test_every_encoder_weight_comes_from_the_checkpoint(workspace: Workspace, tmp_path: Path) -> None:
    model = build(workspace, tmp_path)
    there = read_checkpoint(workspace.model / "model.pt")["model"]
    encoder = dict(encoder_weights(model))
    assert len(encoder) == 2 + 2 + 2 * 16  # two embeddings, a layer norm, 16 weights a layer
    assert all(torch.equal(tensor, there[name]) for name, tensor in encoder.items())
    record = json.loads((tmp_path / "initialisation.json").read_text())
    assert len(record["encoder_weights_loaded"]) == len(encoder)
    assert all(name.startswith(("classification_heads.", "encoder.lm_head.")) for name in record["new"])
    assert record["encoder_fingerprint"] == fingerprint(model)


def test_random_takes_no_weight_from_any_checkpoint(workspace: Workspace, tmp_path: Path) -> None:
    drawn, loaded = build(workspace, tmp_path, "init=random"), build(workspace, tmp_path)
    assert fingerprint(drawn) != fingerprint(loaded)


def test_both_inits_of_a_seed_share_the_head(workspace: Workspace, tmp_path: Path) -> None:
    drawn, loaded = build(workspace, tmp_path, "init=random").state_dict(), build(workspace, tmp_path).state_dict()
    heads = [name for name in drawn if name.startswith("classification_heads.")]
    assert heads
    assert all(torch.equal(drawn[name], loaded[name]) for name in heads)


def test_a_missing_checkpoint_stops_the_run(workspace: Workspace, tmp_path: Path, folder: Path) -> None:
    (folder / "model.pt").unlink()
    with pytest.raises(UsageError, match="there is no checkpoint .*model.pt"):
        build(workspace, tmp_path, f"model.checkpoint={folder / 'model.pt'}")


def test_a_truncated_checkpoint_stops_the_run(workspace: Workspace, tmp_path: Path, folder: Path) -> None:
    whole = (folder / "model.pt").read_bytes()
    (folder / "model.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="is not a whole fairseq checkpoint"):
        build(workspace, tmp_path, f"model.checkpoint={folder / 'model.pt'}")


def test_a_missing_encoder_weight_is_named(workspace: Workspace, tmp_path: Path, folder: Path) -> None:
    lost = f"{ENCODER}layers.1.fc1.weight"
    rewrite(folder / "model.pt", lambda state: state["model"].pop(lost))
    with pytest.raises(UsageError, match=f"lacks 1 of the encoder's 36 weights, the first {lost}"):
        build(workspace, tmp_path, f"model.checkpoint={folder / 'model.pt'}")


def test_a_checkpoint_of_another_width_names_the_weight_and_both_shapes(
    workspace: Workspace, tmp_path: Path, folder: Path
) -> None:
    texts = (folder / "texts.txt").read_text().split("\n")
    write_tiny_model(folder, texts, width=32)
    with pytest.raises(UsageError, match=r"has shape \(.*32.*\), the model's has \(.*64.*\)"):
        build(workspace, tmp_path, f"model.checkpoint={folder / 'model.pt'}")


@pytest.mark.parametrize("extra", ["layers.2.fc1.weight", "layer_norm.weight"])
def test_a_checkpoint_that_holds_more_than_the_model_is_refused(
    workspace: Workspace, tmp_path: Path, folder: Path, extra: str
) -> None:
    """A third layer, or the last layer norm of a pre-norm encoder, would be dropped without a word."""
    rewrite(folder / "model.pt", lambda state: state["model"].update({f"{ENCODER}{extra}": torch.zeros(64)}))
    with pytest.raises(UsageError, match="has 1 encoder weights that the model has not"):
        build(workspace, tmp_path, f"model.checkpoint={folder / 'model.pt'}")


def test_a_dictionary_of_another_model_names_the_first_difference(
    workspace: Workspace, tmp_path: Path, folder: Path
) -> None:
    lines = (folder / "dict.txt").read_text().split("\n")
    lines[3], lines[4] = lines[4], lines[3]
    (folder / "dict.txt").write_text("\n".join(lines))
    with pytest.raises(UsageError, match="is not the data's .* differ first at line 4"):
        build(workspace, tmp_path, f"model.checkpoint={folder / 'model.pt'}")


def test_an_old_checkpoint_with_a_namespace_and_old_names_loads(
    workspace: Workspace, tmp_path: Path, folder: Path
) -> None:
    state = torch.load(folder / "model.pt", weights_only=True)
    state["args"] = argparse.Namespace(arch="roberta_tiny")
    renamed = {"layernorm_embedding": "emb_layer_norm"}
    state["model"] = {
        name.replace("encoder.", "decoder.", 1).replace(*next(iter(renamed.items()))): tensor
        for name, tensor in state["model"].items()
    }
    torch.save(state, folder / "model.pt")
    loaded = build(workspace, tmp_path, f"model.checkpoint={folder / 'model.pt'}")
    assert fingerprint(loaded) == fingerprint(build(workspace, tmp_path))


class Writes:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "run"))


def test_code_inside_a_checkpoint_is_not_run(workspace: Workspace, tmp_path: Path, folder: Path) -> None:
    rewrite(folder / "model.pt", lambda state: state.update(extra=Writes(tmp_path / "written")))
    with pytest.raises(UsageError, match="cannot be|can be read safely"):
        build(workspace, tmp_path, f"model.checkpoint={folder / 'model.pt'}")
    assert not (tmp_path / "written").exists()
