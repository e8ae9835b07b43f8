"""Reads Amazon.fr book reviews: a CSV with a byte-order mark, no header, and two quoted columns: text, 1 or -1."""

import csv
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from data_prep.examples import Example
from data_prep.readers.table import text_lines
from foundation.counts import counted
from foundation.errors import UsageError

CLASSES = {"-1": "negative", "1": "positive"}


def read_part(path: Path, part: str, dataset: DictConfig) -> Iterator[Example]:
    """Yield one example per row, id `amazon_fr-<row>`.

    Raises `UsageError` that names the row when the row does not have two columns or its label is not 1 or -1.
    """
    try:
        for number, row in enumerate(csv.reader(text_lines(path), strict=True), start=1):
            if len(row) != 2:
                raise UsageError(f"{path}, row {number}: {counted(len(row), 'column')}, expected 2 (text, label)")
            text, label = row[0], row[1].strip()
            if label not in CLASSES:
                raise UsageError(f"{path}, row {number}: label {label!r}, expected one of {', '.join(CLASSES)}")
            yield Example(f"amazon_fr-{number:04d}", text, None, CLASSES[label])
    except csv.Error as error:
        raise UsageError(f"{path} is not CSV: {error}") from error
