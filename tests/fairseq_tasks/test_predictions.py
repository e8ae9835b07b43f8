"""predictions.parquet: every example of valid and test, answered at the best step."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import torch

from data_prep.examples import read_split
from fairseq_tasks.predictions import Predictions
from fairseq_tasks.progress import Progress
from foundation.errors import UsageError
from tests.conftest import SIZES, Workspace

MANIFEST = {"labels": ["non", "oui"], "examples": {"valid": 2, "test": 2}}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "ids").mkdir()
    for split in ("valid", "test"):
        (tmp_path / "ids" / f"{split}.txt").write_text(f"{split}-a\n{split}-b\n")
    return tmp_path


def logits(*answers: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(answers), 2).float()


def test_a_run_answers_every_example_of_valid_and_test_at_its_best_step(swept: Workspace) -> None:
    for init in ("pretrained", "random"):
        folder = swept.run_folder(init, 1)
        table = pyarrow.parquet.read_table(folder / "predictions.parquet")
        classes = json.loads(table.schema.metadata[b"classes"])
        answers, progress = table.to_pandas(), json.loads((folder / "progress.json").read_text())
        test = progress["test"] if progress["test"]["step"] == progress["best_step"] else None
        for split, evaluation in (("valid", progress["best_valid"]), ("test", test)):
            own = answers[answers["split"] == split]
            examples = list(read_split(swept.root / "data/splits/amazon_fr" / f"{split}.jsonl"))
            assert len(own) == SIZES[split]
            assert own["id"].tolist() == [example.id for example in examples]
            assert own["gold"].tolist() == [example.label for example in examples]
            assert own["predicted"].tolist() == [classes[int(np.argmax(row))] for row in own["logits"]]
            if evaluation is not None:
                assert int((own["gold"] == own["predicted"]).sum()) == evaluation["n_correct"]
    assert any(
        json.loads((swept.run_folder(init, 1) / "progress.json").read_text())["best_step"] > 0
        for init in ("pretrained", "random")
    )


def test_the_answers_are_those_of_the_best_step_and_stand_in_the_order_of_the_split(data: Path) -> None:
    progress = Progress(data, data, MANIFEST, lambda *_: None)

    def evaluate(step: int, split: str, *answers: int) -> None:
        progress.predictions.add(torch.tensor([1, 0]), logits(*reversed(answers)), torch.tensor([1, 0]))
        n_correct = sum(a == b for a, b in zip(answers, (0, 1), strict=True))
        progress.evaluated(split, step, 2, n_correct, 0.5, torch.nn.Linear(1, 1))

    def kept() -> list[str]:
        answers = pd.read_parquet(data / "predictions.parquet")
        return [f"{row.id}:{row.predicted}" for row in answers.itertuples()]

    evaluate(0, "valid", 1, 1)
    assert kept() == ["valid-a:oui", "valid-b:oui"]
    evaluate(0, "test", 0, 0)
    assert kept() == ["valid-a:oui", "valid-b:oui", "test-a:non", "test-b:non"]
    evaluate(5, "valid", 0, 1)
    assert kept() == ["valid-a:non", "valid-b:oui"]  # never the test answers of another step
    evaluate(5, "test", 1, 0)
    evaluate(9, "valid", 0, 1)  # a tie: the earlier step stays
    evaluate(9, "test", 1, 1)
    assert kept() == ["valid-a:non", "valid-b:oui", "test-a:oui", "test-b:non"]


def test_predictions_that_do_not_make_the_logged_count_stop_the_run(data: Path) -> None:
    predictions = Predictions(data, data, MANIFEST)
    predictions.add(torch.tensor([0, 1]), logits(0, 1), torch.tensor([0, 1]))
    with pytest.raises(UsageError, match="1 right answers were logged, the predictions hold 2"):
        predictions.evaluated("test", 1)


def test_data_prepared_without_ids_is_one_sentence(data: Path) -> None:
    (data / "ids/test.txt").unlink()
    predictions = Predictions(data, data, MANIFEST)
    predictions.add(torch.tensor([0, 1]), logits(0, 1), torch.tensor([0, 1]))
    with pytest.raises(UsageError, match=r"test.txt does not name the 2 examples of test; run `make prep` again"):
        predictions.evaluated("test", 2)
