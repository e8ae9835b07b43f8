"""fairseq's own training, evaluated at given steps. It saves its state at the end of steps, and continues from there.

Stock fairseq evaluates at each epoch's end and at every n-th step, and again at the same step after a batch whose
gradients overflowed. It saves only between epochs, or evaluates whenever it saves. Its checkpoints cannot be trusted
when a disk fills up. This module wraps three of fairseq's functions, and does not change what they do.
"""

import os
from pathlib import Path
from typing import Any

import fairseq_cli.train
import torch
from fairseq import checkpoint_utils
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import metrics
from omegaconf import DictConfig

from fairseq_tasks.resume import Saver
from foundation.errors import UsageError


def use_deterministic_algorithms() -> None:
    """Make a GPU give the same bits in each run, as a CPU does. Call it before the GPU computes anything."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch requires it, cuBLAS reads it
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # only helps to find bugs


def train(
    settings: DictConfig,
    batches: int,
    evaluations: list[int],
    saver: Saver,
    checkpoint: Path | None,
    save_at_end: bool = False,
) -> None:
    """Train on `batches` batches with `settings`, fairseq's whole configuration. Evaluate at the steps `evaluations`.

    Continues from `checkpoint`, saved by `saver`, if it is given. With `save_at_end` the run can be made longer later.
    fairseq takes no step for a batch whose gradients
    overflow in float16. The batch is counted all the same, and no other batch replaces it.
    """
    plain_epoch, plain_end_of_step = fairseq_cli.train.train, fairseq_cli.train.validate_and_save
    plain_evaluation, planned = fairseq_cli.train.validate, frozenset(evaluations)
    taken = 0

    def epoch(cfg: Any, trainer: Any, task: Any, epoch_itr: Any) -> Any:
        if cfg.checkpoint.no_save:
            trainer.save_checkpoint = lambda *_: None  # no crash.pt of fairseq's, which nobody would read
        nonlocal checkpoint, taken
        taken = trainer.get_num_updates()
        if checkpoint is not None:
            _take_up(trainer.optimizer, checkpoint)
            checkpoint = None  # later epochs continue from the previous epoch
        elif taken and saver.due(taken):  # the previous epoch has ended, and its scalars are written
            save(trainer, task, epoch_itr)
        try:
            return plain_epoch(cfg, trainer, task, epoch_itr)
        except FloatingPointError:  # the gradients are not finite; if the loss is the cause, report the loss
            task.progress.look()
            raise

    def evaluation(cfg: Any, trainer: Any, task: Any, epoch_itr: Any, subsets: list[str]) -> Any:
        if task.progress.is_evaluated(trainer.get_num_updates(), subsets):
            return [None]  # as fairseq returns when it does not evaluate
        return plain_evaluation(cfg, trainer, task, epoch_itr, subsets)

    def end_of_step(cfg: Any, trainer: Any, task: Any, epoch_itr: Any, subsets: list[str], end_of_epoch: bool) -> Any:
        nonlocal taken
        step = trainer.get_num_updates()
        task.progress.state["overflowed"] += step == taken
        taken = step
        task.progress.look()
        losses, stops = plain_end_of_step(cfg, trainer, task, epoch_itr, subsets, end_of_epoch)
        worked_off = task.progress.state["batches"] >= batches
        if step in planned or worked_off:
            evaluation(cfg, trainer, task, epoch_itr, subsets)
            task.progress.write()  # if the last batch was no step, progress.json does not have the batch yet
        stops = stops or worked_off
        if step and not end_of_epoch and not stops and saver.due(step):
            save(trainer, task, epoch_itr)
        if stops and save_at_end:
            save(trainer, task, epoch_itr)
        return losses, stops

    def save(trainer: Any, task: Any, epoch_itr: Any) -> None:
        step = trainer.get_num_updates()
        saver.save(step, task.progress.state, lambda folder: _write(folder / "state.pt", trainer, epoch_itr))

    fairseq_cli.train.train, fairseq_cli.train.validate_and_save = epoch, end_of_step
    fairseq_cli.train.validate = evaluation
    if checkpoint is not None:
        settings.checkpoint.restore_file = str(checkpoint / "state.pt")
        settings.task.goes_on = True
    distributed_utils.call_main(settings, fairseq_cli.train.main)


def _write(path: Path, trainer: Any, epoch_itr: Any) -> None:
    """Write the state that fairseq's own loading needs, and the float16 state that fairseq omits.

    fairseq omits the loss scaler's state, and the float32 weights that the optimiser updates. The model holds only
    float16 copies of these weights.
    """
    trainer.consolidate_optimizer()  # fairseq calls it before `state_dict`, too
    state = trainer.state_dict()
    more = {
        "train_iterator": _place(epoch_itr),
        "val_loss": None,
        "scaler": _scaler(trainer.optimizer),
        "float32": _float32_weights(trainer.optimizer),
    }
    if hasattr(checkpoint_utils.save_checkpoint, "best"):
        more["best"] = checkpoint_utils.save_checkpoint.best  # the best value so far, which fairseq logs
    state["extra_state"].update(more)
    torch.save(state, path)


def _place(epoch_itr: Any) -> dict[str, Any]:
    """Return the place of the next batch, within an epoch or at its start, as fairseq's iterator loads it."""
    if epoch_itr.next_epoch_idx == epoch_itr.epoch and epoch_itr.iterations_in_epoch:
        place: dict[str, Any] = epoch_itr.state_dict()
        return place
    return {"version": 2, "epoch": epoch_itr.next_epoch_idx, "iterations_in_epoch": 0, "shuffle": epoch_itr.shuffle}


def _scaler(optimizer: Any) -> dict[str, float]:
    scaler = getattr(optimizer, "scaler", None)
    return {name: value for name, value in vars(scaler).items() if isinstance(value, int | float)} if scaler else {}


def _float32_weights(optimizer: Any) -> list[torch.Tensor]:
    """Return the float32 weights of fairseq's FP16Optimizer: one flat tensor, or one tensor per parameter."""
    weights = getattr(optimizer, "fp32_params", [])
    return [weight.detach() for weight in (weights.values() if isinstance(weights, dict) else weights)]


def _take_up(optimizer: Any, checkpoint: Path) -> None:
    """Restore what fairseq omits: float16's loss scaler and float32 weights, and sums that cross an epoch's end."""
    saved = torch.load(checkpoint / "state.pt", map_location="cpu", mmap=True)["extra_state"]
    if saved["train_iterator"]["iterations_in_epoch"] == 0:  # fairseq would start its sums anew
        metrics.load_state_dict(saved["metrics"])
    weights = _float32_weights(optimizer)
    if weights:
        if "float32" not in saved:
            raise UsageError(
                f"{checkpoint} holds no float32 weights, which training in float16 goes on from; "
                "call again with FORCE=1"
            )
        vars(optimizer.scaler).update(saved["scaler"])
        for weight, before in zip(weights, saved["float32"], strict=True):
            weight.copy_(before)
