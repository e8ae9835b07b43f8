"""Splits: disjoint, stratified, drawn by seeds that are not training seeds, and honest about what they found."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from data_prep.splits import SPLITS, Example, clean, looks_french, make_splits, read_split
from hydra_conf.errors import UsageError
from hydra_conf.schema import DatasetConfig

Rows = list[tuple[str, str]]


def config(**given: Any) -> DictConfig:
    named = OmegaConf.create({"name": "essai", "labels": None, **given})
    merged = OmegaConf.merge(OmegaConf.structured(DatasetConfig), named)
    assert isinstance(merged, DictConfig)
    return merged


def split(folder: Path, parts: dict[str, Rows], **given: Any) -> tuple[dict[str, list[Example]], dict[str, Any]]:
    """Split the rows (text, label) of each part and return the examples of each split, and the manifest's facts."""

    def read(path: Path, part: str, dataset: DictConfig) -> Iterator[Example]:
        for number, (text, label) in enumerate(parts[part]):
            yield Example(f"{part}-{number}", text, None, label or None)

    facts = make_splits(folder, config(**given), dict.fromkeys(parts, folder), read)
    return {name: list(read_split(folder / f"{name}.jsonl")) for name in SPLITS}, facts


def rows(count: int, prefix: str = "texte") -> Rows:
    return [(f"{prefix} {number}", "abc"[number % 3]) for number in range(count)]


def texts(examples: list[Example]) -> list[str]:
    return [example.text for example in examples]


@given(st.text())
def test_clean_is_normal_and_stays_so(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == once.strip()
    assert "\n" not in once


@settings(max_examples=30)
@given(st.integers(10, 40), st.integers(10, 20), st.integers(10, 20), st.integers(0, 99), st.integers(0, 99))
def test_drawn_splits_have_their_sizes_share_nothing_and_lose_nothing(
    tmp_path_factory: pytest.TempPathFactory, n_train: int, n_valid: int, n_test: int, test_seed: int, valid_seed: int
) -> None:
    everything = rows(n_train + n_valid + n_test)
    seeds = {"test_seed": test_seed, "valid_seed": valid_seed}
    made, facts = split(tmp_path_factory.mktemp("s"), {"all": everything}, n_test=n_test, n_valid=n_valid, **seeds)
    assert [len(made[name]) for name in SPLITS] == [n_train, n_valid, n_test]
    assert list(facts["examples"].values()) == [n_train, n_valid, n_test]
    assert sorted(text for name in SPLITS for text in texts(made[name])) == sorted(text for text, _ in everything)
    for label in "abc":
        share = sum(own == label for _, own in everything) / len(everything)
        for examples in made.values():
            assert abs(sum(example.label == label for example in examples) - share * len(examples)) <= 1.5


def test_the_test_split_does_not_depend_on_the_validation_seed(tmp_path: Path) -> None:
    one, _ = split(tmp_path, {"all": rows(100)}, n_test=20, n_valid=20, valid_seed=0)
    other, _ = split(tmp_path, {"all": rows(100)}, n_test=20, n_valid=20, valid_seed=1)
    assert one["test"] == other["test"]
    assert one["valid"] != other["valid"]


def test_a_tenth_of_train_is_for_validation_where_the_files_bring_none(tmp_path: Path) -> None:
    made, facts = split(tmp_path, {"train": rows(90), "test": rows(30, "essai")})
    assert facts["examples"] == {"train": 81, "valid": 9, "test": 30}
    assert facts["per_class"]["valid"] == [3, 3, 3]
    assert texts(made["test"]) == [text for text, _ in rows(30, "essai")]


def test_splits_that_the_files_bring_are_kept_in_their_order(tmp_path: Path) -> None:
    parts = {"train": rows(9), "valid": rows(6, "jugé"), "test": rows(3, "essai")}
    made, _ = split(tmp_path, parts)
    assert {name: texts(made[name]) for name in SPLITS} == {name: [t for t, _ in parts[name]] for name in SPLITS}


def test_a_validation_size_redraws_what_is_not_test(tmp_path: Path) -> None:
    parts = {"train": rows(30), "valid": rows(30, "jugé"), "test": rows(30, "essai")}
    made, _ = split(tmp_path, parts, n_valid=12)
    assert (len(made["valid"]), len(made["train"])) == (12, 48)
    assert len({text.split()[0] for text in texts(made["valid"])}) == 2
    assert texts(made["test"]) == [text for text, _ in parts["test"]]


def test_a_text_in_two_splits_is_dropped_from_train_and_never_from_test(tmp_path: Path) -> None:
    train = [*rows(9), ("jugé 1", "a"), ("essai 1", "b"), ("essai\u00a0 2", "c")]
    valid = [*rows(6, "jugé"), ("essai 2", "c")]
    made, facts = split(tmp_path, {"train": train, "valid": valid, "test": rows(6, "essai")})
    assert texts(made["train"]) == [text for text, _ in rows(9)]
    assert texts(made["valid"]) == [text for text, _ in rows(6, "jugé")]
    assert len(made["test"]) == 6
    assert facts["dropped"] == {"in validation and in test": 1, "in train and in validation or test": 3}


def test_a_text_twice_in_train_never_ends_in_train_and_validation(tmp_path: Path) -> None:
    twice = [row for row in rows(40) for _ in range(2)]
    made, facts = split(tmp_path, {"train": twice, "test": rows(6, "essai")}, valid_share=0.3)
    assert not set(texts(made["train"])) & set(texts(made["valid"]))
    assert sum(facts["dropped"].values()) > 0


def test_repeats_within_ready_splits_are_kept_and_counted(tmp_path: Path) -> None:
    test = [*rows(6, "essai"), *rows(2, "essai")]
    made, facts = split(tmp_path, {"train": [*rows(6), *rows(3)], "valid": rows(3, "jugé"), "test": test})
    assert len(made["test"]) == 8
    assert facts["checks"]["repeats_within"] == {"train": 3, "valid": 0, "test": 2}


def test_repeats_are_dropped_before_anything_is_drawn(tmp_path: Path) -> None:
    _, facts = split(tmp_path, {"all": [*rows(60), *rows(9)]}, n_test=12, n_valid=6)
    assert facts["examples"] == {"train": 42, "valid": 6, "test": 12}
    assert facts["dropped"] == {"the same text again, before anything was drawn": 9}


def test_a_repeat_with_another_label_is_refused_by_name_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="all-1 and all-60 are the same text with two labels"):
        split(tmp_path, {"all": [*rows(60), ("texte 1", "a")]}, n_test=12, n_valid=6)


def test_texts_with_two_labels_in_ready_splits_are_counted(tmp_path: Path) -> None:
    train = [*rows(6), ("texte 0", "b"), ("texte 0", "c"), ("texte 1", "c")]
    _, facts = split(tmp_path, {"train": train, "valid": rows(3, "jugé"), "test": rows(3, "essai")})
    assert facts["checks"]["texts_with_two_labels"] == 2


def test_empty_texts_are_dropped_from_train_only(tmp_path: Path) -> None:
    parts = {"train": [*rows(6), (" \n", "a")], "valid": rows(3, "jugé"), "test": [*rows(3, "essai"), ("", "b")]}
    made, facts = split(tmp_path, parts)
    assert facts["dropped"] == {"empty, in train": 1}
    assert facts["checks"]["empty"] == {"train": 0, "valid": 0, "test": 1}
    assert len(made["test"]) == 4


def test_rows_without_a_label_are_dropped_everywhere_and_counted(tmp_path: Path) -> None:
    parts = {"train": [*rows(6), ("sans", "")], "valid": rows(3, "jugé"), "test": [*rows(3, "essai"), ("rien", "")]}
    made, facts = split(tmp_path, parts)
    assert facts["dropped"] == {"no label": 2}
    assert len(made["test"]) == 3


def test_a_label_unseen_in_train_is_reported_and_has_its_class(tmp_path: Path) -> None:
    parts = {"train": rows(6), "valid": rows(3, "jugé"), "test": [("essai", "d")]}
    _, facts = split(tmp_path, parts)
    assert facts["labels"] == ["a", "b", "c", "d"]
    assert facts["checks"]["labels_unseen_in_train"] == ["d"]
    assert facts["checks"]["of_one_class"] == ["test"]


def test_number_labels_are_sorted_as_numbers(tmp_path: Path) -> None:
    train = [(f"texte {number}", str(number)) for number in (10, 9, -1)]
    _, facts = split(tmp_path, {"train": train, "valid": [("v", "9")], "test": [("t", "10")]})
    assert facts["labels"] == ["-1", "9", "10"]


@pytest.mark.parametrize(
    ("parts", "given", "message"),
    [
        ({"train": [("x", "a"), ("y", "a")], "valid": [("z", "a")], "test": rows(3)}, {}, "is 'a'; with one class"),
        ({"train": rows(6), "test": [("t", "")]}, {}, "cannot be drawn|nothing is left for test"),
        ({"train": rows(3), "test": rows(3, "e")}, {}, r"class 'a' has 1\); bring more examples"),
        ({"train": rows(9), "test": rows(3, "e")}, {"n_valid": 9}, "dataset.n_valid=9: there are 9 examples"),
        ({"all": rows(9)}, {}, "say how many examples to draw: dataset.n_test"),
        ({"train": rows(9), "test": rows(3, "e")}, {"expected": {"train": 10}}, "holds 9 examples for train"),
        ({"train": rows(9), "valid": rows(3), "test": rows(3)}, {}, "nothing is left for valid"),
        ({"train": [*rows(9), ("\ud800", "a")], "test": rows(3, "e")}, {}, "train-9 holds half of a surrogate pair"),
    ],
)  # fmt: skip
def test_what_cannot_be_split_is_one_sentence(
    tmp_path: Path, parts: dict[str, Rows], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        split(tmp_path, parts, **given)


@pytest.mark.parametrize(
    ("text", "french"),
    [
        ("Un roman que j'ai lu avec plaisir, sans jamais m'ennuyer.", True),
        ("L’intrigue s’essouffle vite malgré quelques belles pages d’ouverture", True),
        ("Excellent !", True),
        ("This book was great and everybody should read it twice at home", False),
    ],
)
def test_the_rule_for_french_is_cheap_and_knows_short_texts(text: str, french: bool) -> None:
    assert looks_french(text) is french
