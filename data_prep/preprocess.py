"""fairseq-preprocess with sentencepiece inside: `python -m data_prep.preprocess FOLDER MODEL POSITIONS COLUMN...`

Reads `FOLDER/text/<split>.<column>`, one text (for `label`: one class) a line, and writes `FOLDER/<column>/` as
fairseq-preprocess makes it. It is fairseq-preprocess, run in this process, with one thing put in its place: where its
dictionary would split a line at white space and look each word up, this one asks sentencepiece for the pieces. So texts
are encoded by fairseq's own workers, in one pass, without a file of pieces in between; the .bin files are the same.
Every split is then read back, and compared with what the plain way of encoding gives.
"""

import argparse
import json
import logging
import os
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import fairseq_cli.preprocess
import numpy as np
import sentencepiece
import torch
from fairseq import options
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import MMapIndexedDataset
from fairseq.tasks import LegacyFairseqTask, register_task

from data_prep.examples import SPLITS
from foundation.errors import UsageError, exit_code

COMPARED = 2_000  # examples of each split, evenly spaced, that are encoded again after writing
PARALLEL_FROM = 2_000_000  # bytes of text; with less text, starting workers takes longer than encoding
EXAMPLES = 5  # unknown pieces to show
CHUNK = 10_000_000  # tokens


class TextDictionary(Dictionary):
    """A model's dictionary that encodes lines of raw text."""

    processor: sentencepiece.SentencePieceProcessor
    table: np.ndarray[Any, np.dtype[np.int32]]

    @classmethod
    def of_model(cls, model_folder: Path) -> "TextDictionary":
        """Return the dictionary of a model's folder, with a table from sentencepiece ids to dictionary ids."""
        dictionary: TextDictionary = cls.load(str(model_folder / "dict.txt"))
        processor = sentencepiece.SentencePieceProcessor(model_file=str(model_folder / "sentencepiece.bpe.model"))
        pieces = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
        dictionary.table = np.array([dictionary.index(piece) for piece in pieces], dtype=np.int32)
        dictionary.processor = processor
        return dictionary

    def encode_line(self, line: str, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the ids of the text and of `</s>`. The id of `</s>` is looked up, because CamemBERT's is not 2."""
        ids = self.processor.encode(line.rstrip("\n"), out_type=int)
        tokens = np.empty(len(ids) + 1, dtype=np.int32)
        tokens[:-1] = self.table[ids]
        tokens[-1] = self.index(self.eos_word)
        return torch.from_numpy(tokens)

    def plainly(self, line: str) -> list[int]:
        """Return the same ids in the slow way: split the text into pieces as strings, and look up each piece."""
        pieces = self.processor.encode(line.rstrip("\n"), out_type=str)
        return [*(self.index(piece) for piece in pieces), self.index(self.eos_word)]


class _Classes(Dictionary):
    """A dictionary of classes. Each line of a label file is one class."""

    def plainly(self, line: str) -> list[int]:
        return [self.index(line.rstrip("\n")), self.eos()]


@register_task("warmstart_preprocessing")
class _Preprocessing(LegacyFairseqTask):
    """The task that gives fairseq-preprocess its dictionary."""

    @classmethod
    def load_dictionary(cls, filename: str) -> Dictionary:
        folder = Path(filename).parent
        return (
            TextDictionary.of_model(folder)
            if (folder / "sentencepiece.bpe.model").is_file()
            else Dictionary.load(filename)
        )


def n_workers(text: Path) -> int:
    """Return fairseq-preprocess's `--workers` for this text.

    fairseq's main process waits for all other workers before it encodes its own chunk. So one chunk of `w` is encoded
    alone. On two cores, this is a third of the work or more with one worker per core, and a ninth with four per core.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if text.stat().st_size < PARALLEL_FROM or cores == 1 else 4 * cores + 1


def splits_of(folder: Path, column: str) -> list[str]:
    """Return the splits whose texts are there. A corpus has no test split."""
    return [split for split in SPLITS if (folder / "text" / f"{split}.{column}").is_file()]


def preprocess(folder: Path, model_folder: Path, column: str) -> dict[str, Any]:
    """Binarise one column. Return its counts by split (`read_back`) and, for texts, a few unknown pieces of train."""
    source, target = folder / "text", folder / column
    dictionary_file = (source if column == "label" else model_folder) / "dict.txt"
    words = ["--task", "warmstart_preprocessing", "--only-source", "--source-lang", column, "--target-lang", "none"]
    words += ["--srcdict", str(dictionary_file), "--destdir", str(target)]
    words += ["--workers", str(n_workers(source / f"train.{column}"))]
    splits = splits_of(folder, column)
    for split in splits:
        words += [f"--{split}pref", str(source / split)]
    fairseq_cli.preprocess.main(options.get_preprocessing_parser().parse_args(words))
    for path in target.glob(f"*.{column}-none.{column}.*"):
        path.rename(target / path.name.replace(f".{column}-none.{column}", ""))
    (target / f"dict.{column}.txt").unlink()
    (target / "dict.txt").write_bytes(dictionary_file.read_bytes())
    (target / "preprocess.log").unlink()  # it holds times and absolute paths
    dictionary = _Classes.load(str(dictionary_file)) if column == "label" else TextDictionary.of_model(model_folder)
    facts: dict[str, Any] = {
        split: read_back(target / split, source / f"{split}.{column}", dictionary) for split in splits
    }
    if column != "label":
        facts["unknown_pieces"] = unknown_pieces(source / f"train.{column}", facts["train"], dictionary)
    return facts


def read_back(binarised: Path, text: Path, dictionary: Any) -> dict[str, Any]:
    """Return the counts of a binarised split. Raises `UsageError` when the split disagrees with its text."""
    dataset = MMapIndexedDataset(str(binarised))
    n = len(dataset)
    step = max(1, n // COMPARED)
    n_lines = 0
    with text.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines):
            n_lines += 1
            if number < n and number % step == 0 and dataset[number].tolist() != dictionary.plainly(line):
                raise UsageError(f"{binarised}: example {number} does not read back as it was written")
    if n != n_lines:
        raise UsageError(f"{binarised} holds {n} examples, {n_lines} were written")
    unknown = 0
    with Path(f"{binarised}.bin").open("rb") as stream:
        while len(tokens := np.fromfile(stream, dtype=dataset._index.dtype, count=CHUNK)):
            unknown += int((tokens == dictionary.unk()).sum())
    return {"examples": n, "tokens": int(dataset.sizes.sum()), "unknown": unknown}


def n_cut(folder: Path, columns: list[str], split: str, max_positions: int) -> int:
    """Return how many examples exceed `max_positions`, counting `<s>` and the `</s>` between the texts of a pair."""
    datasets = [MMapIndexedDataset(str(folder / name / split)) for name in columns if name != "label"]
    sizes = sum(dataset.sizes for dataset in datasets)  # each is a view of a file that closes with its dataset
    return int((sizes + len(datasets) > max_positions).sum())


def unknown_pieces(text: Path, facts: dict[str, Any], dictionary: TextDictionary) -> list[str]:
    """Return the first few distinct pieces of a split that are not in the dictionary."""
    found: dict[str, None] = {}
    if facts["unknown"]:
        with text.open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                pieces = dictionary.processor.encode(line.rstrip("\n"), out_type=str)
                found |= dict.fromkeys(piece for piece in pieces if dictionary.index(piece) == dictionary.unk())
                if len(found) >= EXAMPLES:
                    break
    return list(islice(found, EXAMPLES))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.preprocess", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("model_folder", type=Path)
    parser.add_argument("max_positions", type=int)
    parser.add_argument("columns", nargs="+", help="input0, input1, label")
    arguments = parser.parse_args()
    logging.getLogger().setLevel(logging.WARNING)  # fairseq has set it to INFO, on standard output
    folder, columns = arguments.folder, arguments.columns
    facts = {name: preprocess(folder, arguments.model_folder, name) for name in columns}
    splits = splits_of(folder, columns[0])
    cut = {split: n_cut(folder, columns, split, arguments.max_positions) for split in splits}
    print(json.dumps({"columns": facts, "cut": cut}))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
