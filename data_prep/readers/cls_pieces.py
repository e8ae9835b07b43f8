"""Reads CLS as its preparer published it: `<part>.review.spm`, one review per line, and `<part>.label`, 0 or 1.

A review is a list of sentencepiece pieces, separated by blanks. Joined, with U+2581 as a blank, they give the text.
"""

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from data_prep.examples import Example
from data_prep.readers.course import labelled_lines

BLANK = "▁"  # sentencepiece's mark for a blank


def read_part(path: Path, part: str, dataset: DictConfig) -> Iterator[Example]:
    """Yield one example per line, id `<part>-<line>`. Raises `UsageError` as `labelled_lines` does."""
    for number, text, label in labelled_lines(path, path.with_name(f"{part}.label"), dataset):
        yield Example(f"{part}-{number}", joined(text), None, label)


def joined(pieces: str) -> str:
    """Return the text of pieces that are separated by blanks."""
    return pieces.replace(" ", "").replace(BLANK, " ")
