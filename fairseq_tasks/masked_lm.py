"""Pre-training by masked language modelling: fairseq's task and loss, with a model folder saved at each dose.

A dose is the number of tokens that the model has been trained on. The task evaluates the held-out paragraphs at each
dose and writes `<models><dose>/` there, such as `data/models/roberta_small_fr@16M/`: a folder that `MODEL=` takes.

    model.pt, dict.txt, sentencepiece.bpe.model     as in every model's folder
    pretraining.json, card.md                       corpus, tokens, held-out losses, hours, machine

A block is `<s>` and the next `block - 1` tokens of the corpus, as fairseq's masked_lm cuts it: paragraphs follow each
other, each with its `</s>`. What is left of the corpus after the last whole batch is not used, so every step takes as
many tokens. Each epoch draws other masks and other batches. The masks of the held-out blocks stay the same.
"""

import json
import shutil
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.masked_lm import MaskedLmConfig, MaskedLmLoss
from fairseq.data import FairseqDataset, MaskTokensDataset, RightPadDataset
from fairseq.data.indexed_dataset import MMapIndexedDataset
from fairseq.logging import metrics
from fairseq.tasks import register_task
from fairseq.tasks.masked_lm import MaskedLMConfig, MaskedLMTask
from omegaconf import II, MISSING, DictConfig, OmegaConf

from data_prep.doses import NOT_LEARNED, dose_name, steps_of
from fairseq_tasks.batches import ShuffledDataset, SubsetDataset
from fairseq_tasks.classification import checkpoint_of
from fairseq_tasks.evaluated import EvaluatedTask
from fairseq_tasks.progress import TrainingProgress
from foundation.errors import UsageError
from foundation.whole_files import replaced_folder, write_json, write_text

CARD = """# {name}

The encoder of {model} after {tokens:,} tokens of masked language modelling on the corpus {corpus}.

- held-out loss: {loss:.3f} nats per masked token (token frequencies alone: {frequency_loss:.3f})
- training so far: {hours:.2f} hours, {device}, {precision}, threads: {threads}
- settings: peak learning rate {learning_rate:g}, {batch_tokens:,} tokens per step, {mask_prob:.0%} masked
- first texts: {first_texts}
- positions: {positions}; {trained}
"""


CHUNK = 2**24  # tokens that are counted at once


@dataclass
class PretrainingConfig(MaskedLMConfig):
    """The settings of fairseq's masked_lm task, and those that our runs need."""

    doses: list[int] = field(default_factory=list, metadata={"help": "tokens after which a model folder is written"})
    models: str = field(default=MISSING, metadata={"help": "path of the model folders, without the dose"})
    vocabulary: str = field(default=MISSING, metadata={"help": "folder with dict.txt and sentencepiece.bpe.model"})
    first_block: int | None = field(default=None, metadata={"help": "tokens of the first texts, parts of a block"})
    growing_tokens: int = field(default=0, metadata={"help": "tokens of training until blocks are whole"})
    about: dict[str, Any] = field(default_factory=dict, metadata={"help": "what pretraining.json and the card say"})
    autocast: bool = field(default=False, metadata={"help": "bfloat16 autocast around the forward pass"})
    goes_on: bool = field(default=False, metadata={"help": "take up progress.json of a run that was cut"})
    fp16: bool = II("common.fp16")
    max_positions: int = II("model.max_positions")
    batch_size: int | None = II("dataset.batch_size")
    train_subset: str = II("dataset.train_subset")
    valid_subset: str = II("dataset.valid_subset")
    batch_size_valid: int | None = II("dataset.batch_size_valid")
    save_dir: str = II("checkpoint.save_dir")
    tensorboard_logdir: str | None = II("common.tensorboard_logdir")


def length_of_texts(seen: int, first: int, block: int, growing: int) -> int:
    """Return how many tokens a text of training has after `seen` tokens: `first`, then twice as many, up to `block`.

    Each length lasts equally long, and whole blocks begin after `growing` tokens. `block / first` is a power of two.
    Press et al. (2021, Shortformer) train on short texts first.
    """
    doublings = (block // first).bit_length() - 1
    return block if seen >= growing else first << seen * doublings // growing


def in_parts(sample: dict[str, Any], length: int) -> dict[str, Any]:
    """Return a batch of blocks (blocks, tokens) as a batch of shorter texts with `length` tokens each.

    `length` divides the length of a block. Only the first part of a block begins with `<s>`.
    """
    tokens = sample["net_input"]["src_tokens"].view(-1, length)
    lengths = torch.full_like(tokens[:, 0], length)
    return {
        **sample,
        "net_input": {**sample["net_input"], "src_tokens": tokens, "src_lengths": lengths},
        "target": sample["target"].view(-1, length),
        "nsentences": len(tokens),
    }


@register_task("warmstart_masked_lm", dataclass=PretrainingConfig)
class PretrainingTask(EvaluatedTask, MaskedLMTask):
    """fairseq's masked_lm task on the binarised corpus in `data`."""

    def __init__(self, cfg: PretrainingConfig, dictionary: Any = None) -> None:
        super().__init__(cfg, dictionary)
        self.model_cfg: DictConfig | None = None
        self.progress = TrainingProgress(Path(cfg.save_dir), cfg.goes_on, cfg.fp16, losses={}, seconds=0.0)
        self.last: float | None = None  # when the seconds were last counted; None: before the first step

    # --- data

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> FairseqDataset:
        """Load the masked blocks of a split. Raises `UsageError` when there are fewer than one batch, or one block."""
        blocks = self._load_dataset_split(split, epoch, combine)
        sides = [
            MaskTokensDataset(
                blocks,
                self.dictionary,
                pad_idx=self.dictionary.pad(),
                mask_idx=self.mask_idx,
                return_masked_tokens=is_target,
                seed=self.cfg.seed,
                mask_prob=self.cfg.mask_prob,
                leave_unmasked_prob=self.cfg.leave_unmasked_prob,
                random_token_prob=self.cfg.random_token_prob,
            )
            for is_target in (False, True)
        ]
        targets = RightPadDataset(sides[1], pad_idx=self.dictionary.pad())
        dataset = self._regular_dataset(sides[0], targets)
        whole = (blocks.sizes == self.cfg.tokens_per_sample).nonzero()[0]
        used, what, to_lower = len(whole), "block", "pretraining.block_tokens"
        if split == self.cfg.train_subset:
            assert self.cfg.batch_size
            used -= used % self.cfg.batch_size
            what, to_lower = "step takes", "pretraining.batch_tokens and pretraining.block_tokens"
            dataset = ShuffledDataset(SubsetDataset(dataset, whole[:used]), self.cfg.seed, True)
        if not used:
            raise UsageError(
                f"{self.cfg.data}: {'train' if split == self.cfg.train_subset else 'the held-out paragraphs'}: "
                f"{int(blocks.sizes.sum()):,} tokens, less than a {what}; give more text, or lower {to_lower}"
            )
        self.datasets[split] = dataset
        return dataset

    @property
    def batch_tokens(self) -> int:
        assert self.cfg.batch_size
        return self.cfg.batch_size * int(self.cfg.tokens_per_sample)

    def length_after(self, step: int) -> int:
        """Return the tokens of a text in the batch that follows the step."""
        block, seen = int(self.cfg.tokens_per_sample), step * self.batch_tokens
        return length_of_texts(seen, self.cfg.first_block or block, block, self.cfg.growing_tokens)

    # --- model

    def build_model(self, cfg: DictConfig, from_checkpoint: bool = False) -> torch.nn.Module:
        self.model_cfg = cfg
        return super().build_model(cfg, from_checkpoint)

    def train_step(
        self,
        sample: dict[str, Any],
        model: Any,
        criterion: Any,
        optimizer: Any,
        update_num: int,
        ignore_grad: bool = False,
    ) -> Any:
        """Do a step on the batch, cut into as short texts as the step takes, and count the seconds of training."""
        self.last = self.last or time.monotonic()
        parts = in_parts(sample, self.length_after(update_num))
        answer = super().train_step(parts, model, criterion, optimizer, update_num, ignore_grad)
        now = time.monotonic()
        self.progress.state["seconds"] += now - self.last
        self.last = now
        return answer

    # --- evaluation

    def after_evaluation(self, split: str, model: torch.nn.Module, stats: dict[str, Any]) -> None:
        """Record the loss (nats per masked token). At a dose, write its model folder."""
        step, loss = int(stats["num_updates"]), float(stats["loss"])
        self.progress.require_finite(split, step, loss)
        for dose in self.cfg.doses:
            if steps_of(dose, self.batch_tokens) == step:
                self._write_model(dose, step, loss, model)
        losses = {**self.progress.state["losses"], str(step * self.batch_tokens): loss}
        self.progress.end_evaluation(split, step, losses=losses)
        self.last = time.monotonic()  # an evaluation is no training

    @cached_property
    def frequency_loss(self) -> float:
        """The held-out loss, in nats per masked token, of a guess from how often each token is in the blocks of train.

        A model whose loss is hardly lower has learned little from context. One is added to each count, so that a token
        of the held-out text alone has a probability, too.
        """
        path = Path(self.cfg.data) / self.cfg.train_subset
        counts = np.ones(len(self.dictionary))
        dtype = MMapIndexedDataset(str(path))._index.dtype
        with Path(f"{path}.bin").open("rb") as stream:
            while len(tokens := np.fromfile(stream, dtype=dtype, count=CHUNK)):
                counts += np.bincount(tokens, minlength=len(counts))
                counts[self.dictionary.bos()] += len(tokens) / (int(self.cfg.tokens_per_sample) - 1)  # one for a block
        held_out = self.datasets[self.cfg.valid_subset]
        targets = np.concatenate([held_out[place]["target"].numpy() for place in range(len(held_out))])
        masked = targets[targets != self.dictionary.pad()]
        return float(-np.log(counts[masked] / counts.sum()).mean())

    def _write_model(self, dose: int, step: int, loss: float, model: torch.nn.Module) -> None:
        assert self.model_cfg is not None
        folder = Path(f"{self.cfg.models}{dose_name(dose)}")
        run = json.loads((Path(self.cfg.save_dir) / "provenance.json").read_text(encoding="utf-8"))
        run |= run.get("resumed", [{}])[-1]  # where it goes on, if not where it began
        untrained = self.length_after(step - 1) if step else 0  # the first position that no text has reached
        learned = self.cfg.about.get("positions") != NOT_LEARNED
        about = {
            "name": folder.name,
            **OmegaConf.to_container(OmegaConf.create(dict(self.cfg.about))),  # type: ignore[dict-item]
            "dose": dose,
            "tokens": step * self.batch_tokens,
            "step": step,
            "untrained_from": untrained if learned and untrained < self.max_positions() else None,
            "loss": loss,
            "frequency_loss": self.frequency_loss,
            "hours": self.progress.state["seconds"] / 3600,
            **{key: run[key] for key in ("device", "precision", "threads")},
        }
        cfg = {"model": OmegaConf.to_container(self.model_cfg, resolve=True)}
        trained = f"those from {untrained} on, counted from 0, are not trained" if untrained else "none is trained"
        if about["untrained_from"] is None:
            trained = "all are trained" if learned else "they are not trained"
        with replaced_folder(folder) as scratch:
            torch.save(checkpoint_of(model, step, cfg), scratch / "model.pt")
            for name in ("dict.txt", "sentencepiece.bpe.model"):
                shutil.copyfile(Path(self.cfg.vocabulary) / name, scratch / name)
            write_json(scratch / "pretraining.json", about)
            write_text(scratch / "card.md", CARD.format(**about, mask_prob=self.cfg.mask_prob, trained=trained))

    def max_positions(self) -> int:
        return int(self.cfg.max_positions)


@register_criterion("warmstart_masked_lm", dataclass=MaskedLmConfig)
class PretrainingCriterion(MaskedLmLoss):
    """fairseq's masked_lm loss. It logs nats without rounding, where stock fairseq logs bits to 3 decimals."""

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        """Log the loss in nats per masked token, over the batches of one interval."""
        n = sum(float(log["sample_size"]) for log in logging_outputs)
        if n:  # a short last block may have no masked token
            metrics.log_scalar("loss", sum(float(log["loss"]) for log in logging_outputs) / n, n)
