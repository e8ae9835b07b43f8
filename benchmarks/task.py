"""Says what every way of benchmarks.sweep trains, and counts its tokens and FLOPs and the machine's peak."""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.benchmark import Timer

from data_prep.stages import read_manifest
from foundation.errors import UsageError
from hydra_conf.compose import compose_config
from hydra_conf.words import group_words, quoted

INITS = ("pretrained", "random")
SHAPE = ("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads")
SIDE = 2_048  # rows and columns of the matrices whose product gives the peak; four times as many on a GPU


@dataclass(frozen=True)
class Task:
    """What every way trains. Token counts are of real tokens, after texts are cut to the model's length."""

    data: Path
    model_folder: Path
    shape: dict[str, Any]
    max_positions: int
    seeds: list[int]
    epochs: int
    batch_size: int
    steps: int  # of one run
    tokens: int  # trained on, in all runs
    flop: float  # of training and of the evaluations after each epoch, in all runs
    rates: dict[str, float]  # init -> learning rate


def plan(arguments: argparse.Namespace) -> Task:
    """Return what to train. Raises `UsageError` when its data is not prepared."""
    from fairseq.models import MODEL_DATACLASS_REGISTRY

    import fairseq_tasks.architectures  # noqa: F401  registers the architectures

    words = [*group_words(dataset=arguments.dataset, model=arguments.model), *arguments.overrides]
    words.append(f"data_dir={quoted(arguments.data_dir.absolute())}")
    configs = {init: compose_config([*words, f"init={init}"]) for init in INITS}
    config = configs["pretrained"]
    data = arguments.data_dir.absolute() / "bin" / f"{config.dataset.name}.{config.model.name}"
    manifest = read_manifest(data)
    if manifest is None or config.model.shape_from_checkpoint:
        raise UsageError(f"{data} is not there, or not of a model with a shape of its own; run `make prep` first")
    shape = vars(MODEL_DATACLASS_REGISTRY[config.model.architecture]())
    limit, seeds = int(config.model.max_positions), [int(word) for word in arguments.seeds.split(",")]
    train = lengths(data, "train", limit)
    judged = sum(flop_of(lengths(data, split, limit), shape) for split in ("valid", "test"))
    epochs_in_all = len(INITS) * len(seeds) * arguments.epochs
    batch = int(config.recipe.batch_size)
    return Task(
        data=data,
        model_folder=Path(config.model.folder),
        shape=shape,
        max_positions=limit,
        seeds=seeds,
        epochs=arguments.epochs,
        batch_size=batch,
        steps=arguments.epochs * math.ceil(len(train) / batch),
        tokens=epochs_in_all * int(train.sum()),
        flop=epochs_in_all * (3 * flop_of(train, shape) + judged),
        rates={init: float(configs[init].recipe.learning_rate) for init in INITS},
    )


def lengths(data: Path, split: str, max_positions: int) -> Any:
    """Return the number of tokens of each example of a split, with `<s>` and `</s>`, once cut: shape (examples,)."""
    from fairseq.data.indexed_dataset import MMapIndexedDataset

    sizes: Any = 0
    for part in ("input0", "input1"):
        if (data / part / f"{split}.idx").is_file():
            dataset = MMapIndexedDataset(str(data / part / split))
            sizes = sizes + 1 + np.array(dataset.sizes)  # a copy, because fairseq's view ends with the dataset
    return sizes.clip(max=max_positions)


def flop_of(tokens: Any, shape: dict[str, Any]) -> float:
    """Return the FLOPs of one forward pass over texts of these lengths: 2 per token and weight of the layers, plus
    4 T d per token and layer for attention. Training takes three times as many (Kaplan et al., arXiv:2001.08361)."""
    d, f, layers = (shape[f"encoder_{name}"] for name in ("embed_dim", "ffn_embed_dim", "layers"))
    weights = layers * (4 * d * d + 2 * d * f)
    return float(2 * weights * tokens.sum() + 4 * layers * d * (tokens.astype(float) ** 2).sum())


def peak_flops(precision: str, seconds: float = 2.0) -> float:
    """Return the best FLOP/s of a matrix product, on the GPU or all cores, over `seconds` seconds of products."""
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    side, device = (4 * SIDE, "cuda") if torch.cuda.is_available() else (SIDE, "cpu")
    one = torch.randn(side, side, device=device).to(kinds[precision])
    product = Timer(
        "torch.mm(one, one, out=other)",
        globals={"torch": torch, "one": one, "other": one @ one},
        num_threads=torch.get_num_threads(),
    )
    return 2 * side**3 / min(product.blocked_autorange(min_run_time=seconds).times)
