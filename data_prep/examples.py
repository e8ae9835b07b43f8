"""Reads the examples of a dataset once, into a scratch file, with no text in memory, and later those of a split."""

import json
import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from data_prep.cleaning import clean, digest_of, digest_of_near_copies, is_empty, looks_french
from foundation.counts import counted
from foundation.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


SPLITS = ("train", "valid", "test")
PARTS = ("all", *SPLITS)
NO_LABEL = -1
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?")  # but not a code such as 01
Reader = Callable[[Path, str, DictConfig], Iterator["Example"]]


@dataclass(frozen=True)
class Example:
    """One labelled text, or pair of texts. The label is None if the row has no label."""

    id: str
    text: str
    text_pair: str | None
    label: str | None


def read_split(path: Path) -> Iterator[Example]:
    """Yield the examples of one split from its .jsonl file."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield Example(**json.loads(line))


@dataclass
class Gathered:
    """Facts about every example, in reading order. The examples themselves are lines in the scratch file."""

    # part: index into PARTS; label: index into label_names, or NO_LABEL; digest: 64 bits of each text; near: 64 bits,
    # the same for all near-copies of a text; empty; not_french
    texts: "pd.DataFrame"
    label_names: list[str]
    renamed: dict[str, str]  # label in the scratch file -> its class, where they differ


def gather(parts: dict[str, Path], read: Reader, config: DictConfig, scratch: Path) -> Gathered:
    """Read every part once. Write each cleaned example as a line of `scratch`. Return the facts that decide the splits.

    Raises `UsageError` when a part does not hold the number of examples that the configuration expects.
    """
    import pandas as pd  # a slow import, not needed when the splits are up to date

    kinds = {"part": "b", "label": "i", "digest": "Q", "near": "Q", "empty": "b", "not_french": "b"}
    columns: dict[str, Any] = {name: array(kind) for name, kind in kinds.items()}
    indices = {name: index for index, name in enumerate(config.labels or [])}
    with scratch.open("w", encoding="utf-8") as out:
        for part, path in parts.items():
            before = len(columns["part"])
            for example in read(path, part, config):
                text = clean(example.text)
                pair = None if example.text_pair is None else clean(example.text_pair)
                cleaned = Example(example.id, text, pair, example.label)
                texts = [text] if pair is None else [text, pair]
                try:
                    out.write(json.dumps(vars(cleaned), ensure_ascii=False) + "\n")
                    digest, near = digest_of(texts), digest_of_near_copies(texts)
                except UnicodeEncodeError as error:
                    raise UsageError(
                        f"{path}: {example.id} holds half of a surrogate pair, which is no character; "
                        "save the text as UTF-8"
                    ) from error
                index = NO_LABEL if example.label is None else indices.setdefault(example.label, len(indices))
                if config.labels is not None and index >= len(config.labels):
                    raise UsageError(
                        f"{path}: {example.id} has the label {example.label!r}, dataset.labels has "
                        f"{', '.join(map(repr, config.labels))}; add it there, or mend it"
                    )
                empty = any(map(is_empty, texts))
                row = (PARTS.index(part), index, digest, near, empty, not looks_french(text))
                for column, value in zip(columns.values(), row, strict=True):
                    column.append(value)
            _check_expected(config, part, path, len(columns["part"]) - before)
    frame = pd.DataFrame({name: np.array(column) for name, column in columns.items()})
    gathered = Gathered(frame.astype({"empty": bool, "not_french": bool}), list(indices), {})
    if config.labels is None:
        _unite_numbers(gathered)
    return gathered


def _unite_numbers(gathered: Gathered) -> None:
    """If every label is a number, make one class of all labels with the same value (`1.`, `1e0` and 1)."""
    names = gathered.label_names
    if not all(map(NUMBER.fullmatch, names)):
        return
    spellings: dict[Decimal, list[str]] = {}
    for name in names:
        spellings.setdefault(Decimal(name), []).append(name)
    united = {name: _as_number(number) for number, alike in spellings.items() for name in alike if len(alike) > 1}
    gathered.renamed = {name: new for name, new in united.items() if name != new}
    gathered.label_names = list(dict.fromkeys(united.get(name, name) for name in names))
    place = {index: gathered.label_names.index(united.get(name, name)) for index, name in enumerate(names)}
    gathered.texts["label"] = gathered.texts["label"].replace(place)


def _as_number(number: Decimal) -> str:
    """Return a number without an exponent and without trailing zeros after the decimal point."""
    whole = number.to_integral_value()
    return str(int(whole)) if number == whole else f"{number:f}".rstrip("0")


def _check_expected(config: DictConfig, part: str, path: Path, n: int) -> None:
    if config.expected is not None and config.expected.get(part, n) != n:
        raise UsageError(
            f"{path} holds {counted(n, 'example')} for {part}, {config.name} has {config.expected[part]:,}: it is not "
            f"the published file, or not whole; dataset.expected.{part}={n} takes it as it is"
        )


def class_names(gathered: Gathered, config: DictConfig) -> list[str]:
    """Return the classes in order: the dataset's own, else the sorted labels (as numbers if all are integers)."""
    if config.labels is not None:
        return list(config.labels)
    names = gathered.label_names
    whole = all(name.removeprefix("-").isascii() and name.removeprefix("-").isdigit() for name in names)
    return sorted(names, key=lambda name: (int(name), name) if whole else (0, name))
