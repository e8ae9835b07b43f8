"""The door of initialisation: every encoder weight from the checkpoint, or one sentence and no training."""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from data_prep.models.checkpoints import read_checkpoint
from fairseq_tasks.initialisation import ENCODER, digest_of, encoder_weights, part_of
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


def fingerprint(model: torch.nn.Module) -> str:
    return digest_of(encoder_weights(model))


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


def record_of(save_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((save_dir / "initialisation.json").read_text())
    return found


def seeded(workspace: Workspace, save_dir: Path, seed: int, *overrides: str) -> dict[str, torch.Tensor]:
    """Return the weights of a model that is drawn from a seed, by name."""
    torch.manual_seed(seed)
    save_dir.mkdir(exist_ok=True)
    task = plain_task(workspace, save_dir, *overrides)
    model: torch.nn.Module = task.build_model(plain_settings(workspace, save_dir, *overrides).model)
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


BETWEEN = {  # init -> the parts that come from the checkpoint, and how many weight tensors that are
    "embeddings": (["init=embeddings"], ["embeddings"], 2),
    "bottom_1": (["init=bottom", "init.layers=1"], ["embeddings", "layer 0", "layernorm_embedding"], 2 + 2 + 16),
    "bottom_2": (
        ["init=bottom", "init.layers=2"],
        ["embeddings", "layer 0", "layer 1", "layernorm_embedding"],
        2 + 2 + 2 * 16,
    ),
}


@pytest.mark.parametrize("init", BETWEEN)
def test_an_init_between_takes_its_parts_from_the_checkpoint_and_draws_the_rest(
    workspace: Workspace, tmp_path: Path, init: str
) -> None:
    words, parts, n = BETWEEN[init]
    there = read_checkpoint(workspace.model / "model.pt")["model"]
    own = seeded(workspace, tmp_path, 5, *words)
    drawn = seeded(workspace, tmp_path / "random", 5, "init=random")
    record = record_of(tmp_path)
    assert record["init"] == init
    assert len(record["encoder_weights_loaded"]) == n
    for name, weight in own.items():
        loaded = name.startswith(ENCODER) and part_of(name) in parts
        assert (name in record["encoder_weights_loaded"]) == loaded
        assert (name in record["new"]) != loaded
        assert torch.equal(weight, there[name] if loaded else drawn[name])
    pretrained = seeded(workspace, tmp_path / "pretrained", 5)
    whole = record_of(tmp_path / "pretrained")["fingerprints"]
    alike = {part for part, digest in record["fingerprints"].items() if whole[part] == digest}
    assert alike - {"layernorm_embedding"} == set(parts) - {"layernorm_embedding"}  # ones and zeros, drawn or loaded
    assert own.keys() == pretrained.keys()


@pytest.mark.parametrize("init", ["statistics", "shuffled"])
def test_remade_weights_keep_what_they_promise_and_no_more(workspace: Workspace, tmp_path: Path, init: str) -> None:
    there = read_checkpoint(workspace.model / "model.pt")["model"]
    own = seeded(workspace, tmp_path, 5, f"init={init}")
    record = record_of(tmp_path)
    names = [name for name in own if name.startswith(ENCODER)]
    assert record["encoder_weights_remade"] == sorted(names)
    assert record["encoder_weights_loaded"] == []
    for name in names:
        made, pretrained = own[name].flatten(), there[name].float().flatten()
        if init == "shuffled":
            assert torch.equal(made.sort().values, pretrained.sort().values), name
            assert len(pretrained.unique()) < 9 or not torch.equal(made, pretrained), name
        elif pretrained.std() > 0:
            error = float(pretrained.std()) / len(made) ** 0.5
            assert abs(float(made.mean() - pretrained.mean())) < 5 * error, name
            assert abs(float(made.std() - pretrained.std())) < 5 * error, name
            assert int((made == pretrained).sum()) <= 1, name


@pytest.mark.parametrize("init", ["statistics", "shuffled"])
def test_remade_weights_are_those_of_their_seed_and_disturb_nothing_else(
    workspace: Workspace, tmp_path: Path, init: str
) -> None:
    first, again, other = (
        seeded(workspace, tmp_path / str(number), seed, f"init={init}") for number, seed in enumerate((5, 5, 6))
    )
    drawn = seeded(workspace, tmp_path / "random", 5, "init=random")
    heads = [name for name in first if name.startswith("classification_heads.")]
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(torch.equal(first[name], drawn[name]) for name in heads)
    matrices = [name for name in first if name.startswith(ENCODER) and first[name].dim() == 2]
    assert not any(torch.equal(first[name], other[name]) for name in matrices)
    normal = [first[name].flatten() for name in matrices], [drawn[name].flatten() for name in matrices]
    together = torch.corrcoef(torch.stack([torch.cat(part) for part in normal]))[0, 1]
    assert abs(float(together)) < 0.05  # not the numbers that random weights of this seed are drawn from


def test_pretrained_parts_are_those_of_every_seed_and_drawn_parts_are_not(workspace: Workspace, tmp_path: Path) -> None:
    records = []
    for seed in (5, 6):
        seeded(workspace, tmp_path / str(seed), seed, "init=bottom", "init.layers=1")
        records.append(record_of(tmp_path / str(seed))["fingerprints"])
    same = {part for part in records[0] if records[0][part] == records[1][part]}
    assert same == {"embeddings", "layer 0", "layernorm_embedding"}


def test_more_layers_than_the_encoder_has_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="INIT=bottom_3: the encoder has 2 layers; give a number from 1 to 2"):
        build(workspace, tmp_path, "init=bottom", "init.layers=3")


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
