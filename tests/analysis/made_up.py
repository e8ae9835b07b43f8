"""Results made up from accuracies, for tests of what is said of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from analysis.best_steps import RunResult
from analysis.evidence import Evidence, gather_evidence
from sweeps.folders import RunKey

Best = tuple[int, float, float]  # step, validation accuracy, test accuracy
PUBLISHED: dict[tuple[str, str], list[Best]] = {
    ("fairseq", "pretrained"): [(1125, 81.5, 79.5), (675, 80, 78.5), (900, 83.5, 80.1)],
    ("fairseq", "random"): [(900, 62, 65.4), (450, 65, 66.7), (1125, 63, 67.4)],
    ("hf", "pretrained"): [(1000, 79, 78.15), (1000, 81.5, 79.0), (1000, 80.5, 78.55)],
}
VALUES = st.lists(st.integers(0, 400).map(lambda right: right / 4), min_size=2, max_size=9)  # ties are normal
ONE, OTHER = [79.5, 78.5, 80.1], [65.4, 66.7, 67.4]


def made_up(
    best: Best,
    seed: int,
    backend: str = "fairseq",
    init: str = "pretrained",
    dataset: str = "cls_books",
    start: float = 50.0,
    method: str = "full",
) -> RunResult:
    """Return a done run that rises from `start` at step 0 to its best step, and stays there until step 1,125."""
    step, valid, test = best
    steps = sorted({0, step, 1125})
    curve = pd.DataFrame(
        {
            "step": steps,
            "valid": [start if at == 0 else valid for at in steps],
            "test": [start if at == 0 else test for at in steps],
        }
    )
    key = RunKey(dataset, "roberta_small_fr", backend, method, init, seed)
    return RunResult(key, "done", curve.astype(float), step, float(valid), float(test), float(test))


def published_runs(dataset: str = "cls_books") -> list[RunResult]:
    """Return the nine published runs as if they were ours."""
    return [
        made_up(best, seed, backend, init, dataset)
        for (backend, init), runs in PUBLISHED.items()
        for seed, best in enumerate(runs)
    ]


def write_answers(folder: Path, run: RunResult, n: int = 2_000, seed: int = 0) -> None:
    """Write a predictions.parquet of `n` test texts that makes the run's test accuracy."""
    right = np.zeros(n, dtype=bool)
    assert run.test is not None
    order = np.argsort(np.arange(n) + np.random.default_rng(seed).normal(0, n / 10, n))  # the same texts are hard
    right[order[: round(n * run.test / 100)]] = True
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(
        {
            "split": "test",
            "id": [f"test-{number}" for number in range(n)],
            "gold": "positive",
            "predicted": np.where(right, "positive", "negative"),
            "logits": [[0.0, 1.0]] * n,
        }
    ).to_parquet(folder / "predictions.parquet")


def folders_of(root: Path, runs: list[RunResult]) -> dict[str, Path]:
    """Write the answers of every run and return the folders by the runs' names."""
    folders = {str(run.key): run.key.folder(root, "s") for run in runs}
    for number, run in enumerate(runs):
        write_answers(folders[str(run.key)], run, seed=number)
    return folders


def nowhere(runs: list[RunResult]) -> dict[str, Path]:
    """Return the folders of runs that have left nothing but their accuracies."""
    return {str(run.key): Path("nowhere") for run in runs}


def of_curves(init: str, *curves: list[float]) -> list[RunResult]:
    """Return a run for each curve of test accuracy over steps 0, 100, 200 and 300."""
    runs = [run for run in published_runs() if run.key.init == init and run.key.backend == "fairseq"]
    steps = pd.DataFrame({"step": [0, 100, 200, 300], "valid": 50.0})
    return [replace(run, curve=steps.assign(test=curve)) for run, curve in zip(runs, curves, strict=False)]


def evidence_of(points: dict[tuple[str, int], dict[int, float]]) -> Evidence:
    """Return the evidence of runs by (init, training texts; 0: all 60) and seed, with these test accuracies."""
    runs = [
        replace(made_up((98, 80.0, test), seed, init=init), key=RunKey("d", "m", "fairseq", "full", init, seed, train))
        for (init, train), tests in points.items()
        for seed, test in tests.items()
    ]
    evidence = gather_evidence(runs, nowhere(runs), 70.0)
    return replace(evidence, groups=[replace(group, n_train=group.n_train or 60) for group in evidence.groups])
