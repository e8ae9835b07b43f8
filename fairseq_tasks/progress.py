"""Records the progress of a run in both back ends: the last step, batch and loss, the evaluations, the best step.

progress.json         in the run folder, replaced as a whole, at most once a second between evaluations; `evaluated`
                      lists the steps at which each split was scored, `evaluation_seconds` is the time of all of them
predictions.parquet   the predictions at the best step (`fairseq_tasks/predictions.py`)
"""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fairseq_tasks.initialisation import digest_of
from fairseq_tasks.predictions import Predictions
from foundation.errors import UsageError
from foundation.whole_files import write_json

SECONDS = 1.0


def cure(fp16: bool) -> str:
    """Return advice for numbers that are no longer finite. `fp16`: the run uses float16, which ends at 65,504."""
    return "train with PRECISION=bf16 or PRECISION=fp32" if fp16 else "lower the learning rate"


class TrainingProgress:
    """Counts batches and evaluations, and checks the losses.

    `goes_on`: the run was interrupted, and its progress.json is continued. `fp16`: the run uses float16. `overflowed`
    counts the planned steps that fairseq did not take because the gradients overflowed. `skipped` counts the planned
    steps that Trainer counts as taken although the gradients overflowed.
    """

    def __init__(self, folder: Path, goes_on: bool = False, fp16: bool = False, **state: Any) -> None:
        self.path = folder / "progress.json"
        self.state: dict[str, Any] = {
            "step": 0,
            "batches": 0,
            "overflowed": 0,
            "skipped": 0,
            "evaluated": {},
            "evaluation_seconds": 0.0,
            **state,
        }
        if goes_on:
            self.state.update(json.loads(self.path.read_text(encoding="utf-8")))
        self.cure = cure(fp16)
        self.unseen: torch.Tensor | float = 0.0  # sum of the losses since the last `look`: finite if every loss is
        self.step = 0  # of the last batch
        self.written_at, self.began = 0.0, time.monotonic()

    def batch(self, step: int, loss: torch.Tensor | float) -> None:
        """Record a batch after `step` steps, with its mean loss (nats). `look` checks the loss later.

        Reading a number from a GPU means waiting for the GPU. So the loss is read only when progress.json is written.
        """
        self.state["batches"] += 1
        self.step, self.unseen = step, self.unseen + loss
        if time.monotonic() - self.written_at > SECONDS:
            self.look()
            self.write(step=step, loss=float(loss))

    def look(self) -> None:
        """Raise `UsageError` unless every loss since the last call is finite. Called at the latest at a step's end."""
        seen, self.unseen = float(self.unseen), 0.0
        if not math.isfinite(seen):
            raise UsageError(f"after step {self.step}: the training loss is {seen}; {self.cure}")

    def is_evaluated(self, step: int, splits: list[str]) -> bool:
        """Return whether the last evaluation of each split was at `step`."""
        return all(self.state["evaluated"].get(split, [None])[-1] == step for split in splits)

    def begin_evaluation(self) -> None:
        """Start to measure the seconds of an evaluation of every split."""
        self.look()
        self.began = time.monotonic()

    def require_finite(self, split: str, step: int, loss: float) -> None:
        """Raise `UsageError` when the loss of an evaluation (nats) is not finite."""
        if not math.isfinite(loss):
            raise UsageError(f"step {step}: the loss on {split} is {loss}; {self.cure}")

    def end_evaluation(self, split: str, step: int, **news: Any) -> None:
        """Record that a split was evaluated at `step`, with the results `news`."""
        now, before = time.monotonic(), self.state["evaluated"]
        self.state["evaluation_seconds"] += now - self.began
        self.began = now
        self.write(step=step, **news, evaluated={**before, split: [*before.get(split, []), step]})

    def write(self, **news: Any) -> None:
        """Add `news` to the state of the run, and write progress.json."""
        self.state.update(news)
        write_json(self.path, self.state)
        self.written_at = time.monotonic()


class Progress(TrainingProgress):
    """The progress of a classifier. Keeps the step of the highest validation accuracy, the earliest on a tie.

    `data` is a folder of data/bin and `manifest` its manifest. `save_best` is called with the model and its evaluation
    when it is the best so far. A back end adds each scored batch to `predictions`.
    """

    def __init__(
        self,
        folder: Path,
        data: Path,
        manifest: dict[str, Any],
        save_best: Callable[[torch.nn.Module, dict[str, Any]], None],
        goes_on: bool = False,
        fp16: bool = False,
    ) -> None:
        super().__init__(folder, goes_on, fp16, best_step=None, best_valid=None, weights=None)
        self.examples, self.save_best = manifest["examples"], save_best
        self.predictions = Predictions(folder, data, manifest)

    def evaluated(self, split: str, step: int, n: int, n_correct: int, loss: float, model: torch.nn.Module) -> None:
        """Record an evaluation, and the digest of all weights of the evaluated model.

        Raises `UsageError` when an example was left out or the loss (nats) is not finite.
        """
        if n != self.examples[split]:
            raise UsageError(f"step {step}: {n} of the {self.examples[split]} examples of {split} were scored")
        self.require_finite(split, step, loss)
        answers = self.predictions.evaluated(split, n_correct)
        evaluation = {"step": step, "n_correct": n_correct, "n": n, "loss": loss}
        best = self.state["best_valid"]
        weights = digest_of(model.named_parameters()) if split == "valid" else self.state["weights"]
        news: dict[str, Any] = {"weights": weights, split: evaluation}
        if split == "valid" and (best is None or n_correct > best["n_correct"]):
            self.save_best(model, evaluation)
            self.predictions.keep(split, answers, first=True)
            news |= {"best_valid": evaluation, "best_step": step}
        elif split != "valid" and step == self.state["best_step"]:
            self.predictions.keep(split, answers, first=False)
        self.end_evaluation(split, step, **news)
