"""Splits: disjoint, stratified, without repeats, drawn by seeds that are not training seeds."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.splits import Example, clean, drop_repeats, refuse_leakage, stratified_splits
from hydra_conf.errors import UsageError


def examples(count: int) -> list[Example]:
    return [Example(f"x-{number}", f"texte {number}", None, number % 3 == 0) for number in range(count)]


@given(st.text())
def test_clean_is_normal_and_stays_so(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == once.strip()
    assert "\n" not in once


@settings(max_examples=30, deadline=None)
@given(st.integers(10, 40), st.integers(10, 20), st.integers(10, 20), st.integers(0, 99), st.integers(0, 99))
def test_splits_have_their_sizes_share_nothing_and_lose_nothing(
    n_train: int, n_valid: int, n_test: int, test_seed: int, valid_seed: int
) -> None:
    everything = examples(n_train + n_valid + n_test)
    splits = stratified_splits(everything, n_train, n_valid, n_test, test_seed, valid_seed)
    assert [len(splits[split]) for split in ("train", "valid", "test")] == [n_train, n_valid, n_test]
    assert sorted(e.id for split in splits.values() for e in split) == sorted(e.id for e in everything)
    share = sum(e.label for e in everything) / len(everything)
    for split in splits.values():
        assert abs(sum(e.label for e in split) - share * len(split)) <= 1.5


def test_the_test_split_does_not_depend_on_the_validation_seed() -> None:
    one = stratified_splits(examples(100), 60, 20, 20, test_seed=3, valid_seed=0)
    other = stratified_splits(examples(100), 60, 20, 20, test_seed=3, valid_seed=1)
    assert one["test"] == other["test"]
    assert one["valid"] != other["valid"]


def test_sizes_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(UsageError, match="ask for 110 examples .* and 100 distinct ones"):
        stratified_splits(examples(100), 70, 20, 20, 0, 0)


def test_repeats_are_dropped_and_counted() -> None:
    twice = [*examples(5), *examples(3)]
    kept, dropped = drop_repeats(twice)
    assert (kept, dropped) == (examples(5), 3)


def test_a_repeat_with_another_label_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="a and b are the same text with labels 0 and 1"):
        drop_repeats([Example("a", "t", None, 0), Example("b", "t", None, 1)])


def test_a_text_in_two_splits_is_refused_by_name() -> None:
    one = Example("a", "même texte", None, 0)
    with pytest.raises(UsageError, match="leakage: a in train and b in test"):
        refuse_leakage({"train": [one], "test": [Example("b", "même texte", None, 0)]})
