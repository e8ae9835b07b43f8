"""What the tasks share: bfloat16 autocast, no batch that omits an example, an evaluation before the first step."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from fairseq import utils
from fairseq.data import FairseqDataset
from fairseq.logging import metrics, progress_bar
from fairseq.tasks import FairseqTask

from fairseq_tasks.progress import TrainingProgress
from fairseq_tasks.resume import stop_if_asked
from foundation.errors import UsageError, is_out_of_memory


class EvaluatedTask(FairseqTask):
    """A task whose `progress` counts the batches. `after_evaluation` gets the result of each evaluation.

    Its configuration holds `autocast`, `goes_on`, `max_positions`, `valid_subset`, `batch_size_valid` and
    `tensorboard_logdir`.
    """

    progress: TrainingProgress
    criterion: Any = None
    awaiting: list[str]

    def after_evaluation(self, split: str, model: torch.nn.Module, stats: dict[str, Any]) -> None:
        """Record an evaluation. `stats` holds the logged values and `num_updates`, the step."""
        raise NotImplementedError

    def get_batch_iterator(self, dataset: FairseqDataset, *args: Any, **kwargs: Any) -> Any:
        """Do as fairseq does, but raise `UsageError` when the batches omit an example; stock fairseq is silent."""
        iterator = super().get_batch_iterator(dataset, *args, **kwargs)
        batched = sum(len(batch) for batch in iterator.frozen_batches)
        if batched != len(dataset):
            raise UsageError(
                f"the batches hold {batched} of {len(dataset)} examples; set "
                "fairseq.dataset.required_batch_size_multiple=1 and no size limit"
            )
        return iterator

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        self.criterion = super().build_criterion(cfg, from_checkpoint)
        return self.criterion

    def autocast(self, sample: dict[str, Any]) -> AbstractContextManager[Any]:
        """Return the context of a forward pass: bfloat16 autocast when the run has it, else nothing."""
        if not self.cfg.autocast:
            return nullcontext()
        return torch.autocast(sample["target"].device.type, dtype=torch.bfloat16)

    def train_step(
        self,
        sample: dict[str, Any],
        model: Any,
        criterion: Any,
        optimizer: Any,
        update_num: int,
        ignore_grad: bool = False,
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        """Do fairseq's step, with the forward pass under `autocast` if set. Count the batch, also if no step follows.

        Raises `MemoryError` when no memory is left: fairseq would skip the batch and continue.
        """
        model.train()
        model.set_num_updates(update_num)
        try:
            with self.autocast(sample):
                loss, sample_size, log = criterion(model, sample)
            optimizer.backward(loss * 0 if ignore_grad else loss)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise MemoryError(f"after step {update_num}: {str(error).splitlines()[0]}") from error
        self.progress.batch(update_num, log["loss"] / sample_size)
        return loss, sample_size, log

    def valid_step(self, sample: dict[str, Any], model: torch.nn.Module, criterion: Any) -> Any:
        """Do fairseq's evaluation of a batch, under `autocast` if set. Stop before it if the run is asked to stop."""
        stop_if_asked()
        with self.autocast(sample):
            return super().valid_step(sample, model, criterion)

    def begin_epoch(self, epoch: int, model: torch.nn.Module) -> None:
        """Evaluate before the first step; fairseq itself evaluates only after steps."""
        if epoch == 1 and not self.cfg.goes_on:
            self.progress.begin_evaluation()
            for split in self.cfg.valid_subset.split(","):
                self._evaluate_at_start(split, model)

    def _evaluate_at_start(self, split: str, model: torch.nn.Module) -> None:
        batches = self.get_batch_iterator(
            self.datasets[split], max_sentences=self.cfg.batch_size_valid, max_positions=self.cfg.max_positions
        )
        on_cuda = next(model.parameters()).is_cuda
        with metrics.aggregate(new_root=True) as aggregator:
            for sample in batches.next_epoch_itr(shuffle=False, set_dataset_epoch=False):
                sample = utils.move_to_cuda(sample) if on_cuda else sample
                _, _, log = self.valid_step(sample, model, self.criterion)
                self.reduce_metrics([log], self.criterion)
        stats = {**aggregator.get_smoothed_values(), "num_updates": 0}
        self.after_evaluation(split, model, stats)
        bar = progress_bar.SimpleProgressBar([], epoch=1, prefix=f"before training, '{split}' subset")
        progress_bar.TensorboardProgressBarWrapper(bar, self.cfg.tensorboard_logdir).print(stats, tag=split, step=0)

    def begin_valid_epoch(self, epoch: int, model: torch.nn.Module) -> None:
        self.progress.begin_evaluation()
        self.awaiting = self.cfg.valid_subset.split(",")

    def post_validate(self, model: torch.nn.Module, stats: dict[str, Any], aggregator: Any) -> None:
        """fairseq calls this after each subset, in the order of `dataset.valid_subset`, before it logs the result."""
        self.after_evaluation(self.awaiting.pop(0), model, stats)
