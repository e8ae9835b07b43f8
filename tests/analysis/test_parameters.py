"""The parameter account: the published number, counted on the model."""

import sys
from pathlib import Path

import pytest
import torch

from analysis.parameters import account, describe, encoder_weights, formula, main, matrices
from hydra_conf.compose import compose_config
from tests.conftest import Refusals, Workspace


def test_the_published_model_has_the_published_number(tmp_path: Path) -> None:
    described = describe(compose_config(["model=roberta_small_fr", f"data_dir={tmp_path}"]), 2)
    table = account(described.model).set_index("part")["parameters"]
    assert table["embedding"] == 512 * 32000
    assert table["positions"] == 258 * 512
    assert [table[name] for name in ("queries, Q", "keys, K", "values, V", "attention output")] == [4 * 512 * 512] * 4
    assert table["feed-forward, in"] == table["feed-forward, out"] == 4 * 512 * 512
    assert table["biases"] == 4 * (4 * 512 + 512 + 512)
    assert table["layer norms"] == 4 * 2 * 2 * 512 + 2 * 512
    assert table["masked-LM head (output tied to the embedding)"] == 512 * 512 + 512 + 2 * 512 + 32000
    assert table["classification head"] == 512 * 512 + 512 + 512 * 2 + 2
    assert matrices(table.reset_index()) == 22_807_552
    assert formula(described.shape, 32000)[1] == 22_807_552
    assert table.sum() == sum(parameter.numel() for parameter in described.model.parameters())


def test_the_weights_of_a_model_are_counted_in_its_folder_or_not_at_all(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = len((workspace.model / "dict.txt").read_text().splitlines()) + 5
    counted = rows * 64 + 66 * 64 + 2 * (4 * 64 * 64 + 2 * 64 * 64)
    assert encoder_weights("tiny", workspace.root / "data") == counted
    assert encoder_weights("roberta_small_fr", tmp_path) is None  # its own published shape would confirm itself
    monkeypatch.setattr(sys, "argv", ["command", "--model", "roberta_small_fr", "--data-dir", str(tmp_path)])
    assert main() == 0
    said = capsys.readouterr().out
    assert "says nothing of the published model" in said
    assert "the same\n" not in said


def test_a_parameter_without_a_place_is_not_passed_over(workspace: Workspace) -> None:
    described = describe(compose_config(["model=tiny", f"data_dir={workspace.root / 'data'}"]), 3)
    described.model.extra = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(AssertionError, match="extra is in"):
        account(described.model)


def test_the_command_counts_a_prepared_model_full_and_lora(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("peft")
    words = ["--model", "tiny", "--method", "full,lora", "--classes", "3", "--data-dir", str(workspace.root / "data")]
    monkeypatch.setattr(sys, "argv", ["command", *words])
    assert main() == 0
    said = capsys.readouterr().out
    adapter, head = 2 * 3 * 16 * (64 + 64), (64 * 64 + 64) + (64 * 3 + 3)
    assert f"adapter {adapter:,}, head {head:,}" in said
    assert f"{adapter + head:,} trained of" in said
    rows = len((workspace.model / "dict.txt").read_text().splitlines()) + 5
    assert f"by the formula: {rows} x 64 + 66 x 64 + 2 x (4 x 64 x 64 + 2 x 64 x 64)" in said


def test_a_model_that_is_not_there_is_one_sentence(refusals: Refusals, tmp_path: Path) -> None:
    assert "run `make prep MODEL=e5_small_fr` first" in refusals.of(main, ["--model", "e5_small_fr"], tmp_path)
    assert "choose from frozen, full, lora" in refusals.of(main, ["--method", "half"], tmp_path)
    assert "a head has at least one" in refusals.of(main, ["--classes", "0"], tmp_path)
