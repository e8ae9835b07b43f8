"""The best step of each run and what follows from it: the summary that tables and other programs read."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from sweeps.folders import RunKey

GROUP = ["dataset", "model", "backend", "method", "init"]


@dataclass(frozen=True)
class RunResult:
    """Accuracies in percent; None where the run is not done or did not evaluate that split."""

    key: RunKey
    status: str
    best_step: int | None
    best_valid: float | None
    test: float | None


def accuracies(scalars: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the accuracy (percent) of one run over steps, from the logged counts: columns step, accuracy."""
    own = scalars[scalars["split"] == split]
    counts = own[own["tag"].isin(["n_correct", "n"])].pivot_table(index="step", columns="tag", values="value")
    if counts.empty:
        return pd.DataFrame({"step": [], "accuracy": []})
    return pd.DataFrame({"step": counts.index, "accuracy": (100 * counts["n_correct"] / counts["n"]).to_numpy()})


def run_result(key: RunKey, status: str, scalars: pd.DataFrame) -> RunResult:
    """Choose the step of the highest validation accuracy, the earliest on a tie, and read the test accuracy there."""
    valid = accuracies(scalars, "valid").sort_values("step")
    if status != "done" or valid.empty:
        return RunResult(key, status, None, None, None)
    best = valid.iloc[int(valid["accuracy"].to_numpy().argmax())]  # argmax returns the first of equal values
    test = accuracies(scalars, "test")
    at_best = test[test["step"] == best["step"]]["accuracy"]
    return RunResult(
        key, status, int(best["step"]), float(best["accuracy"]), float(at_best.iloc[0]) if len(at_best) else None
    )


def results_of(scalars: pd.DataFrame, states: dict[RunKey, str], planned: list[RunKey]) -> list[RunResult]:
    """Return one result a run, planned or found, in order; a planned run without a folder has status `missing`."""
    results = []
    for key in sorted({*planned, *states}):
        own = scalars
        for name, value in asdict(key).items():
            own = own[own[name] == value]
        results.append(run_result(key, states.get(key, "missing"), own))
    return results


def mean_interval(values: NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """Return Student's t interval of a mean over seeds, on this test set; NaN when there are fewer than two values.

    `values` has shape (runs,).
    """
    if len(values) < 2:
        return math.nan, math.nan
    error = float(stats.sem(values))
    if error == 0:
        return float(values.mean()), float(values.mean())
    low, high = stats.t.interval(level, len(values) - 1, loc=values.mean(), scale=error)
    return float(low), float(high)


def difference_interval(
    one: NDArray[np.float64], other: NDArray[np.float64], level: float = 0.95
) -> tuple[float, float, float]:
    """Return the difference of two means over seeds and Welch's t interval for it, on this test set.

    `one` and `other` have shape (runs,). The interval is NaN when either has fewer than two values.
    """
    difference = float(one.mean() - other.mean())
    if min(len(one), len(other)) < 2:
        return difference, math.nan, math.nan
    interval = stats.ttest_ind(one, other, equal_var=False).confidence_interval(level)
    return difference, float(interval.low), float(interval.high)


def by_group(results: list[RunResult]) -> dict[tuple[str, ...], list[RunResult]]:
    """Return the results by (dataset, model, backend, method, init), in order."""
    groups: dict[tuple[str, ...], list[RunResult]] = {}
    for result in results:
        groups.setdefault(tuple(getattr(result.key, name) for name in GROUP), []).append(result)
    return groups


def test_values(results: list[RunResult]) -> NDArray[np.float64]:
    """Return the test accuracies that are there, shape (runs,)."""
    return np.array([result.test for result in results if result.test is not None], dtype=np.float64)


def summary_of(sweep: str, results: list[RunResult], classes: dict[str, list[str]]) -> dict[str, Any]:
    """Return summary.json: accuracies in percent, `test_std` with ddof 0 as published, `test_std_sample` with 1.

    `classes` names each dataset's classes, class 0 first.
    """
    groups = []
    for names, members in by_group(results).items():
        values = test_values(members)
        groups.append({
            **dict(zip(GROUP, names, strict=True)),
            "n": len(values),
            "test_mean": float(values.mean()) if len(values) else None,
            "test_std": float(values.std(ddof=0)) if len(values) else None,
            "test_std_sample": float(values.std(ddof=1)) if len(values) > 1 else None,
        })  # fmt: skip
    runs = [
        {**asdict(result.key), "best_step": result.best_step, "best_valid": result.best_valid, "test": result.test,
         "status": result.status}
        for result in results
    ]  # fmt: skip
    return {"sweep": sweep, "classes": classes, "groups": groups, "runs": runs}
