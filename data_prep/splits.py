"""Examples to disjoint, stratified splits: `data/splits/<dataset>/{train,valid,test}.jsonl` and their manifest."""

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from data_prep.whole_files import sha256_of
from hydra_conf.errors import UsageError

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Example:
    """One labelled text; `label` is the class index."""

    id: str
    text: str
    text_pair: str | None
    label: int


def clean(text: str) -> str:
    """Return the text in Unicode NFC, each run of white space one space, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def drop_repeats(examples: Iterable[Example]) -> tuple[list[Example], int]:
    """Keep the first of each text and return how many repeats were dropped.

    Raises `UsageError` when a text stands twice with two labels: which one is right is not ours to choose.
    """
    first: dict[tuple[str, str | None], Example] = {}
    dropped = 0
    for example in examples:
        earlier = first.setdefault((example.text, example.text_pair), example)
        if earlier is example:
            continue
        if earlier.label != example.label:
            raise UsageError(f"{earlier.id} and {example.id} are the same text with labels "
                             f"{earlier.label} and {example.label}; remove one of them")  # fmt: skip
        dropped += 1
    return list(first.values()), dropped


def stratified_splits(
    examples: list[Example], n_train: int, n_valid: int, n_test: int, test_seed: int, valid_seed: int
) -> dict[str, list[Example]]:
    """Split into train, valid and test of exactly these sizes, each class in proportion.

    The test split depends on `test_seed` alone; `valid_seed` draws the validation split out of the rest, so several
    of them give repeated splits of the same non-test texts. The order within a split is that of `examples`.
    """
    wanted = n_train + n_valid + n_test
    if wanted != len(examples):
        raise UsageError(f"the splits ask for {wanted} examples ({n_train} train, {n_valid} valid, {n_test} test) "
                         f"and {len(examples)} distinct ones are there")  # fmt: skip
    rest, test = _draw(list(range(len(examples))), examples, n_test, test_seed)
    train, valid = _draw(rest, examples, n_valid, valid_seed)
    chosen = {"train": train, "valid": valid, "test": test}
    return {split: [examples[index] for index in sorted(indices)] for split, indices in chosen.items()}


def _draw(indices: list[int], examples: list[Example], size: int, seed: int) -> tuple[list[int], list[int]]:
    from sklearn.model_selection import train_test_split  # a slow import, not needed when all is fresh

    labels = [examples[index].label for index in indices]
    rest, drawn = train_test_split(indices, test_size=size, stratify=labels, random_state=seed)
    return rest, drawn


def refuse_leakage(splits: dict[str, list[Example]]) -> None:
    """Raise `UsageError` when any text stands in two splits."""
    seen: dict[tuple[str, str | None], tuple[str, str]] = {}
    for split, examples in splits.items():
        for example in examples:
            other, identifier = seen.setdefault((example.text, example.text_pair), (split, example.id))
            if other != split:
                raise UsageError(f"leakage: {identifier} in {other} and {example.id} in {split} are the same text")


def make_splits(
    folder: Path, config: DictConfig, raw: Path, read: Callable[[Path], Iterator[Example]]
) -> dict[str, Any]:
    """Write the three splits into `folder` and return the manifest's facts: counts, labels, repeats, source."""
    read_from_raw = list(read(raw))
    examples, dropped = drop_repeats(read_from_raw)
    splits = stratified_splits(
        examples, config.n_train, config.n_valid, config.n_test, config.test_seed, config.valid_seed
    )
    refuse_leakage(splits)
    for split, chosen in splits.items():
        lines = [json.dumps(asdict(example), ensure_ascii=False) for example in chosen]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        "dataset": config.name,
        "labels": list(config.labels),
        "examples": {split: len(chosen) for split, chosen in splits.items()},
        "per_class": {split: _per_class(chosen, len(config.labels)) for split, chosen in splits.items()},
        "read": len(read_from_raw),
        "repeats_dropped": dropped,
        "why_dropped": "the same text after Unicode NFC and white-space normalisation; the first is kept",
        "source": OmegaConf.to_container(config.source, resolve=True),
        "raw_sha256": sha256_of(raw),
    }


def _per_class(examples: list[Example], n_classes: int) -> list[int]:
    counts = Counter(example.label for example in examples)
    return [counts[label] for label in range(n_classes)]


def read_split(path: Path) -> list[Example]:
    """Read one split back from its .jsonl file."""
    return [Example(**json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line]
