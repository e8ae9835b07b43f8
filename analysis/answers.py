"""Read from a run's predictions.parquet which texts it answered correctly at its best step."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.best_steps import RunResult

FILE = "predictions.parquet"


def answers_to_test(folder: Path) -> pd.DataFrame | None:
    """Return a run's answers to the test texts: id, gold, predicted. None: its file is missing or damaged."""
    try:
        found = pd.read_parquet(folder / FILE, columns=["split", "id", "gold", "predicted"])
    except (OSError, ValueError, KeyError):
        return None
    return found[found["split"] == "test"]


def right_answers(
    results: list[RunResult], folders: dict[str, Path], answers: list[pd.DataFrame | None]
) -> tuple[NDArray[np.float64] | None, list[str], str | None]:
    """Return the scores of the runs, shape (runs, texts), the ids of the texts, and None; or None, no ids, and why.

    `answers` has what `answers_to_test` returns of each run. A score is 100 for a correct answer and 0 for a wrong one.
    All runs must answer the same texts, and the answers of a run must give the test accuracy that the run logged.
    """
    rows: list[NDArray[np.float64]] = []
    ids: list[str] = []
    for result, own in zip(results, answers, strict=True):
        path = folders[str(result.key)] / FILE
        if own is None:
            return None, [], f"{path} is missing, or not whole"
        right = np.where(own["gold"] == own["predicted"], 100.0, 0.0)
        if result.test is None or not len(right) or abs(right.mean() - result.test) > 1e-6:
            return None, [], f"{path} does not make the test accuracy that was logged"
        if rows and ids != own["id"].tolist():
            return None, [], f"{path} answers other texts than the runs before"
        ids = own["id"].tolist()
        rows.append(right)
    return (np.stack(rows), ids, None) if rows else (None, [], "no run is done")
