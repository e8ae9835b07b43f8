"""The user's words to a grid of runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import UsageError
from hydra_conf.words import parse_list
from sweeps.commands import commands_of
from sweeps.grid import parse_seeds
from sweeps.planning import arguments_of_run, plan
from sweeps.provenance import differing_keys
from sweeps.seeds import LARGEST
from tests.conftest import Workspace


@given(st.lists(st.integers(0, LARGEST), min_size=1, max_size=20, unique=True))
def test_seeds_come_back(seeds: list[int]) -> None:
    assert parse_seeds(",".join(map(str, seeds))) == seeds
    assert parse_seeds(" , ".join(map(str, seeds))) == seeds


@pytest.mark.parametrize(
    "text", ["", " ", "a", "1,a", "1,,2", "-1", "1.5", str(LARGEST + 1), "1,1", "0,1,0", "²", "1;2"]
)
def test_bad_seeds_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="SEEDS"):
        parse_seeds(text)


@given(st.text())
def test_whatever_is_given_for_seeds_either_parses_or_is_refused(text: str) -> None:
    try:
        seeds = parse_seeds(text)
    except UsageError:
        return
    assert seeds
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed <= LARGEST for seed in seeds)


def test_a_repeated_word_is_named() -> None:
    with pytest.raises(UsageError, match="INIT=a,b,a: a is given twice"):
        parse_list("INIT", "a,b,a")


def test_differing_keys_name_both_values() -> None:
    assert differing_keys({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == ["b: 2 -> 3", "c: absent -> 4"]


def test_the_commands_of_a_sweep_are_those_that_were_given() -> None:
    words = [
        "--dataset",
        "table",
        "--model",
        "",
        "--seeds",
        "0",
        "--epochs",
        "1",
        "dataset.name=mine",
        "recipe.clip_norm=1",
    ]
    usual = arguments_of_run()
    assert commands_of(usual.parse_args(words), usual) == [
        "make prep DATASET=table ARGS='dataset.name=mine recipe.clip_norm=1'",
        "make sweep DATASET=table SEEDS=0 EPOCHS=1 ARGS='dataset.name=mine recipe.clip_norm=1'",
    ]
    assert commands_of(usual.parse_args([]), usual) == ["make prep", "make sweep"]


def test_what_the_data_was_prepared_with_is_said_where_it_is_not_usual(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `make prep ARGS=dataset.leaks=drop` and then `make sweep` without these ARGS."""
    monkeypatch.chdir(workspace.root)
    words = ["--model", "tiny", "--init", "random", "--device", "cpu", "--precision", "fp32", "--sweep", "said"]
    plan(arguments_of_run().parse_args(words))
    said = capsys.readouterr().out
    assert "dataset.n_valid=20, as the data was prepared (100 is usual)" in said
    assert "leaks" not in said
    plan(arguments_of_run().parse_args([*words, *workspace.overrides]))
    assert capsys.readouterr().out == ""
