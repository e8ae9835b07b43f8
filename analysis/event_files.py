"""TensorBoard event files of a sweep to one tidy table, a row a scalar.

Files are read record by record, each with its checksum: TensorBoard's own accumulator stops at a damaged record
without a word, and takes its checksums byte by byte in Python. What was read before is taken from the last table, whose
metadata says which files it was made from.
"""

import json
import struct
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import google_crc32c
import pandas as pd
import pyarrow
import pyarrow.parquet
from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event

from data_prep.whole_files import replaced
from hydra_conf.counts import counted
from sweeps.folders import RunKey, find_runs, read_status

KEYS = ["dataset", "model", "backend", "method", "init", "seed"]
COLUMNS = [*KEYS, "split", "tag", "step", "value", "wall_time"]
FORMAT = "1"  # raised when the same files would give another table
MADE_FROM = b"warmstart"
LONGEST_ERROR = 300  # characters

Scalar = tuple[str, int, float, float]  # tag, step, value, wall time


@dataclass(frozen=True)
class SweepLogs:
    """What the logs of a sweep hold: the scalars of its done runs, and what could not be read."""

    scalars: pd.DataFrame  # COLUMNS
    states: dict[RunKey, str]
    progress: dict[RunKey, dict[str, Any]]  # what the done runs said of themselves in progress.json
    damage: dict[RunKey, list[str]]  # a sentence for each file that is not whole
    n_read: int  # event files that were new or changed
    attempts: dict[RunKey, int] = field(default_factory=dict)  # of the done runs that took more than one
    skipped: dict[RunKey, tuple[int, int]] = field(default_factory=dict)  # steps skipped, of so many planned; if any
    errors: dict[RunKey, str] = field(default_factory=dict)  # what stopped the failed runs


def read_file(path: Path) -> tuple[list[Scalar], str | None]:
    """Return the scalars of one event file in the order of writing, and what is wrong with the file, if anything.

    What stands before the damage is read; what stands behind it cannot be found again.
    """
    scalars: list[Scalar] = []
    try:
        data = path.read_bytes()
    except OSError as error:
        return [], f"{path}: {error.strerror}"
    records = 0
    for record in _records(data):
        try:
            if isinstance(record, str):
                return scalars, f"{path} {record}, after {counted(records, 'whole one')}"
            event = Event.FromString(record)
        except DecodeError:
            return scalars, f"{path} holds a record that is no event, after {counted(records, 'whole one')}"
        records += 1
        for value in event.summary.value:
            if value.HasField("simple_value"):
                scalars.append((value.tag, event.step, value.simple_value, event.wall_time))
    return scalars, None if records else f"{path} is empty"


def _records(data: bytes) -> Iterator[bytes | str]:
    """Yield the records of a TFRecord file; after the last whole one, what is wrong with the next, if there is one.

    A record is its length (u64), the length's checksum (u32), its bytes, and their checksum (u32), little-endian.
    """
    at = 0
    while at < len(data):
        head = data[at : at + 12]
        if len(head) < 12:
            yield "ends in the middle of a record"
            return
        length, checksum = struct.unpack("<QI", head)
        if checksum != _masked(head[:8]):
            yield "fails its checksum"
            return
        end = at + 12 + length
        if len(data) < end + 4:
            yield "ends in the middle of a record"
            return
        record = data[at + 12 : end]
        if struct.unpack("<I", data[end : end + 4])[0] != _masked(record):
            yield "fails its checksum"
            return
        yield record
        at = end + 4


def _masked(data: bytes) -> int:
    """Return the CRC-32C of bytes, rotated and shifted as TFRecord files hold it."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_run(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return split, tag, step, value and wall_time of every scalar below `folder/tb/<split>/`, and what is damaged.

    Several files in one split, as a resumed run leaves them, are merged by tag and step; the later writing wins.
    """
    rows: list[tuple[str, str, int, float, float]] = []
    damage = []
    for split, paths in groupby(event_files(folder), key=lambda path: path.parent):
        merged: dict[tuple[str, int], tuple[float, float]] = {}
        for path in paths:
            scalars, wrong = read_file(path)
            damage += [wrong] if wrong else []
            for tag, step, value, wall_time in scalars:
                if (tag, step) not in merged or wall_time >= merged[tag, step][1]:
                    merged[tag, step] = (value, wall_time)
        rows += [(split.name, tag, step, *merged[tag, step]) for tag, step in sorted(merged)]
    return pd.DataFrame(rows, columns=["split", "tag", "step", "value", "wall_time"]), damage


def event_files(folder: Path) -> list[Path]:
    """Return the event files of a run, `tb/<split>/*tfevents*`, in order; what an operating system hides is none."""
    return sorted((folder / "tb").glob("[!.]*/[!.]*tfevents*"))


def fingerprint(folder: Path) -> dict[str, list[int]]:
    """Return size (bytes) and time of change (ns) of each event file of a run."""
    files = event_files(folder)
    return {str(path.relative_to(folder)): [(stat := path.stat()).st_size, stat.st_mtime_ns] for path in files}


def read_sweep(sweep_folder: Path, table: Path | None = None) -> SweepLogs:
    """Return the scalars of all done runs and the state of every run found.

    `table` is the scalars.parquet of an earlier call: runs whose files it was made from are taken from it, and it is
    replaced by the new table.
    """
    before, notes = _read_table(table)
    tables, states, progress, damage, made_from, n_read = [pd.DataFrame(columns=COLUMNS)], {}, {}, {}, {}, 0
    attempts, skipped, errors = {}, {}, {}
    for key, folder in find_runs(sweep_folder).items():
        status = read_status(folder)
        states[key] = status["state"]
        if states[key] != "done":
            told = " ".join(str(status.get("error") or "").split())
            errors.update({key: textwrap.shorten(told, LONGEST_ERROR, placeholder=" ...")} if told else {})
            continue
        progress[key] = status["progress"]
        counts = {name: status.get(name) for name in ("attempts", "skipped_steps", "planned_steps")}
        whole = {name: n for name, n in counts.items() if isinstance(n, int)}
        if whole.get("attempts", 1) > 1:
            attempts[key] = whole["attempts"]
        if whole.get("skipped_steps", 0) > 0 and "planned_steps" in whole:
            skipped[key] = whole["skipped_steps"], whole["planned_steps"]
        name, files = str(key), fingerprint(folder)
        known = notes.get(name, {})
        if known.get("files") == files and name in before:
            own, wrong = before[name], known["damage"]
        else:
            read, wrong = read_run(folder)
            own, n_read = read.assign(**asdict(key))[COLUMNS], n_read + len(files)
        made_from[name] = {"files": files, "damage": wrong}
        tables.append(own)
        damage.update({key: wrong} if wrong else {})
    kept = [part for part in tables if len(part)] or tables
    scalars = pd.concat(kept, ignore_index=True)
    if table is not None and (n_read or made_from.keys() != notes.keys()):
        _write_table(table, scalars, made_from)
    return SweepLogs(scalars, states, progress, damage, n_read, attempts, skipped, errors)


def _read_table(path: Path | None) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Return the table by run, and by run what it was made from; nothing when there is none that can be used."""
    if path is None or not path.is_file():
        return {}, {}
    try:
        table = pyarrow.parquet.read_table(path)
        written = json.loads((table.schema.metadata or {}).get(MADE_FROM, b"{}"))
    except (OSError, ValueError, pyarrow.ArrowException):
        return {}, {}
    if written.get("format") != FORMAT:
        return {}, {}
    groups = table.to_pandas().groupby(KEYS, sort=False)
    return {str(key_of(names)): own for names, own in groups}, written["runs"]


def key_of(names: Any) -> RunKey:
    """Return the key of a run from its values of KEYS."""
    *words, seed = names
    return RunKey.parse("/".join([*map(str, words), f"seed={seed}"]))


def _write_table(path: Path, scalars: pd.DataFrame, made_from: dict[str, Any]) -> None:
    table = pyarrow.Table.from_pandas(scalars, preserve_index=False)
    written = {MADE_FROM: json.dumps({"format": FORMAT, "runs": made_from})}
    with replaced(path) as temporary:
        pyarrow.parquet.write_table(
            table.replace_schema_metadata({**(table.schema.metadata or {}), **written}), temporary
        )
