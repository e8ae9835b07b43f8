"""Read from a run's predictions.parquet which texts it answered correctly at its best step."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.best_steps import RunResult

COLUMNS = ["split", "id", "gold", "predicted"]


def read_answers(folder: Path) -> pd.DataFrame:
    """Return a run's answers: split, id, gold, predicted. Raises `ValueError` when the file is missing or damaged."""
    path = folder / "predictions.parquet"
    try:
        return pd.read_parquet(path, columns=COLUMNS)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is missing, or not whole") from error


def seeds_of_one_answer(results: list[RunResult], folders: dict[str, Path]) -> list[int]:
    """Return the seeds of the runs that have learned nothing: a whole predictions.parquet has one class alone."""
    seeds = []
    for result in results:
        with suppress(ValueError):
            answers = read_answers(folders[str(result.key)])
            if answers[answers["split"] == "test"]["predicted"].nunique() == 1:
                seeds.append(result.key.seed)
    return seeds


def right_answers(
    results: list[RunResult], folders: dict[str, Path]
) -> tuple[NDArray[np.float64] | None, list[str], str | None]:
    """Return the scores of the runs, shape (runs, texts), the ids of the texts, and None; or None, no ids, and why.

    A score is 100 for a correct answer and 0 for a wrong one. All runs must answer the same texts, and the answers of a
    run must give the test accuracy that the run logged.
    """
    rows: list[NDArray[np.float64]] = []
    ids: list[str] = []
    for result in results:
        folder = folders[str(result.key)]
        try:
            answers = read_answers(folder)
        except ValueError as error:
            return None, [], str(error)
        own = answers[answers["split"] == "test"]
        right = np.where(own["gold"] == own["predicted"], 100.0, 0.0)
        if result.test is None or not len(right) or abs(right.mean() - result.test) > 1e-6:
            return None, [], f"{folder / 'predictions.parquet'} does not make the test accuracy that was logged"
        if rows and ids != own["id"].tolist():
            return None, [], f"{folder / 'predictions.parquet'} answers other texts than the runs before"
        ids = own["id"].tolist()
        rows.append(right)
    return (np.stack(rows), ids, None) if rows else (None, [], "no run is done")
