"""What is told where it is not known which texts a run answered correctly."""

from pathlib import Path

import pandas as pd
import pytest

from analysis.answers import answers_to_test, right_answers
from analysis.evidence import gather_evidence
from tests.analysis.made_up import folders_of, published_runs


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "is missing, or not whole"),
        (lambda path: path.write_bytes(path.read_bytes()[:-50]), "is missing, or not whole"),
        (lambda path: pd.read_parquet(path).assign(predicted="positive").to_parquet(path), "does not make the test"),
        (lambda path: pd.read_parquet(path).assign(id="x").to_parquet(path), "answers other texts"),
    ],
)
def test_without_answers_to_the_same_texts_there_is_no_interval_for_new_texts_and_it_says_why(
    tmp_path: Path, harm: object, said: str
) -> None:
    runs = published_runs()
    folders = folders_of(tmp_path, runs)
    assert callable(harm)
    harm(folders[str(runs[1].key)] / "predictions.parquet")
    evidence = gather_evidence(runs, folders, 70.0)
    assert evidence.groups[0].over_texts is None
    assert said in (evidence.groups[0].no_texts or "")
    assert evidence.comparisons[0].difference_over_texts is None
    assert evidence.groups[1].over_texts is not None


def test_the_same_texts_in_another_order_are_not_laid_beside_each_other(tmp_path: Path) -> None:
    runs = published_runs()[:2]
    folders = folders_of(tmp_path, runs)
    path = folders[str(runs[1].key)] / "predictions.parquet"
    pd.read_parquet(path).iloc[::-1].to_parquet(path)
    answers = [answers_to_test(folders[str(run.key)]) for run in runs]
    right, _, why_not = right_answers(runs, folders, answers)
    assert right is None
    assert why_not == f"{path} answers other texts than the runs before"
