"""fairseq's own training, evaluated at given steps, whose state is saved at their end and taken up where it was cut.

fairseq evaluates at each epoch's end and at every n-th step, there again after a batch whose gradients overflowed. It
saves between epochs, or evaluates whenever it saves; its checkpoints are not its users' to trust when a disk fills up.
Here three of its functions are called through ours: what they do is left as it is.
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
    """Let a GPU give the same bits at each run, as a CPU does; called before anything is computed on it."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch asks for it, cuBLAS reads it
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # for bugs alone


def train(settings: DictConfig, batches: int, evaluations: list[int], saver: Saver, checkpoint: Path | None) -> None:
    """Train as `settings`, fairseq's whole configuration, say, on `batches`, and evaluate at the steps `evaluations`.

    Goes on from a checkpoint of `saver`'s if one is given. A batch whose gradients overflow in float16 is no step of
    fairseq's: it is counted, and no batch is trained on in its place.
    """
    plain_epoch, plain_end_of_step = fairseq_cli.train.train, fairseq_cli.train.validate_and_save
    plain_evaluation, planned = fairseq_cli.train.validate, frozenset(evaluations)
    taken = 0

    def epoch(cfg: Any, trainer: Any, task: Any, epoch_itr: Any) -> Any:
        if cfg.checkpoint.no_save:
            trainer.save_checkpoint = lambda *_: None  # fairseq's crash.pt, which nobody would read
        nonlocal checkpoint, taken
        taken = trainer.get_num_updates()
        if checkpoint is not None:
            _take_up(trainer.optimizer, checkpoint)
            checkpoint = None  # later epochs go on from the one before
        elif taken and saver.due(taken):  # the epoch before has ended, and its scalars are written
            save(trainer, task, epoch_itr)
        try:
            return plain_epoch(cfg, trainer, task, epoch_itr)
        except FloatingPointError:  # of gradients; where the loss is to blame, that is the thing to say
            task.progress.look()
            raise

    def evaluation(cfg: Any, trainer: Any, task: Any, epoch_itr: Any, subsets: list[str]) -> Any:
        if task.progress.is_evaluated(trainer.get_num_updates(), subsets):
            return [None]  # as fairseq says where it does not evaluate
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
            task.progress.write()  # where the last batch was no step, its evaluation was made before it
        stops = stops or worked_off
        if step and not end_of_epoch and not stops and saver.due(step):
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
    """Write what fairseq's own loading asks for, and of float16 what fairseq leaves out.

    That is the loss scaler's state, and the float32 weights that the optimiser moves: the model's are their halves.
    """
    trainer.consolidate_optimizer()  # what fairseq calls before it
    state = trainer.state_dict()
    more = {
        "train_iterator": _place(epoch_itr),
        "val_loss": None,
        "scaler": _scaler(trainer.optimizer),
        "float32": _float32_weights(trainer.optimizer),
    }
    if hasattr(checkpoint_utils.save_checkpoint, "best"):
        more["best"] = checkpoint_utils.save_checkpoint.best  # of the evaluations so far, which fairseq logs
    state["extra_state"].update(more)
    torch.save(state, path)


def _place(epoch_itr: Any) -> dict[str, Any]:
    """Return where the next batch is taken from, as fairseq's iterator loads it: within an epoch, or at its start."""
    if epoch_itr.next_epoch_idx == epoch_itr.epoch and epoch_itr.iterations_in_epoch:
        place: dict[str, Any] = epoch_itr.state_dict()
        return place
    return {"version": 2, "epoch": epoch_itr.next_epoch_idx, "iterations_in_epoch": 0, "shuffle": epoch_itr.shuffle}


def _scaler(optimizer: Any) -> dict[str, float]:
    scaler = getattr(optimizer, "scaler", None)
    return {name: value for name, value in vars(scaler).items() if isinstance(value, int | float)} if scaler else {}


def _float32_weights(optimizer: Any) -> list[torch.Tensor]:
    """Return what fairseq's FP16Optimizer keeps beside the halves: one flat tensor, or one a parameter."""
    weights = getattr(optimizer, "fp32_params", [])
    return [weight.detach() for weight in (weights.values() if isinstance(weights, dict) else weights)]


def _take_up(optimizer: Any, checkpoint: Path) -> None:
    """Restore what fairseq leaves out: float16's float32 weights, and what is summed over an epoch's end."""
    saved = torch.load(checkpoint / "state.pt", map_location="cpu", mmap=True)["extra_state"]
    if saved["train_iterator"]["iterations_in_epoch"] == 0:  # there fairseq begins its sums anew
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
