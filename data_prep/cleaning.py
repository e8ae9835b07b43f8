"""Cleans a text, and says which texts are near-copies of each other, empty, or perhaps not French."""

import unicodedata
from hashlib import blake2b

# Unicode calls these characters letters, marks or symbols, but they are drawn as nothing or as a blank.
BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(map(chr, range(0xFE00, 0xFE10)))
# Some of the most frequent French words. A text of eight words or more without any of them is probably not French.
COMMON = """le la les l' un une des de du d' et est en que qu' qui pour dans ce c' cette pas ne n' il elle on je j'
ai nous vous se s' au aux sur avec plus par son sa ses mais très tout sont a été comme ou si bien être fait"""
FRENCH_WORDS = frozenset(COMMON.split())
FRENCH_FROM = 8  # words


def clean(text: str) -> str:
    """Return the text in Unicode NFC, each run of white space replaced by one space, and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def is_seen(character: str) -> bool:
    """Return whether a character is visible: no white space, control, format mark (U+200B, U+FEFF...) or blank."""
    return not character.isspace() and unicodedata.category(character) not in ("Cc", "Cf") and character not in BLANK


def is_empty(text: str) -> bool:
    """Return whether a text has no visible character."""
    return not any(map(is_seen, text))


def without_case(text: str) -> str:
    """Return the form that a cleaned text shares with its near-copies: case folded, without invisible characters."""
    folded = text.casefold()
    if folded.isprintable() and BLANK.isdisjoint(folded):  # true for most texts
        return unicodedata.normalize("NFC", folded)
    return clean("".join(one for one in folded if one.isspace() or is_seen(one)))


def looks_french(text: str) -> bool:
    """Return whether a text is short or holds a very frequent French word. This cheap rule is only for reports."""
    words = text.lower().replace("’", "'").replace("'", "' ").split()
    return len(words) < FRENCH_FROM or not FRENCH_WORDS.isdisjoint(words)


def digest_of_near_copies(texts: list[str]) -> int:
    """Return 64 bits that a cleaned text, or pair of texts, shares with its near-copies."""
    return digest_of(sorted(map(without_case, texts)))


def digest_of(texts: list[str]) -> int:
    """Return 64 bits of a text, or pair of texts."""
    return int.from_bytes(blake2b("\n".join(texts).encode(), digest_size=8).digest())
