"""Begins a run or a pre-training: anew, or at its last checkpoint."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from foundation.errors import UsageError
from foundation.whole_files import write_json
from sweeps.folders import read_json, set_status
from sweeps.provenance import differing_inputs, provenance


@dataclass(frozen=True)
class Beginning:
    """Where a run or a pre-training begins: at its last checkpoint, or anew."""

    checkpoint: Path | None
    step: int  # of the checkpoint
    record: dict[str, Any]  # the provenance
    damaged: list[str]  # sentences on damaged checkpoints

    def write(self, folder: Path) -> None:
        """Write provenance.json, once nothing stands in the way of the training any more."""
        if self.checkpoint is not None:
            print(f"going on from step {self.step}", flush=True)
        write_json(folder / "provenance.json", self.record)
        set_status(folder, notes=[*read_json(folder / "status.json").get("notes", []), *self.damaged])


def begin(folder: Path, config: DictConfig, threads: int, hashes: Callable[[DictConfig], dict[str, Any]]) -> Beginning:
    """Set up torch, and take up the last checkpoint of a run or a pre-training.

    `hashes` returns the hashes of the inputs. Raises `UsageError` when there is no CUDA device, when an input has
    changed, or when the provenance of the checkpoint is lost.
    """
    import torch

    from fairseq_tasks.resume import take_up
    from fairseq_tasks.training import use_deterministic_algorithms

    if config.device == "cuda":
        if not torch.cuda.is_available():
            raise UsageError("this machine has no CUDA device that torch can use, and the run was planned for one")
        use_deterministic_algorithms()
    torch.set_num_threads(threads)
    checkpoint, taken_up, damaged = take_up(folder)
    step = int(taken_up.get("step", 0))
    before = read_json(folder / "provenance.json")
    record = provenance(config, hashes(config), threads)
    if checkpoint is not None and "inputs" not in before:
        raise UsageError(
            "provenance.json is missing or damaged, so the inputs that the run began with are not known; put it back, "
            "or call again with FORCE=1"
        )
    if changed := differing_inputs(before.get("inputs", record["inputs"]), record["inputs"]):
        raise UsageError(
            f"{', '.join(changed)}: not the one that the run was planned or begun with; put it back, or "
            "call again with FORCE=1"
        )
    if checkpoint is not None:
        differs = {name: value for name, value in record.items() if before.get(name) != value}
        record = {**record, **before, "resumed": [*before.get("resumed", []), {"step": step, **differs}]}
    return Beginning(checkpoint, step, record, damaged)
