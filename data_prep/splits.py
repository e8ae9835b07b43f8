"""Turns examples into disjoint splits, `data/splits/<dataset>/{train,valid,test}.jsonl`, and counts what it drops.

The files of a dataset come in parts: `train`, `valid` and `test`, or one part `all`. A missing split is drawn with each
class in proportion: test from `all`, validation from the examples that are not in test. A text in two splits is dropped
from train, and from validation if it is in test, or kept with `dataset.leaks=keep`. `leaked.txt` lists the test
examples whose text was also in train or validation. A test example is dropped only if it has no label.

Near-copies are texts that differ only in case, in invisible characters, or in the order of a pair. Across splits they
are dropped like exact copies. In `all`, before anything is drawn, only the first of exact copies is kept, and only the
first of near-copies with the same label. No empty text is used for training. Each text is read once, into a scratch
file. Memory holds some numbers of each example, no text.
"""

import json
import re
import unicodedata
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from foundation.counts import counted
from foundation.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "valid", "test")
PARTS = ("all", *SPLITS)
TRAIN, VALID, TEST, DROPPED = 0, 1, 2, 3
NO_LABEL = -1
LEAKED = "leaked.txt"
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?")  # but not a code such as 01
NEAR = "but for case, characters that are not seen, or which of the pair comes first"
STAND = ("text stands", "texts stand")
NEAR_COPIES = f"near-copies, texts that are the same {NEAR}, are dropped across splits as exact copies are"
# Unicode calls these characters letters, marks or symbols, but they are drawn as nothing or as a blank.
BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(map(chr, range(0xFE00, 0xFE10)))
# Some of the most frequent French words. A text of eight words or more without any of them is probably not French.
COMMON = """le la les l' un une des de du d' et est en que qu' qui pour dans ce c' cette pas ne n' il elle on je j'
ai nous vous se s' au aux sur avec plus par son sa ses mais très tout sont a été comme ou si bien être fait"""
FRENCH_WORDS = frozenset(COMMON.split())
FRENCH_FROM = 8  # words

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

Reader = Callable[[Path, str, DictConfig], Iterator["Example"]]


@dataclass(frozen=True)
class Example:
    """One labelled text, or pair of texts. The label is None if the row has no label."""

    id: str
    text: str
    text_pair: str | None
    label: str | None


def settings_of(dataset: DictConfig) -> dict[str, Any]:
    """Return the settings of a dataset that decide its splits."""
    found = OmegaConf.to_container(OmegaConf.masked_copy(dataset, list(SETTINGS)), resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def clean(text: str) -> str:
    """Return the text in Unicode NFC, each run of white space replaced by one space, and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def is_seen(character: str) -> bool:
    """Return whether a character is visible: no white space, control, format mark (U+200B, U+FEFF...) or blank."""
    return not character.isspace() and unicodedata.category(character) not in ("Cc", "Cf") and character not in BLANK


def is_empty(text: str) -> bool:
    """Return whether a text has no visible character."""
    return not any(map(is_seen, text))


def without_case(text: str) -> str:
    """Return the form that a cleaned text shares with its near-copies: case folded, without invisible characters."""
    folded = text.casefold()
    if folded.isprintable() and BLANK.isdisjoint(folded):  # true for most texts
        return unicodedata.normalize("NFC", folded)
    return clean("".join(one for one in folded if one.isspace() or is_seen(one)))


def looks_french(text: str) -> bool:
    """Return whether a text is short or holds a very frequent French word. This cheap rule is only for reports."""
    words = text.lower().replace("’", "'").replace("'", "' ").split()
    return len(words) < FRENCH_FROM or not FRENCH_WORDS.isdisjoint(words)


@dataclass
class Gathered:
    """Facts about every example, in reading order. The examples themselves are lines in the scratch file."""

    # part: index into PARTS; label: index into label_names, or NO_LABEL; digest: 64 bits of each text; near: 64 bits,
    # the same for all near-copies of a text; empty; not_french
    texts: "pd.DataFrame"
    label_names: list[str]
    renamed: dict[str, str]  # label in the scratch file -> its class, where they differ


def gather(parts: dict[str, Path], read: Reader, config: DictConfig, scratch: Path) -> Gathered:
    """Read every part once. Write each cleaned example as a line of `scratch`. Return the facts that decide the splits.

    Raises `UsageError` when a part does not hold the number of examples that the configuration expects.
    """
    import pandas as pd  # a slow import, not needed when the splits are up to date

    kinds = {"part": "b", "label": "i", "digest": "Q", "near": "Q", "empty": "b", "not_french": "b"}
    columns: dict[str, Any] = {name: array(kind) for name, kind in kinds.items()}
    indices = {name: index for index, name in enumerate(config.labels or [])}
    with scratch.open("w", encoding="utf-8") as out:
        for part, path in parts.items():
            before = len(columns["part"])
            for example in read(path, part, config):
                text = clean(example.text)
                pair = None if example.text_pair is None else clean(example.text_pair)
                cleaned = Example(example.id, text, pair, example.label)
                texts = [text] if pair is None else [text, pair]
                try:
                    out.write(json.dumps(vars(cleaned), ensure_ascii=False) + "\n")
                    digest, near = _digest(texts), _digest(sorted(map(without_case, texts)))
                except UnicodeEncodeError as error:
                    raise UsageError(
                        f"{path}: {example.id} holds half of a surrogate pair, which is no character; "
                        "save the text as UTF-8"
                    ) from error
                index = NO_LABEL if example.label is None else indices.setdefault(example.label, len(indices))
                if config.labels is not None and index >= len(config.labels):
                    raise UsageError(
                        f"{path}: {example.id} has the label {example.label!r}, dataset.labels has "
                        f"{', '.join(map(repr, config.labels))}; add it there, or mend it"
                    )
                empty = any(map(is_empty, texts))
                row = (PARTS.index(part), index, digest, near, empty, not looks_french(text))
                for column, value in zip(columns.values(), row, strict=True):
                    column.append(value)
            _check_expected(config, part, path, len(columns["part"]) - before)
    frame = pd.DataFrame({name: np.array(column) for name, column in columns.items()})
    gathered = Gathered(frame.astype({"empty": bool, "not_french": bool}), list(indices), {})
    if config.labels is None:
        _unite_numbers(gathered)
    return gathered


def _unite_numbers(gathered: Gathered) -> None:
    """If every label is a number, make one class of all labels with the same value (`1.`, `1e0` and 1)."""
    names = gathered.label_names
    if not all(map(NUMBER.fullmatch, names)):
        return
    spellings: dict[Decimal, list[str]] = {}
    for name in names:
        spellings.setdefault(Decimal(name), []).append(name)
    united = {name: _as_number(number) for number, alike in spellings.items() for name in alike if len(alike) > 1}
    gathered.renamed = {name: new for name, new in united.items() if name != new}
    gathered.label_names = list(dict.fromkeys(united.get(name, name) for name in names))
    place = {index: gathered.label_names.index(united.get(name, name)) for index, name in enumerate(names)}
    gathered.texts["label"] = gathered.texts["label"].replace(place)


def _as_number(number: Decimal) -> str:
    """Return a number without an exponent and without trailing zeros after the decimal point."""
    whole = number.to_integral_value()
    return str(int(whole)) if number == whole else f"{number:f}".rstrip("0")


def digest_of_near_copies(text: str) -> int:
    """Return 64 bits that a cleaned text shares with its near-copies."""
    return _digest([without_case(text)])


def _digest(texts: list[str]) -> int:
    return int.from_bytes(blake2b("\n".join(texts).encode(), digest_size=8).digest())


def _check_expected(config: DictConfig, part: str, path: Path, n: int) -> None:
    if config.expected is not None and config.expected.get(part, n) != n:
        raise UsageError(
            f"{path} holds {counted(n, 'example')} for {part}, {config.name} has {config.expected[part]:,}: it is not "
            f"the published file, or not whole; dataset.expected.{part}={n} takes it as it is"
        )


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


def class_names(gathered: Gathered, config: DictConfig) -> list[str]:
    """Return the classes in order: the dataset's own, else the sorted labels (as numbers if all are integers)."""
    if config.labels is not None:
        return list(config.labels)
    names = gathered.label_names
    whole = all(name.removeprefix("-").isascii() and name.removeprefix("-").isdigit() for name in names)
    return sorted(names, key=lambda name: (int(name), name) if whole else (0, name))


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


def read_split(path: Path) -> Iterator[Example]:
    """Yield the examples of one split from its .jsonl file."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield Example(**json.loads(line))
