"""Reads the user's own tables (CSV, TSV, JSONL, Parquet), and the rows of tables for other readers.

A CSV or TSV has a header line. A field with a line break, a quote or the separator is quoted, and its quotes doubled.
The separator is the comma (CSV) or the tab (TSV), or else the one of `, ; tab |` that gives the wanted columns in the
header. JSONL has one object per line. Text files are UTF-8, with or without a byte-order mark.

Different spellings of a label are one class. True and TRUE become `true`, and a whole float becomes its integer (1.0
becomes 1). If every label is a number, `1.` and `1e0` are the same class as 1, and `-0` the same as 0 (examples.py).
"""

import csv
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from data_prep.cleaning import clean, is_empty
from data_prep.examples import Example
from foundation.counts import counted
from foundation.errors import UsageError
from hydra_conf.words import nearest

LONGEST_FIELD = 10_000_000  # characters of one CSV field; csv's own limit is 131,072
SEPARATORS = (",", ";", "\t", "|")
WHOLE = re.compile(r"-?[0-9]{1,300}\.0+")  # a float that is an integer
Row = tuple[int, dict[str, Any]]  # (line where the row begins, or row number in Parquet, both from 1; its columns)


def read_part(path: Path, part: str, dataset: DictConfig) -> Iterator[Example]:
    """Yield the examples of one of the user's tables, ids `<part>-<line>`.

    Raises `UsageError` that names the file and the line when a row does not hold a text and a label.
    """
    text, pair, label = dataset.text, dataset.text_pair, dataset.label
    named = {"dataset.label": label, "dataset.text": text, "dataset.text_pair": pair}
    for one, other in combinations(named, 2):
        if named[one] == named[other]:
            raise UsageError(f"{one} and {other} are both {named[one]!r}; name two columns")
    counted = "row" if path.suffix.lower() == ".parquet" else "line"
    known = {_label(name, "dataset.labels", str(path)): name for name in dataset.labels or []}
    for line, row in read_rows(path, [text, label, *([pair] if pair else [])]):
        place = f"{path}, {counted} {line}"
        second = text_of(row[pair], pair, place) if pair else None
        found = _label(row[label], label, place)
        yield Example(f"{part}-{line}", text_of(row[text], text, place), second, known.get(found, found))


def text_of(value: Any, column: str, place: str) -> str:
    """Return the value of a column. Raises `UsageError` that begins with `place` when it is not a text."""
    if not isinstance(value, str):
        raise UsageError(f"{place}: column {column!r} holds {value!r}, which is not a text; mend it, or remove the row")
    return value


def _label(value: Any, column: str, place: str) -> str:
    whole = isinstance(value, float) and value.is_integer()
    if whole or isinstance(value, int | str):
        label = clean(str(int(value) if whole else value))
        if label.lower() in ("true", "false"):
            label = label.lower()
        elif WHOLE.fullmatch(label):
            label = str(int(label.partition(".")[0]))
        if not is_empty(label):
            return label
    raise UsageError(
        f"{place}: column {column!r} holds {value!r}, which is not a label; labels are strings or integers"
    )


def read_rows(path: Path, columns: list[str], quoted: bool = True, kind: str = "") -> Iterator[Row]:
    """Yield every row, with at least the wanted columns. `quoted=False` reads a TSV whose quotes are plain characters.

    `kind` is .csv, .tsv, .jsonl or .parquet; if it is not given, the ending of the file's name.

    Raises `UsageError` when the file is of another kind, is in another encoding, has no rows or lacks one of the
    columns, and when a row has another width than the header.
    """
    suffix = kind or path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        rows = _delimited_rows(path, columns, quoted)
    elif suffix == ".jsonl":
        rows = _jsonl_rows(path, columns)
    elif suffix == ".parquet":
        rows = _parquet_rows(path, columns)
    else:
        raise UsageError(f"{path}: a table ends in .csv, .tsv, .jsonl or .parquet; save it as one of these")
    first = next(rows, None)
    if first is None:
        raise UsageError(f"{path} holds no row; give a file with texts")
    yield first
    yield from rows


def text_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file, ends included. Raises `UsageError` that names the first line not in UTF-8."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise UsageError(f"{path}, line 1: this is UTF-16; save the file as UTF-8")
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                byte = f"byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8"
                raise UsageError(
                    f"{path}, line {number}: {byte}{_as_windows(line[error.start])}; save the file as UTF-8"
                ) from error


def _as_windows(byte: int) -> str:
    """Return a hint if the byte is a letter in Windows-1252, which Excel writes in western Europe; else no text."""
    letter = bytes([byte]).decode("cp1252", errors="replace")
    return f", it may be {letter!r} in Windows-1252 (Excel has 'CSV UTF-8', too)" if letter.isalpha() else ""


def _require_columns(path: Path, columns: list[str], there: list[str]) -> None:
    shown = [name[:40] if name.isprintable() else repr(name[:40]) for name in there]
    for column in columns:
        if column not in there:
            known = nearest(column, shown, "it has")
            raise UsageError(
                f"{path} has no column {column!r}{known}; rename yours, or tell prep its name with dataset.text, "
                "dataset.text_pair, dataset.label in ARGS; all files need the same column names"
            )
        if there.count(column) > 1:
            raise UsageError(f"{path} has {there.count(column)} columns called {column!r}; rename one")


def _delimited_rows(path: Path, columns: list[str], quoted: bool) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_FIELD)
    usual = "," if path.suffix.lower() == ".csv" else "\t"
    separator = _separator(path, columns, usual) if quoted else usual
    dialect: dict[str, Any] = {"delimiter": separator, "quoting": csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE}
    reader = csv.reader(text_lines(path), strict=True, **dialect)
    header, begins = None, 1
    try:
        for row in reader:
            line, begins = begins, reader.line_num + 1
            if header is None:
                _require_columns(path, columns, row)
                header = row
            elif len(row) == len(header):
                yield line, dict(zip(header, row, strict=True))
            elif row:  # an empty line is not a row
                raise UsageError(
                    f"{path}, line {line}: {counted(len(row), 'column')}, the header has {len(header)}; mend the line: "
                    "a field with the separator in it is quoted"
                )
    except csv.Error as error:
        raise UsageError(
            f"{path}, line {begins}: {error}; a field with a quote, a line break or the separator in it "
            "is quoted, its quotes doubled"
        ) from error


def _separator(path: Path, columns: list[str], usual: str) -> str:
    """Return the separator that gives the wanted columns in the header, else the usual one.

    If the usual one gives a single column, return the separator that gives most. Print it when it is not the usual one.
    """
    headers: dict[str, list[str]] = {usual: []}
    for separator in SEPARATORS:
        with suppress(csv.Error):
            headers[separator] = next(csv.reader(text_lines(path), delimiter=separator, strict=True), [])

    def fit(separator: str) -> tuple[bool, bool, int]:
        header = headers[separator]
        return set(columns) <= set(header), separator == usual and len(header) != 1, len(header)

    best = max(headers, key=fit)
    if not fit(best)[0] and not "".join(headers[best]).isprintable():
        return usual
    if best != usual:
        print(f"  {path} is separated by {best!r}", flush=True)
    return best


def _jsonl_rows(path: Path, columns: list[str]) -> Iterator[Row]:
    for number, line in enumerate(text_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}, line {number} is not JSON ({error}); write one object a line") from error
        if not isinstance(row, dict):
            raise UsageError(f"{path}, line {number} is not a JSON object; write one object a line")
        for column in columns:
            if column not in row:
                raise UsageError(f"{path}, line {number} has no {column!r}{nearest(column, list(row), 'it has')}")
        yield number, row


def _parquet_rows(path: Path, columns: list[str]) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            _require_columns(path, columns, file.schema_arrow.names)
            number = 0
            for batch in file.iter_batches(batch_size=1000, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        raise UsageError(f"{path} is not a whole Parquet file: {str(error).splitlines()[0]}") from error
