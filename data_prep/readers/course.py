"""Reads the published course's text files: one with a text per line, and one with a label per line, 0 or 1."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from omegaconf import DictConfig

from data_prep.examples import Example
from data_prep.readers.table import text_lines
from foundation.errors import UsageError


def read_part(path: Path, part: str, dataset: DictConfig) -> Iterator[Example]:
    """Yield one example per line, id `<part>-<line>`. Raises `UsageError` as `labelled_lines` does."""
    for number, text, label in labelled_lines(path, path.with_name(f"{part}_label.label"), dataset):
        yield Example(f"{part}-{number}", text, None, label)


def labelled_lines(path: Path, labels: Path, dataset: DictConfig) -> Iterator[tuple[int, str, str]]:
    """Yield (line number from 1, text, class) for each line of `path`. The file `labels` holds 0 or 1 for each line.

    Raises `UsageError` when there are no labels, when a label is not 0 or 1, or when there is not one for each text.
    """
    classes = list(dataset.labels)
    if not labels.is_file():
        raise UsageError(f"{path} has no labels: there is no file {labels.name} beside it; name it in the dataset, too")
    for number, (text, label) in enumerate(zip_longest(text_lines(path), text_lines(labels)), start=1):
        if text is None or label is None:
            raise UsageError(f"{path} and {labels.name} do not have the same number of lines: one ends before {number}")
        if label.strip() not in ("0", "1"):
            raise UsageError(f"{labels}, line {number}: {label.strip()!r}, expected 0 or 1")
        yield number, text, classes[int(label)]
