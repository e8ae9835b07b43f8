"""Encodes splits with sentencepiece and fairseq-preprocess into `data/bin/<dataset>.<model>/`, and checks them."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from data_prep.examples import SPLITS, read_split
from data_prep.readers.table import text_lines
from foundation.errors import UsageError

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # fairseq puts these before the first line of a dictionary
N_SPECIAL = len(SPECIAL)
OVERWRITE = " #fairseq:overwrite"  # marks a line that replaces an earlier symbol, as in CamemBERT's dictionary


def read_dictionary(path: Path) -> list[str]:
    """Return the symbols of a fairseq dictionary in order, without the four special symbols that fairseq adds.

    Raises `UsageError` when the file is missing or empty, when a line is not `symbol count`, or when a symbol occurs
    twice without the mark `OVERWRITE`.
    """
    if not path.is_file():
        raise UsageError(
            f"there is no dictionary {path}; a model's folder holds model.pt, dict.txt and sentencepiece.bpe.model"
        )
    seen = dict.fromkeys(SPECIAL, 0)
    symbols = []
    for number, line in enumerate(text_lines(path), start=1):
        plain = line.rstrip("\r\n")
        own = plain.removesuffix(OVERWRITE)
        symbol, _, count = own.rpartition(" ")
        if not symbol or not (count.isascii() and count.isdigit()):
            raise UsageError(f"{path}, line {number}: {plain[:80]!r} is not `symbol count`")
        if symbol in seen and own == plain:
            where = f"line {seen[symbol]}" if seen[symbol] else "fairseq's own symbols"
            raise UsageError(f"{path}, line {number}: {symbol!r} is in {where} already")
        seen[symbol] = number
        symbols.append(symbol)
    if not symbols:
        raise UsageError(f"{path} is empty")
    return symbols


def require_sentencepiece(path: Path) -> None:
    """Raise `UsageError` unless the file is a sentencepiece model."""
    import sentencepiece

    try:
        sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise UsageError(f"{path} is not a sentencepiece model that can be read") from error


def binarise(
    folder: Path, splits: Path, model_folder: Path, labels: list[str], max_positions: int, max_unknown_share: float
) -> dict[str, Any]:
    """Write input0/, input1/ for pairs, and label/ as fairseq-preprocess makes them; return the manifest's facts.

    `ids/<split>.txt` lists the ids of the examples, one per line, in the order of the binarised rows.

    The text dictionary is the model's own. The label dictionary is written here, class 0 first, because fairseq would
    sort classes by frequency. Raises `UsageError` when too many tokens of train are unknown to the model.
    """
    read_dictionary(model_folder / "dict.txt")
    require_sentencepiece(model_folder / "sentencepiece.bpe.model")
    texts = folder / "text"
    texts.mkdir()
    columns = _write_texts(texts, splits, labels)
    (texts / "ids").rename(folder / "ids")
    found = run_preprocess(folder, model_folder, max_positions, columns)
    shutil.rmtree(texts)
    inputs = {name: facts for name, facts in found["columns"].items() if name != "label"}
    examples = {split: found["columns"]["label"][split]["examples"] for split in SPLITS}
    tokens = {split: sum(facts[split]["tokens"] for facts in inputs.values()) for split in SPLITS}
    unknown = {split: sum(facts[split]["unknown"] for facts in inputs.values()) / tokens[split] for split in SPLITS}
    require_known_pieces(inputs, unknown["train"], model_folder, max_unknown_share)
    return {
        "labels": labels,
        "pairs": "input1" in columns,
        "examples": examples,
        "tokens": tokens,
        "unknown_share": unknown,
        "cut": {split: {"examples": n, "share": n / examples[split]} for split, n in found["cut"].items()},
    }


def require_known_pieces(inputs: dict[str, Any], share: float, model_folder: Path, most: float) -> None:
    """Raise `UsageError` when the model does not know a larger share of the training tokens than `most`."""
    if share > most:
        pieces = ", ".join(repr(piece) for facts in inputs.values() for piece in facts["unknown_pieces"])
        raise UsageError(
            f"{100 * share:.1f} % of the tokens of train are unknown to {model_folder}, at most "
            f"{100 * most:g} % may be: for example {pieces}. Either dict.txt and sentencepiece.bpe.model "
            "do not belong together, or these texts are not what the model was made for: then "
            f"model.max_unknown_share={math.ceil(100 * share) / 100:g} takes them as they are"
        )


def _write_texts(folder: Path, splits: Path, labels: list[str]) -> list[str]:
    """Write `<split>.<column>` and `ids/<split>.txt`, one line per example. Return the columns."""
    index = {label: str(number) for number, label in enumerate(labels)}
    first = next(read_split(splits / "train.jsonl"))
    columns = ["input0", *(["input1"] if first.text_pair is not None else []), "label"]
    counts = dict.fromkeys(labels, 0)
    (folder / "ids").mkdir()
    for split in SPLITS:
        paths = [folder / "ids" / f"{split}.txt", *(folder / f"{split}.{column}" for column in columns)]
        files = [path.open("w", encoding="utf-8", newline="\n") for path in paths]
        for example in read_split(splits / f"{split}.jsonl"):
            texts = [example.text] if example.text_pair is None else [example.text, example.text_pair]
            assert example.label is not None
            for file, value in zip(files, [example.id, *texts, index[example.label]], strict=True):
                file.write(value + "\n")
            counts[example.label] += split == "train"
        for file in files:
            file.close()
    lines = [f"{index[label]} {count}\n" for label, count in counts.items()]
    (folder / "dict.txt").write_text("".join(lines), encoding="utf-8")
    return columns


def run_preprocess(folder: Path, model_folder: Path, max_positions: int, columns: list[str]) -> dict[str, Any]:
    """Run `data_prep.preprocess` in its own process, so that fairseq's memory is free again when the process ends."""
    words = [str(folder), str(model_folder.absolute()), str(max_positions), *columns]
    command = [sys.executable, "-m", "data_prep.preprocess", *words]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode != 0:
        last = (answer.stderr.strip() or answer.stdout.strip() or "no message").splitlines()[-1]
        raise UsageError(f"fairseq-preprocess ended with exit code {answer.returncode}: {last.removeprefix('error: ')}")
    facts: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
    return facts
