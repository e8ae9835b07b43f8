"""The classification task: exact evaluation of every example, also at step 0, and a checkpoint of the best step.

The task writes these files to `checkpoint.save_dir`, and replaces each file as a whole:

    initialisation.json   what was loaded, and the encoder's fingerprint before the first step
    progress.json         the last step, batch, loss and evaluations
    predictions.parquet   the prediction for every example of valid and test at the best step
    checkpoint_best.pt    the weights at the step of the highest validation accuracy, the earliest on a tie
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from fairseq.data import (
    Dictionary,
    FairseqDataset,
    IdDataset,
    NestedDictionaryDataset,
    NumelDataset,
    NumSamplesDataset,
    OffsetTokensDataset,
    PrependTokenDataset,
    RightPadDataset,
    SortDataset,
    StripTokenDataset,
    data_utils,
)
from fairseq.dataclass import FairseqDataclass
from fairseq.tasks import register_task
from omegaconf import II, MISSING, DictConfig, OmegaConf

from data_prep.models.checkpoints import optimizer_history
from data_prep.subsets import nested_subset
from fairseq_tasks.batches import PairDataset, ShuffledDataset, SubsetDataset, TruncatedDataset
from fairseq_tasks.evaluated import EvaluatedTask
from fairseq_tasks.initialisation import initialise
from fairseq_tasks.progress import Progress
from foundation.errors import UsageError
from foundation.whole_files import replaced, write_json

HEAD = "sentence_classification_head"


def checkpoint_of(model: torch.nn.Module, step: int, cfg: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a model's weights after `step` steps as fairseq's loading functions read them. `cfg` is its settings."""
    weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    return {"args": None, "cfg": cfg, "model": weights, "optimizer_history": [optimizer_history(step)], **more}


@dataclass
class ClassificationConfig(FairseqDataclass):
    """The settings of the task. The interpolations refer to other nodes of fairseq's configuration."""

    data: str = field(default=MISSING, metadata={"help": "folder made by data_prep: input0/, label/, manifest.json"})
    init: str = field(default=MISSING, metadata={"help": "one of the inits of fairseq_tasks/initialisation.py"})
    checkpoint: str | None = field(default=None, metadata={"help": "fairseq checkpoint; None for init=random"})
    frozen: bool = field(default=False, metadata={"help": "train the classification head alone"})
    n_train: int | None = field(default=None, metadata={"help": "training texts, a nested subset; None: all"})
    reshuffle: bool = field(default=True, metadata={"help": "new batches each epoch; False: stock's fixed ones"})
    autocast: bool = field(default=False, metadata={"help": "bfloat16 autocast around the forward pass"})
    goes_on: bool = field(default=False, metadata={"help": "take up progress.json of a run that was cut"})
    fp16: bool = II("common.fp16")
    max_positions: int = II("model.max_positions")
    seed: int = II("common.seed")
    train_subset: str = II("dataset.train_subset")
    valid_subset: str = II("dataset.valid_subset")
    batch_size_valid: int | None = II("dataset.batch_size_valid")
    save_dir: str = II("checkpoint.save_dir")
    tensorboard_logdir: str | None = II("common.tensorboard_logdir")


@register_task("warmstart_classification", dataclass=ClassificationConfig)
class ClassificationTask(EvaluatedTask):
    """Classification of texts, or pairs of texts, binarised by data_prep."""

    progress: Progress

    def __init__(self, cfg: ClassificationConfig, dictionary: Dictionary, labels: Dictionary, manifest: Any) -> None:
        super().__init__(cfg)
        self.dictionary, self.label_dictionary, self.manifest = dictionary, labels, manifest
        self.model_cfg: DictConfig | None = None
        self.progress = Progress(Path(cfg.save_dir), Path(cfg.data), manifest, self.save_best, cfg.goes_on, cfg.fp16)

    @classmethod
    def setup_task(cls, cfg: ClassificationConfig, **kwargs: Any) -> "ClassificationTask":
        """Load both dictionaries and the manifest. Raises `UsageError` when the data is not prepared."""
        data = Path(cfg.data)
        if not (data / "manifest.json").is_file():
            raise UsageError(f"{data} is not prepared; run `make prep` with this DATASET and MODEL first")
        manifest = json.loads((data / "manifest.json").read_text(encoding="utf-8"))
        dictionary = Dictionary.load(str(data / "input0" / "dict.txt"))
        dictionary.add_symbol("<mask>")
        return cls(cfg, dictionary, Dictionary.load(str(data / "label" / "dict.txt")), manifest)

    # --- data

    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> FairseqDataset:
        """Load one split: `<s> text </s>`, or `<s> text </s> </s> text </s>`, cut at max_positions, and its class."""
        texts = self._binarised("input0", split, self.dictionary)
        bos = self.dictionary.index(self.dictionary.bos_word)  # CamemBERT's dictionary has its own <s>, not at index 0
        if self.manifest["pairs"]:
            tokens = PairDataset(texts, self._binarised("input1", split, self.dictionary), bos, self.cfg.max_positions)
        else:
            tokens = TruncatedDataset(PrependTokenDataset(texts, bos), self.cfg.max_positions)
        labels = self._binarised("label", split, self.label_dictionary)
        classes = StripTokenDataset(labels, id_to_strip=self.label_dictionary.eos())
        fields = {
            "id": IdDataset(),
            "net_input": {
                "src_tokens": RightPadDataset(tokens, pad_idx=self.dictionary.pad()),
                "src_lengths": NumelDataset(tokens, reduce=False),
            },
            "nsentences": NumSamplesDataset(),
            "ntokens": NumelDataset(tokens, reduce=True),
            "target": OffsetTokensDataset(classes, offset=-self.label_dictionary.nspecial),
        }
        dataset = NestedDictionaryDataset(fields, sizes=[tokens.sizes])
        expected = self.manifest["examples"][split]
        if len(dataset) != expected:
            raise UsageError(f"{self.cfg.data}: {split} holds {len(dataset)} examples, its manifest says {expected}")
        if split == self.cfg.train_subset:
            if self.cfg.n_train:
                own = [int(classes[row]) - self.label_dictionary.nspecial for row in range(len(dataset))]
                dataset = SubsetDataset(dataset, nested_subset(own, self.cfg.n_train, self.manifest["labels"]))
            dataset = ShuffledDataset(dataset, self.cfg.seed, self.cfg.reshuffle)
        else:  # a batch holds texts of similar length: transformers, and fairseq on CUDA, compute on padding
            dataset = SortDataset(dataset, sort_order=[tokens.sizes])
        self.datasets[split] = dataset
        return dataset

    def _binarised(self, part: str, split: str, dictionary: Dictionary) -> FairseqDataset:
        path = Path(self.cfg.data) / part / split
        dataset = data_utils.load_indexed_dataset(str(path), dictionary, combine=False)
        if dataset is None:
            raise UsageError(f"{path}.bin is missing; run `make prep` again")
        return dataset

    # --- model

    def build_model(self, cfg: DictConfig, from_checkpoint: bool = False) -> torch.nn.Module:
        """Draw a model from the seed, give it the weights of `init`, and record what was done."""
        model = super().build_model(cfg, from_checkpoint)
        n_classes = len(self.label_dictionary) - self.label_dictionary.nspecial
        model.register_classification_head(HEAD, num_classes=n_classes)
        self.model_cfg = cfg
        if not from_checkpoint:
            record = initialise(model, self.cfg.init, self.cfg.checkpoint, self.dictionary)
            write_json(Path(self.cfg.save_dir) / "initialisation.json", record)
        if self.cfg.frozen:
            for name, weight in model.named_parameters():
                weight.requires_grad_(name.startswith("classification_heads."))
        return model

    def valid_step(self, sample: dict[str, Any], model: torch.nn.Module, criterion: Any) -> Any:
        answer = super().valid_step(sample, model, criterion)
        self.progress.predictions.add(sample["id"], criterion.logits, sample["target"])
        return answer

    # --- evaluation

    def after_evaluation(self, split: str, model: torch.nn.Module, stats: dict[str, Any]) -> None:
        """Check that every example was scored, record the result, and keep the checkpoint if it is the best so far."""
        counts = {name: int(stats[name]) for name in ("n", "n_correct")}
        self.progress.evaluated(split, int(stats["num_updates"]), **counts, loss=float(stats["loss"]), model=model)

    def save_best(self, model: torch.nn.Module, evaluation: dict[str, Any]) -> None:
        """Write checkpoint_best.pt so that fairseq's own loading functions can read it."""
        assert self.model_cfg is not None
        cfg = {
            "model": OmegaConf.to_container(self.model_cfg, resolve=True),
            "task": OmegaConf.to_container(OmegaConf.create(self.cfg), resolve=True),
            "criterion": {"_name": "warmstart_classification"},
        }
        state = checkpoint_of(model, evaluation["step"], cfg, extra_state={"best_valid": evaluation})
        with replaced(Path(self.cfg.save_dir) / "checkpoint_best.pt") as temporary:
            torch.save(state, temporary)

    # --- what fairseq needs from a task

    def max_positions(self) -> int:
        return int(self.cfg.max_positions)

    @property
    def source_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        return self.label_dictionary
