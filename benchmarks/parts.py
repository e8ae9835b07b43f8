"""What each quick part of a sweep gives, and how its cost grows: python -m benchmarks.parts

parts   two runs side by side with fairseq's own parts (`speed=stock`), then with one quick part more, then with all of
        them: seconds per step. After that a sweep of short runs, with and without the fork server.
costs   whole sweeps of more runs, longer texts, another shape.
profile where the time of a step goes, by torch's profiler, in one run on one thread.

Every row of parts and costs is a real sweep, `python -m sweeps`, of a few steps. The rows take turns, `--rounds` times.
A step's seconds are those between the first and the last point of `tb/train_inner/`, which is written at every step.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.page import parser_of, show, spread, table
from benchmarks.prep import timed
from benchmarks.sweep import sweep_command
from benchmarks.task import lengths
from foundation.errors import UsageError, exit_code
from hydra_conf.compose import compose_config
from hydra_conf.words import quoted
from sweeps.device import resolve_machine, visible_gpus
from sweeps.provenance import binarised_folder

STOCK = ("speed=stock", "--precision=fp32")
QUICK = ("--precision=fp32",)
PARTS = {  # name of the row -> arguments of `python -m sweeps`, options or overrides
    "fairseq's own parts, float32": STOCK,
    "+ no arithmetic on padding": (*STOCK, "speed.unpadded=true"),
    "+ no padding, last layer at `<s>` only": (*STOCK, "speed.unpadded=true", "speed.first_token_only=true"),
    "+ quick dropout": (*STOCK, "speed.quick_dropout=true"),
    "+ fused Adam": (*STOCK, "speed.adam=warmstart_adam"),
    "+ bf16": ("speed=stock", "--precision=bf16"),
    "all but bf16": QUICK,
    "all but bf16, attention dropout 0.1 (fairseq's default)": (*QUICK, "model.attention_dropout=0.1"),
    "all": ("--precision=bf16",),
    "all, attention dropout 0.1": ("--precision=bf16", "model.attention_dropout=0.1"),
    "all, one run after the other on all cores": ("--precision=bf16", "launcher.jobs=1"),
}
GPU_PARTS = {  # more rows when there is a GPU
    "+ fp16": ("speed=stock", "--precision=fp16"),
    "all, fp16": ("--precision=fp16",),
}
START = {
    "fork server (the default)": ("launcher.fork_server=true",),
    "a new interpreter a run": ("launcher.fork_server=false",),
}
SHORT = ("fairseq.task.max_positions=16",)
VALID_ONLY = "fairseq.dataset.valid_subset=valid"
COST_STEPS = 5
WARM_STEPS = 30  # steps, after which the process needs no new memory
RUNS = {"6 runs": 3, "12 runs": 6, "24 runs": 12}  # name of the row -> number of seeds, each with both inits
LENGTHS = (64, 128, 256)
SHAPES = {"e5_small_fr": (), "roberta_small_fr's shape": ("model.architecture=roberta_small",)}


@dataclass
class Row:
    """The rounds of one row: seconds of the whole sweep, and of one step."""

    sweep: list[float] = field(default_factory=list)
    step: list[float] = field(default_factory=list)


def step_seconds(runs: Path) -> float:
    """Return the mean seconds of a step over the runs of a sweep. Raises `UsageError` when a run has too few points."""
    means = []
    for folder in runs.rglob("train_inner"):
        points = EventAccumulator(str(folder)).Reload().Scalars("loss")
        if len(points) < 2:
            raise UsageError(f"{folder}: {len(points)} points; a step's time needs two")
        means.append((points[-1].wall_time - points[0].wall_time) / (points[-1].step - points[0].step))
    return statistics.mean(means)


def sweep(arguments: argparse.Namespace, row: Row, words: tuple[str, ...], seeds: int, inits: str, steps: int) -> None:
    """Train a sweep with `steps` steps per run in a scratch folder, and add its seconds to `row`."""
    short = [f"fairseq.optimization.max_update={steps}", "fairseq.common.log_interval=1", VALID_ONLY]
    with tempfile.TemporaryDirectory(dir=arguments.data_dir) as scratch:
        runs = Path(scratch).absolute()
        options = [*(word for word in words if word.startswith("--")), "--init", inits]
        more = [word for word in words if not word.startswith("--")]
        overrides = [*short, *arguments.overrides, *more]
        command = sweep_command(arguments, runs, ",".join(map(str, range(seeds))), options, overrides)
        seconds, _ = timed([command], runs / "said.log")
        row.sweep.append(seconds)
        if steps > 1:
            row.step.append(step_seconds(runs))


def parts(arguments: argparse.Namespace) -> str:
    """Measure PARTS and START; return their tables."""
    measured = {**PARTS, **(GPU_PARTS if visible_gpus() else {})}
    found, started = {name: Row() for name in measured}, {name: Row() for name in START}
    for number in range(arguments.rounds):
        for name, words in measured.items():
            print(f"round {number + 1}: {name}", flush=True)
            sweep(arguments, found[name], words, seeds=1, inits="pretrained,random", steps=arguments.steps)
        for name, words in START.items():
            sweep(arguments, started[name], (*SHORT, *words), seeds=3, inits="pretrained,random", steps=1)
    stock = statistics.median(next(iter(found.values())).step)
    times = {name: stock / speed_of(measured[name], row) for name, row in found.items()}
    rows = [
        {
            "two runs with": name,
            "seconds per step (least to most)": spread(row.step, 2),
            "times as fast": f"{times[name]:.2f}",
        }
        for name, row in found.items()
    ]
    short = [
        {"six runs of one step with": name, "seconds (least to most)": spread(row.sweep, 1)}
        for name, row in started.items()
    ]
    about = f"{arguments.steps} steps per run, rounds: {arguments.rounds}."
    return "\n\n".join([about, table(rows), table(short)])


def speed_of(words: tuple[str, ...], row: Row) -> float:
    """Return the median seconds of a step of two runs side by side; doubled when the runs go one after the other."""
    one_by_one = "launcher.jobs=1" in words
    return statistics.median(row.step) * (2 if one_by_one else 1)


def costs(arguments: argparse.Namespace) -> str:
    """Measure sweeps with more runs, longer texts and another model shape; return their tables."""
    grown = {name: Row() for name in RUNS}
    longest = int(compose_config([f"model={arguments.model}"]).model.max_positions)
    cells = {(shape, length): Row() for shape in SHAPES for length in LENGTHS if length <= longest}
    for number in range(arguments.rounds):
        for name, seeds in RUNS.items():
            print(f"round {number + 1}: {name}", flush=True)
            sweep(arguments, grown[name], (), seeds=seeds, inits="pretrained,random", steps=COST_STEPS)
        for (shape, length), row in cells.items():
            print(f"round {number + 1}: {shape}, {length}", flush=True)
            words = (*SHAPES[shape], f"fairseq.task.max_positions={length}")
            sweep(arguments, row, words, seeds=2, inits="random", steps=arguments.steps)
    folder = arguments.data_dir / "bin" / f"amazon_fr.{arguments.model}"
    tokens = {length: float(lengths(folder, "train", length).mean()) for _, length in cells}
    first = statistics.median(next(iter(grown.values())).sweep)
    rows = [
        {
            "sweep": f"{name} of {COST_STEPS} steps",
            "seconds (least to most)": spread(row.sweep, 1),
            "of the first": f"{statistics.median(row.sweep) / first:.2f}",
        }
        for name, row in grown.items()
    ]
    grid = [
        {
            "model": shape,
            "longest text": length,
            "tokens per text": f"{tokens[length]:.0f}",
            "seconds per step (least to most)": spread(row.step, 3),
            "tokens/s of two runs": f"{2 * 8 * tokens[length] / statistics.median(row.step):,.0f}",
        }
        for (shape, length), row in cells.items()
    ]
    return "\n\n".join([f"Rounds: {arguments.rounds}.", table(rows), table(grid)])


def profile(arguments: argparse.Namespace) -> str:
    """Profile steps of one run on one thread with torch; return the operations by their own share of the time."""
    import fairseq_cli.train  # noqa: F401  first: it sets logging up
    import torch
    from fairseq import tasks
    from fairseq.data.iterators import GroupedIterator
    from fairseq.trainer import Trainer
    from torch.profiler import profile as profiler

    from sweeps.fairseq_config import fairseq_config, resolved

    torch.set_num_threads(1)
    words = [f"model={arguments.model}", f"data_dir={quoted(arguments.data_dir.absolute())}"]
    config = compose_config([*words, "fairseq.lr_scheduler.total_num_update=1000", *arguments.overrides])
    with tempfile.TemporaryDirectory() as scratch:
        precision = resolve_machine("cpu", arguments.precision).precision
        settings = resolved(fairseq_config(config, binarised_folder(config), Path(scratch), "cpu", precision))
        task = tasks.setup_task(settings.task)
        trainer = Trainer(settings, task, task.build_model(settings.model), task.build_criterion(settings.criterion))
        data = task.load_dataset("train")
        batches = task.get_batch_iterator(data, max_sentences=settings.dataset.batch_size).next_epoch_itr(shuffle=True)
        trainer.lr_step_begin_epoch(1)
        grouped = itertools.cycle(list(GroupedIterator(batches, 1)))
        for _ in range(WARM_STEPS):
            trainer.train_step(next(grouped))
        with profiler() as seen:
            for _ in range(arguments.steps):
                trainer.train_step(next(grouped))
    operations = sorted(seen.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in operations)
    rows = [
        {
            "operation": f"`{event.key[:60]}`",
            "of the time": f"{100 * event.self_cpu_time_total / total:.1f} %",
            "calls per step": f"{event.count / arguments.steps:.0f}",
        }
        for event in operations[:8]
    ]
    return f"{arguments.steps} steps in {precision}, {total / 1e6 / arguments.steps:.2f} seconds each.\n\n{table(rows)}"


WHAT = {"parts": parts, "costs": costs, "profile": profile}


def main() -> int:
    parser = parser_of("benchmarks.parts", __doc__)
    parser.add_argument("what", choices=list(WHAT))
    parser.add_argument("--model", default="e5_small_fr")
    parser.add_argument("--precision", default="auto", help="of profile (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=15, help="of each run (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides of every sweep")
    arguments = parser.parse_args()
    show(arguments.page, arguments.what, WHAT[arguments.what](arguments))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
