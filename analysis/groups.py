"""Gather the runs of a sweep that differ only in the seed into groups, and compute what a group shows."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.alike import configuration, inputs_of
from analysis.answers import answers_to_test, right_answers
from analysis.best_steps import GROUP, RunResult
from analysis.crossings import Bracket, bracket_of
from analysis.estimates import Array, Estimate, Spread, spread
from analysis.intervals import mean_over_seeds, mean_over_texts, std_interval
from foundation.counts import counted
from sweeps.folders import ALL

CLEARLY = 2.0  # points of test accuracy above the commonest class; a run that gets there has learned something
ALL_TEXTS, USUAL = "all training texts", "usual length"


def told(names: dict[str, str]) -> list[str]:
    """Return the names to tell of a group or comparison. All training texts and the usual length go without saying."""
    return [name for key, name in names.items() if name not in (ALL_TEXTS, USUAL) or key not in ("train", "length")]


@dataclass(frozen=True)
class Group:
    """Runs that differ only in the seed. Accuracies in percent."""

    names: dict[str, str]  # dataset, model, backend, method, init, train, length
    runs: list[RunResult]  # the runs with a test accuracy
    brackets: list[Bracket]  # for each run, of the steps to the threshold
    config: dict[str, Any]  # configuration of the first run, {dotted key: value}
    right: Array | None  # shape (runs, texts): 100 for a correct answer, 0 for a wrong answer
    texts: list[str]  # the ids of the texts
    no_texts: str | None  # why `right` is None
    n_train: int | None  # training texts of a run; None: not recorded
    one_answer: list[int]  # seeds of the runs that give every test text the same class, and were never clearly better
    inputs: dict[str, Any]  # what the first run was made from

    @property
    def n(self) -> int:
        return len(self.runs)

    @property
    def seeds(self) -> list[int]:
        return [result.key.seed for result in self.runs]

    @property
    def test(self) -> Array:
        return np.array([result.test for result in self.runs], dtype=np.float64)

    @property
    def title(self) -> str:
        return " · ".join(told(self.names))

    @property
    def is_whole(self) -> bool:
        """True when the runs are trained on all training texts, for the usual number of steps."""
        return (self.names["train"], self.names["length"]) == (ALL_TEXTS, USUAL)

    @property
    def length(self) -> int:
        """How many times the usual number of steps the runs take."""
        return self.runs[0].key.length

    @property
    def last_step(self) -> int:
        """The step of the last evaluation of the longest run."""
        return max(int(run.curve["step"].max()) for run in self.runs)

    @property
    def n_censored(self) -> int:
        return sum(bracket.is_censored for bracket in self.brackets)

    @property
    def spread(self) -> Spread:
        return spread(self.test)

    @property
    def std(self) -> Estimate:
        return std_interval(self.test)

    @property
    def over_seeds(self) -> Estimate:
        return mean_over_seeds(self.test)

    @property
    def over_texts(self) -> Estimate | None:
        return None if self.right is None else mean_over_texts(self.right)

    @property
    def best_minus_last(self) -> float:
        """Mean test accuracy at the best step minus the mean at the last step: the gain from choosing by validation."""
        return float(np.mean([(run.test or 0) - (run.last_test or 0) for run in self.runs]))

    @property
    def late_rise(self) -> tuple[int, Estimate] | None:
        """A step at or before two thirds of the last step, and the mean rise of test accuracy from it to the last step.

        The step is the latest at which every run was evaluated. None when it is step 0.
        """
        curves = [run.curve.dropna(subset=["test"]).set_index("step")["test"] for run in self.runs]
        shared = set.intersection(*(set(curve.index) for curve in curves))
        start = max((int(step) for step in shared if 3 * step <= 2 * self.last_step), default=0)
        if start == 0:
            return None
        return start, mean_over_seeds([curve.iloc[-1] - curve[start] for curve in curves])

    def only(self, seeds: list[int]) -> "Group":
        """Return the group with only the runs of these seeds."""
        kept = [number for number, run in enumerate(self.runs) if run.key.seed in seeds]
        return replace(
            self,
            runs=[self.runs[number] for number in kept],
            brackets=[self.brackets[number] for number in kept],
            right=None if self.right is None else self.right[kept],
            one_answer=[seed for seed in self.one_answer if seed in seeds],
        )


def names_of(group: tuple[Any, ...]) -> dict[str, str]:
    """Return the names of a group in words. `group` has the values of GROUP."""
    *names, train, times = group
    texts = ALL_TEXTS if train == ALL else counted(train, "training text")
    length = USUAL if times == 1 else f"{times} times the steps"
    return dict(zip(GROUP, [*names, texts, length], strict=True))


def group_of(
    names: tuple[Any, ...], results: list[RunResult], folders: dict[str, Path], threshold: float
) -> Group | None:
    """Return the group of these runs, or None when no run has a test accuracy."""
    runs = [result for result in results if result.test is not None]
    if not runs:
        return None
    curves = [result.curve.dropna(subset=["test"]) for result in runs]
    answers = [answers_to_test(folders[str(run.key)]) for run in runs]
    right, texts, no_texts = right_answers(runs, folders, answers)
    inputs = inputs_of(folders[str(runs[0].key)])
    return Group(
        names=names_of(names),
        runs=runs,
        brackets=[bracket_of(curve["step"], curve["test"], threshold) for curve in curves],
        config=configuration(folders[str(runs[0].key)]),
        right=right,
        texts=texts,
        no_texts=no_texts,
        n_train=runs[0].key.train or (inputs.get("examples") or {}).get("train"),
        one_answer=[
            run.key.seed
            for run, own in zip(runs, answers, strict=True)
            if own is not None and own["predicted"].nunique() == 1 and _never_learns(run, own["gold"])
        ],
        inputs=inputs,
    )


def _never_learns(run: RunResult, gold: pd.Series) -> bool:
    """Return whether a run is at no evaluation clearly better on the test texts than their commonest class."""
    commonest = 100 * gold.value_counts(normalize=True).iloc[0]
    return bool(run.curve["test"].max() <= commonest + CLEARLY)
