"""The learning-rate search: equal budgets on repeated splits, the test split never read."""

import json
import re
from pathlib import Path

import pytest

from data_prep.examples import read_split
from sweeps.search import report
from tests.conftest import SIZES, Workspace, refused

RATES = ("2e-5", "1e-4", "0.0005")


def test_every_rate_is_tried_on_every_split_and_the_test_split_is_never_read(workspace: Workspace) -> None:
    words = ["sweeps", "search", "--model", "tiny", "--device", "cpu", "--precision", "fp32", "--valid-size", "30"]
    words += ["--init", "random", "--learning-rates", "1e-4,5e-3", "recipe.epochs=1"]
    words += ["launcher.threads=1", *workspace.overrides]
    answer = workspace.python(*words)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert re.search(
        r"random: learning rate \S+, the (lowest|highest) rate tried: a (lower|higher) one may", answer.stdout
    )
    rows = json.loads((workspace.root / "runs/search.json").read_text())
    assert [(row["init"], row["learning_rate"]) for row in rows] == [("random", "1e-4"), ("random", "5e-3")]
    assert all((row["splits"], row["n"]) == (2, 60) for row in rows)
    assert len(list(workspace.root.glob("runs/search-*/**/tb/valid"))) == 4
    assert not list(workspace.root.glob("runs/search-*/**/tb/test"))
    test = {example.text for example in read_split(workspace.root / "data/splits/amazon_fr/test.jsonl")}
    valid = []
    for split in (1, 2):
        folder = workspace.root / f"data/splits/amazon_fr-split{split}"
        valid.append({example.text for example in read_split(folder / "valid.jsonl")})
        train = {example.text for example in read_split(folder / "train.jsonl")}
        assert len(train) + len(valid[-1]) == SIZES["train"] + SIZES["valid"]
        assert not test & (train | valid[-1])
    assert valid[0] != valid[1]


def test_rates_are_chosen_on_as_few_training_texts_as_asked_for(workspace: Workspace) -> None:
    words = ["sweeps", "search", "--model", "tiny", "--device", "cpu", "--precision", "fp32", "--valid-size", "30"]
    words += ["--init", "random", "--learning-rates", "1e-4", "--splits", "1", "recipe.epochs=1"]
    words += ["launcher.threads=1", *workspace.overrides]
    answer = workspace.python(*words, "--train", "20")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    (row,) = json.loads((workspace.root / "runs/search.json").read_text())
    assert (row["train"], row["n"]) == (20, 30)
    (run,) = workspace.root.glob("runs/search-1e-4/**/train=20/seed=1000")
    assert json.loads((run / "status.json").read_text())["state"] == "done"
    assert "--train 20,all: give one number" in refused(workspace.python(*words, "--train", "20,all"))


def test_more_validation_texts_than_there_are_is_one_sentence(workspace: Workspace) -> None:
    words = ("sweeps", "search", "--model", "tiny", "--device", "cpu", "--precision", "fp32", "--valid-size", "80")
    assert "dataset.n_valid=80: there are 80 examples to draw from" in refused(
        workspace.python(*words, *workspace.overrides)
    )


@pytest.mark.parametrize(
    ("valid", "said"),
    [
        ([80, 90, 85], "random: learning rate 1e-4\n"),
        (
            [95, 90, 85],
            "random: learning rate 2e-5, the lowest rate tried: a lower one may be better; add it to --learning",
        ),
        ([80, 90, 95], "random: learning rate 0.0005, the highest rate tried: a higher one may be better; add it"),
        ([80], "random: learning rate 2e-5, the only rate tried: a lower or higher one may be better"),
    ],
)
def test_a_best_rate_at_the_edge_of_the_grid_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], valid: list[int], said: str
) -> None:
    own = {"init": "random", "standard_error": 1.0, "n": 250, "each": [], "best_steps": [], "commonest": 55.0}
    rows = [{**own, "learning_rate": rate, "valid": float(value)} for rate, value in zip(RATES, valid, strict=False)]
    report(rows, tmp_path)
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(("commonest", "is_told"), [(79.9, False), (80.0, True)])
def test_a_search_in_which_no_rate_learns_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], commonest: float, is_told: bool
) -> None:
    own = {"init": "random", "standard_error": 1.0, "n": 250, "each": [], "best_steps": [], "commonest": commonest}
    report([{**own, "learning_rate": "1e-4", "valid": 80.0}], tmp_path)
    assert ("no rate does better than the commonest class (80.0 %)" in capsys.readouterr().out) == is_told
