"""Makes the commands of stock fairseq-train, and the checkpoint that it can read."""

import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.task import SHAPE, Task
from data_prep.models.checkpoints import optimizer_history, read_checkpoint

STOCK = """--task sentence_prediction --criterion sentence_prediction --num-classes 2 --arch roberta_base
    --shorten-method truncate --init-token 0 --separator-token 2 --optimizer adam --adam-betas '(0.9, 0.98)'
    --adam-eps 1e-8 --weight-decay 0.01 --lr-scheduler polynomial_decay --valid-subset valid,test
    --best-checkpoint-metric accuracy --maximize-best-checkpoint-metric --no-epoch-checkpoints --log-format simple"""


def stock_checkpoint(model_folder: Path, out: Path) -> None:
    """Write the model's checkpoint for stock fairseq, which needs a masked-LM head. A missing head is random."""
    state = read_checkpoint(model_folder / "model.pt")
    weights = state["model"]
    embedding = weights["encoder.sentence_encoder.embed_tokens.weight"]
    rows, width = embedding.shape
    head = {
        "weight": embedding,
        "bias": torch.zeros(rows),
        "dense.weight": 0.02 * torch.randn(width, width),
        "dense.bias": torch.zeros(width),
        "layer_norm.weight": torch.ones(width),
        "layer_norm.bias": torch.zeros(width),
    }
    for name, tensor in head.items():
        weights.setdefault(f"encoder.lm_head.{name}", tensor)
    torch.save({**state, "optimizer_history": [optimizer_history(0)]}, out)


def stock_command(task: Task, init: str, seed: int, folder: Path, precision: str) -> list[str]:
    """Return the command of fairseq-train for one run."""
    options: dict[str, Any] = {
        **{name: task.shape[name] for name in SHAPE},
        "max-positions": task.max_positions,
        "batch-size": task.batch_size,
        "max-epoch": task.epochs,
        "seed": seed,
        "lr": task.rates[init],
        "total-num-update": task.steps,
        "warmup-updates": round(0.06 * task.steps),
        "save-dir": folder,
        "tensorboard-logdir": folder / "tb",
        **({"restore-file": folder.parent / "stock.pt"} if init == "pretrained" else {}),
    }
    words = [] if torch.cuda.is_available() else ["--cpu"]
    words += [f"--{precision}"] if precision in ("fp16", "bf16") else []
    words += ["--reset-optimizer", "--reset-dataloader", "--reset-meters"] if init == "pretrained" else []
    return fairseq_train(task.data, STOCK, options, words)


def fairseq_train(data: Path, line: str, options: dict[str, Any], words: list[str]) -> list[str]:
    """Return the command of fairseq-train: options as one types them in `line`, options by name, then more words."""
    named = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "fairseq_cli.train", str(data), *shlex.split(line), *named, *words]
