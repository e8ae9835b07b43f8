"""One run with transformers' Trainer: the data, batches, first weights and schedule of the fairseq run of its seed.

The model is the one that fairseq draws and loads (`ClassificationTask.build_model`), converted; the batches are
fairseq's, in fairseq's order. What Trainer does otherwise by default is set to what fairseq does: no gradient clipping
unless asked for, weight decay on every weight, fairseq's polynomial decay, layer norms' eps 1e-5, no dropout in the
head, no training of token types (fairseq has none). What stays different: the masks of dropout, Adam's place of eps.
"""

import copy
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq import tasks, utils
from omegaconf import DictConfig, OmegaConf
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.tensorboard import SummaryWriter  # whose flush, unlike tensorboardX's, waits for what is queued
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from data_prep.stages import read_manifest
from data_prep.whole_files import write_json
from fairseq_tasks.folders import Opened
from fairseq_tasks.progress import Progress
from fairseq_tasks.resume import Saver, stop_if_asked
from hf_tasks.adapters import count_parameters, with_adapter, without_adapter
from hf_tasks.convert import transformers_config, transformers_model
from hf_tasks.weights import to_fairseq
from hydra_conf.compose import nearest
from hydra_conf.errors import UsageError

OURS = {  # TrainingArguments that are filled in here, and how one sets them instead
    "output_dir": "RUNS_DIR",
    "seed": "SEEDS",
    "use_cpu": "DEVICE",
    "fp16": "PRECISION",
    "bf16": "PRECISION",
    "max_steps": "EPOCHS",
    "num_train_epochs": "EPOCHS",
    "per_device_train_batch_size": "recipe.batch_size",
    "learning_rate": "recipe.learning_rate",
    "weight_decay": "recipe.weight_decay",
    "adam_beta1": "recipe.adam_betas",
    "adam_beta2": "recipe.adam_betas",
    "adam_epsilon": "recipe.adam_eps",
    "max_grad_norm": "recipe.clip_norm",
    "logging_steps": "fairseq.common.log_interval",
}


class Epochs(IterableDataset[dict[str, torch.Tensor]]):
    """fairseq's training batches, epoch after epoch: each pass over it is the next epoch."""

    def __init__(self, task: Any, settings: DictConfig) -> None:
        self.task, self.settings, self.epoch = task, settings, 0

    def skip(self, steps: int) -> None:
        """Begin with the epoch that holds the step after `steps`; Trainer itself skips the batches within it."""
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
    """Return a fairseq batch as transformers' models take it: (batch, tokens) ids and mask, (batch,) labels."""
    tokens = sample["net_input"]["src_tokens"]
    return {"input_ids": tokens, "attention_mask": tokens.ne(pad).long(), "labels": sample["target"].view(-1)}


def fairseq_schedule(total: int, warmup: int) -> Any:
    """Return fairseq's polynomial decay (power 1, to 0) as a factor of the peak, by updates done.

    Source: fairseq/optim/lr_scheduler/polynomial_decay_schedule.py.
    """

    def factor(done: int) -> float:
        if warmup and done <= warmup:
            return done / warmup  # the first update has rate 0, as fairseq's own
        return max(0.0, 1 - (done - warmup) / (total - warmup)) if done < total else 0.0

    return factor


def draw_model(settings: DictConfig) -> tuple[Any, Any, Opened]:
    """Return fairseq's task, its model with the first weights of this run, and that model as `convert` takes it.

    The same calls in the same order as fairseq's own training, so that the random weights and the head are the same.
    """
    np.random.seed(settings.common.seed)
    utils.set_torch_seed(settings.common.seed)
    task = tasks.setup_task(settings.task)
    model = task.build_model(settings.model)
    n_classes = len(task.label_dictionary) - task.label_dictionary.nspecial
    shape = OmegaConf.to_container(settings.model, resolve=True)
    assert isinstance(shape, dict)
    return task, model, Opened(model, task.dictionary, dict(shape), False, n_classes)  # type: ignore[arg-type]


def converted(opened: Opened, labels: list[str], settings: DictConfig, method: DictConfig) -> PreTrainedModel:
    """Return the transformers model that is trained, with an adapter when the method has one."""
    ids = {symbol: opened.dictionary.index(symbol) for symbol in ("<s>", "<pad>", "</s>")}
    config = transformers_config(opened.shape, len(opened.dictionary), ids, labels)
    config.hidden_dropout_prob = settings.model.dropout
    config.attention_probs_dropout_prob = settings.model.attention_dropout
    config.classifier_dropout = settings.model.pooler_dropout
    model = transformers_model(opened, config)
    model.roberta.embeddings.token_type_embeddings.weight.requires_grad_(False)
    _keep_head_in_float32(model.classifier)
    return with_adapter(model, method) if method.name == "lora" else model


def _keep_head_in_float32(head: torch.nn.Module) -> None:
    """Keep a classification head out of autocast: bfloat16 logits tie, and a tie would count for class 0."""
    plain = head.forward

    def forward(self: torch.nn.Module, features: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        with torch.autocast(features.device.type, enabled=False):
            out: torch.Tensor = plain(features.float(), **kwargs)
        return out

    head.forward = types.MethodType(forward, head)


class RunTrainer(Trainer):
    """Trainer with fairseq's batches, schedule and weight decay."""

    def __init__(self, batches: Epochs, factor: Any, watch: "Watch", **kwargs: Any) -> None:
        self.batches, self.factor, self.watch = batches, factor, watch
        super().__init__(callbacks=[watch], **kwargs)

    def get_train_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        return DataLoader(self.batches, batch_size=None)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        self.lr_scheduler = LambdaLR(optimizer or self.optimizer, self.factor)
        return self.lr_scheduler

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        return [name for name, _ in model.named_parameters()]

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        self.watch.batch(float(loss.detach()), len(inputs["labels"]), outputs["logits"].detach(), inputs["labels"])
        return (loss, outputs) if return_outputs else loss


class Watch(TrainerCallback):
    """Evaluates when the fairseq run would, and writes the same scalars under the same tags and names."""

    def __init__(
        self, task: Any, settings: DictConfig, evaluations: list[int], progress: Progress, saver: Saver
    ) -> None:
        self.task, self.settings, self.progress, self.saver = task, settings, progress, saver
        self.evaluations, self.splits = frozenset(evaluations), settings.dataset.valid_subset.split(",")
        self.writers: dict[str, SummaryWriter] = {}
        self.trainer: RunTrainer | None = None
        self.step = self.in_epoch = 0
        self.sums = {"train_inner": [0.0, 0, 0], "train": [0.0, 0, 0]}  # loss, correct, examples

    def batch(self, loss: float, n: int, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Note one training batch: mean loss (nats), examples, (n, classes) logits, (n,) labels."""
        n_correct = int((logits.argmax(dim=-1) == labels).sum())
        for sums in self.sums.values():
            sums[0] += loss * n
            sums[1] += n_correct
            sums[2] += n
        self.progress.batch(self.step, loss)

    def write(self, split: str, step: int, loss: float, n_correct: int, n: int, **more: float) -> None:
        """Write a split's scalars: loss in nats an example, exact counts, accuracy in percent."""
        if split not in self.writers:
            self.writers[split] = SummaryWriter(str(Path(self.settings.common.tensorboard_logdir) / split))
        scalars = {"loss": loss, "n_correct": n_correct, "n": n, "accuracy": 100 * n_correct / n, **more}
        for tag, value in scalars.items():
            self.writers[split].add_scalar(tag, value, step)
        self.writers[split].flush()

    def _write_training(self, split: str, rate: Any) -> None:
        loss, n_correct, n = self.sums[split]
        self.sums[split] = [0.0, 0, 0]
        if n:
            self.write(split, self.step, loss / n, int(n_correct), int(n), lr=float(rate))

    def evaluate(self) -> None:
        """Score every example of each split, unless that was done at this step; training's random numbers stay."""
        if not self.progress.is_evaluated(self.step, self.splits):
            with torch.random.fork_rng(devices=[]):  # each pass over a DataLoader draws one
                self._evaluate()

    @torch.no_grad()
    def _evaluate(self) -> None:
        assert self.trainer is not None
        self.progress.begin_evaluation()
        model, pad = self.trainer.model, self.task.dictionary.pad()
        was_training = model.training
        model.eval()
        for split in self.splits:
            loss, n_correct, n = 0.0, 0, 0
            batches = self.task.get_batch_iterator(
                self.task.dataset(split), max_sentences=self.settings.dataset.batch_size_valid
            )
            for sample in batches.next_epoch_itr(shuffle=False):
                stop_if_asked()
                inputs = self.trainer._prepare_inputs(inputs_of(sample, pad))
                with self.trainer.compute_loss_context_manager():
                    logits = model(**inputs).logits.double()
                loss += float(torch.nn.functional.cross_entropy(logits, inputs["labels"], reduction="sum"))
                n_correct += int((logits.argmax(dim=-1) == inputs["labels"]).sum())
                n += len(logits)
                self.progress.scored(sample["id"], logits, inputs["labels"])
            self.progress.evaluated(split, self.step, n, n_correct, loss / n, model)
            self.write(split, self.step, loss / n, n_correct, n)
        model.train(was_training)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        assert self.trainer is not None
        self.step, self.in_epoch = state.global_step, len(self.trainer.batches)
        if self.step == 0:
            self.evaluate()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.step = state.global_step
        assert self.trainer is not None
        if self.trainer.accelerator.optimizer_step_was_skipped:  # float16 gradients that overflowed
            self.progress.state["skipped"] += 1
        rate = self.trainer.lr_scheduler.get_last_lr()[0]
        if self.step % self.settings.common.log_interval == 0:
            self._write_training("train_inner", rate)
        if self.step in self.evaluations:
            self.evaluate()
        ends_epoch = self.step % self.in_epoch == 0 or self.step == state.max_steps
        control.should_save = not ends_epoch and self.saver.due(self.step)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        made = Path(args.output_dir or ".") / f"checkpoint-{self.step}"
        self.saver.save(self.step, self.progress.state, lambda folder: made.rename(folder / "trainer"), sums=self.sums)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        assert self.trainer is not None
        self._write_training("train", self.trainer.lr_scheduler.get_last_lr()[0])
        self.evaluate()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        for writer in self.writers.values():
            writer.close()


def training_arguments(folder: Path, config: DictConfig, settings: DictConfig, steps: int) -> TrainingArguments:
    """Return Trainer's arguments: ours from the configuration, the user's from its node `hf`.

    Raises `UsageError` for a key that Trainer does not know, or that is set in another way.
    """
    known = [name for name in TrainingArguments.__dataclass_fields__ if not name.startswith("_")]
    for key in config.hf:
        if key in OURS:
            raise UsageError(f"hf.{key} cannot be given; use {OURS[str(key)]}")
        if key not in known:
            raise UsageError(f"unknown configuration key 'hf.{key}'{nearest(str(key), known)}")
    if list(settings.optimization.update_freq) != [1]:
        raise UsageError("fairseq.optimization.update_freq: BACKEND=hf takes one batch a step; give [1]")
    given = OmegaConf.to_container(config.hf, resolve=True)
    assert isinstance(given, dict)
    betas = OmegaConf.create(f"[{str(settings.optimizer.adam_betas).strip('()')}]")
    try:
        return TrainingArguments(
            output_dir=str(folder), seed=settings.common.seed, use_cpu=settings.common.cpu,
            fp16=settings.common.fp16, bf16=settings.task.autocast, max_steps=steps,
            per_device_train_batch_size=settings.dataset.batch_size, learning_rate=float(settings.optimization.lr[0]),
            weight_decay=settings.optimizer.weight_decay, adam_beta1=float(betas[0]), adam_beta2=float(betas[1]),
            adam_epsilon=settings.optimizer.adam_eps, max_grad_norm=settings.optimization.clip_norm,
            logging_steps=settings.common.log_interval, logging_nan_inf_filter=False,
            **{"report_to": "none", "save_strategy": "no", "eval_strategy": "no", "disable_tqdm": True,
               "remove_unused_columns": False, "dataloader_pin_memory": False, **given},
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise UsageError(f"the Trainer refuses its arguments: {str(error).splitlines()[0]}") from error


def train(
    folder: Path, config: DictConfig, settings: DictConfig, labels: list[str], evaluations: list[int], saver: Saver,
    checkpoint: Path | None,
) -> None:  # fmt: skip
    """Train one run and write what the fairseq run writes: progress.json, initialisation.json, tb/, checkpoint_best.pt.

    `settings` is fairseq's whole configuration of the run, which is evaluated at the steps `evaluations`, the last of
    which is its end; it goes on from a checkpoint of `saver`'s when one is given. An adapter is also written, to
    `adapter/`.
    """
    task, fairseq_model, opened = draw_model(settings)
    model = converted(opened, labels, settings, config.method)
    record = OmegaConf.to_container(OmegaConf.load(folder / "initialisation.json"))
    assert isinstance(record, dict)
    write_json(folder / "initialisation.json", {**record, **count_parameters(model)})
    for split in (settings.dataset.train_subset, *settings.dataset.valid_subset.split(",")):
        task.load_dataset(split)

    def save_best(evaluation: dict[str, Any]) -> None:
        plain = without_adapter(copy.deepcopy(model)) if config.method.name == "lora" else model
        weights = {name: tensor.detach().cpu() for name, tensor in plain.state_dict().items()}
        left = fairseq_model.load_state_dict(to_fairseq(weights), strict=False)
        assert not left.unexpected_keys
        assert all(name.startswith("encoder.lm_head.") for name in left.missing_keys)  # a classifier has no use for it
        task.save_best(fairseq_model, evaluation)
        if config.method.name == "lora":
            model.save_pretrained(folder / "adapter")

    progress = Progress(folder, Path(settings.task.data), task.manifest, save_best, checkpoint is not None)
    watch, batches = Watch(task, settings, evaluations, progress, saver), Epochs(task, settings)
    if checkpoint is not None:
        taken_up = read_manifest(checkpoint)
        assert taken_up is not None
        watch.sums = taken_up["notes"]["sums"]
        batches.skip(taken_up["step"])
    schedule = settings.lr_scheduler
    factor = fairseq_schedule(int(schedule.total_num_update), int(schedule.warmup_updates))
    arguments = training_arguments(folder, config, settings, evaluations[-1])
    trainer = RunTrainer(batches, factor, watch, model=model, args=arguments)
    watch.trainer = trainer
    trainer.train(resume_from_checkpoint=str(checkpoint / "trainer") if checkpoint is not None else None)
