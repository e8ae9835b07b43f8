"""Splits to `data/bin/<dataset>.<model>/`: sentencepiece pieces, fairseq-preprocess, then read back and compared."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from data_prep.splits import SPLITS, read_split
from hydra_conf.errors import UsageError

N_SPECIAL = 4  # fairseq's own <s> <pad> </s> <unk>, before the first line of a dictionary


def read_dictionary(path: Path) -> list[str]:
    """Return the symbols of a fairseq dictionary in order, fairseq's four special ones not among them.

    Raises `UsageError` when the file is missing or a line is not `symbol count`.
    """
    if not path.is_file():
        raise UsageError(f"there is no dictionary {path}; a model's folder holds model.pt, dict.txt and "
                         "sentencepiece.bpe.model")  # fmt: skip
    symbols = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line:
            continue
        symbol, _, count = line.rpartition(" ")
        if not symbol or not count.isdigit():
            raise UsageError(f"{path}, line {number}: {line!r} is not `symbol count`")
        symbols.append(symbol)
    return symbols


def binarise(folder: Path, splits: Path, model_folder: Path, labels: list[str]) -> dict[str, Any]:
    """Write input0/ and label/ as fairseq-preprocess makes them and return the manifest's facts.

    The text dictionary is the model's own. The label dictionary is written here, class 0 first, because fairseq would
    sort classes by frequency. Every example is then read back from the .bin files and compared.
    """
    import sentencepiece

    examples = {split: read_split(splits / f"{split}.jsonl") for split in SPLITS}
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model_folder / "sentencepiece.bpe.model"))
    symbols = read_dictionary(model_folder / "dict.txt")
    index = {symbol: N_SPECIAL + position for position, symbol in enumerate(symbols)}

    text_dir, label_dir = folder / "text", folder / "labels"
    text_dir.mkdir()
    label_dir.mkdir()
    pieces = {}
    for split in SPLITS:
        pieces[split] = processor.encode([example.text for example in examples[split]], out_type=str)
        _write_lines(text_dir / f"{split}.input0", [" ".join(row) for row in pieces[split]])
        _write_lines(label_dir / f"{split}.label", [str(example.label) for example in examples[split]])
    train_labels = [example.label for example in examples["train"]]
    _write_lines(label_dir / "dict.txt", [f"{label} {train_labels.count(label)}" for label in range(len(labels))])

    _preprocess(text_dir, "input0", model_folder / "dict.txt", folder / "input0")
    _preprocess(label_dir, "label", label_dir / "dict.txt", folder / "label")
    facts: dict[str, Any] = {"labels": labels, "examples": {}, "tokens": {}, "unknown_share": {}}
    for split in SPLITS:
        expected = [[index.get(piece, 3) for piece in row] for row in pieces[split]]
        _compare(folder / "input0", split, expected)
        _compare(folder / "label", split, [[N_SPECIAL + example.label] for example in examples[split]])
        tokens = sum(map(len, expected))
        facts["examples"][split] = len(expected)
        facts["tokens"][split] = tokens
        facts["unknown_share"][split] = sum(row.count(3) for row in expected) / tokens
    for scratch in (*text_dir.iterdir(), *label_dir.iterdir()):
        scratch.unlink()
    text_dir.rmdir()
    label_dir.rmdir()
    return facts


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _preprocess(source: Path, suffix: str, dictionary: Path, target: Path) -> None:
    """Run fairseq-preprocess on `<split>.<suffix>` with a given dictionary."""
    command = [sys.executable, "-m", "fairseq_cli.preprocess", "--only-source", "--source-lang", suffix]
    command += ["--target-lang", "none", "--trainpref", str(source / "train"), "--validpref", str(source / "valid")]
    command += ["--testpref", str(source / "test"), "--srcdict", str(dictionary), "--destdir", str(target)]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode != 0:
        last = (answer.stderr.strip() or answer.stdout.strip()).splitlines()[-1:]
        raise UsageError(f"fairseq-preprocess failed on {source}: {' '.join(last)}")
    for path in target.glob(f"*.{suffix}-none.{suffix}.*"):
        path.rename(target / path.name.replace(f".{suffix}-none.{suffix}", ""))
    (target / f"dict.{suffix}.txt").rename(target / "dict.txt")
    (target / "preprocess.log").unlink()  # times and absolute paths


def _compare(folder: Path, split: str, expected: list[list[int]]) -> None:
    """Raise `UsageError` unless the binarised split holds exactly `expected`, each row closed by `</s>`."""
    from fairseq.data.indexed_dataset import make_dataset

    dataset = make_dataset(str(folder / split), impl="mmap")
    if len(dataset) != len(expected):
        raise UsageError(f"{folder / split} holds {len(dataset)} examples, {len(expected)} were written")
    for number, row in enumerate(expected):
        if dataset[number].tolist() != [*row, 2]:
            raise UsageError(f"{folder / split}: example {number} does not read back as it was written")
