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

from sweeps.folders import ALL, RunKey, read_status, sweep_folder_of
from sweeps.standing import ABSENT, OWNED, standing

ENDED = ("done", "failed")
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
        self.began: tuple[float, float] | None = None  # when, and how much was trained then (`_trained`)
        self.n_ended = 0
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
        if self.live:
            table = status_table([(self.names[at], status, self._left(at, status)) for at, status in rows])
            self.live.update(Group(table, self._whole(rows)), refresh=True)
            return
        for folder, status in rows:
            self._say(folder, status, self._left(folder, status))
        whole, n_ended = self._whole(rows), self._n_ended(rows)
        if len(rows) > 1 and n_ended > self.n_ended:
            print(f"{time.strftime('%H:%M:%S')} {whole}", flush=True)
        self.n_ended = n_ended

    def _n_ended(self, rows: list[tuple[Path, dict[str, Any]]]) -> int:
        return sum(status["state"] in ENDED for _, status in rows)

    def _whole(self, rows: list[tuple[Path, dict[str, Any]]]) -> str:
        """Return how many runs have ended, and roughly how long the others will take.

        A run of the usual length counts as 1, so the estimate is rough where datasets or models differ in speed.
        """
        trained = sum(self._trained(folder, status) for folder, status in rows)
        now = time.monotonic()
        began, first = self.began = self.began or (now, trained)
        n_ended = self._n_ended(rows)
        said = f"{n_ended} of {len(rows)} runs ended"
        if n_ended == len(rows) or not n_ended or trained <= first:
            return said
        left = (sum(self.lengths.values()) - trained) * (now - began) / (trained - first)
        return f"{said}, roughly {duration(left)} left for the others"

    def _trained(self, folder: Path, status: dict[str, Any]) -> float:
        """Return how much of a run is behind it, in runs of the usual length. A failed run has nothing before it."""
        planned, step = status.get("planned_steps"), status["progress"].get("step", 0)
        share = 1.0 if status["state"] in ENDED else step / planned if planned else 0.0
        return share * self.lengths[folder]

    def _left(self, folder: Path, status: dict[str, Any]) -> str:
        step, planned = status["progress"].get("step", 0), status.get("planned_steps")
        if status["state"] != "running" or not planned or step == 0:
            return "-"
        if step >= planned:
            return "its last evaluation"
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
