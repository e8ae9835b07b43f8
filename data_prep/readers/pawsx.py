"""PAWS-X: a TSV of id, sentence1, sentence2, label, its quotes plain characters."""

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from data_prep.readers.table import text_lines
from data_prep.splits import Example
from foundation.errors import UsageError

HEADER = ["id", "sentence1", "sentence2", "label"]


def read_part(path: Path, part: str, dataset: DictConfig) -> Iterator[Example]:
    """Yield one pair a line, id `<part>-<line>`.

    Some rows of the published files are wrongly filled in: one without four fields or a label of 0 or 1 has no label
    here, and is counted as such. Raises `UsageError` when the first line is not the header.
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
