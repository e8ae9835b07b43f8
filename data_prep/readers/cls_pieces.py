"""CLS as its preparer published it: `<part>.review.spm`, a review a line as pieces, and `<part>.label`, its 0 or 1.

The pieces of a review stand between blanks; joined, with U+2581 read as a blank, they are the review's text.
"""

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from data_prep.readers.course import labelled_lines
from data_prep.splits import Example

BLANK = "▁"  # sentencepiece's mark of a blank


def companions(path: Path, part: str) -> list[Path]:
    """Return the files that `read_part` opens beside its own: the labels."""
    return [path.with_name(f"{part}.label")]


def read_part(path: Path, part: str, dataset: DictConfig) -> Iterator[Example]:
    """Yield one example a line, id `<part>-<line>`. Raises `UsageError` as `labelled_lines` does."""
    for number, text, label in labelled_lines(path, companions(path, part)[0], dataset):
        yield Example(f"{part}-{number}", joined(text), None, label)


def joined(pieces: str) -> str:
    """Return the text of pieces that stand between blanks."""
    return pieces.replace(" ", "").replace(BLANK, " ")
