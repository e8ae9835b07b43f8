"""Writes the predictions of a run at its best step, one row per example: predictions.parquet in the run folder.

split       valid or test
id          the example's id in data/splits
gold        its class
predicted   the class of the highest logit
logits      one per class, in the order of the file's metadata key `classes` (a JSON list)
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from numpy.typing import NDArray

from foundation.errors import UsageError
from foundation.whole_files import replaced


class Predictions:
    """Collects the logits of each evaluation, and keeps the predictions of the best step.

    `data` is a folder of data/bin. Its `ids/<split>.txt` lists the ids of the examples in the order of their rows.
    `manifest` is the manifest of the folder.
    """

    def __init__(self, folder: Path, data: Path, manifest: dict[str, Any]) -> None:
        self.path, self.data, self.labels = folder / "predictions.parquet", data, list(manifest["labels"])
        self.batches: list[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]] = []
        self.best: dict[str, pyarrow.Table] = {}

    def add(self, rows: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Record a batch: (n,) rows of the examples in their split, (n, classes) logits, (n,) true classes."""
        self.batches.append((rows.cpu().numpy(), logits.detach().float().cpu().numpy(), targets.view(-1).cpu().numpy()))

    def evaluated(self, split: str, n_correct: int) -> pyarrow.Table:
        """Return the predictions collected since the last evaluation, in the order of data/splits.

        Raises `UsageError` when the number of right predictions is not the logged `n_correct`, or when ids are missing.
        """
        rows, logits, targets = (np.concatenate(part) for part in zip(*self.batches, strict=True))
        self.batches = []
        order = np.argsort(rows, kind="stable")
        logits, targets = logits[order], targets[order]
        predicted = logits.argmax(axis=1)
        if (n_right := int((predicted == targets).sum())) != n_correct:
            raise UsageError(f"{split}: {n_correct} right answers were logged, the predictions hold {n_right}")
        path = self.data / "ids" / f"{split}.txt"
        ids = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        if len(ids) != len(rows):
            raise UsageError(f"{path} does not name the {len(rows)} examples of {split}; run `make prep` again")
        names = np.array(self.labels, dtype=object)
        columns = {
            "split": [split] * len(rows),
            "id": ids,
            "gold": names[targets],
            "predicted": names[predicted],
            "logits": list(logits),
        }
        return pyarrow.table(columns)

    def keep(self, split: str, answers: pyarrow.Table, first: bool) -> None:
        """Write the predictions of a split at the best step. `first`: the best step is new, so drop older ones."""
        self.best = {split: answers} if first else {**self.best, split: answers}
        table = pyarrow.concat_tables(self.best.values()).replace_schema_metadata({"classes": json.dumps(self.labels)})
        with replaced(self.path) as temporary:
            pyarrow.parquet.write_table(table, temporary)
