"""Reads PAWS-X: a TSV with the columns id, sentence1, sentence2 and label. Quotes are plain characters."""

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from data_prep.examples import Example
from data_prep.readers.table import text_lines
from foundation.errors import UsageError

HEADER = ["id", "sentence1", "sentence2", "label"]


def read_part(path: Path, part: str, dataset: DictConfig) -> Iterator[Example]:
    """Yield one pair per line, id `<part>-<line>`.

    Some rows of the published files are malformed. A row without four fields, or with a label other than 0 or 1, gets
    no label and is counted as unlabelled. Raises `UsageError` when the first line is not the header.
    """
    classes = list(dataset.labels)
    for number, line in enumerate(text_lines(path), start=1):
        fields = line.rstrip("\r\n").split("\t")
        if number == 1:
            if fields != HEADER:
                raise UsageError(f"{path}, line 1: the header is {fields}, expected {HEADER}")
            continue
        _, first, second, label = (fields + [""] * 4)[:4]
        whole = len(fields) == len(HEADER) and label in ("0", "1")
        yield Example(f"{part}-{number}", first, second, classes[int(label)] if whole else None)
