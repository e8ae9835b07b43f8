"""How fast pre-training is, against stock fairseq-train: python -m benchmarks.pretrain

stock      fairseq-train with its own masked_lm task, its own encoder and Adam, float32 (its --bf16 fails on a CPU)
bare loop  a plain PyTorch loop around fairseq's own model, in the precision of ours, with torch's fused AdamW
ours       `python -m sweeps pretrain`

All train the published shape on whole blocks of the same corpus, with as many tokens and masks in each step, on all
cores of a CPU. The ways take turns, `--rounds` times. A step's seconds are those between the first and the last point
of `train_inner/`, which is written at every step; in *ours* they hold the checkpoints that it saves. FLOPs are those of
the layers, of attention, and of the output layer at the masked positions only, the same for every way.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch.utils.tensorboard import SummaryWriter

from benchmarks.page import parser_of, show, spread, table
from benchmarks.parts import step_seconds
from benchmarks.prep import timed
from benchmarks.stock import fairseq_train
from benchmarks.task import SHAPE, flop_of, peak_flops
from data_prep.corpus import corpus_folder
from foundation.errors import UsageError, exit_code
from hydra_conf.compose import compose_config
from hydra_conf.words import quoted
from sweeps.pretrain import arguments_of_pretrain, plan

STOCK, BARE, OURS = "stock", "bare loop", "ours"
WHOLE_BLOCKS = "pretraining.first_block_tokens=null"  # as stock fairseq trains
OPTIONS = """--task masked_lm --criterion masked_lm --arch roberta_base --sample-break-mode none --optimizer adam
    --lr-scheduler inverse_sqrt --log-format simple --log-interval 1 --no-save --disable-validation --dropout 0.0
    --attention-dropout 0.0 --cpu"""


def stock_command(config: DictConfig, steps: int, folder: Path) -> list[str]:
    """Return fairseq-train's command for `steps` steps, which are logged in `folder`."""
    settings = config.pretraining
    options = {
        **{name: config.fairseq.model[name] for name in SHAPE},
        "tokens-per-sample": settings.block_tokens,
        "batch-size": settings.batch_tokens // settings.block_tokens,
        "mask-prob": settings.mask_share,
        "max-positions": config.model.max_positions,
        "max-update": steps,
        "lr": settings.learning_rate,
        "warmup-updates": 100,
        "clip-norm": settings.clip_norm,
        "tensorboard-logdir": folder,
    }
    return fairseq_train(corpus_folder(config) / "input0", OPTIONS, options, [])


def bare_loop(told: dict[str, Any]) -> None:
    """Train fairseq's own model in a plain loop, and log as fairseq does. `told` is from `bench`."""
    from fairseq.models.roberta import RobertaModel
    from fairseq.models.roberta.model import base_architecture
    from fairseq.tasks.masked_lm import MaskedLMConfig, MaskedLMTask

    words = {"data": told["data"], "tokens_per_sample": told["block"], "mask_prob": told["mask"], "seed": 1}
    task: Any = MaskedLMTask.setup_task(MaskedLMConfig(**words))
    task.load_dataset("train")
    names = argparse.Namespace(**told["shape"], max_positions=told["positions"], dropout=0.0, attention_dropout=0.0)
    base_architecture(names)
    model = RobertaModel.build_model(names, task).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=told["rate"], fused=True)
    dataset = task.datasets["train"]
    order = dataset.ordered_indices()
    writer = SummaryWriter(str(Path(told["logs"]) / "train_inner"))
    for step in range(told["steps"]):
        rows = order[step * told["batch"] : (step + 1) * told["batch"]]
        sample = dataset.collater([dataset[int(row)] for row in rows])
        masked = sample["target"].ne(task.dictionary.pad())
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=told["precision"] == "bf16"):
            logits = model(sample["net_input"]["src_tokens"], masked_tokens=masked)[0]
        loss = torch.nn.functional.cross_entropy(logits.float(), sample["target"][masked])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        writer.add_scalar("loss", float(loss), step + 1)
    writer.close()


def bench(
    arguments: argparse.Namespace, config: DictConfig, words: list[str], overrides: list[str]
) -> tuple[str, dict[str, Any]]:
    """Run every way in turn; return the results as Markdown and as numbers.

    `words` and `overrides` make `python -m sweeps pretrain` train what `config` says.
    """
    settings, steps = config.pretraining, arguments.steps
    if settings.first_block_tokens is not None:
        raise UsageError(
            f"pretraining.first_block_tokens={settings.first_block_tokens}: stock fairseq trains on whole blocks, and "
            f"speeds are compared on the same work; give {WHOLE_BLOCKS}"
        )
    shape = {name: int(config.fairseq.model[name]) for name in SHAPE}
    told = {
        "data": str(corpus_folder(config) / "input0"),
        "shape": shape,
        "positions": config.model.max_positions,
        "block": settings.block_tokens,
        "mask": settings.mask_share,
        "batch": settings.batch_tokens // settings.block_tokens,
        "rate": settings.learning_rate,
        "steps": steps,
        "precision": config.precision.name,
    }
    measured: dict[str, list[float]] = {STOCK: [], BARE: [], OURS: []}
    with tempfile.TemporaryDirectory(dir=arguments.data_dir) as name:
        scratch = Path(name).absolute()
        runs = scratch / "runs"
        data = scratch / "data"  # with the prepared corpus; the model folders of the bench stay here
        for part in ("raw", "bin", "splits"):
            (data / part).parent.mkdir(parents=True, exist_ok=True)
            if (arguments.data_dir / part).exists():
                (data / part).symlink_to((arguments.data_dir / part).absolute())
        shutil.copytree(config.model.folder, data / "models" / config.model.name)
        options = ["--tokens", str(steps * settings.batch_tokens), "--precision", config.precision.name]
        options += ["--device", "cpu", "--data-dir", str(data), "--runs-dir", str(runs), *words]
        logged = "fairseq.common.log_interval=1"
        ours = [sys.executable, "-m", "sweeps", "pretrain", *options, "--", logged, *overrides]
        bare = [sys.executable, "-m", "benchmarks.pretrain", "--bare-loop", json.dumps({**told, "logs": str(runs)})]
        commands = {STOCK: stock_command(config, steps, runs), BARE: bare, OURS: ours}
        for number in range(arguments.rounds):
            for way, command in commands.items():
                print(f"{time.strftime('%H:%M:%S')} round {number + 1}: {way}", flush=True)
                shutil.rmtree(runs, ignore_errors=True)  # ours would go on from there
                for dose in (data / "models").glob("*@*"):
                    shutil.rmtree(dose)
                timed([command])
                measured[way].append(step_seconds(runs))
    kinds = {STOCK: "fp32", BARE: config.precision.name, OURS: config.precision.name}
    peaks = {kind: peak_flops(kind) for kind in dict.fromkeys(kinds.values())}
    flop = flop_of_step(config, shape)
    medians = {way: statistics.median(found) for way, found in measured.items()}
    speeds = {way: settings.batch_tokens / seconds for way, seconds in medians.items()}
    rows = [
        {
            "way": f"{way}, {kinds[way]}",
            "seconds per step (least to most)": spread(measured[way], 2),
            "times as fast as stock": f"{medians[STOCK] / medians[way]:.2f}",
            "tokens/s": f"{speeds[way]:,.0f}",
            "of the peak": f"{100 * flop / medians[way] / peaks[kinds[way]]:.0f} % of {kinds[way]}'s",
            "hours for 1 G tokens": f"{1e9 / speeds[way] / 3600:,.0f}",
        }
        for way in measured
    ]
    rates = ", ".join(f"{peak / 1e9:,.0f} in {kind}" for kind, peak in peaks.items())
    about = (
        f"{steps} steps of {settings.batch_tokens:,} tokens in whole blocks, {flop / 1e12:.2f} TFLOP each; "
        f"peak of a matrix product, GFLOP/s: {rates}; rounds: {arguments.rounds}."
    )
    return f"{about}\n\n{table(rows)}\n", {"seconds": measured, "flop": flop, "peaks": peaks}


def flop_of_step(config: DictConfig, shape: dict[str, int]) -> float:
    """Return the FLOPs of one training step: three times the forward pass, with the output layer where masked."""
    import numpy as np

    from data_prep.binarise import N_SPECIAL, read_dictionary

    settings, width = config.pretraining, shape["encoder_embed_dim"]
    blocks = np.full(settings.batch_tokens // settings.block_tokens, settings.block_tokens)
    rows = len(read_dictionary(Path(config.model.folder) / "dict.txt")) + N_SPECIAL + 1
    output = 2 * settings.mask_share * settings.batch_tokens * width * (rows + width)
    return 3 * (flop_of(blocks, shape) + output)


def main() -> int:
    parser = parser_of("benchmarks.pretrain", __doc__)
    parser.add_argument("--steps", type=int, default=40, help="default: %(default)s")
    parser.add_argument("--bare-loop", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare_loop:
        bare_loop(json.loads(arguments.bare_loop))
        return 0
    corpus = compose_config([f"data_dir={quoted(arguments.data_dir.absolute())}", "tokens=1"], "pretrain").corpus
    if not Path(corpus.file).is_file():
        print(f"pre-training is left out: there is no {corpus.file}; {corpus.how_to_get}")
        return 0
    words = ["--device", "cpu", "--data-dir", str(arguments.data_dir), "--runs-dir", "runs", "--tokens", "1M"]
    config, _ = plan(arguments_of_pretrain([*words, "--", WHOLE_BLOCKS]))
    found, numbers = bench(arguments, config, [], [WHOLE_BLOCKS])
    show(arguments.page, "pretrain", found, numbers)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
