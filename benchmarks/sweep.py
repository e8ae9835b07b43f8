"""How fast a sweep is, against the loops one would write instead: python -m benchmarks.sweep

stock     fairseq-train called once a run, with fairseq's own architecture and flags, as its RoBERTa example has it
trainer   transformers' Trainer with its defaults, a script called once a run (extra hf)
ours      one `python -m sweeps` for all runs

Each way trains the same runs (both inits of each seed) on the same splits for as many epochs, evaluates valid and test
after each, and keeps its best checkpoint. The ways take turns, `--rounds` times; the machine's matrix-product peak is
measured between them, in the precision of each way. With a GPU each way has two rows, one in fp16 and one in bf16.
FLOPs are those of the whole model on the real tokens (no padding), the same for every way.
"""

import argparse
import importlib.util
import json
import math
import re
import shlex
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.benchmark import Timer

from benchmarks.page import parser_of, show, spread, table
from benchmarks.prep import timed
from data_prep.models.checkpoints import optimizer_history, read_checkpoint
from data_prep.stages import read_manifest
from foundation.errors import UsageError, exit_code
from hydra_conf.compose import compose_config
from hydra_conf.words import group_words, quoted

WAYS = ("stock", "trainer", "ours")
INITS = ("pretrained", "random")
PRECISIONS = ("fp16", "bf16") if torch.cuda.is_available() else ("auto",)  # each way has a row for each precision
BEGIN = re.compile(r"^(\S+ \S+) \|.*begin training epoch 1\s*$", re.MULTILINE)
VERSIONS = "the versions of the libraries differ from setup.cfg"
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


@dataclass
class Measured:
    """The rounds of one way in one precision. The first round replaces `auto` by the precision that it used."""

    precision: str
    seconds: list[float] = field(default_factory=list)
    start_up: list[float] = field(default_factory=list)  # seconds before the first step, summed over runs
    peak_gb: list[float] = field(default_factory=list)
    accuracy: dict[str, float] = field(default_factory=dict)  # init -> last test accuracy of the first seed, percent


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


STOCK = """--task sentence_prediction --criterion sentence_prediction --num-classes 2 --arch roberta_base
    --shorten-method truncate --init-token 0 --separator-token 2 --optimizer adam --adam-betas '(0.9, 0.98)'
    --adam-eps 1e-8 --weight-decay 0.01 --lr-scheduler polynomial_decay --valid-subset valid,test
    --best-checkpoint-metric accuracy --maximize-best-checkpoint-metric --no-epoch-checkpoints --log-format simple"""


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


def trainer_command(task: Task, init: str, seed: int, folder: Path, precision: str) -> list[str]:
    """Return the command that calls this module's Trainer script for one run."""
    told = {
        "init": init,
        "seed": seed,
        "out": str(folder),
        "model": str(folder.parent / "trainer.hf"),
        "splits": str(task.data.parent.parent / "splits" / task.data.name.partition(".")[0]),
        "epochs": task.epochs,
        "batch_size": task.batch_size,
        "rate": task.rates[init],
        "precision": precision,
    }
    return [sys.executable, "-m", "benchmarks.sweep", "--trainer", json.dumps(told)]


def train_with_trainer(told: dict[str, Any]) -> None:
    """Train as a user's own script would: Trainer, its defaults, padded batches. `told` is from `trainer_command`."""
    import transformers
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    from data_prep.examples import read_split

    transformers.set_seed(told["seed"])
    tokenizer = AutoTokenizer.from_pretrained(told["model"])
    config = AutoConfig.from_pretrained(told["model"], num_labels=2)
    if told["init"] == "pretrained":
        model = AutoModelForSequenceClassification.from_pretrained(told["model"], config=config)
    else:
        model = AutoModelForSequenceClassification.from_config(config)
    labels = sorted({str(example.label) for example in read_split(Path(told["splits"]) / "train.jsonl")})
    data = {}
    for split in ("train", "valid", "test"):
        examples = list(read_split(Path(told["splits"]) / f"{split}.jsonl"))
        rows = tokenizer([example.text for example in examples], truncation=True)["input_ids"]
        data[split] = [
            {"input_ids": ids, "labels": labels.index(str(example.label))}
            for ids, example in zip(rows, examples, strict=True)
        ]
    settings = TrainingArguments(
        output_dir=told["out"],
        seed=told["seed"],
        num_train_epochs=told["epochs"],
        learning_rate=told["rate"],
        per_device_train_batch_size=told["batch_size"],
        weight_decay=0.01,
        save_strategy="best",
        eval_strategy="epoch",
        metric_for_best_model="eval_valid_accuracy",
        save_total_limit=1,
        disable_tqdm=True,
        report_to="none",
        fp16=told["precision"] == "fp16",
        bf16=told["precision"] == "bf16",
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
    )
    trainer = Trainer(
        model=model,
        args=settings,
        train_dataset=data["train"],
        eval_dataset={split: data[split] for split in ("valid", "test")},
        processing_class=tokenizer,
        compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())},
    )
    print(f"{datetime.now():%Y-%m-%d %H:%M:%S} | begin training epoch 1", flush=True)
    trainer.train()
    print(f"test accuracy {100 * trainer.state.log_history[-2]['eval_test_accuracy']:.2f}")


def start_up(log: str, began: datetime) -> float:
    """Return the seconds from `began` to the log line, in fairseq's format, that says that training begins."""
    found = BEGIN.search(log)
    if found is None:
        raise UsageError(f"a log does not say when training began; {VERSIONS}")
    return (datetime.strptime(found.group(1), "%Y-%m-%d %H:%M:%S") - began.replace(microsecond=0)).total_seconds()


def loop(task: Task, way: str, scratch: Path, measured: Measured) -> None:
    """Train the runs one after the other, each in its own process, as a shell loop does."""
    seconds, waited = 0.0, 0.0
    peaks: list[float] = []
    for seed in task.seeds:
        for init in INITS:
            folder, log = scratch / f"{way}.{init}.{seed}", scratch / f"{way}.log"
            words = stock_command if way == "stock" else trainer_command
            command = words(task, init, seed, folder, measured.precision)
            began = datetime.now()
            took, peak = timed([command], log)
            said = log.read_text(errors="replace")
            seconds, waited, peaks = seconds + took, waited + start_up(said, began), [*peaks, peak]
            shutil.rmtree(folder, ignore_errors=True)
            if seed == task.seeds[0]:
                measured.accuracy[init] = last_accuracy(said)
    measured.seconds.append(seconds)
    measured.start_up.append(waited)
    measured.peak_gb.append(max(peaks))


def last_accuracy(log: str) -> float:
    """Return the last test accuracy (percent) in a log of stock fairseq or of the Trainer script."""
    found = re.findall(r"valid on 'test' subset .*?\| accuracy ([\d.]+)|^test accuracy ([\d.]+)", log, re.MULTILINE)
    if not found:
        raise UsageError(f"a log tells no test accuracy; {VERSIONS}")
    return float("".join(found[-1]))


def sweep_command(
    arguments: argparse.Namespace, runs: Path, seeds: str, options: list[str], overrides: list[str]
) -> list[str]:
    """Return the command of a sweep of ours on the data of `arguments`."""
    words = ["--seeds", seeds, "--runs-dir", str(runs), "--data-dir", str(arguments.data_dir)]
    words += ["--model", arguments.model, *options, "--", "recipe.evaluate_every=epoch", *overrides]
    return [sys.executable, "-m", "sweeps", *words]


def our_sweep(task: Task, scratch: Path, arguments: argparse.Namespace, measured: Measured) -> None:
    """Train the same runs with one command."""
    runs, log = scratch / "ours", scratch / "ours.log"
    options = ["--epochs", str(task.epochs), "--dataset", arguments.dataset, "--precision", measured.precision]
    command = sweep_command(arguments, runs, arguments.seeds, options, arguments.overrides)
    called = datetime.now()
    took, peak = timed([command], log)
    waited = 0.0
    statuses = {path: json.loads(path.read_text()) for path in runs.rglob("status.json")}
    first = min(status["started"] for status in statuses.values())
    for status, told in statuses.items():
        began = datetime.strptime(told["started"], "%Y-%m-%dT%H:%M:%S%z").astimezone().replace(tzinfo=None)
        began = called if told["started"] == first else began  # the first run also waits for the sweep to start
        waited += start_up((status.parent / "train.log").read_text(errors="replace"), began)
        init, seed = status.parent.parent.name, status.parent.name
        if seed == f"seed={task.seeds[0]}":
            test = json.loads((status.parent / "progress.json").read_text())["test"]
            measured.accuracy[init] = 100 * test["n_correct"] / test["n"]
    measured.seconds.append(took)
    measured.start_up.append(waited)
    measured.peak_gb.append(peak)
    measured.precision = json.loads(next(runs.rglob("provenance.json")).read_text())["precision"]
    shutil.rmtree(runs)


def rows_of(ways: Sequence[str], precisions: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the way and the precision of each row of the table. The row of the first precision has the way's name.

    Without a GPU (`auto`), stock and trainer train in float32, which is their default.
    """
    return {
        way if precision == precisions[0] else f"{way}, {precision}": (
            way,
            "fp32" if precision == "auto" and way != "ours" else precision,
        )
        for precision in precisions
        for way in ways
    }


def bench(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Run every way in turn; return the results as Markdown and as numbers."""
    ways = arguments.ways.split(",")
    if "trainer" in ways and importlib.util.find_spec("transformers") is None:
        print("trainer is left out: transformers is not installed (make setup EXTRAS=dev,hf)", flush=True)
        ways.remove("trainer")
    if not set(ways) <= set(WAYS):
        raise UsageError(f"--ways {arguments.ways}: choose from {', '.join(WAYS)}")
    task = plan(arguments)
    measured = {row: Measured(precision) for row, (_, precision) in rows_of(ways, PRECISIONS).items()}
    peaks: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.data_dir) as name:
        scratch = Path(name).absolute()
        if "stock" in ways:
            stock_checkpoint(task.model_folder, scratch / "stock.pt")
        if "trainer" in ways:
            words = ["hf_tasks", "convert", str(task.model_folder), "--out", str(scratch / "trainer.hf")]
            timed([[sys.executable, "-m", *words]])
        for number in range(arguments.rounds):
            for row, (way, _) in rows_of(ways, PRECISIONS).items():
                print(f"round {number + 1}: {row}", flush=True)
                if way == "ours":
                    our_sweep(task, scratch, arguments, measured[row])
                else:
                    loop(task, way, scratch, measured[row])
                precision = measured[row].precision
                peaks.setdefault(precision, []).append(peak_flops(precision))
    best = {precision: max(found) for precision, found in peaks.items()}
    numbers = {
        "peak_gflops": {precision: peak / 1e9 for precision, peak in best.items()},
        "tokens": task.tokens,
        "tflop": task.flop / 1e12,
        "ways": {way: vars(found) for way, found in measured.items()},
    }
    return as_table(task, measured, best), numbers


def as_table(task: Task, measured: dict[str, Measured], peaks: dict[str, float]) -> str:
    """Return one row per way: medians, with the least and the most of the rounds. `peaks` are FLOP/s by precision."""
    medians = {way: statistics.median(found.seconds) for way, found in measured.items()}
    n_runs = len(INITS) * len(task.seeds)
    rows = [
        {
            "way": way,
            "seconds (least to most)": spread(found.seconds, 0),
            "times as fast as stock": f"{medians['stock'] / medians[way]:.2f}" if "stock" in medians else "-",
            "real tokens/s": f"{task.tokens / medians[way]:,.0f}",
            "of the peak": f"{100 * task.flop / medians[way] / peaks[found.precision]:.0f} % of {found.precision}'s",
            "GB at the peak": f"{max(found.peak_gb):.2f}",
            "start-up per run, s": f"{statistics.median(found.start_up) / n_runs:.1f}",
            **{f"test %, {init}, seed {task.seeds[0]}": f"{value:.1f}" for init, value in found.accuracy.items()},
        }
        for way, found in measured.items()
    ]
    about = (
        f"{n_runs} runs of {task.steps} steps, {task.tokens:,} real tokens trained on, "
        f"{task.flop / 1e12:.1f} TFLOP; peak of a matrix product, GFLOP/s: "
        f"{', '.join(f'{peak / 1e9:,.0f} in {precision}' for precision, peak in peaks.items())}; "
        f"rounds: {max(len(found.seconds) for found in measured.values())}."
    )
    return f"{about}\n\n{table(rows)}\n"


def main() -> int:
    parser = parser_of("benchmarks.sweep", __doc__)
    parser.add_argument("--dataset", default="amazon_fr")
    parser.add_argument("--model", default="e5_small_fr")
    parser.add_argument("--seeds", default="0", help="comma-separated (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--ways", default=",".join(WAYS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--trainer", help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help="Hydra overrides of our own sweep")
    arguments = parser.parse_args()
    if arguments.trainer:
        train_with_trainer(json.loads(arguments.trainer))
        return 0
    found, numbers = bench(arguments)
    show(arguments.page, "sweep", found, numbers)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
