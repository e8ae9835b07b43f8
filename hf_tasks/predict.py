"""Labels texts with a fine-tuned model: with fairseq from a run folder, with transformers from a converted folder."""

import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from data_prep.cleaning import clean
from data_prep.examples import Example
from data_prep.readers.table import read_rows, text_of
from data_prep.truncation import cut_lengths
from fairseq_tasks.classification import HEAD
from fairseq_tasks.folders import Opened, open_checkpoint
from foundation.errors import UsageError
from hf_tasks.source import refuse_pruned, source_of

BATCH = 32


def predict(folder: Path, split: Path) -> Iterator[tuple[Example, str]]:
    """Yield each text of a split in data/splits, or of the user's own table, with the label that the model gives it.

    `folder` is a run folder, or a folder that `convert` wrote from a run. Raises `UsageError` without a classifier.
    """
    if not split.is_file():
        raise UsageError(f"there is no file {split}")
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    yield from answers(folder, given_texts(split))


def given_texts(path: Path) -> list[Example]:
    """Return the texts of a table with a column `text`, and maybe `text_pair`, `id` and `label`.

    A file that ends in neither .csv nor .tsv holds JSON lines: a pipe has no ending. The line number is the id of an
    example without an id. Raises `UsageError` for any other file.
    """
    kind = path.suffix.lower() if path.suffix.lower() in (".csv", ".tsv") else ".jsonl"
    examples = []
    with redirect_stdout(sys.stderr):  # the standard output is for the labels
        for line, row in read_rows(path, ["text"], kind=kind):
            place, pair = f"{path}, line {line}", row.get("text_pair")
            first = clean(text_of(row["text"], "text", place))
            second = None if pair is None else clean(text_of(pair, "text_pair", place))
            examples.append(Example(str(row.get("id", line)), first, second, row.get("label")))
    if len({example.text_pair is None for example in examples}) > 1:
        raise UsageError(f"{path}: some examples are pairs, some are not; a model is made for one kind")
    return examples


def answers(folder: Path, examples: list[Example]) -> Iterator[tuple[Example, str]]:
    """Yield each example with the label of the model in a folder. Examples are all single texts or all pairs."""
    score = _by_fairseq(folder) if (folder / "checkpoint_best.pt").is_file() else _by_transformers(folder)
    for start in range(0, len(examples), BATCH):
        part = examples[start : start + BATCH]
        yield from zip(part, score(part), strict=True)


def fairseq_ids(opened: Opened, model_folder: Path, examples: list[Example]) -> list[list[int]]:
    """Return the ids of each example, cut as the task cuts them: `<s> a </s>`, or `<s> a </s> </s> b </s>`."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model_folder / "sentencepiece.bpe.model"))
    index, limit = opened.dictionary.index, opened.longest
    bos, eos = index("<s>"), index("</s>")

    def tokens_of(example: Example) -> list[int]:
        first = [index(piece) for piece in processor.encode(example.text, out_type=str)]
        if example.text_pair is None:
            return [bos, *first[: limit - 2], eos]
        second = [index(piece) for piece in processor.encode(example.text_pair, out_type=str)]
        kept_first, kept_second = (int(length) for length in cut_lengths(len(first), len(second), limit - 4))
        return [bos, *first[:kept_first], eos, eos, *second[:kept_second], eos]

    return [tokens_of(example) for example in examples]


def transformers_inputs(tokenizer: Any, examples: list[Example], **kwargs: Any) -> Any:
    """Return a transformers tokenizer's output, cut as the task cuts. Examples are all single texts or all pairs."""
    pairs = [example.text_pair for example in examples] if examples[0].text_pair is not None else None
    return tokenizer([example.text for example in examples], pairs, truncation="longest_first", **kwargs)


def _by_fairseq(folder: Path) -> Any:
    source = source_of(folder)
    opened = open_checkpoint(source.checkpoint, source.model_folder)

    @torch.inference_mode()
    def score(part: list[Example]) -> list[str]:
        rows = [torch.tensor(row) for row in fairseq_ids(opened, source.model_folder, part)]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=opened.dictionary.pad())
        logits, _ = opened.model(padded, features_only=True, classification_head_name=HEAD)
        return [source.labels[number] for number in logits.argmax(dim=-1).tolist()]

    return score


def _by_transformers(folder: Path) -> Any:
    if not (folder / "config.json").is_file():
        refuse_pruned(folder)
        raise UsageError(f"{folder} is neither a run folder nor one that `make convert` wrote")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if "Classification" not in str(config.get("architectures")):
        raise UsageError(f"{folder} holds no classifier; convert a finished run, not a model's folder")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()

    @torch.inference_mode()
    def score(part: list[Example]) -> list[str]:
        inputs = transformers_inputs(tokenizer, part, padding=True, return_tensors="pt")
        numbers = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits.argmax(dim=-1)
        return [model.config.id2label[number] for number in numbers.tolist()]

    return score
