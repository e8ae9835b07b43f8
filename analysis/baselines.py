"""Simple baselines: TF-IDF with logistic regression, and the commonest class, on the same splits."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.intervals import share_interval
from data_prep.stages import read_manifest
from data_prep.subsets import nested_subset
from foundation.whole_files import write_json
from sweeps.folders import ALL, read_json

STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)  # C; scikit-learn's own default, 1, costs 6 points on amazon_fr
TF_IDF, COMMONEST, PROBE = "TF-IDF", "commonest class", "probe"  # what the names of baselines begin with
SETTINGS = f"TF-IDF of words and pairs of words, logistic regression, C of {STRENGTHS} chosen on validation"


@dataclass(frozen=True)
class Baseline:
    """Accuracies in percent; `low` and `high` are the ends of Wilson's 95 % interval of `test`, for new texts."""

    name: str
    valid: float
    test: float
    low: float
    high: float
    seconds: float | None = None  # to make it, where it is told


Fits = dict[tuple[str, str, int], list[Baseline]]  # (dataset, model, training texts) -> TF-IDF, commonest, probes


def probe_of(fits: list[Baseline]) -> Baseline | None:
    """Return the probe with the higher validation accuracy, the first on a tie, or None without one."""
    probes = [fit for fit in fits if fit.name.startswith(PROBE)]
    return max(probes, key=lambda fit: fit.valid) if probes else None


def tf_idf_of(fits: list[Baseline]) -> Baseline | None:
    return next((fit for fit in fits if fit.name.startswith(TF_IDF)), None)


def data_problem(binarised: Path, splits: Path, outputs: dict[str, str]) -> str | None:
    """Return why `splits` are not the splits of runs that recorded `outputs` of data/bin, or None when they are."""
    if not outputs:
        return "the runs do not record their data"
    made, own = read_manifest(binarised), read_manifest(splits)
    if made is None or own is None:
        return f"{splits if own is None else binarised} is not there"
    if made["outputs"] != outputs:
        return f"{binarised} was made again since the runs"
    if made["inputs"]["splits"] != own["outputs"]:
        return f"{splits} was made again since the runs"
    return None


def baselines_of(splits: Path, memory: Path, train: int = ALL) -> list[Baseline]:
    """Return the baselines on a folder of data/splits, fitted on all training texts or on the subset of `train`.

    The JSON file `memory` keeps them for unchanged splits.
    """
    made_from = {"splits": (read_manifest(splits) or {})["outputs"], "settings": SETTINGS}
    name = splits.name if train == ALL else f"{splits.name}, {train} training texts"
    return remembered(memory, name, made_from, lambda: fit_baselines(splits, train))


def remembered(memory: Path, name: str, made_from: dict[str, Any], fit: Callable[[], list[Baseline]]) -> list[Baseline]:
    """Return the baselines that the JSON file `memory` keeps under `name`, or fit them when it keeps others."""
    known = read_json(memory).get(name, {})
    if known.get("made_from") == made_from:
        return [Baseline(**record) for record in known["baselines"]]
    found = fit()
    record = {"made_from": made_from, "baselines": [asdict(baseline) for baseline in found]}
    write_json(memory, {**read_json(memory), name: record})
    return found


def judged(name: str, classifier: Any, features: dict[str, Any], gold: dict[str, Any]) -> Baseline:
    """Fit a classifier of scikit-learn on train, and return its accuracies on validation and test.

    `features` and `gold` hold (texts, features) and the class of each text, for each split.
    """
    classifier.fit(features["train"], gold["train"])
    right = {split: int((classifier.predict(features[split]) == gold[split]).sum()) for split in ("valid", "test")}
    low, high = share_interval(right["test"], len(gold["test"]))
    valid, test = (100 * right[split] / len(gold[split]) for split in ("valid", "test"))
    return Baseline(name, valid, test, 100 * low, 100 * high)


def best_on_validation(classifiers: dict[str, Any], features: dict[str, Any], gold: dict[str, Any]) -> Baseline:
    """Return the one of `classifiers`, by name, with the highest validation accuracy, the first on a tie."""
    fitted = [judged(name, classifier, features, gold) for name, classifier in classifiers.items()]
    return max(fitted, key=lambda baseline: baseline.valid)


def fit_baselines(splits: Path, train: int = ALL) -> list[Baseline]:
    """Fit both baselines on train, or on its nested subset of `train` texts.

    C is chosen by validation accuracy; on a tie, the smallest C. The words of the two texts of a pair are counted
    separately. TF-IDF counts words of two letters or more. When no text has such a word, only the commonest class is
    returned.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.dummy import DummyClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    from data_prep.examples import SPLITS, read_split

    examples = {split: pd.DataFrame(list(read_split(splits / f"{split}.jsonl"))) for split in SPLITS}
    if train != ALL:
        names = (read_manifest(splits) or {})["labels"]
        rows = nested_subset([names.index(label) for label in examples["train"]["label"]], train, names)
        examples["train"] = examples["train"].iloc[rows]
    words = TfidfVectorizer(ngram_range=(1, 2))
    find = words.build_analyzer()
    sides = [side for side in ("text", "text_pair") if any(find(text) for text in examples["train"][side] if text)]
    # kept sparse, however many words each text has
    counts = ColumnTransformer([(side, words, side) for side in sides], sparse_threshold=1.0).fit(examples["train"])
    features = {split: counts.transform(own) for split, own in examples.items()}
    gold = {split: own["label"].to_numpy() for split, own in examples.items()}

    commonest = judged(COMMONEST, DummyClassifier(strategy="most_frequent"), features, gold)
    if not sides:
        return [commonest]
    by_strength = {
        f"TF-IDF + logistic regression, C = {strength:g}": LogisticRegression(C=strength, max_iter=1_000)
        for strength in STRENGTHS
    }
    return [best_on_validation(by_strength, features, gold), commonest]
