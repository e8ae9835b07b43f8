"""Reads XNLI: TSV files of two kinds. Quotes are plain characters.

The training file has the columns premise, hypo and label, and calls contradiction contradictory. The validation and
test files have the columns gold_label, sentence1 and sentence2, and hold fifteen languages. Only rows with `language`
fr are read.
"""

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from data_prep.examples import Example
from data_prep.readers.table import read_rows
from foundation.errors import UsageError

LANGUAGE = "fr"


def read_part(path: Path, part: str, dataset: DictConfig) -> Iterator[Example]:
    """Yield one pair per line, id `<part>-<line>`. Raises `UsageError` that names a line with an unknown label."""
    names = ["premise", "hypo", "label"] if part == "train" else ["sentence1", "sentence2", "gold_label", "language"]
    classes = list(dataset.labels)
    for line, row in read_rows(path, names, quoted=False):
        if part != "train" and row["language"] != LANGUAGE:
            continue
        label = row[names[2]].strip().replace("contradictory", "contradiction")
        if label not in classes:
            raise UsageError(f"{path}, line {line}: label {label!r}, expected one of {', '.join(classes)}")
        yield Example(f"{part}-{line}", row[names[0]], row[names[1]], label)
