"""What a group of runs shows, also where its runs learned nothing."""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.baselines import Baseline
from analysis.evidence import Evidence, gather_evidence
from analysis.phrases import failed_cell, failed_runs
from tests.analysis.made_up import folders_of, made_up, of_curves


def test_the_published_six_give_the_published_mean_and_std(published: Evidence) -> None:
    printed = {
        group.title: (f"{group.spread.mean / 100:.3f}", f"{group.spread.std / 100:.4f}") for group in published.groups
    }
    assert printed == {
        "cls_books · roberta_small_fr · fairseq · full · pretrained": ("0.794", "0.0066"),
        "cls_books · roberta_small_fr · fairseq · full · random": ("0.665", "0.0083"),
        "cls_books · roberta_small_fr · hf · full · pretrained": ("0.786", "0.0035"),  # printed as 0.794 and 0.0066
    }


def test_a_record_of_inputs_without_examples_leaves_the_number_of_texts_open(tmp_path: Path) -> None:
    runs = of_curves("random", [50, 55, 60, 61])
    folders = folders_of(tmp_path, runs)
    (folders[str(runs[0].key)] / "provenance.json").write_text('{"inputs": {"examples": null}}')
    (group,) = gather_evidence(runs, folders, 70.0).groups
    assert group.n_train is None


def test_a_run_that_answers_one_class_has_learned_nothing_whichever_class_it_is(tmp_path: Path) -> None:
    runs = [made_up((98, 80.0, test), seed) for seed, test in enumerate((57.0, 43.0, 57.0))]
    runs.append(made_up((98, 80.0, 57.0), 3, start=68.5))  # better at another step: it has learned something
    folders = folders_of(tmp_path, runs)
    for run in (*runs[:2], runs[3]):
        path = folders[str(run.key)] / "predictions.parquet"
        answers = pd.read_parquet(path)
        answers["gold"] = np.where(answers["gold"] == answers["predicted"], "positive", "negative")
        answers["predicted"] = "positive"
        answers.to_parquet(path)
    (group,) = gather_evidence(runs, folders, 70.0).groups
    assert group.one_answer == [0, 1]
    assert failed_runs(group, {}) == [0, 1]
    assert failed_runs(group.only([1, 2]), {}) == [1]


def test_whether_runs_learned_nothing_is_not_told_where_nobody_knows_their_answers(tmp_path: Path) -> None:
    runs = [made_up((98, 80.0, test), seed) for seed, test in enumerate((57.0, 58.0))]
    folders = folders_of(tmp_path, runs)
    assert failed_cell(gather_evidence(runs, folders, 70.0).groups[0], {}) == "none"
    for run in runs:
        (folders[str(run.key)] / "predictions.parquet").unlink()
    (group,) = gather_evidence(runs, folders, 70.0).groups
    assert failed_cell(group, {}) == "not known"
    commonest = Baseline("commonest class", 57.0, 57.0, 50.0, 64.0)
    names = group.names["dataset"], group.names["model"], group.n_train or 0
    assert failed_cell(group, {names: [commonest]}) == "1 of 2 (seed 0)"
