"""Splits: disjoint, stratified, drawn by seeds that are not training seeds, and honest about what they found."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from data_prep.examples import SPLITS, Example, read_split
from data_prep.splits import make_splits, split_notes
from foundation.errors import UsageError
from hydra_conf.schema import DatasetConfig

Rows = list[tuple[str, str]]
SECOND = " || "  # between the two texts of a pair, in the rows below
NEAR = "but for case, characters that are not seen, or which of the pair comes first"


def config(**given: Any) -> DictConfig:
    named = OmegaConf.create({"name": "essai", "labels": None, **given})
    merged = OmegaConf.merge(OmegaConf.structured(DatasetConfig), named)
    assert isinstance(merged, DictConfig)
    return merged


def split(folder: Path, parts: dict[str, Rows], **given: Any) -> tuple[dict[str, list[Example]], dict[str, Any]]:
    """Split the rows (text, label) of each part and return the examples of each split, and the manifest's facts."""

    def read(path: Path, part: str, dataset: DictConfig) -> Iterator[Example]:
        for number, (text, label) in enumerate(parts[part]):
            first, second, pair = text.partition(SECOND)
            yield Example(f"{part}-{number}", first, pair if second else None, label or None)

    facts = make_splits(folder, config(**given), dict.fromkeys(parts, folder), read)
    return {name: list(read_split(folder / f"{name}.jsonl")) for name in SPLITS}, facts


def rows(count: int, prefix: str = "texte") -> Rows:
    return [(f"{prefix} {number}", "abc"[number % 3]) for number in range(count)]


def texts(examples: list[Example]) -> list[str]:
    return [example.text for example in examples]


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


def test_leaks_can_be_kept_and_are_counted_and_named_either_way(tmp_path: Path) -> None:
    train = [*rows(9), ("essai 1", "b"), ("jugé 1", "a")]
    valid = [*rows(6, "jugé"), ("essai 2", "c")]
    parts = {"train": train, "valid": valid, "test": rows(6, "essai")}
    for leaks, sizes in (("keep", [11, 7, 6]), ("drop", [9, 6, 6])):
        folder = tmp_path / leaks
        folder.mkdir()
        made, facts = split(folder, parts, leaks=leaks)
        counts = {"in validation and in test": 1, "in train and in validation or test": 2}
        assert [len(made[name]) for name in SPLITS] == sizes
        assert (facts["kept"], facts["dropped"]) == ((counts, {}) if leaks == "keep" else ({}, counts))
        assert (folder / "leaked.txt").read_text() == "test-1\ntest-2\n"
        notes = " ".join(split_notes(facts))
        told = {"keep": "stay there (dataset.leaks=keep)", "drop": "were dropped there"}
        assert f"2 of 6 test texts are also in train or validation and {told[leaks]}" in notes


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


PAIRS = [
    ("Un Roman superbe", "UN ROMAN SUPERBE"),
    ("L'\u00c9T\u00c9", "l'e\u0301te\u0301"),
    ("STRASSE", "stra\u00dfe"),
    ("un roman", "un\u200b ro\u00adman\ufeff"),
    ("premier || second", "second || premier"),
    ("Premier || second", "SECOND || PREMIER"),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_a_near_copy_in_two_splits_is_dropped_from_train_and_never_from_test(
    tmp_path: Path, one: str, other: str
) -> None:
    width = SECOND if SECOND in one else ""

    def many(count: int, prefix: str) -> Rows:
        return [(f"{text}{width}{text if width else ''}", label) for text, label in rows(count, prefix)]

    copies = [(one, "a"), (other, "a")]
    for here, there in (("train", "test"), ("train", "valid"), ("valid", "test")):
        for mine, theirs in (copies, reversed(copies)):
            parts = {"train": many(9, "t"), "valid": many(6, "v"), "test": many(6, "e")}
            sizes = {name: len(own) for name, own in parts.items()}
            parts[here].append(mine)
            parts[there].append(theirs)
            _, facts = split(tmp_path, parts)
            assert facts["examples"] == {**sizes, there: sizes[there] + 1}
            where = "in validation and in test" if here == "valid" else "in train and in validation or test"
            assert facts["dropped"] == {f"{where}, {NEAR}": 1}
            assert f"near-copies, texts that are the same {NEAR}, are dropped across splits" in split_notes(facts)[-1]
            assert facts["near_copies"] in split_notes(facts)


def test_exact_copies_and_near_copies_are_counted_apart(tmp_path: Path) -> None:
    train = [*rows(9), ("essai 1", "a"), ("ESSAI 1", "a"), ("Essai 1", "b"), ("jug\u00e9 2", "a"), ("JUG\u00c9 2", "a")]
    valid = [*rows(6, "jug\u00e9"), ("essai 2", "a"), ("ESSAI 2", "a")]
    made, facts = split(tmp_path, {"train": train, "valid": valid, "test": rows(6, "essai")})
    assert texts(made["train"]) == [text for text, _ in rows(9)]
    assert facts["dropped"] == {
        "in validation and in test": 1,
        f"in validation and in test, {NEAR}": 1,
        "in train and in validation or test": 2,
        f"in train and in validation or test, {NEAR}": 3,
    }


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "A", "\u00e9", "\u00c9", "b\u200b", "b", "B a", "b A"]), st.sampled_from("xy")),
        min_size=12,
        max_size=40,
    ),
    st.booleans(),
    st.sampled_from([None, 3]),
)
def test_nothing_stands_in_two_splits_in_any_writing(
    tmp_path_factory: pytest.TempPathFactory, pairs: Rows, paired: bool, n_valid: int
) -> None:
    """By a comparison written anew here: the set of the texts, case folded, without the character that is not seen."""
    words = [text for text, _ in pairs]
    drawn = [
        (f"{text}{SECOND}{other}" if paired else text, label)
        for (text, label), other in zip(pairs, words[1:] + words[:1], strict=True)
    ]
    filler = [(f"{name}{SECOND}{name}" if paired else name, label) for name in ("u", "v", "w", "z") for label in "xy"]
    parts = {"train": [*drawn[::2], *filler], "test": [*drawn[1::2], (f"t{SECOND}t" if paired else "t", "x")]}
    try:
        made, _ = split(tmp_path_factory.mktemp("s"), parts, n_valid=n_valid)
    except UsageError:  # everything that was drawn for validation is in test
        reject()
    keys = {
        name: {
            frozenset(text.casefold().replace("\u200b", "") for text in (one.text, one.text_pair or one.text))
            for one in made[name]
        }
        for name in SPLITS
    }
    assert not (keys["train"] & keys["valid"]) | (keys["train"] & keys["test"]) | (keys["valid"] & keys["test"])
    assert len(made["test"]) == len(parts["test"])


def test_near_copies_with_one_label_are_dropped_before_anything_is_drawn(tmp_path: Path) -> None:
    pool = [*rows(60), ("TEXTE 3", "a"), ("Texte 3", "a"), ("texte 3", "a")]
    made, facts = split(tmp_path, {"all": pool}, n_test=12, n_valid=6)
    assert facts["dropped"] == {
        "the same text again, before anything was drawn": 1,
        f"the same text again {NEAR}, before anything was drawn": 2,
    }
    assert sum(facts["examples"].values()) == 60
    assert "texte 3" in {text for name in SPLITS for text in texts(made[name])}  # the first of them


def test_near_copies_with_two_labels_are_kept_before_anything_is_drawn_and_counted(tmp_path: Path) -> None:
    """In which split they end is drawn; there what is in two yields, and the others stay."""
    kept = set()
    for seed in range(12):
        pool = [*rows(60), ("TEXTE 3", "b"), ("Texte 3", "a")]
        made, facts = split(tmp_path, {"all": pool}, n_test=12, n_valid=6, valid_seed=seed)
        there = [name for name in SPLITS if {"TEXTE 3", "texte 3"} & set(texts(made[name]))]
        assert len(there) == 1
        n_both = len({"TEXTE 3", "texte 3"} & set(texts(made[there[0]])))
        assert facts["checks"]["near_copies_with_two_labels"] == n_both - 1
        told = [
            note for note in split_notes(facts) if note.startswith("1 text stands there with another label but for")
        ]
        assert len(told) == n_both - 1
        across = sum(count for why, count in facts["dropped"].items() if "drawn" not in why)
        assert across == 2 - n_both
        kept.add(n_both)
    assert kept == {1, 2}


def test_texts_with_two_labels_in_ready_splits_are_counted(tmp_path: Path) -> None:
    train = [*rows(6), ("texte 0", "b"), ("texte 0", "c"), ("texte 1", "c")]
    _, facts = split(tmp_path, {"train": train, "valid": rows(3, "jugé"), "test": rows(3, "essai")})
    assert facts["checks"]["texts_with_two_labels"] == 2
    assert facts["checks"]["near_copies_with_two_labels"] == 0
    _, facts = split(
        tmp_path,
        {
            "train": [*train, ("TEXTE 1", "a"), ("TEXTE 2", "a")],
            "valid": rows(3, "jug\u00e9"),
            "test": rows(3, "essai"),
        },
    )
    assert facts["checks"]["texts_with_two_labels"] == 2
    assert facts["checks"]["near_copies_with_two_labels"] == 1


def test_empty_texts_are_dropped_from_train_only(tmp_path: Path) -> None:
    parts = {"train": [*rows(6), (" \n", "a")], "valid": rows(3, "jugé"), "test": [*rows(3, "essai"), ("", "b")]}
    made, facts = split(tmp_path, parts)
    assert facts["dropped"] == {"empty, in train": 1}
    assert facts["checks"]["empty"] == {"train": 0, "valid": 0, "test": 1}
    assert len(made["test"]) == 4


UNSEEN = ["", " \n", "\u200b", "\ufeff", "\u00a0\u200d\u2060", "\u00ad", "\x00", "\u2800", "\u3164", "\ufe0f"]


@pytest.mark.parametrize("text", UNSEEN)
@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("given", [{}, {"n_valid": 4}])
def test_no_empty_text_is_trained_on_by_any_way(tmp_path: Path, text: str, pair: bool, given: dict[str, Any]) -> None:
    """Also when validation is drawn anew, and what was validation becomes train. Test is scored as it is."""
    empty = f"mot{SECOND}{text}" if pair else text

    def seen(part: str) -> Rows:
        return [(f"{one}{SECOND}{one}" if pair else one, label) for one, label in rows(9, part)]

    parts = {part: [*seen(part), (empty, "a")] for part in ("train", "valid")}
    parts["test"] = [*seen("test"), (empty, "b")]
    for seed in range(3):
        made, facts = split(tmp_path, parts, valid_seed=seed, **given)
        assert facts["checks"]["empty"] == {"train": 0, "valid": 0, "test": 1}
        assert facts["dropped"].pop("empty, in train") == (2 if given else 1)
        assert facts["dropped"] == ({} if given else {"in validation and in test": 1})
        assert {len(example.text) > 1 for example in made["train"]} == {True}
        assert len(made["test"]) == 10


def test_no_empty_text_is_drawn_out_of_all(tmp_path: Path) -> None:
    _, facts = split(tmp_path, {"all": [*rows(60), *((text, "a") for text in UNSEEN)]}, n_test=12, n_valid=6)
    assert facts["dropped"] == {"empty, in train": len(UNSEEN)}
    assert facts["checks"]["empty"] == {"train": 0, "valid": 0, "test": 0}


def test_rows_without_a_label_are_dropped_everywhere_and_counted(tmp_path: Path) -> None:
    parts = {"train": [*rows(6), ("sans", "")], "valid": rows(3, "jugé"), "test": [*rows(3, "essai"), ("rien", "")]}
    made, facts = split(tmp_path, parts)
    assert facts["dropped"] == {"no label": 2}
    assert len(made["test"]) == 3


def test_a_label_unseen_in_train_is_reported_and_has_its_class(tmp_path: Path) -> None:
    parts = {"train": rows(6), "valid": [("jugé", "a")], "test": [("essai", "d"), ("autre", "a")]}
    _, facts = split(tmp_path, parts)
    assert facts["labels"] == ["a", "b", "c", "d"]
    assert facts["checks"]["labels_unseen_in_train"] == ["d"]
    assert facts["checks"]["of_one_class"] == ["valid"]


@pytest.mark.parametrize(
    ("parts", "given", "message"),
    [
        (
            {"train": [("x", "a"), ("y", "a")], "valid": [("z", "a")], "test": rows(3)},
            {},
            "is 'a'; with one class there is nothing to learn: bring",
        ),
        ({"train": rows(30), "test": [("t", "")]}, {}, "nothing is left for test"),
        (
            {"train": rows(6), "valid": rows(3, "v"), "test": [("t", "A"), ("u", "d")]},
            {},
            r"no label of test \('A', 'd'\) occurs in train \('a', 'b', 'c'\); write the labels alike",
        ),
        ({"train": rows(6), "valid": [("v", "d")], "test": rows(3, "e")}, {}, r"no label of valid \('d'\) occurs in"),
        (
            {"train": rows(9), "test": rows(3, "e")},
            {"labels": ["a", "b"]},
            "train-2 has the label 'c', dataset.labels has 'a', 'b'; add it",
        ),
        ({"train": rows(3), "test": rows(3, "e")}, {}, r"class 'a' has 1\); bring more examples"),
        (
            {"train": rows(9), "test": rows(3, "e")},
            {"n_valid": 9},
            "dataset.n_valid=9: there are 9 examples to draw from; give fewer, or",
        ),
        (
            {"train": rows(9), "test": rows(3, "e")},
            {"n_valid": 1},
            "give dataset.n_valid of 3 at least, or bring a split",
        ),
        ({"all": rows(9)}, {}, "say how many examples to draw: dataset.n_test"),
        ({"train": rows(9), "test": rows(3, "e")}, {"expected": {"train": 10}}, "holds 9 examples for train"),
        (
            {"train": rows(9), "valid": rows(3), "test": rows(3)},
            {},
            "nothing is left for valid: .*; bring other texts",
        ),
        ({"train": [*rows(9), ("\ud800", "a")], "test": rows(3, "e")}, {}, "train-9 holds half of a surrogate pair"),
    ],
)
def test_what_cannot_be_split_is_one_sentence(
    tmp_path: Path, parts: dict[str, Rows], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        split(tmp_path, parts, **given)


@pytest.mark.parametrize("unseen", ["\ufe0f", "\u3164", "\u200b", "\u00ad"])
def test_a_copy_that_differs_in_what_is_not_seen_is_a_leak(tmp_path: Path, unseen: str) -> None:
    train = [*rows(30), (f"J'adore ce livre ❤{unseen}, la fin est superbe", "a")]
    test = [(f"essai {number}", "ab"[number % 2]) for number in range(10)]
    made, facts = split(tmp_path, {"train": train, "test": [*test, ("J'adore ce livre ❤, la fin est superbe", "a")]})
    assert not any("J'adore" in text for name in ("train", "valid") for text in texts(made[name]))
    assert sum(facts["dropped"].values()) == 1


def test_pairs_that_are_cut_at_another_place_are_other_pairs(tmp_path: Path) -> None:
    parts = {"train": [*rows(9), (f"ab{SECOND}c", "a")], "valid": rows(3, "v"), "test": [(f"a{SECOND}bc", "a")]}
    made, facts = split(tmp_path, parts)
    assert len(made["train"]) == 10
    assert facts["dropped"] == {}
