"""Turns examples into disjoint splits, `data/splits/<dataset>/{train,valid,test}.jsonl`, and counts what it drops.

The files of a dataset come in parts: `train`, `valid` and `test`, or one part `all`. A missing split is drawn with each
class in proportion: test from `all`, validation from the examples that are not in test. A text in two splits is dropped
from train, and from validation if it is in test, or kept with `dataset.leaks=keep`. `leaked.txt` lists the test
examples whose text was also in train or validation. A test example is dropped only if it has no label.

Near-copies are texts that differ only in case, in invisible characters, or in the order of a pair. Across splits they
are dropped like exact copies. In `all`, before anything is drawn, only the first of exact copies is kept, and only the
first of near-copies with the same label. No empty text is used for training.
"""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from data_prep.examples import NO_LABEL, PARTS, SPLITS, Gathered, Reader, class_names, gather, read_split
from foundation.counts import counted
from foundation.errors import UsageError

TRAIN, VALID, TEST, DROPPED = 0, 1, 2, 3
LEAKED = "leaked.txt"
NEAR = "but for case, characters that are not seen, or which of the pair comes first"
STAND = ("text stands", "texts stand")
NEAR_COPIES = f"near-copies, texts that are the same {NEAR}, are dropped across splits as exact copies are"

# The settings of a dataset that decide which text goes into which split.
SETTINGS = (
    "name",
    "reader",
    "labels",
    "expected",
    "n_test",
    "n_valid",
    "valid_share",
    "test_seed",
    "valid_seed",
    "leaks",
    "text",
    "text_pair",
    "label",
)


def settings_of(dataset: DictConfig) -> dict[str, Any]:
    """Return the settings of a dataset that decide its splits."""
    found = OmegaConf.to_container(OmegaConf.masked_copy(dataset, list(SETTINGS)), resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def assign(
    gathered: Gathered, config: DictConfig, identify: Callable[[int], str]
) -> tuple[NDArray[np.int8], dict[str, dict[str, int]], NDArray[np.bool_]]:
    """Return the split of every example (TRAIN, VALID, TEST or DROPPED), counts, and which test examples are leaked.

    Splits and leaked have the shape (examples,). The counts say how many examples were `dropped`, and how many leaks
    were `kept`, for each reason. A test example is leaked if its text is also in train or validation. `identify`
    returns the id of an example from its number. Raises `UsageError` when the classes or sizes do not allow the split,
    or when a text of `all` has two labels: only the user can say which label is right.
    """
    texts = gathered.texts
    part, near = texts["part"].to_numpy(), texts["near"].to_numpy()
    split = np.select([part == 1, part == 2, part == 3], [TRAIN, VALID, TEST], default=TRAIN).astype(np.int8)
    has_pool = bool((part == 0).any())
    if config.n_test is not None and not has_pool:
        raise UsageError(f"dataset.n_test={config.n_test}: {config.name} brings a test split; leave dataset.n_test out")
    if config.n_valid is not None and has_pool and (split == VALID).any():
        raise UsageError(
            f"dataset.n_valid={config.n_valid}: {config.name} brings validation texts, so none are drawn; leave one out"
        )
    unlabelled = texts["label"].to_numpy() == NO_LABEL
    split[unlabelled] = DROPPED
    drawn_valid = config.n_valid is not None or not (split == VALID).any()
    if drawn_valid and not has_pool:
        split[split == VALID] = TRAIN  # join train and validation; validation is drawn from both
    empty_train = texts["empty"].to_numpy() & (split == TRAIN)
    split[empty_train] = DROPPED

    pool = texts[(part == 0) & (split != DROPPED)]
    differ = pool.index[pool["label"] != pool.groupby("digest")["label"].transform("first")]
    if len(differ):
        same = pool.index[pool["digest"] == pool["digest"][differ[0]]]
        raise UsageError(
            f"{identify(same[0])} and {identify(differ[0])} are the same text with two labels; remove one of them "
            f"(texts with two labels: {pool['digest'][differ].nunique()})"
        )
    repeated = pool.index[pool.duplicated("digest")]
    pool = pool.drop(repeated)
    near_repeated = pool.index[pool.duplicated(["near", "label"])]
    split[repeated.union(near_repeated)] = DROPPED
    rest = np.flatnonzero(split == TRAIN)
    if has_pool:
        if config.n_test is None:
            raise UsageError(f"{config.name} brings no test split; say how many examples to draw: dataset.n_test=400")
        rest = _draw(split, gathered, rest, TEST, config.n_test, config.test_seed)
    if drawn_valid:
        size = config.n_valid if config.n_valid is not None else max(1, round(config.valid_share * len(rest)))
        _draw(split, gathered, rest, VALID, size, config.valid_seed)

    dropped = {
        "no label": int(unlabelled.sum()),
        "empty, in train": int(empty_train.sum()),
        "the same text again, before anything was drawn": len(repeated),
        f"the same text again {NEAR}, before anything was drawn": len(near_repeated),
    }
    leaks: dict[str, int] = {}
    leaked = (split == TEST) & np.isin(near, near[np.isin(split, (TRAIN, VALID))])
    for number, others, where in (
        (VALID, (TEST,), "in validation and in test"),
        (TRAIN, (VALID, TEST), "in train and in validation or test"),
    ):
        judged = texts[np.isin(split, others)]
        exact = (split == number) & texts["digest"].isin(judged["digest"])
        almost = (split == number) & ~exact & texts["near"].isin(judged["near"])
        if config.leaks == "drop":
            split[exact | almost] = DROPPED
        leaks |= {where: int(exact.sum()), f"{where}, {NEAR}": int(almost.sum())}
    found = {"dropped": dropped | leaks, "kept": {}} if config.leaks == "drop" else {"dropped": dropped, "kept": leaks}
    return split, {name: {why: n for why, n in whys.items() if n} for name, whys in found.items()}, leaked


def _draw(
    split: NDArray[np.int8], gathered: Gathered, numbers: NDArray[np.int64], to: int, size: int, seed: int
) -> NDArray[np.int64]:
    """Move `size` of the examples `numbers` to split `to`, each class in proportion. Return the other examples."""
    from sklearn.model_selection import train_test_split  # a slow import, not needed when the splits are up to date

    labels, there = gathered.texts["label"].to_numpy()[numbers], counted(len(numbers), "example")
    if not 0 < size < len(numbers):
        are = "is" if len(numbers) == 1 else "are"
        raise UsageError(
            f"dataset.n_{SPLITS[to]}={size}: there {are} {there} to draw from; give fewer, or bring more texts"
        )
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2 or size < len(classes) or len(numbers) - size < len(classes):
        rarest = gathered.label_names[classes[counts.argmin()]]
        raise UsageError(
            f"{size} of {there} cannot be drawn with all {len(classes)} classes in proportion (class "
            f"{rarest!r} has {counts.min()}); bring more examples (2 of a class at least), give "
            f"dataset.n_{SPLITS[to]} of {len(classes)} at least, or bring a split of your own as dataset.{SPLITS[to]}"
        )
    rest, drawn = train_test_split(numbers, test_size=size, stratify=labels, random_state=seed)
    split[drawn] = to
    return np.asarray(rest)


def check(gathered: Gathered, split: NDArray[np.int8], labels: list[str]) -> dict[str, Any]:
    """Return the manifest's facts about the kept texts.

    Raises `UsageError` when a split is empty, train has one class, or validation or test has no class of train.
    """
    texts = gathered.texts
    members = {name: texts[split == number] for number, name in enumerate(SPLITS)}
    for name, own in members.items():
        if own.empty:
            raise UsageError(
                f"nothing is left for {name}: all of it is without label, empty or in another split; bring other texts"
            )
    names = {name: [gathered.label_names[index] for index in np.unique(own["label"])] for name, own in members.items()}
    if len(names["train"]) < 2:
        raise UsageError(
            f"every example of train is {names['train'][0]!r}; with one class there is nothing to learn: bring texts "
            "of another class"
        )
    for name in ("valid", "test"):
        if set(names[name]).isdisjoint(names["train"]):
            there, known = (", ".join(map(repr, names[which][:5])) for which in (name, "train"))
            raise UsageError(
                f"no label of {name} ({there}) occurs in train ({known}); write the labels alike in all your files"
            )
    kept = texts[split != DROPPED]
    both, almost = (kept[kept.groupby(key)["label"].transform("nunique") > 1] for key in ("digest", "near"))
    unseen = {*names["valid"], *names["test"]} - {*names["train"]}
    return {
        "empty": {name: int(own["empty"].sum()) for name, own in members.items()},
        "repeats_within": {name: int(own["digest"].duplicated().sum()) for name, own in members.items()},
        "texts_with_two_labels": both["digest"].nunique(),
        "near_copies_with_two_labels": len(set(almost["near"]) - set(both["near"])),
        "of_one_class": [name for name in SPLITS if len(names[name]) == 1],
        "labels_unseen_in_train": [label for label in labels if label in unseen],
        "not_french_share": {name: float(own["not_french"].mean()) for name, own in members.items()},
    }


def make_splits(folder: Path, config: DictConfig, parts: dict[str, Path], read: Reader) -> dict[str, Any]:
    """Write the three splits into `folder` and return the manifest's facts: counts, labels, dropped texts."""
    scratch = folder / "scratch.jsonl"
    gathered = gather(parts, read, config, scratch)
    split, leaks, leaked = assign(gathered, config, lambda number: _id_of_line(scratch, number))
    labels = class_names(gathered, config)
    checks = check(gathered, split, labels)
    outputs = [(folder / f"{name}.jsonl").open("wb") for name in SPLITS]
    leaked_ids = (folder / LEAKED).open("wb")
    with scratch.open("rb") as lines:
        for line, to, is_leaked in zip(lines, split.tolist(), leaked.tolist(), strict=True):
            if to != DROPPED:
                outputs[to].write(_renamed(line, gathered.renamed) if gathered.renamed else line)
            if is_leaked:
                leaked_ids.write(f"{json.loads(line)['id']}\n".encode())
    for output in (*outputs, leaked_ids):
        output.close()
    scratch.unlink()
    own = np.array([labels.index(name) for name in gathered.label_names])[gathered.texts["label"]]
    counts = {name: np.bincount(own[split == to], minlength=len(labels)).tolist() for to, name in enumerate(SPLITS)}
    return {
        "dataset": config.name,
        "labels": labels,
        "pairs": next(read_split(folder / "train.jsonl")).text_pair is not None,
        "examples": {name: sum(of_class) for name, of_class in counts.items()},
        "per_class": counts,
        "read": {name: int((gathered.texts["part"] == PARTS.index(name)).sum()) for name in parts},
        "near_copies": NEAR_COPIES,
        "dropped": leaks["dropped"],
        "kept": leaks["kept"],
        "leaked": int(leaked.sum()),
        "checks": checks,
    }


def _renamed(line: bytes, renamed: dict[str, str]) -> bytes:
    """Return an example's line with the name of its class as its label."""
    example = json.loads(line)
    example["label"] = renamed.get(example["label"], example["label"])
    return (json.dumps(example, ensure_ascii=False) + "\n").encode()


def split_notes(manifest: dict[str, Any]) -> list[str]:
    """Return a sentence for each thing about the texts that a reader of the results should know."""
    read, checks = sum(manifest["read"].values()), manifest["checks"]
    notes = []
    if leaked := manifest.get("leaked"):
        what = "stay there (dataset.leaks=keep)" if manifest.get("kept") else "were dropped there"
        notes.append(
            f"{leaked:,} of {manifest['examples']['test']:,} test texts are also in train or validation and {what}"
        )
    notes += [f"{count:,} of {read:,} dropped: {why}" for why, count in manifest["dropped"].items()]
    if count := checks["texts_with_two_labels"]:
        notes.append(f"{counted(count, *STAND)} there with two labels; kept so")
    if count := checks.get("near_copies_with_two_labels"):  # a manifest of an older version lacks this key
        notes.append(f"{counted(count, *STAND)} there with another label {NEAR}; kept so")
    if any(NEAR in why for why in manifest["dropped"]) and not manifest.get("kept"):
        notes.append(NEAR_COPIES)
    for split, count in checks["empty"].items():
        if count:
            notes.append(f"empty in {split}: {counted(count, 'text')}; kept, so that every example is scored")
    for split, count in checks["repeats_within"].items():
        if count:
            notes.append(f"repeats within {split}: {counted(count, 'text')}; kept")
    if checks["labels_unseen_in_train"]:
        unseen = ", ".join(checks["labels_unseen_in_train"])
        notes.append(f"warning: no example of train has the label {unseen}; what has it can only be judged wrong")
    if checks["of_one_class"]:
        notes.append(f"warning: every example of {' and '.join(checks['of_one_class'])} has the same label")
    for split, share in checks["not_french_share"].items():
        if share > 0.1:
            percent = f"{100 * share:.0f} %"
            notes.append(f"warning: {percent} of the texts of {split} hold none of the commonest French words")
    return notes


def _id_of_line(path: Path, number: int) -> str:
    with path.open(encoding="utf-8") as lines:
        return str(json.loads(next(islice(lines, number, None)))["id"])
