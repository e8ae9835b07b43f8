"""What is cleaned of a text, when it is empty, and when it is taken for French."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.cleaning import clean, is_empty, looks_french


@given(st.text())
def test_clean_is_normal_and_stays_so(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == once.strip()
    assert "\n" not in once


@pytest.mark.parametrize("text", ["a", "\u0301", "\u2764\ufe0f", "\u200ba", ".", "\U0001f600", "\ue000"])
def test_a_text_of_which_something_is_seen_is_not_empty(text: str) -> None:
    assert not is_empty(text)


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
