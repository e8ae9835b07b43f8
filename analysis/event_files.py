"""TensorBoard event files of a sweep to one tidy table, a row a scalar."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

from sweeps.folders import RunKey, find_runs, read_status

KEYS = ["dataset", "model", "backend", "method", "init", "seed"]
COLUMNS = [*KEYS, "split", "tag", "step", "value", "wall_time"]


def read_run(folder: Path) -> pd.DataFrame:
    """Return split, tag, step, value and wall_time of every scalar below `folder/tb/<split>/`."""
    rows = []
    for split in sorted(path for path in (folder / "tb").glob("*") if path.is_dir()):
        events = EventAccumulator(str(split), size_guidance={SCALARS: 0})
        events.Reload()
        for tag in events.Tags()[SCALARS]:
            rows += [(split.name, tag, scalar.step, scalar.value, scalar.wall_time) for scalar in events.Scalars(tag)]
    return pd.DataFrame(rows, columns=["split", "tag", "step", "value", "wall_time"])


def read_sweep(sweep_folder: Path) -> tuple[pd.DataFrame, dict[RunKey, str]]:
    """Return the scalars of all done runs and the state of every run found."""
    tables, states = [pd.DataFrame(columns=COLUMNS)], {}
    for key, folder in find_runs(sweep_folder).items():
        states[key] = read_status(folder)["state"]
        if states[key] == "done":
            tables.append(read_run(folder).assign(**asdict(key))[COLUMNS])
    kept = [table for table in tables if len(table)] or tables
    return pd.concat(kept, ignore_index=True), states
