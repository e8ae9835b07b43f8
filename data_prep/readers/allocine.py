"""Reads Allociné: JSON lines with `review` and `polarity` (0 or 1)."""

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from data_prep.examples import Example
from data_prep.readers.table import read_rows
from foundation.errors import UsageError


def read_part(path: Path, part: str, dataset: DictConfig) -> Iterator[Example]:
    """Yield one example per line, id `<part>-<line>`. Raises `UsageError` that names a malformed line."""
    classes = list(dataset.labels)
    for line, row in read_rows(path, ["review", "polarity"]):
        review, polarity = row["review"], row["polarity"]
        if not isinstance(review, str) or polarity not in (0, 1):
            raise UsageError(f"{path}, line {line}: expected a review and a polarity of 0 or 1")
        yield Example(f"{part}-{line}", review, None, classes[int(polarity)])
