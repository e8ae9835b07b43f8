"""Compute the accuracy curve and the best step of each run, and the summary that other programs read."""

import textwrap
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.estimates import spread
from analysis.event_files import KEYS, SweepLogs
from data_prep.doses import base_and_dose
from sweeps.folders import ALL, RunKey

GROUP = ["dataset", "model", "backend", "method", "init", "train", "length"]
CURVE = ["step", "valid", "test"]
LONGEST_ERROR = 300  # characters


@dataclass(frozen=True)
class RunResult:
    """Accuracies in percent. None: the run is not done, damaged or unlike its group, or did not evaluate that split."""

    key: RunKey
    status: str  # from status.json, or `missing`, `damaged` (done, but no best step can be read) or alike.UNLIKE
    curve: pd.DataFrame  # step, valid, test; NaN when a split was not evaluated at a step
    best_step: int | None = None
    best_valid: float | None = None
    test: float | None = None
    last_test: float | None = None
    why: str = ""  # why there is no test accuracy, when more is known than the status

    @property
    def latest(self) -> tuple[int, float] | None:
        """The latest step with the highest validation accuracy (fairseq's choice) and the test accuracy there.

        None when it is also the earliest such step, which is the best step here.
        """
        if self.best_step is None:
            return None
        tied = self.curve.dropna(subset=["valid", "test"])
        tied = tied[tied["valid"] == self.best_valid]
        if tied.empty or int(tied["step"].iloc[-1]) == self.best_step:
            return None
        return int(tied["step"].iloc[-1]), float(tied["test"].iloc[-1])


def run_curves(scalars: pd.DataFrame) -> dict[RunKey, pd.DataFrame]:
    """Return each run's accuracies (percent) over steps, from the logged counts: columns step, valid, test."""
    counts = scalars[scalars["split"].isin(["valid", "test"]) & scalars["tag"].isin(["n_correct", "n"])]
    if counts.empty:
        return {}
    wide = counts.pivot_table(index=[*KEYS, "split", "step"], columns="tag", values="value", sort=True).dropna()
    accuracy = (100 * wide["n_correct"] / wide["n"]).unstack("split").reindex(columns=["valid", "test"]).reset_index()
    runs: Any = accuracy.groupby(KEYS, sort=False)
    return {RunKey(*names): own[CURVE].reset_index(drop=True) for names, own in runs}


def run_result(key: RunKey, status: str, curve: pd.DataFrame | None, progress: dict[str, Any]) -> RunResult:
    """Choose the step of the highest validation accuracy, the earliest on a tie, and read the test accuracy there.

    A run is `damaged`, without accuracies, when its event files give another best step than `progress` (its
    progress.json), or end before its last evaluation.
    """
    curve = pd.DataFrame(columns=CURVE, dtype=float) if curve is None else curve
    valid = curve.dropna(subset=["valid"])
    if status != "done":
        return RunResult(key, status, curve)
    best = valid.iloc[int(valid["valid"].to_numpy().argmax())] if len(valid) else None  # the first on a tie
    ends = {split: curve.dropna(subset=[split])["step"].max() for split in ("valid", "test")}
    told = {split: progress[split]["step"] for split in ends if split in progress}
    if (
        best is None
        or progress.get("best_step", best["step"]) != best["step"]
        or any(ends[split] != step for split, step in told.items())
    ):
        return RunResult(key, "damaged", curve)
    tests = curve.dropna(subset=["test"])
    test = float(best["test"]) if np.isfinite(best["test"]) else None
    last = float(tests["test"].iloc[-1]) if len(tests) else None
    why = "" if test is not None else "test was not evaluated at its best step"
    return RunResult(key, status, curve, int(best["step"]), float(best["valid"]), test, last, why)


def results_of(logs: SweepLogs, planned: list[RunKey]) -> list[RunResult]:
    """Return one result for each run, planned or found, in order. A planned run without a folder is `missing`."""
    curves = run_curves(logs.scalars)
    statuses = {key: logs.statuses.get(key, {"state": "missing"}) for key in sorted({*planned, *logs.statuses})}
    results = [
        run_result(key, status["state"], curves.get(key), status.get("progress", {}))
        for key, status in statuses.items()
    ]
    errors = {
        key: textwrap.shorten(str(error), LONGEST_ERROR, placeholder=" ...")
        for key, status in statuses.items()
        if status["state"] != "done" and (error := status.get("error"))
    }
    reasons = {**errors, **{key: "; ".join(damage) for key, damage in logs.damage.items()}}
    return [
        result if result.test is not None else replace(result, why=reasons.get(result.key, result.why))
        for result in results
    ]


def by_group(results: list[RunResult]) -> dict[tuple[Any, ...], list[RunResult]]:
    """Return the results by the names in GROUP.

    Doses of one model ascend, inits are in the order of `rung`, and the usual length with the most training texts comes
    first.
    """
    groups: dict[tuple[Any, ...], list[RunResult]] = {}
    for result in results:
        groups.setdefault(tuple(getattr(result.key, name) for name in GROUP), []).append(result)
    return dict(sorted(groups.items(), key=lambda group: _place(*group[0])))


def _place(*names: Any) -> tuple[Any, ...]:
    dataset, model, *rest, init, train, length = names
    base, dose = base_and_dose(model)
    return dataset, base, -1 if dose is None else dose, *rest, rung(init), length, train != ALL, -train


def rung(init: str) -> tuple[int, int, str]:
    """Return the place of an init between pre-trained weights, which come first, and random weights, which come last.

    Of two inits that load the bottom layers, the one with more layers comes first.
    """
    name, _, layers = init.partition("_")
    known = ("pretrained", "bottom", "embeddings", "shuffled", "statistics", "random")
    place = known.index(name) if name in known else len(known)
    return place, -int(layers) if layers.isdigit() else 0, init


def summary_of(sweep: str, results: list[RunResult], classes: dict[str, list[str]]) -> dict[str, Any]:
    """Return the content of summary.json, with accuracies in percent.

    `test_std` has ddof 0, as in the published tables, and `test_std_sample` has ddof 1. `train` is the number of
    training texts, 0 for all; `length` is 3 for 3 times the recipe's steps. `classes` lists the class names of each
    dataset, class 0 first.
    """
    groups = []
    for names, members in by_group(results).items():
        values = [run.test for run in members if run.test is not None]
        of = spread(values) if values else None
        groups.append(
            {
                **dict(zip(GROUP, names, strict=True)),
                "n": len(values),
                "test_mean": of.mean if of else None,
                "test_std": of.std if of else None,
                "test_std_sample": of.std_sample if of and of.n > 1 else None,
            }
        )
    runs = [
        {
            **asdict(result.key),
            "best_step": result.best_step,
            "best_valid": result.best_valid,
            "test": result.test,
            "status": result.status,
        }
        for result in results
    ]
    return {"sweep": sweep, "classes": classes, "groups": groups, "runs": runs}
