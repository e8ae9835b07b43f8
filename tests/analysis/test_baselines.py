"""What one would pick instead, on the same splits."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from analysis.baselines import STRENGTHS, Baseline, baselines_of, data_problem, fit_baselines, probe_of
from analysis.baselines_words import against_probe, is_beaten
from analysis.evidence import gather_evidence
from data_prep.examples import read_split
from data_prep.stages import read_manifest
from data_prep.subsets import nested_subset
from tests.analysis.made_up import made_up
from tests.conftest import SIZES, Workspace


@pytest.fixture
def splits(workspace: Workspace) -> Path:
    return workspace.root / "data/splits/amazon_fr"


def test_the_strength_is_chosen_on_validation_and_the_test_split_chooses_nothing(splits: Path) -> None:
    parts = {split: list(read_split(splits / f"{split}.jsonl")) for split in ("train", "valid", "test")}
    texts = {split: [example.text for example in part] for split, part in parts.items()}
    gold = {split: [example.label for example in part] for split, part in parts.items()}
    words = TfidfVectorizer(ngram_range=(1, 2)).fit(texts["train"])
    scores = {}
    for strength in STRENGTHS:
        fitted = LogisticRegression(C=strength, max_iter=1_000).fit(words.transform(texts["train"]), gold["train"])
        scores[strength] = [
            100 * fitted.score(words.transform(texts[split]), gold[split]) for split in ("valid", "test")
        ]
    best = max(STRENGTHS, key=lambda strength: (scores[strength][0], -strength))
    found, majority = fit_baselines(splits)
    assert found.name == f"TF-IDF + logistic regression, C = {best:g}"
    assert [found.valid, found.test] == pytest.approx(scores[best])
    assert majority.name == "commonest class"
    assert majority.test == pytest.approx(
        100 * gold["test"].count(max(set(gold["train"]), key=gold["train"].count)) / SIZES["test"]
    )
    assert majority.low < majority.test < majority.high


def test_both_texts_of_a_pair_are_counted_and_apart(tmp_path: Path) -> None:
    for split, n in (("train", 40), ("valid", 10), ("test", 10)):
        rows = [
            {
                "id": str(k),
                "text": "oui" if k % 2 else "non",
                "text_pair": "non" if k % 2 else "oui",
                "label": str(k % 2),
            }
            for k in range(n)
        ]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert fit_baselines(tmp_path)[0].test == 100  # joined, both classes would hold the same words


def test_texts_without_a_word_leave_the_commonest_class_alone(tmp_path: Path) -> None:
    for split, n in (("train", 40), ("valid", 10), ("test", 10)):
        rows = [{"id": str(k), "text": "à" if k % 4 else "y", "text_pair": None, "label": str(k % 2)} for k in range(n)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (found,) = fit_baselines(tmp_path)
    assert found.name == "commonest class"
    assert found.test == 50


def test_they_are_kept_for_the_same_splits(splits: Path, tmp_path: Path) -> None:
    memory = tmp_path / "baselines.json"
    first = baselines_of(splits, memory)
    record = json.loads(memory.read_text())
    record["amazon_fr"]["baselines"][0]["test"] = 12.5
    memory.write_text(json.dumps(record))
    assert baselines_of(splits, memory)[0].test == 12.5  # read, not fitted
    record["amazon_fr"]["made_from"]["splits"] = {}
    memory.write_text(json.dumps(record))
    assert baselines_of(splits, memory) == first


def test_splits_that_are_not_those_of_the_runs_are_noticed(workspace: Workspace, tmp_path: Path) -> None:
    splits = workspace.root / "data/splits/amazon_fr"
    outputs = (read_manifest(workspace.binarised) or {})["outputs"]
    assert data_problem(workspace.binarised, splits, outputs) is None
    assert "is not there" in (data_problem(workspace.binarised, tmp_path, outputs) or "")
    assert "was made again since the runs" in (data_problem(workspace.binarised, splits, {"label/dict.txt": "x"}) or "")
    assert data_problem(workspace.binarised, splits, {}) == "the runs do not record their data"


def write_texts(folder: Path, **rows: list[tuple[str, str]]) -> Path:
    """Write the rows (text, label) of each split and return the folder."""
    for split, own in rows.items():
        made = [{"id": str(k), "text": text, "text_pair": None, "label": label} for k, (text, label) in enumerate(own)]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, made)))
    return folder


UNEVEN = [*[("oui", "a")] * 30, *[("non", "b")] * 10]


def test_a_strength_that_only_the_test_split_favours_is_not_chosen(tmp_path: Path) -> None:
    """With C = 0.1 every text is of the commoner class, and so is every test text here."""
    valid, test = [("oui", "a"), ("non", "b")] * 5, [("oui", "a"), ("non", "a")] * 5
    found, _ = fit_baselines(write_texts(tmp_path, train=UNEVEN, valid=valid, test=test))
    assert (found.name, found.valid, found.test) == ("TF-IDF + logistic regression, C = 1", 100, 50)


def test_of_equal_strengths_the_smallest_is_taken(tmp_path: Path) -> None:
    even = [("oui", "a"), ("non", "b")]
    found, _ = fit_baselines(write_texts(tmp_path, train=even * 20, valid=even * 5, test=even * 5))
    assert (found.name, found.valid) == (f"TF-IDF + logistic regression, C = {STRENGTHS[0]:g}", 100)


def test_words_that_train_does_not_hold_change_nothing(tmp_path: Path) -> None:
    """Counted, forty of them would leave too little weight to the one word that tells the class."""
    even, unknown = [("oui", "a"), ("non", "b")], " ".join(f"mot{number}" for number in range(40))
    test = [("oui", "a"), (f"non {unknown}", "b")] * 5
    found, _ = fit_baselines(write_texts(tmp_path, train=UNEVEN, valid=even * 5, test=test))
    assert found.test == 100


def test_splits_that_were_made_again_since_the_data_was_binarised_are_noticed(tmp_path: Path) -> None:
    for name, manifest in (
        ("bin", {"outputs": {"test.bin": "1"}, "inputs": {"splits": {"test.jsonl": "1"}}}),
        ("splits", {"outputs": {"test.jsonl": "2"}}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
    wrong = data_problem(tmp_path / "bin", tmp_path / "splits", {"test.bin": "1"})
    assert wrong == f"{tmp_path / 'splits'} was made again since the runs"


def test_baselines_of_a_subset_are_fitted_on_the_texts_that_runs_see(swept: Workspace) -> None:
    splits, memory = swept.root / "data/splits/amazon_fr", swept.root / "few.json"
    few, whole = baselines_of(splits, memory, 10), baselines_of(splits, memory)
    assert [fit.name.split(",")[0] for fit in few] == ["TF-IDF + logistic regression", "commonest class"]
    names = json.loads((splits / "manifest.json").read_text())["labels"]
    classes = [names.index(example.label) for example in read_split(splits / "train.jsonl")]
    rows = nested_subset(classes, 10, names)
    share = max(np.bincount(np.array(classes)[rows])) / 10
    assert 0.4 <= share <= 0.6
    assert json.loads(memory.read_text()).keys() == {"amazon_fr", "amazon_fr, 10 training texts"}
    assert [fit.name.split(",")[0] for fit in whole] == [fit.name.split(",")[0] for fit in few]


def test_the_probe_that_is_told_is_chosen_by_validation_never_by_test() -> None:
    by_valid, by_test = Baseline("probe: a", 80.0, 70.0, 60.0, 80.0), Baseline("probe: b", 79.0, 75.0, 60.0, 80.0)
    assert probe_of([Baseline("commonest class", 99.0, 99.0, 90.0, 100.0), by_test, by_valid]) == by_valid
    assert probe_of([]) is None


def test_a_probe_that_wins_is_told_first() -> None:
    group = made_up((98, 80.0, 81.0), 0)
    evidence = gather_evidence([group], {str(group.key): Path("nowhere")}, 70.0)
    won, lost = (Baseline("probe: mean, C = 1", 80.0, test, 70.0, 90.0) for test in (83.0, 79.0))
    assert against_probe(evidence.groups[0], won) == (
        "cls_books: logistic regression on the pre-trained encoder as it is, a probe (roberta_small_fr, mean, C = 1), "
        "reaches 83.00 % (95 % interval 70.00 to 90.00 for new texts). With all weights trained the pre-trained run is "
        "2.00 points below it (fairseq)."
    )
    assert [is_beaten(evidence.groups[0], probe) for probe in (won, lost)] == [True, False]
