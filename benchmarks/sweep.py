"""How fast a sweep is, against the loops one would write instead: python -m benchmarks.sweep

stock     fairseq-train called once a run, with fairseq's own architecture and flags, as its RoBERTa example has it
trainer   transformers' Trainer with its defaults, a script called once a run (extra hf)
ours      one `python -m sweeps` for all runs

Each way trains the same runs (both inits of each seed) on the same splits for as many epochs, evaluates valid and test
after each, and keeps its best checkpoint. The ways take turns, `--rounds` times; the machine's matrix-product peak is
measured between them, in the precision of each way. With a GPU each way has two rows, one in fp16 and one in bf16.
FLOPs are those of the whole model on the real tokens (no padding), the same for every way.
"""

import argparse
import importlib.util
import json
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.page import parser_of, show, spread, table
from benchmarks.prep import timed
from benchmarks.stock import stock_checkpoint, stock_command
from benchmarks.task import INITS, Task, peak_flops, plan
from benchmarks.trainer import trainer_command
from foundation.errors import UsageError, exit_code

WAYS = ("stock", "trainer", "ours")
PRECISIONS = ("fp16", "bf16") if torch.cuda.is_available() else ("auto",)  # each way has a row for each precision
BEGIN = re.compile(r"^(\S+ \S+) \|.*begin training epoch 1\s*$", re.MULTILINE)
VERSIONS = "the versions of the libraries differ from setup.cfg"


@dataclass
class Measured:
    """The rounds of one way in one precision. The first round replaces `auto` by the precision that it used."""

    precision: str
    seconds: list[float] = field(default_factory=list)
    start_up: list[float] = field(default_factory=list)  # seconds before the first step, summed over runs
    peak_gb: list[float] = field(default_factory=list)
    accuracy: dict[str, float] = field(default_factory=dict)  # init -> last test accuracy of the first seed, percent


def start_up(log: str, began: datetime) -> float:
    """Return the seconds from `began` to the log line, in fairseq's format, that says that training begins."""
    found = BEGIN.search(log)
    if found is None:
        raise UsageError(f"a log does not say when training began; {VERSIONS}")
    return (datetime.strptime(found.group(1), "%Y-%m-%d %H:%M:%S") - began.replace(microsecond=0)).total_seconds()


def loop(task: Task, way: str, scratch: Path, measured: Measured) -> None:
    """Train the runs one after the other, each in its own process, as a shell loop does."""
    seconds, waited = 0.0, 0.0
    peaks: list[float] = []
    for seed in task.seeds:
        for init in INITS:
            folder, log = scratch / f"{way}.{init}.{seed}", scratch / f"{way}.log"
            words = stock_command if way == "stock" else trainer_command
            command = words(task, init, seed, folder, measured.precision)
            began = datetime.now()
            took, peak = timed([command], log)
            said = log.read_text(errors="replace")
            seconds, waited, peaks = seconds + took, waited + start_up(said, began), [*peaks, peak]
            shutil.rmtree(folder, ignore_errors=True)
            if seed == task.seeds[0]:
                measured.accuracy[init] = last_accuracy(said)
    measured.seconds.append(seconds)
    measured.start_up.append(waited)
    measured.peak_gb.append(max(peaks))


def last_accuracy(log: str) -> float:
    """Return the last test accuracy (percent) in a log of stock fairseq or of the Trainer script."""
    found = re.findall(r"valid on 'test' subset .*?\| accuracy ([\d.]+)|^test accuracy ([\d.]+)", log, re.MULTILINE)
    if not found:
        raise UsageError(f"a log tells no test accuracy; {VERSIONS}")
    return float("".join(found[-1]))


def sweep_command(
    arguments: argparse.Namespace, runs: Path, seeds: str, options: list[str], overrides: list[str]
) -> list[str]:
    """Return the command of a sweep of ours on the data of `arguments`."""
    words = ["--seeds", seeds, "--runs-dir", str(runs), "--data-dir", str(arguments.data_dir)]
    words += ["--model", arguments.model, *options, "--", "recipe.evaluate_every=epoch", *overrides]
    return [sys.executable, "-m", "sweeps", *words]


def our_sweep(task: Task, scratch: Path, arguments: argparse.Namespace, measured: Measured) -> None:
    """Train the same runs with one command."""
    runs, log = scratch / "ours", scratch / "ours.log"
    options = ["--epochs", str(task.epochs), "--dataset", arguments.dataset, "--precision", measured.precision]
    command = sweep_command(arguments, runs, arguments.seeds, options, arguments.overrides)
    called = datetime.now()
    took, peak = timed([command], log)
    waited = 0.0
    statuses = {path: json.loads(path.read_text()) for path in runs.rglob("status.json")}
    first = min(status["started"] for status in statuses.values())
    for status, told in statuses.items():
        began = datetime.strptime(told["started"], "%Y-%m-%dT%H:%M:%S%z").astimezone().replace(tzinfo=None)
        began = called if told["started"] == first else began  # the first run also waits for the sweep to start
        waited += start_up((status.parent / "train.log").read_text(errors="replace"), began)
        init, seed = status.parent.parent.name, status.parent.name
        if seed == f"seed={task.seeds[0]}":
            test = json.loads((status.parent / "progress.json").read_text())["test"]
            measured.accuracy[init] = 100 * test["n_correct"] / test["n"]
    measured.seconds.append(took)
    measured.start_up.append(waited)
    measured.peak_gb.append(peak)
    measured.precision = json.loads(next(runs.rglob("provenance.json")).read_text())["precision"]
    shutil.rmtree(runs)


def rows_of(ways: Sequence[str], precisions: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the way and the precision of each row of the table. The row of the first precision has the way's name.

    Without a GPU (`auto`), stock and trainer train in float32, which is their default.
    """
    return {
        way if precision == precisions[0] else f"{way}, {precision}": (
            way,
            "fp32" if precision == "auto" and way != "ours" else precision,
        )
        for precision in precisions
        for way in ways
    }


def bench(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Run every way in turn; return the results as Markdown and as numbers."""
    ways = arguments.ways.split(",")
    if "trainer" in ways and importlib.util.find_spec("transformers") is None:
        print("trainer is left out: transformers is not installed (make setup EXTRAS=dev,hf)", flush=True)
        ways.remove("trainer")
    if not set(ways) <= set(WAYS):
        raise UsageError(f"--ways {arguments.ways}: choose from {', '.join(WAYS)}")
    task = plan(arguments)
    measured = {row: Measured(precision) for row, (_, precision) in rows_of(ways, PRECISIONS).items()}
    peaks: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.data_dir) as name:
        scratch = Path(name).absolute()
        if "stock" in ways:
            stock_checkpoint(task.model_folder, scratch / "stock.pt")
        if "trainer" in ways:
            words = ["hf_tasks", "convert", str(task.model_folder), "--out", str(scratch / "trainer.hf")]
            timed([[sys.executable, "-m", *words]])
        for number in range(arguments.rounds):
            for row, (way, _) in rows_of(ways, PRECISIONS).items():
                print(f"round {number + 1}: {row}", flush=True)
                if way == "ours":
                    our_sweep(task, scratch, arguments, measured[row])
                else:
                    loop(task, way, scratch, measured[row])
                precision = measured[row].precision
                peaks.setdefault(precision, []).append(peak_flops(precision))
    best = {precision: max(found) for precision, found in peaks.items()}
    numbers = {
        "peak_gflops": {precision: peak / 1e9 for precision, peak in best.items()},
        "tokens": task.tokens,
        "tflop": task.flop / 1e12,
        "ways": {way: vars(found) for way, found in measured.items()},
    }
    return as_table(task, measured, best), numbers


def as_table(task: Task, measured: dict[str, Measured], peaks: dict[str, float]) -> str:
    """Return one row per way: medians, with the least and the most of the rounds. `peaks` are FLOP/s by precision."""
    medians = {way: statistics.median(found.seconds) for way, found in measured.items()}
    n_runs = len(INITS) * len(task.seeds)
    rows = [
        {
            "way": way,
            "seconds (least to most)": spread(found.seconds, 0),
            "times as fast as stock": f"{medians['stock'] / medians[way]:.2f}" if "stock" in medians else "-",
            "real tokens/s": f"{task.tokens / medians[way]:,.0f}",
            "of the peak": f"{100 * task.flop / medians[way] / peaks[found.precision]:.0f} % of {found.precision}'s",
            "GB at the peak": f"{max(found.peak_gb):.2f}",
            "start-up per run, s": f"{statistics.median(found.start_up) / n_runs:.1f}",
            **{f"test %, {init}, seed {task.seeds[0]}": f"{value:.1f}" for init, value in found.accuracy.items()},
        }
        for way, found in measured.items()
    ]
    about = (
        f"{n_runs} runs of {task.steps} steps, {task.tokens:,} real tokens trained on, "
        f"{task.flop / 1e12:.1f} TFLOP; peak of a matrix product, GFLOP/s: "
        f"{', '.join(f'{peak / 1e9:,.0f} in {precision}' for precision, peak in peaks.items())}; "
        f"rounds: {max(len(found.seconds) for found in measured.values())}."
    )
    return f"{about}\n\n{table(rows)}\n"


def main() -> int:
    parser = parser_of("benchmarks.sweep", __doc__)
    parser.add_argument("--dataset", default="amazon_fr")
    parser.add_argument("--model", default="e5_small_fr")
    parser.add_argument("--seeds", default="0", help="comma-separated (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--ways", default=",".join(WAYS), help="comma-separated (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides of our own sweep")
    arguments = parser.parse_args()
    found, numbers = bench(arguments)
    show(arguments.page, "sweep", found, numbers)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
