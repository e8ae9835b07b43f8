"""Runs that are put together must be alike, and groups that are compared on equal terms."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from analysis.__main__ import main as analysis_main
from analysis.alike import UNLIKE, configuration, inputs_of, keep_alike, unequal_terms
from foundation.errors import exit_code
from tests.analysis.golden import SWEEPS, at, write_sweep
from tests.analysis.made_up import made_up


def write(folder: Path, text: str, **inputs: object) -> Path:
    """Write a run's configuration and its record of what it was made from."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(text + "\n")
    (folder / "provenance.json").write_text(json.dumps({"inputs": inputs}))
    return folder


@pytest.mark.parametrize(
    ("settings", "data", "kept"),
    [
        ([1, 1, 1], "aaa", [0, 1, 2]),
        ([1, 2, 2], "aaa", [1, 2]),  # the configuration that most have
        ([1, 2], "aa", [0]),  # the lowest seed's on a tie
        ([2, 1, 1, 2], "aaaa", [0, 3]),
        ([1, 1, 1], "aba", [0, 2]),  # other data
    ],
)
def test_the_runs_that_most_are_like_are_kept(tmp_path: Path, settings: list[int], data: str, kept: list[int]) -> None:
    runs = [made_up((900, 80.0, 79.0), seed) for seed in range(len(settings))]
    folders = {
        str(run.key): write(
            tmp_path / str(seed), f"recipe: {{epochs: {settings[seed]}}}\nseed: {seed}", data=data[seed]
        )
        for seed, run in enumerate(runs)
    }
    found = keep_alike(runs, folders)
    assert [run.key.seed for run in found if run.test is not None] == kept
    left_out = [run for run in found if run.test is None]
    assert all(run.status == UNLIKE and f"seed {kept[0]}, which the group keeps" in run.why for run in left_out)


@dataclass(frozen=True)
class Trained:
    config: dict[str, Any]
    inputs: dict[str, Any]


def trained(folder: Path) -> Trained:
    return Trained(configuration(folder), inputs_of(folder))


@pytest.mark.parametrize("axis", ["init", "backend", "method"])
def test_what_two_groups_must_share(tmp_path: Path, axis: str) -> None:
    base = "recipe: {epochs: 3, learning_rate: 1}"
    one = write(tmp_path / "one", base, data="d", labels=["a", "b"], checkpoint="c")
    assert unequal_terms(axis, trained(one), trained(one)) == []
    other = tmp_path / "other"
    for text, inputs, said in (
        (base.replace("3", "4"), {}, ["recipe.epochs (3 against 4)"]),
        (f"{base}\nextra: 1", {}, ["extra (absent against 1)"]),
        (base, {"data": "e"}, ["data (input)"]),
        (base, {"labels": ["a", "c"]}, ["labels (input)"]),
        (base, {"checkpoint": "x"}, ["checkpoint (input)"]),
        (base, {"checkpoint": None}, [] if axis == "init" else ["checkpoint (input)"]),  # random weights
        (
            base.replace("learning_rate: 1", "learning_rate: 2"),
            {},
            ["recipe.learning_rate (1 against 2)"] if axis == "backend" else [],
        ),
    ):
        write(other, text, **{"data": "d", "labels": ["a", "b"], "checkpoint": "c", **inputs})
        assert unequal_terms(axis, trained(one), trained(other)) == said, text
        turned = unequal_terms(axis, trained(other), trained(one))
        assert len(turned) == len(said)
    (other / "config.yaml").unlink()
    assert unequal_terms(axis, trained(one), trained(other)) == ["config.yaml, which one of them lacks"]


def test_runs_of_an_earlier_version_stay_in_their_group(tmp_path: Path) -> None:
    """Their config.yaml lacks keys that have come since; the keys have their defaults."""
    root = tmp_path / "runs"
    write_sweep(tmp_path, "old", SWEEPS["three_seeds"])
    for number, path in enumerate(sorted((root / "old").rglob("config.yaml"))):
        if number != 2:
            lines = path.read_text().splitlines(True)
            new = ("n_train:", "length:", "  updates:", "  layers:", "axes:")
            kept = [line for line in lines if not line.startswith(new)]
            assert len(kept) == len(lines) - 5
            path.write_text("".join(kept))
    with at(tmp_path), mock.patch.object(sys, "argv", ["analysis", "--sweep", "old"]):
        assert exit_code(analysis_main) == 0
    report = (tmp_path / "results/old/report.md").read_text()
    assert "(means over 3 paired seeds): pre-training buys 14.50 points" in report
    assert "unlike" not in report
