"""The best step and the summary, against brute force and the published numbers."""

import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.best_steps import results_of, run_curves, run_result, rung, summary_of
from analysis.drawing import COLOURS
from analysis.event_files import SweepLogs
from analysis.evidence import gather_evidence
from analysis.tables import foot, results_table, write_tables
from hydra_conf.words import choices
from sweeps.folders import RunKey
from tests.analysis.made_up import PUBLISHED, folders_of

KEY = RunKey("cls_books", "roberta_small_fr", "fairseq", "full", "pretrained", 0)


def scalars(key: RunKey, curve: list[tuple[int, int, int]]) -> pd.DataFrame:
    """Return the logged counts of a run: (step, validation examples right of 200, test examples right of 2,000)."""
    rows = []
    for step, valid, test in curve:
        for split, right, n in (("valid", valid, 200), ("test", test, 2000)):
            rows += [(split, "n_correct", step, right), (split, "n", step, n), (split, "accuracy", step, 0.0)]
    table = pd.DataFrame(rows, columns=["split", "tag", "step", "value"]).assign(wall_time=0.0)
    return table.assign(**asdict(key))


def published() -> SweepLogs:
    tables, statuses = [], {}
    for (backend, init), runs in PUBLISHED.items():
        for seed, (step, valid, test) in enumerate(runs):
            key = RunKey("cls_books", "roberta_small_fr", backend, "full", init, seed)
            tables.append(scalars(key, [(0, 90, 900), (step, round(2 * valid), round(20 * test)), (2000, 100, 1999)]))
            statuses[key] = {"state": "done"}
    return SweepLogs(pd.concat(tables), statuses, {})


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 2000)), min_size=1, max_size=12))
def test_the_best_step_is_the_earliest_highest_validation_and_never_looks_at_test(
    accuracies: list[tuple[int, int]],
) -> None:
    curve = [(10 * number, valid, test) for number, (valid, test) in enumerate(accuracies)]
    result = run_result(KEY, "done", run_curves(scalars(KEY, curve))[KEY], {})
    expected = max(curve, key=lambda point: (point[1], -point[0]))
    assert (result.best_step, result.best_valid, result.test) == (expected[0], expected[1] / 2, expected[2] / 20)
    assert result.last_test == curve[-1][2] / 20


@pytest.mark.parametrize("init", choices("init"))
def test_every_init_has_its_place_in_the_ladder_and_its_colour(init: str) -> None:
    assert rung(init) <= rung("random")  # an init that it does not know comes after random weights
    assert init in COLOURS or init == "bottom"


def test_a_run_that_is_not_done_has_no_figures() -> None:
    assert run_result(KEY, "failed", run_curves(scalars(KEY, [(0, 1, 1)]))[KEY], {}).test is None
    assert run_result(KEY, "done", None, {}).status == "damaged"


def test_the_summary_holds_the_published_mean_and_std() -> None:
    groups = {
        (group["backend"], group["init"]): group for group in summary_of("s", results_of(published(), []), {})["groups"]
    }
    pretrained, random = groups["fairseq", "pretrained"], groups["fairseq", "random"]
    assert round(pretrained["test_mean"] / 100, 3) == 0.794
    assert round(pretrained["test_std"] / 100, 4) == 0.0066
    assert round(random["test_mean"] / 100, 3) == 0.665
    assert round(random["test_std"] / 100, 4) == 0.0083
    assert random["n"] == 3
    assert pretrained["test_std_sample"] == pytest.approx(np.std([79.5, 78.5, 80.1], ddof=1))


def test_the_summary_has_the_shape_that_others_read() -> None:
    summary = summary_of("s", results_of(published(), []), {"cls_books": ["negative", "positive"]})
    assert summary["classes"]["cls_books"][1] == "positive"
    assert set(summary) == {"sweep", "classes", "groups", "runs"}
    names = {"dataset", "model", "backend", "method", "init", "train", "length"}
    assert all(set(group) == names | {"n", "test_mean", "test_std", "test_std_sample"} for group in summary["groups"])
    assert all(set(run) == names | {"seed", "best_step", "best_valid", "test", "status"} for run in summary["runs"])


def test_missing_and_failed_runs_are_named_in_the_foot_and_kept_in_the_table(tmp_path: object) -> None:
    logs = published()
    missing = RunKey("cls_books", "roberta_small_fr", "fairseq", "full", "random", 7)
    failed = RunKey("cls_books", "roberta_small_fr", "fairseq", "full", "random", 8)
    logs.statuses[failed] = {"state": "failed", "error": "the disk is full"}
    results = results_of(logs, [missing])
    evidence = gather_evidence(results, folders_of(tmp_path, [run for run in results if run.test]), 70.0)  # type: ignore[arg-type]
    last = foot(results, evidence, {}, [], [], [])[-1]
    assert f"{missing} (missing)" in last
    assert f"{failed} (failed: the disk is full)" in last
    shown = results_table(results, evidence)
    assert shown["best validation (step, accuracy %)"].tolist()[3 + 3 : 3 + 5] == ["missing", "failed"]
    assert shown["n"].tolist() == [3, "", "", 3, "", "", "", "", 3, "", ""]
    assert shown["95 %: this test set, new seeds"].tolist()[0] == "77.36 to 81.37"
    assert shown["95 %: new texts, new seeds"].tolist()[0] != "-"


def test_the_table_in_latex_has_every_special_character_escaped(tmp_path: Path) -> None:
    results = results_of(published(), [])
    evidence = gather_evidence(results, folders_of(tmp_path / "runs", results), 70.0)
    write_tables(tmp_path, results_table(results, evidence), ["50 % of amazon_fr"], {})
    comment, *lines = (tmp_path / "results.tex").read_text(encoding="utf-8").splitlines()
    assert comment == "% 50 % of amazon_fr"
    assert not [line for line in lines if re.search(r"(?<!\\)[_%#]", line)]
    assert any(r"cls\_books" in line for line in lines)
    assert any(r"test \%" in line for line in lines)
