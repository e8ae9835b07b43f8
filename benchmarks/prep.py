"""How fast prep is, against a shell pipeline on the same texts: `make bench`, or `python -m benchmarks.prep`.

The pipeline is what fairseq's examples do: texts to pieces with sentencepiece, in a process a core, then
fairseq-preprocess with `--workers 2` on the pieces and on the labels. It starts from text lines that are split already.
Prep starts from a CSV: it parses, cleans, looks for repeats and leakage, splits, encodes, reads back and compares. The
texts are made by drawing words from the reviews of the default dataset. Both run in turn, `--rounds` times.
"""

import argparse
import csv
import multiprocessing
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import cache, partial
from pathlib import Path

import psutil
import sentencepiece

from benchmarks.page import parser_of, show, spread, table
from data_prep.examples import SPLITS, read_split
from foundation.errors import UsageError, exit_code
from foundation.whole_files import sha256_of

WORDS = (60, 180)  # least and most words of a text
JUDGED = 1000  # number of texts in validation, and in test
POLL_SECONDS = 0.2


def write_texts(folder: Path, splits: Path, count: int) -> None:
    """Write `count` texts in all to train.csv, valid.csv and test.csv, and to `<split>.input0` and `<split>.label`."""
    words = [word for example in read_split(splits / "train.jsonl") for word in example.text.split()]
    generator = random.Random(1)
    sizes = {"train": count - 2 * JUDGED, "valid": JUDGED, "test": JUDGED}
    for split in SPLITS:
        with (
            (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as rows,
            (folder / f"{split}.input0").open("w", encoding="utf-8") as texts,
            (folder / f"{split}.label").open("w", encoding="utf-8") as labels,
        ):
            writer = csv.writer(rows)
            writer.writerow(["text", "label"])
            for number in range(sizes[split]):
                start = generator.randrange(len(words) - WORDS[1])
                own = words[start : start + generator.randint(*WORDS)]
                text = f"{' '.join(own)} {split} {number}"
                writer.writerow([text, number % 2])
                texts.write(f"{text}\n")
                labels.write(f"{number % 2}\n")
    (folder / "dict.label.txt").write_text("0 1\n1 1\n", encoding="utf-8")


@cache
def processor_of(model: str) -> sentencepiece.SentencePieceProcessor:
    """Return the model, which each process of the encoder loads once."""
    return sentencepiece.SentencePieceProcessor(model_file=model)


def pieces(model: str, line: str) -> str:
    return " ".join(processor_of(model).encode(line.rstrip("\n"), out_type=str))


def encode_files(folder: Path, model: Path) -> None:
    """Encode `<split>.input0` to `<split>.pieces` as spm_encode does, with one process per core."""
    with multiprocessing.Pool() as pool:
        for split in SPLITS:
            with (
                (folder / f"{split}.input0").open(encoding="utf-8") as lines,
                (folder / f"{split}.pieces").open("w", encoding="utf-8") as out,
            ):
                out.writelines(f"{row}\n" for row in pool.imap(partial(pieces, str(model)), lines, chunksize=1000))


def shell_pipeline(folder: Path, model_folder: Path) -> list[list[str]]:
    """Return the commands of the shell pipeline."""
    python = [sys.executable, "-m"]
    commands = [[*python, "benchmarks.prep", "--encode", str(folder), str(model_folder / "sentencepiece.bpe.model")]]
    dictionaries = {"pieces": model_folder / "dict.txt", "label": folder / "dict.label.txt"}
    for column, dictionary in dictionaries.items():
        words = ["--only-source", "--source-lang", column, "--target-lang", "none", "--workers", "2"]
        words += ["--srcdict", str(dictionary), "--destdir", str(folder / "shell" / column)]
        for split in SPLITS:
            words += [f"--{split}pref", str(folder / split)]
        commands.append([*python, "fairseq_cli.preprocess", *words])
    return commands


def prep_command(folder: Path, model_folder: Path) -> list[str]:
    words = ["dataset.name=bench", *(f"dataset.{split}={folder / split}.csv" for split in SPLITS)]
    words += [f"model.folder={model_folder}", "model.package=null"]
    command = [sys.executable, "-m", "data_prep", "--dataset", "table", "--model", "e5_small_fr"]
    return [*command, "--data-dir", str(folder / "data"), "--", *words]


def timed(commands: list[list[str]], log: Path | None = None) -> tuple[float, float]:
    """Run the commands in turn; return the seconds and the peak memory in GB (proportional set size, all processes).

    The output of the commands goes to `log`. Raises `UsageError` with the last line of output when a command fails.
    """
    start, peak = time.monotonic(), 0.0
    for command in commands:
        with log.open("w+") if log else tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
            while process.poll() is None:
                peak = max(peak, _memory(process.pid))
                time.sleep(POLL_SECONDS)
            if process.returncode:
                said.seek(0)
                raise UsageError(f"{' '.join(command[:4])} failed: {said.read().strip().splitlines()[-1]}")
    return time.monotonic() - start, peak


def _memory(pid: int) -> float:
    total = 0
    try:
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            total += process.memory_full_info().pss
    except psutil.Error:  # a process ended meanwhile
        return 0.0
    return total / 1e9


def same_output(folder: Path) -> bool:
    """Return whether both ways wrote the same train.bin."""
    theirs = folder / "shell/pieces/train.pieces-none.pieces.bin"
    return sha256_of(theirs) == sha256_of(folder / "data/bin/bench.e5_small_fr/input0/train.bin")


def bench(arguments: argparse.Namespace) -> int:
    splits, model_folder = arguments.data_dir / "splits/amazon_fr", arguments.data_dir.absolute() / "models/e5_small_fr"
    if not (splits.is_dir() and model_folder.is_dir()):
        raise UsageError(f"{splits} or {model_folder} is not there; run `make prep` first")
    if arguments.texts <= 2 * JUDGED:
        raise UsageError(f"--texts {arguments.texts}: give more than {2 * JUDGED}")
    with tempfile.TemporaryDirectory(dir=arguments.data_dir) as scratch:
        folder = Path(scratch).absolute()
        write_texts(folder, splits, arguments.texts)
        ways = {  # commands, and the folder that they write
            "shell pipeline": (shell_pipeline(folder, model_folder), folder / "shell"),
            "prep": ([prep_command(folder, model_folder)], folder / "data"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        peaks: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, (commands, made) in ways.items():
                shutil.rmtree(made, ignore_errors=True)
                took, peak = timed(commands)
                seconds[name].append(took)
                peaks[name].append(peak)
        same = same_output(folder)
    ratio = statistics.median(seconds["shell pipeline"]) / statistics.median(seconds["prep"])
    about = (
        f"{arguments.texts:,} texts of {WORDS[0]}-{WORDS[1]} words, rounds: {arguments.rounds}. Prep is "
        f"{ratio:.2f} times as fast; train.bin is {'the same' if same else 'NOT the same'}."
    )
    rows = [
        {
            "way": name,
            "seconds (least to most)": spread(of_rounds, 1),
            "texts/s": f"{arguments.texts / statistics.median(of_rounds):,.0f}",
            "GB at the peak": f"{max(peaks[name]):.2f}",
        }
        for name, of_rounds in seconds.items()
    ]
    numbers = {"texts": arguments.texts, "ratio": ratio, "same": same, "seconds": seconds, "peak_gb": peaks}
    show(arguments.page, "prep", f"{about}\n\n{table(rows)}", numbers)
    return 0 if same else 1


def main() -> int:
    parser = parser_of("benchmarks.prep", __doc__)
    parser.add_argument("--texts", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--encode", nargs=2, type=Path, metavar=("FOLDER", "MODEL"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.encode:
        encode_files(*arguments.encode)
        return 0
    return bench(arguments)


if __name__ == "__main__":
    sys.exit(exit_code(main))
