"""Read the TensorBoard event files of a sweep into one tidy table, with one row for each scalar.

TensorBoard's own record reader reads the files record by record and compares each checksum. TensorBoard's accumulator
is not used, because it stops at a damaged record without a message.
"""

from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.errors import DataLossError, OutOfRangeError
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

from foundation.counts import counted
from sweeps.folders import RunKey, find_runs, read_status

KEYS = ["dataset", "model", "backend", "method", "init", "seed", "train", "length"]
COLUMNS = [*KEYS, "split", "tag", "step", "value", "wall_time"]

Scalar = tuple[str, int, float, float]  # tag, step, value, wall time


@dataclass(frozen=True)
class SweepLogs:
    """The content of a sweep's logs: the scalars of its done runs, and what could not be read."""

    scalars: pd.DataFrame  # with the columns COLUMNS
    statuses: dict[RunKey, dict[str, Any]]  # what `read_status` returns of each run found
    damage: dict[RunKey, list[str]]  # a sentence for each damaged file


def read_file(path: Path) -> tuple[list[Scalar], str | None]:
    """Return the scalars of one event file in the order of writing, and what is wrong with the file, if anything.

    Records before the damage are read. Records after the damage cannot be found again.
    """
    scalars: list[Scalar] = []
    records = 0
    try:
        reader = PyRecordReader_New(str(path))
        while True:
            reader.GetNext()
            event = Event.FromString(reader.record())
            records += 1
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    scalars.append((value.tag, event.step, value.simple_value, event.wall_time))
    except OutOfRangeError:
        return scalars, None if records else f"{path} is empty"
    except OSError as error:
        return [], f"{path}: {error.strerror}"
    except DataLossError as error:
        how = "ends in the middle of a record" if "truncated" in error.message else "fails its checksum"
    except DecodeError:
        how = "holds a record that is no event"
    return scalars, f"{path} {how}, after {counted(records, 'whole one')}"


def read_run(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return split, tag, step, value and wall_time of every scalar below `folder/tb/<split>/`, and what is damaged.

    A resumed run leaves several files in one split. They are merged by tag and step; the later value wins.
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
    """Return the event files of a run, `tb/<split>/*tfevents*`, in order, without the system's hidden files."""
    return sorted((folder / "tb").glob("[!.]*/[!.]*tfevents*"))


def read_sweep(sweep_folder: Path) -> SweepLogs:
    """Return the scalars of all done runs and the status of every run found."""
    tables = [pd.DataFrame(columns=COLUMNS)]
    statuses, damage = {}, {}
    for key, folder in find_runs(sweep_folder).items():
        statuses[key] = read_status(folder)
        if statuses[key]["state"] == "done":
            own, wrong = read_run(folder)
            tables.append(own.assign(**asdict(key))[COLUMNS])
            damage.update({key: wrong} if wrong else {})
    scalars = pd.concat([part for part in tables if len(part)] or tables, ignore_index=True)
    return SweepLogs(scalars, statuses, damage)
