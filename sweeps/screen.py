"""What a sweep shows on screen: a table of its runs, and their progress while they train."""

import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from foundation.counts import counted
from sweeps.folders import ALL, RunKey, read_status, sweep_folder_of
from sweeps.standing import ABSENT, OWNED, standing

ENOUGH = 0.5  # of a run, to tell the speed
COLOURS = {"done": "green", "running": "cyan", "cut": "yellow", "pending": "dim", "failed": "bold red"}


def accuracy(evaluation: dict[str, Any] | None) -> str:
    """Return the accuracy of an evaluation in percent, as in `81.50`, or a dash without an evaluation."""
    return f"{100 * evaluation['n_correct'] / evaluation['n']:.2f}" if evaluation else "-"


def shown_status(folder: Path) -> dict[str, Any]:
    """Return the status of a run, with its state as the word shown to the user."""
    state = standing(folder).state
    return {**read_status(folder), "state": {ABSENT: "pending", OWNED: "running"}.get(state, state)}


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def status_table(rows: list[tuple[str, dict[str, Any], str]], is_live: bool = True) -> Table:
    """Return a table of the rows, each (run, status, time left). The time left is shown if it `is_live`."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("run", "state", "step", "loss", "valid %", "best %", *(["left"] if is_live else [])):
        table.add_column(heading, justify="left" if heading in ("run", "state") else "right", no_wrap=heading != "run")
    for name, status, left in rows:
        progress, state = status["progress"], status["state"]
        step = f"{progress.get('step', 0)}/{status.get('planned_steps', '?')}"
        loss = f"{progress['loss']:.3f}" if "loss" in progress else "-"
        shown = (Text(state, COLOURS[state]), step, loss, accuracy(progress.get("valid")))
        table.add_row(name, *shown, accuracy(progress.get("best_valid")), *([left] if is_live else []))
    return table


def short_names(runs: dict[Path, RunKey]) -> list[str]:
    """Name each run by init and seed, and by any other part (sweep, dataset...) that differs among these runs."""
    parts = [{"sweep": sweep_folder_of(folder).name, **asdict(key)} for folder, key in runs.items()]
    for part in parts:
        part["train"] = "all texts" if part["train"] == ALL else f"{part['train']} texts"
        part["length"] = "" if part["length"] == 1 else f"{part['length']} times the steps"
        part["seed"] = f"seed={part['seed']}"
    order = ("sweep", "dataset", "model", "backend", "method", "init", "train", "length", "seed")
    shown = [name for name in order if name in ("init", "seed") or len({part[name] for part in parts}) > 1]
    return [" ".join(part[name] for name in shown if part[name]) for part in parts]


class Screen:
    """A table redrawn in place on a terminal. Elsewhere, one plain line for each change of state or new evaluation."""

    def __init__(self, runs: dict[Path, RunKey]) -> None:
        self.console = Console(markup=False)
        self.names = dict(zip(runs, short_names(runs), strict=True))
        self.lengths = {folder: key.length for folder, key in runs.items()}
        self.began: float | None = None  # when the runs were looked at first
        self.first_share: dict[Path, float] = {}  # of each run's steps, taken before
        self.seen: set[Path] = set()  # runs that have trained since
        self.side_by_side = 1  # the most runs that trained at once
        self.counts = ""
        self.said: dict[Path, tuple[Any, ...]] = {}
        self.first_step: dict[Path, tuple[float, int]] = {}
        self.live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None

    def __enter__(self) -> "Screen":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.update()
        if self.live:
            self.live.stop()

    def update(self) -> None:
        """Read the files of every run and show its status."""
        rows = [(folder, shown_status(folder)) for folder in self.names]
        counts, left = self._whole(rows)
        whole = f"{counts}, {left}" if left else counts
        if self.live:
            table = status_table([(self.names[at], status, self._left(at, status)) for at, status in rows])
            # the last lines of a long table are cut off
            self.live.update(Group(whole, table) if len(rows) > 1 else table, refresh=True)
            return
        for folder, status in rows:
            self._say(folder, status, self._left(folder, status))
        if left and counts != self.counts:
            print(f"{time.strftime('%H:%M:%S')} {whole}", flush=True)
        self.counts = counts

    def _whole(self, rows: list[tuple[Path, dict[str, Any]]]) -> tuple[str, str]:
        """Return how many runs are done or have failed, and roughly how long the others will take, if it is known.

        The unit of work is a run of the usual length, so the estimate is rough where datasets or models differ in
        speed. A run that failed under this screen is given up; one that failed before it is still to be trained. No run
        is taken to be faster than the average of the runs that trained side by side.
        """
        now = time.monotonic()
        self.began = self.began if self.began is not None else now
        running = [folder for folder, status in rows if status["state"] == "running"]
        self.seen.update(running)
        self.side_by_side = max(self.side_by_side, len(running))
        trained, n_done, n_failed, left = 0.0, 0, 0, [0.0]
        for folder, status in rows:
            planned, length = status.get("planned_steps"), self.lengths[folder]
            is_done = status["state"] == "done"
            share = 1.0 if is_done else status["progress"].get("step", 0) / planned if planned else 0.0
            first = self.first_share[folder] = min(share, self.first_share.get(folder, share))  # it may go back
            trained += (share - first) * length
            has_failed = status["state"] == "failed" and folder in self.seen
            n_done, n_failed = n_done + is_done, n_failed + has_failed
            left.append(0.0 if has_failed else (1 - share) * length)
        counts = f"{n_done} of {counted(len(rows), 'run')} done" + (f", {n_failed} failed" if n_failed else "")
        if not any(left) or not n_done or trained < ENOUGH:
            return counts, ""
        seconds = (now - self.began) / trained * max(sum(left), max(left) * self.side_by_side)
        return counts, f"roughly {duration(seconds)} left"

    def _left(self, folder: Path, status: dict[str, Any]) -> str:
        step, planned = status["progress"].get("step", 0), status.get("planned_steps")
        if status["state"] != "running" or not planned or step == 0:
            return "-"
        if step >= planned:
            return "one evaluation"
        began, first = self.first_step.setdefault(folder, (time.monotonic(), step))
        if step < first:  # the run goes on from an earlier checkpoint
            began, first = self.first_step[folder] = time.monotonic(), step
        speed = (step - first) / max(time.monotonic() - began, 1e-6)
        return duration((planned - step) / speed) if speed else "-"

    def _say(self, folder: Path, status: dict[str, Any], left: str) -> None:
        progress = status["progress"]
        valid = progress.get("valid") or {}
        if self.said.get(folder) == (status["state"], valid.get("step")):
            return
        self.said[folder] = (status["state"], valid.get("step"))
        line = f"{time.strftime('%H:%M:%S')} {self.names[folder]}: {status['state']}"
        if valid:
            line += f", step {valid['step']}/{status.get('planned_steps', '?')}, valid {accuracy(valid)} %"
        print(line + (f", {left} left" if left != "-" else ""), flush=True)
