"""How fast event files are read, against TensorBoard's own EventAccumulator: python -m analysis.bench

Both read the same files, of `--scalars` points each, one file after the other; what they find is compared. They take
turns, `--rounds` times.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from analysis.event_files import read_file
from data_prep.bench_page import write_section
from hydra_conf.errors import UsageError, exit_code

TAGS = ("loss", "accuracy", "n_correct", "n", "lr")
Points = set[tuple[str, int, float]]


def write_files(folder: Path, count: int, scalars: int) -> list[Path]:
    """Write `count` event files of `scalars` points each, over TAGS; return them."""
    for number in range(count):
        with SummaryWriter(str(folder / str(number))) as writer:
            for point in range(scalars):
                writer.add_scalar(TAGS[point % len(TAGS)], point / 7, point // len(TAGS))
    return sorted(folder.glob("*/*tfevents*"))


def ours(path: Path) -> Points:
    """Return tag, step and value of every scalar, by our reader."""
    return {(tag, step, value) for tag, step, value, _ in read_file(path)[0]}


def tensorboards(path: Path) -> Points:
    """Return the same by TensorBoard's."""
    accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
    return {
        (tag, point.step, point.value) for tag in accumulator.Tags()["scalars"] for point in accumulator.Scalars(tag)
    }


def bench(files: int, scalars: int, rounds: int) -> str:
    """Time both; return the table. Raises `UsageError` when they do not find the same."""
    ways: dict[str, Callable[[Path], Points]] = {"EventAccumulator": tensorboards, "ours": ours}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as scratch:
        paths = write_files(Path(scratch), files, scalars)
        if any(ours(path) != tensorboards(path) for path in paths):
            raise UsageError("the two readers do not find the same scalars; this is a bug, please tell")
        for _ in range(rounds):
            for name, read in ways.items():
                start = time.monotonic()
                for path in paths:
                    read(path)
                seconds[name].append(time.monotonic() - start)
    slow, quick = (statistics.median(seconds[name]) for name in ways)
    lines = [f"{files} files of {scalars} scalars, rounds: {rounds}. Ours is {slow / quick:.2f} times as fast, and "
             "both find the same.", "",
             "| reader | seconds (least to most) | files/s |", "| --- | --- | --- |"]  # fmt: skip
    lines += [f"| {name} | {statistics.median(took):.2f} ({min(took):.2f} to {max(took):.2f}) "
              f"| {files / statistics.median(took):,.0f} |" for name, took in seconds.items()]  # fmt: skip
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--files", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--scalars", type=int, default=500, help="of a file (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--page", type=Path, help="page whose section is replaced, such as docs/bench.md")
    arguments = parser.parse_args()
    text = bench(arguments.files, arguments.scalars, arguments.rounds)
    print(text)
    if arguments.page:
        write_section(arguments.page, "analysis", text)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
