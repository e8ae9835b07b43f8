"""What the words of a command become."""

import argparse
from pathlib import Path

import pytest
from hypothesis import given, settings

from foundation.errors import UsageError
from hydra_conf.compose import compose_config
from hydra_conf.words import group_words, parse_words, quoted
from tests.hydra_conf.test_compose import TEXTS


def test_a_model_with_a_slash_is_a_folder_named_after_it(tmp_path: Path) -> None:
    folder = tmp_path / "l'avis, un=deux" / "mon_modele"
    with pytest.raises(UsageError, match="mon_modele: there is no such folder"):
        group_words(model=str(folder))
    folder.mkdir(parents=True)
    config = compose_config(group_words(model=str(folder), dataset=None))
    assert (config.model.name, config.model.folder) == ("mon_modele", str(folder))
    assert config.model.checkpoint == str(folder / "model.pt")


def test_a_folder_called_like_a_known_model_is_refused() -> None:
    with pytest.raises(UsageError, match="would be mistaken for the model of that name"):
        group_words(model="data/models/roberta_small_fr")


@settings(max_examples=30)
@given(TEXTS.filter(lambda text: "${" not in text))
def test_a_quoted_text_comes_back(text: str) -> None:
    assert compose_config([f"dataset.train={quoted(text)}"]).dataset.train == text


def test_overrides_may_stand_anywhere_among_the_options() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds")
    parser.add_argument("overrides", nargs="*")
    for words in (
        ["a=1", "--seeds", "0", "b=2"],
        ["--seeds", "0", "--", "a=1", "b=2"],
        ["a=1", "--seeds", "0", "--", "b=2"],
    ):
        found = parse_words(parser, words)
        assert (found.seeds, found.overrides) == ("0", ["a=1", "b=2"])
    assert parse_words(parser, ["--", "--wrong"]).overrides == ["--wrong"]


def test_an_init_of_layers_is_chosen_by_their_number() -> None:
    assert group_words(init="bottom_3") == ["init=bottom", "init.layers=3"]
    assert compose_config(group_words(init="bottom_3")).init.name == "bottom_3"
    meant = {"bottom": "bottom_<n>", "bottom_0": "bottom_<n>", "bottom_1.5": "bottom_<n>", "botom_8": "bottom_8"}
    for wrong, near in {**meant, "middle": "bottom_<n>, "}.items():
        with pytest.raises(UsageError, match=f"INIT={wrong}: there is no such init.*{near}"):
            group_words(init=wrong)
