"""Shows the state of every run of a sweep: `python -m sweeps status`."""

import argparse
import contextlib
import time
from collections import Counter
from pathlib import Path

from rich.console import Console

from foundation.errors import UsageError
from sweeps import slurm
from sweeps.folders import RunKey, find_runs, require_name
from sweeps.screen import COLOURS, Screen, short_names, shown_status, status_table
from sweeps.standing import DONE, FAILED, is_wanted, standing

WATCH_SECONDS = 5.0


def show_status(words: list[str]) -> int:
    """Show the state of every run of a sweep."""
    parser = argparse.ArgumentParser(prog="python -m sweeps status", description=show_status.__doc__)
    parser.add_argument("--sweep", default="default")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--watch", action="store_true", help="go on until every run has ended")
    arguments = parser.parse_args(words)
    require_name(arguments.sweep)
    found = find_runs(arguments.runs_dir / arguments.sweep)
    if not found:
        raise UsageError(
            f"{arguments.runs_dir / arguments.sweep} holds no run; `make sweep SWEEP={arguments.sweep}` trains some"
        )
    if arguments.watch:
        watch(found)
    else:
        names = short_names({folder: key for key, folder in found.items()})
        rows = [(name, shown_status(folder), "") for name, folder in zip(names, found.values(), strict=True)]
        Console(highlight=False, markup=False).print(status_table(rows, is_live=False))
        states = Counter(status["state"] for _, status, _ in rows)
        print(", ".join(f"{states[state]} {state}" for state in COLOURS if states[state]))
    return 0


def watch(runs: dict[RunKey, Path]) -> None:
    """Show the runs until each is done or failed, no process is going to train the rest, or the user presses Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt), Screen({folder: key for key, folder in runs.items()}) as screen:
        left = list(runs.values())
        while left:
            slurm.note_gone(left)
            screen.update()
            states = {folder: standing(folder).state for folder in left}
            left = [
                folder for folder in left if states[folder] != DONE and (states[folder] != FAILED or is_wanted(folder))
            ]
            if left and not slurm.has_jobs(left) and not any(is_wanted(folder) for folder in left):
                print(f"nobody is training {len(left)} of the runs, and no sweep is going to; `make sweep` goes on")
                break
            time.sleep(WATCH_SECONDS if left else 0)
