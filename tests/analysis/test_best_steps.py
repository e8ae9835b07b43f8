"""The best step, the summary and the intervals, against brute force and the published numbers."""

import math
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.best_steps import difference_interval, mean_interval, results_of, run_result, summary_of
from analysis.tables import foot, results_table
from sweeps.folders import RunKey

KEY = RunKey("cls_books", "roberta_small_fr", "fairseq", "full", "pretrained", 0)
PUBLISHED: dict[str, list[tuple[int, float, float]]] = {
    "pretrained": [(1125, 81.5, 79.5), (675, 80, 78.5), (900, 83.5, 80.1)],
    "random": [(900, 62, 65.4), (450, 65, 66.7), (1125, 63, 67.4)],
}


def scalars(key: RunKey, curve: list[tuple[int, int, int]]) -> pd.DataFrame:
    """Return the logged counts of a run: (step, validation examples right of 200, test examples right of 2 000)."""
    rows = []
    for step, valid, test in curve:
        for split, right, n in (("valid", valid, 200), ("test", test, 2000)):
            rows += [(split, "n_correct", step, right), (split, "n", step, n), (split, "accuracy", step, 0.0)]
    table = pd.DataFrame(rows, columns=["split", "tag", "step", "value"]).assign(wall_time=0.0)
    return table.assign(**asdict(key))


def published() -> tuple[pd.DataFrame, dict[RunKey, str]]:
    tables, states = [], {}
    for init, runs in PUBLISHED.items():
        for seed, (step, valid, test) in enumerate(runs):
            key = RunKey("cls_books", "roberta_small_fr", "fairseq", "full", init, seed)
            tables.append(scalars(key, [(0, 90, 900), (step, round(2 * valid), round(20 * test)), (2000, 100, 1999)]))
            states[key] = "done"
    return pd.concat(tables), states


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 2000)), min_size=1, max_size=12))
def test_the_best_step_is_the_earliest_highest_validation_and_never_looks_at_test(
    accuracies: list[tuple[int, int]],
) -> None:
    curve = [(10 * number, valid, test) for number, (valid, test) in enumerate(accuracies)]
    result = run_result(KEY, "done", scalars(KEY, curve))
    expected = max(curve, key=lambda point: (point[1], -point[0]))
    assert (result.best_step, result.best_valid, result.test) == (expected[0], expected[1] / 2, expected[2] / 20)


def test_a_run_that_is_not_done_has_no_figures() -> None:
    assert run_result(KEY, "failed", scalars(KEY, [(0, 1, 1)])).test is None


def test_the_published_six_give_the_published_mean_and_std() -> None:
    groups = {group["init"]: group for group in summary_of("s", results_of(*published(), []), {})["groups"]}
    assert round(groups["pretrained"]["test_mean"] / 100, 3) == 0.794
    assert round(groups["pretrained"]["test_std"] / 100, 4) == 0.0066
    assert round(groups["random"]["test_mean"] / 100, 3) == 0.665
    assert round(groups["random"]["test_std"] / 100, 4) == 0.0083
    assert groups["random"]["n"] == 3
    assert groups["pretrained"]["test_std_sample"] == pytest.approx(np.std([79.5, 78.5, 80.1], ddof=1))


def test_the_summary_has_the_shape_that_others_read() -> None:
    summary = summary_of("s", results_of(*published(), []), {"cls_books": ["negative", "positive"]})
    assert summary["classes"]["cls_books"][1] == "positive"
    assert set(summary) == {"sweep", "classes", "groups", "runs"}
    names = {"dataset", "model", "backend", "method", "init"}
    assert all(set(group) == names | {"n", "test_mean", "test_std", "test_std_sample"} for group in summary["groups"])
    assert all(set(run) == names | {"seed", "best_step", "best_valid", "test", "status"} for run in summary["runs"])


def test_missing_and_failed_runs_are_named_in_the_foot_and_kept_in_the_table() -> None:
    table, states = published()
    missing = RunKey("cls_books", "roberta_small_fr", "fairseq", "full", "random", 7)
    failed = RunKey("cls_books", "roberta_small_fr", "fairseq", "full", "random", 8)
    results = results_of(table, {**states, failed: "failed"}, [missing])
    last = foot(results, {})[-1]
    assert f"{missing} (missing)" in last
    assert f"{failed} (failed)" in last
    shown = results_table(results)
    assert shown["best validation (step, accuracy %)"].tolist()[-2:] == ["missing", "failed"]
    assert shown["n"].tolist() == [3, "", "", 3, "", "", "", ""]


@given(st.lists(st.floats(0, 100), min_size=2, max_size=10))
def test_the_interval_of_a_mean_is_students(values: list[float]) -> None:
    array = np.array(values)
    low, high = mean_interval(array)
    half = array.std(ddof=1) / math.sqrt(len(array))
    assert low <= array.mean() + 1e-9
    assert high >= array.mean() - 1e-9
    if len(array) == 3 and half > 1e-6:
        assert (high - low) / 2 == pytest.approx(4.302653 * half, rel=1e-5)  # the t table's value for 2 degrees


def test_one_seed_has_no_interval() -> None:
    assert all(math.isnan(bound) for bound in mean_interval(np.array([80.0])))
    gap, low, high = difference_interval(np.array([80.0]), np.array([70.0]))
    assert gap == 10
    assert math.isnan(low)
    assert math.isnan(high)


def test_welchs_interval_agrees_with_its_formula() -> None:
    one, other = np.array([79.5, 78.5, 80.1]), np.array([65.4, 66.7, 67.4])
    gap, low, high = difference_interval(one, other)
    parts = [values.var(ddof=1) / len(values) for values in (one, other)]
    freedom = sum(parts) ** 2 / sum(part**2 / 2 for part in parts)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(sum(parts))
    assert gap == pytest.approx(12.8666, abs=1e-3)
    assert low == pytest.approx(gap - half)
    assert high == pytest.approx(gap + half)
