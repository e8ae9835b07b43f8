"""Trains a run with Trainer: data, batches, first weights and schedule are those of the fairseq run of this seed.

fairseq initialises and loads the model (`ClassificationTask.build_model`). The model is then converted. The batches are
fairseq's, in fairseq's order. Trainer's defaults are changed to do what fairseq does: no gradient clipping unless asked
for, weight decay on every weight, fairseq's polynomial decay, layer norms' eps 1e-5, no dropout in the head, no
training of token types (fairseq has none). Two differences remain: the dropout masks, and the place of eps in Adam.
"""

import copy
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.tensorboard import SummaryWriter  # its flush, unlike tensorboardX's, waits for queued points
from transformers import PrinterCallback, Trainer, TrainerCallback, get_polynomial_decay_schedule_with_warmup
from transformers.utils import logging as transformers_logging

from data_prep.stages import read_manifest
from fairseq_tasks.progress import Progress
from fairseq_tasks.resume import Saver, stop_if_asked
from foundation.errors import UsageError
from foundation.whole_files import write_json
from hf_tasks.adapters import count_parameters, save_adapter
from hf_tasks.arguments import training_arguments
from hf_tasks.first_weights import converted, draw_model
from hf_tasks.tokenizer import make_tokenizer
from hf_tasks.weights import to_fairseq

logger = logging.getLogger(__name__)


class Epochs(IterableDataset[dict[str, torch.Tensor]]):
    """fairseq's training batches. Each pass over this dataset is the next epoch."""

    def __init__(self, task: Any, settings: DictConfig) -> None:
        self.task, self.settings, self.epoch = task, settings, 0

    def skip(self, steps: int) -> None:
        """Begin with the epoch of the step after `steps`. Trainer itself skips the earlier batches of this epoch."""
        while steps >= (in_epoch := len(self._iterator(self.epoch + 1))):
            steps, self.epoch = steps - in_epoch, self.epoch + 1

    def _iterator(self, epoch: int) -> Any:
        dataset = self.settings.dataset
        return self.task.get_batch_iterator(
            dataset=self.task.dataset(dataset.train_subset),
            max_tokens=dataset.max_tokens,
            max_sentences=dataset.batch_size,
            max_positions=self.settings.task.max_positions,
            ignore_invalid_inputs=True,
            required_batch_size_multiple=dataset.required_batch_size_multiple,
            seed=self.settings.common.seed,
            epoch=epoch,
        )

    def __len__(self) -> int:
        return len(self._iterator(1))

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        self.epoch += 1
        for sample in self._iterator(self.epoch).next_epoch_itr(shuffle=True):
            yield inputs_of(sample, self.task.dictionary.pad())


def inputs_of(sample: dict[str, Any], pad: int) -> dict[str, torch.Tensor]:
    """Return a fairseq batch as input of a transformers model: (batch, tokens) ids and mask, (batch,) labels."""
    tokens = sample["net_input"]["src_tokens"]
    return {"input_ids": tokens, "attention_mask": tokens.ne(pad).long(), "labels": sample["target"].view(-1)}


def polynomial_decay(optimizer: torch.optim.Optimizer, schedule: DictConfig) -> LambdaLR:
    """Return the learning-rate schedule of fairseq's `polynomial_decay` with the settings `schedule`.

    Source: fairseq/optim/lr_scheduler/polynomial_decay_schedule.py. With a warm-up, the first update has rate 0.
    """
    warmup, steps = int(schedule.warmup_updates), int(schedule.total_num_update)
    return get_polynomial_decay_schedule_with_warmup(
        optimizer, warmup, steps, schedule.end_learning_rate, schedule.power
    )


class RunTrainer(TrainerCallback, Trainer):
    """Trainer with fairseq's batches, schedule (transformers' own polynomial decay is the same) and weight decay.

    As its own callback, it evaluates at the steps of the fairseq run, and writes the same scalars under the same tags.
    """

    def __init__(
        self,
        batches: Epochs,
        evaluations: list[int],
        progress: Progress,
        saver: Saver,
        sums: dict[str, list[float]] | None,
        **kwargs: Any,
    ) -> None:
        self.batches, self.task, self.settings = batches, batches.task, batches.settings
        self.progress, self.saver = progress, saver
        self.evaluations, self.splits = frozenset(evaluations), self.settings.dataset.valid_subset.split(",")
        self.writers: dict[str, SummaryWriter] = {}
        self.step = self.in_epoch = 0
        self.sums = sums or {"train_inner": [0.0, 0, 0], "train": [0.0, 0, 0]}  # loss, correct, examples
        super().__init__(callbacks=[self], **kwargs)
        self.remove_callback(PrinterCallback)  # it prints raw dictionaries

    def get_train_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        return DataLoader(self.batches, batch_size=None)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        self.lr_scheduler = polynomial_decay(optimizer or self.optimizer, self.settings.lr_scheduler)
        return self.lr_scheduler

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        return [name for name, _ in model.named_parameters()]

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        of_batch, n = float(loss.detach()), len(inputs["labels"])
        n_correct = int((outputs["logits"].detach().argmax(dim=-1) == inputs["labels"]).sum())
        for sums in self.sums.values():
            sums[0] += of_batch * n
            sums[1] += n_correct
            sums[2] += n
        self.progress.batch(self.step, of_batch)
        self.progress.look()  # needs no wait: the loss is a Python float already
        return (loss, outputs) if return_outputs else loss

    def write(self, split: str, loss: float, n_correct: int, n: int, **more: float) -> None:
        """Write a split's scalars: loss in nats per example, exact counts, accuracy in percent."""
        if split not in self.writers:
            self.writers[split] = SummaryWriter(str(Path(self.settings.common.tensorboard_logdir) / split))
        scalars = {"loss": loss, "n_correct": n_correct, "n": n, "accuracy": 100 * n_correct / n, **more}
        told = ", ".join(f"{tag} {value:.6g}" for tag, value in scalars.items())
        logger.info("%s, step %d: %s", split, self.step, told)
        for tag, value in scalars.items():
            self.writers[split].add_scalar(tag, value, self.step)
        self.writers[split].flush()

    def write_training(self, split: str) -> None:
        """Write the scalars of the batches since the last call."""
        loss, n_correct, n = self.sums[split]
        self.sums[split] = [0.0, 0, 0]
        if n:
            rate = float(self.lr_scheduler.get_last_lr()[0])
            self.write(split, loss / n, int(n_correct), int(n), lr=rate)

    def score(self) -> None:
        """Score every example of each split, unless done at this step. The random numbers of training stay the same."""
        if not self.progress.is_evaluated(self.step, self.splits):
            was_training = self.model.training
            self.model.eval()
            self.progress.begin_evaluation()
            with torch.random.fork_rng(devices=[]), torch.no_grad():  # each pass over a DataLoader draws a number
                for split in self.splits:
                    self._score(split)
            self.model.train(was_training)

    def _score(self, split: str) -> None:
        loss, n_correct, n = 0.0, 0, 0
        batches = self.task.get_batch_iterator(
            self.task.dataset(split), max_sentences=self.settings.dataset.batch_size_valid
        )
        for sample in batches.next_epoch_itr(shuffle=False):
            stop_if_asked()
            inputs = self._prepare_inputs(inputs_of(sample, self.task.dictionary.pad()))
            with self.compute_loss_context_manager():
                logits = self.model(**inputs).logits.double()
            loss += float(torch.nn.functional.cross_entropy(logits, inputs["labels"], reduction="sum"))
            n_correct += int((logits.argmax(dim=-1) == inputs["labels"]).sum())
            n += len(logits)
            self.progress.predictions.add(sample["id"], logits, inputs["labels"])
        self.progress.evaluated(split, self.step, n, n_correct, loss / n, self.model)
        self.write(split, loss / n, n_correct, n)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.step, self.in_epoch = state.global_step, len(self.batches)
        if self.step == 0:
            self.score()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.step = state.global_step
        if self.accelerator.optimizer_step_was_skipped:  # float16 gradients that overflowed
            self.progress.state["skipped"] += 1
        if self.step % self.settings.common.log_interval == 0:
            self.write_training("train_inner")
        if self.step in self.evaluations:
            self.score()
        ends_epoch = self.step % self.in_epoch == 0 or self.step == state.max_steps
        control.should_save = not ends_epoch and self.saver.due(self.step)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        made = Path(args.output_dir) / f"checkpoint-{self.step}"
        self.saver.save(self.step, self.progress.state, lambda folder: made.rename(folder / "trainer"), sums=self.sums)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.write_training("train")
        control.should_save = self.step < state.max_steps and self.saver.due(self.step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for writer in self.writers.values():
            writer.close()


def _tokenizer_of(model_folder: Path, max_positions: int) -> tuple[Any, list[str]]:
    """Return the model's tokenizer for transformers, or None and a line that says why there is no tokenizer.

    Training needs no tokenizer: it reads the ids of data/bin.
    """
    try:
        return make_tokenizer(model_folder, max_positions, has_mask=False), []
    except (UsageError, OSError) as error:
        logger.warning("the adapter gets no tokenizer: %s", error)
        return None, [f"the tokenizer is not in this folder: {error}"]


def _card_lines(
    config: DictConfig, labels: list[str], max_positions: int, evaluation: dict[str, Any]
) -> tuple[str, list[str]]:
    """Return the title and the lines of an adapter's card."""
    recipe, best = config.recipe, 100 * evaluation["n_correct"] / evaluation["n"]
    named = f"{config.dataset.name}, {config.init.name} {config.model.name}, seed {config.seed}"
    return f"LoRA adapter: {named}", [
        f"the base holds the run's first weights: {config.init.name} {config.model.name}, seed {config.seed}",
        f"task: {config.dataset.task}",
        f"labels: {', '.join(f'{number} {label}' for number, label in enumerate(labels))}; the head is in the adapter",
        f"training: epochs {recipe.epochs}, batch size {recipe.batch_size}, learning rate {recipe.learning_rate:g}, "
        f"texts of at most {max_positions} tokens",
        f"best step: {evaluation['step']}, validation accuracy {best:.2f} % of {evaluation['n']} texts",
        f"data: {config.dataset.name}, {config.dataset.title}; licence: {config.dataset.licence}",
    ]


def train(
    folder: Path,
    config: DictConfig,
    settings: DictConfig,
    labels: list[str],
    evaluations: list[int],
    saver: Saver,
    checkpoint: Path | None,
) -> None:
    """Train one run and write what the fairseq run writes: progress.json, initialisation.json, tb/, checkpoint_best.pt.

    `settings` is fairseq's whole configuration of the run. The run is evaluated at the steps `evaluations`, and ends at
    the last of them. If `checkpoint` is given, which `saver` wrote, the run goes on from there. An adapter is also
    written to `adapter/`, and the first weights that the adapter belongs to are written to `base/`.
    """
    transformers_logging.disable_progress_bar()  # train.log is not a terminal
    task, opened = draw_model(settings)
    model = converted(opened, labels, settings, config.method, folder / "base")
    record = json.loads((folder / "initialisation.json").read_text(encoding="utf-8"))
    write_json(folder / "initialisation.json", {**record, **count_parameters(model)})
    for split in (settings.dataset.train_subset, *settings.dataset.valid_subset.split(",")):
        task.load_dataset(split)

    max_positions, is_lora = int(settings.task.max_positions), config.method.name == "lora"
    tokenizer, without_tokenizer = _tokenizer_of(Path(config.model.folder), max_positions) if is_lora else (None, [])
    unused = {name: weight for name, weight in opened.model.state_dict().items() if name.startswith("encoder.lm_head.")}

    def save_best(model: Any, evaluation: dict[str, Any]) -> None:
        plain = copy.deepcopy(model).merge_and_unload() if is_lora else model
        weights = {name: tensor.detach().cpu() for name, tensor in plain.state_dict().items()}
        opened.model.load_state_dict({**to_fairseq(weights), **unused})  # strict: each weight has its counterpart
        task.save_best(opened.model, evaluation)
        if is_lora:
            title, facts = _card_lines(config, labels, max_positions, evaluation)
            save_adapter(model, tokenizer, folder / "adapter", title, [*facts, *without_tokenizer])

    progress = Progress(
        folder, Path(settings.task.data), task.manifest, save_best, checkpoint is not None, settings.common.fp16
    )
    batches, sums = Epochs(task, settings), None
    if checkpoint is not None:
        taken_up = read_manifest(checkpoint)
        assert taken_up is not None
        sums = taken_up["notes"]["sums"]
        batches.skip(taken_up["step"])
    arguments = training_arguments(folder, config, settings, evaluations[-1])
    trainer = RunTrainer(batches, evaluations, progress, saver, sums, model=model, args=arguments)
    trainer.train(resume_from_checkpoint=str(checkpoint / "trainer") if checkpoint is not None else None)
