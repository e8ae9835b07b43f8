"""fairseq's own training, evaluated at given steps, whose state is saved at their end and taken up where it was cut.

fairseq evaluates at each epoch's end and at every n-th step, there again after a batch whose gradients overflowed. It
saves between epochs, or evaluates whenever it saves; its checkpoints are not its users' to trust when a disk fills up.
Here three of its functions are called through ours: what they do is left as it is.
"""

from pathlib import Path
from typing import Any

import fairseq_cli.train
import torch
from fairseq import checkpoint_utils
from fairseq.distributed import utils as distributed_utils
from omegaconf import DictConfig

from fairseq_tasks.resume import Saver


def train(settings: DictConfig, evaluations: list[int], saver: Saver, checkpoint: Path | None) -> None:
    """Train as `settings`, fairseq's whole configuration, say, and evaluate at the steps `evaluations`.

    Goes on from a checkpoint of `saver`'s if one is given.
    """
    plain_epoch, plain_end_of_step = fairseq_cli.train.train, fairseq_cli.train.validate_and_save
    plain_evaluation, planned = fairseq_cli.train.validate, frozenset(evaluations)

    def epoch(cfg: Any, trainer: Any, task: Any, epoch_itr: Any) -> Any:
        if cfg.checkpoint.no_save:
            trainer.save_checkpoint = lambda *_: None  # fairseq's crash.pt, which nobody would read
        if checkpoint is not None and trainer.get_num_updates() == saver.saved:
            _take_up_scaler(trainer, checkpoint)
        return plain_epoch(cfg, trainer, task, epoch_itr)

    def evaluation(cfg: Any, trainer: Any, task: Any, epoch_itr: Any, subsets: list[str]) -> Any:
        if task.progress.is_evaluated(trainer.get_num_updates(), subsets):
            return [None]  # as fairseq says where it does not evaluate
        return plain_evaluation(cfg, trainer, task, epoch_itr, subsets)

    def end_of_step(cfg: Any, trainer: Any, task: Any, epoch_itr: Any, subsets: list[str], end_of_epoch: bool) -> Any:
        losses, stops = plain_end_of_step(cfg, trainer, task, epoch_itr, subsets, end_of_epoch)
        step = trainer.get_num_updates()
        if step in planned:
            evaluation(cfg, trainer, task, epoch_itr, subsets)
        if step and not end_of_epoch and not stops and saver.due(step):
            saver.save(step, task.progress.state, lambda folder: _write(folder / "state.pt", trainer, epoch_itr))
        return losses, stops

    fairseq_cli.train.train, fairseq_cli.train.validate_and_save = epoch, end_of_step
    fairseq_cli.train.validate = evaluation
    if checkpoint is not None:
        settings.checkpoint.restore_file = str(checkpoint / "state.pt")
        settings.task.goes_on = True
    distributed_utils.call_main(settings, fairseq_cli.train.main)


def _write(path: Path, trainer: Any, epoch_itr: Any) -> None:
    """Write what fairseq's own loading asks for, with the state of float16's loss scaler, which fairseq leaves out."""
    trainer.consolidate_optimizer()  # what fairseq calls before it
    state = trainer.state_dict()
    more = {"train_iterator": epoch_itr.state_dict(), "val_loss": None, "scaler": _scaler(trainer)}
    if hasattr(checkpoint_utils.save_checkpoint, "best"):
        more["best"] = checkpoint_utils.save_checkpoint.best  # of the evaluations so far, which fairseq logs
    state["extra_state"].update(more)
    torch.save(state, path)


def _scaler(trainer: Any) -> dict[str, float]:
    scaler = getattr(trainer.optimizer, "scaler", None)
    return {name: value for name, value in vars(scaler).items() if isinstance(value, int | float)} if scaler else {}


def _take_up_scaler(trainer: Any, checkpoint: Path) -> None:
    if getattr(trainer.optimizer, "scaler", None):
        state = torch.load(checkpoint / "state.pt", map_location="cpu", mmap=True)
        vars(trainer.optimizer.scaler).update(state["extra_state"]["scaler"])
