"""The label a fine-tuned model gives each text: by fairseq from a run folder, by transformers from a converted one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from data_prep.splits import Example, read_split
from data_prep.truncation import cut_lengths
from fairseq_tasks.classification import HEAD
from fairseq_tasks.folders import open_checkpoint
from hf_tasks.convert import source_of
from hydra_conf.errors import UsageError

BATCH = 32


def predict(folder: Path, split: Path) -> Iterator[tuple[Example, str]]:
    """Yield each example of a split (a .jsonl of data/splits) with the label that the model gives it.

    `folder` is a run folder, or one that `convert` wrote of it. Raises `UsageError` when it holds no classifier.
    """
    if not split.is_file():
        raise UsageError(f"there is no split {split}")
    examples = list(read_split(split))
    score = _by_fairseq(folder) if (folder / "checkpoint_best.pt").is_file() else _by_transformers(folder)
    for start in range(0, len(examples), BATCH):
        part = examples[start : start + BATCH]
        yield from zip(part, score(part), strict=True)


def _by_fairseq(folder: Path) -> Any:
    source = source_of(folder)
    opened = open_checkpoint(source.checkpoint, source.model_folder)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(source.model_folder / "sentencepiece.bpe.model"))
    index, limit = opened.dictionary.index, opened.shape["max_positions"]
    bos, eos = index("<s>"), index("</s>")

    def tokens_of(example: Example) -> torch.Tensor:
        first = [index(piece) for piece in processor.encode(example.text, out_type=str)]
        if example.text_pair is None:
            return torch.tensor([bos, *first[: limit - 2], eos])
        second = [index(piece) for piece in processor.encode(example.text_pair, out_type=str)]
        kept = (int(length) for length in cut_lengths(len(first), len(second), limit - 4))
        return torch.tensor([bos, *first[: next(kept)], eos, eos, *second[: next(kept)], eos])

    @torch.inference_mode()
    def score(part: list[Example]) -> list[str]:
        rows = [tokens_of(example) for example in part]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=opened.dictionary.pad())
        logits, _ = opened.model(padded, features_only=True, classification_head_name=HEAD)
        return [source.labels[number] for number in logits.argmax(dim=-1).tolist()]

    return score


def _by_transformers(folder: Path) -> Any:
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} is neither a run folder nor one that `make convert` wrote")
    if "Classification" not in str(
        json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures")
    ):
        raise UsageError(f"{folder} holds no classifier; convert a finished run, not a model's folder")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()

    @torch.inference_mode()
    def score(part: list[Example]) -> list[str]:
        pairs = [example.text_pair for example in part] if part[0].text_pair is not None else None
        texts = [example.text for example in part]
        inputs = tokenizer(texts, pairs, truncation="longest_first", padding=True, return_tensors="pt")
        numbers = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits.argmax(dim=-1)
        return [model.config.id2label[number] for number in numbers.tolist()]

    return score
