"""The reader of the Amazon.fr CSV."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.cleaning import clean
from data_prep.examples import Example
from data_prep.readers.amazon_fr import read_part
from foundation.errors import UsageError
from hydra_conf.compose import compose_config
from tests.conftest import write_reviews

CONFIG = compose_config([]).dataset


def read_examples(path: Path) -> list[Example]:
    return list(read_part(path, "all", CONFIG))


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1).filter(lambda text: clean(text))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORDS, st.sampled_from([1, -1])), min_size=1, max_size=8))
def test_any_text_comes_back_with_its_label(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "reviews.csv"
    write_reviews(path, rows)
    names = {1: "positive", -1: "negative"}
    read = [(example.text, example.label) for example in read_examples(path)]
    assert read == [(text, names[label]) for text, label in rows]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('"bien","1"\n"seul"\n', "row 2: 1 column, expected 2"),
        ('"bien","2"\n', "row 1: label '2', expected one of -1, 1"),
        ('"ouvert,1\n', "is not CSV"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "bad.csv").write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_examples(tmp_path / "bad.csv")


def test_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes('"déçu","-1"\n'.encode("latin-1"))
    with pytest.raises(UsageError, match="line 1: byte 3 .* is not UTF-8"):
        read_examples(tmp_path / "latin.csv")
