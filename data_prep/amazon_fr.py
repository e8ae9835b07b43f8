"""Amazon.fr book reviews: a CSV of two quoted columns, text and 1 or -1, UTF-8 with a byte-order mark."""

import csv
from collections.abc import Iterator
from pathlib import Path

from data_prep.splits import Example, clean
from hydra_conf.errors import UsageError

CLASSES = {"-1": 0, "1": 1}


def read_examples(path: Path) -> Iterator[Example]:
    """Yield one example a row, white space and Unicode normalised, id `amazon_fr-<row>` counted from 1.

    Raises `UsageError` naming the row when it does not have two columns, its label is not 1 or -1, or its text is
    empty.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for number, row in enumerate(csv.reader(stream, strict=True), start=1):
                yield _example(row, f"{path}, row {number}", number)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} is not UTF-8 CSV: {error}") from error


def _example(row: list[str], place: str, number: int) -> Example:
    if len(row) != 2:
        raise UsageError(f"{place}: {len(row)} columns, expected 2 (text, label)")
    text, label = clean(row[0]), row[1].strip()
    if label not in CLASSES:
        raise UsageError(f"{place}: label {label!r}, expected one of {', '.join(CLASSES)}")
    if not text:
        raise UsageError(f"{place}: the text is empty")
    return Example(id=f"amazon_fr-{number:04d}", text=text, text_pair=None, label=CLASSES[label])
