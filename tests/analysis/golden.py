"""Made-up sweeps of many shapes, each with its whole report: `python -m tests.analysis.golden` writes the reports anew.

A sweep is written to disk as a real one is: event files, status, progress, predictions, configuration, provenance. The
reports beside this file, in `reports/`, were read line by line; `test_reports.py` compares every sentence.
"""

import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from omegaconf import DictConfig
from torch.utils.tensorboard import SummaryWriter

from analysis.__main__ import main
from data_prep.examples import Example
from data_prep.splits import make_splits
from data_prep.stages import build_stage, read_manifest
from foundation.errors import exit_code
from foundation.whole_files import sha256_of
from hydra_conf.compose import compose_config
from hydra_conf.words import group_words
from sweeps.folders import RunKey
from sweeps.grid import resolved_yaml
from tests.analysis.undrawn import undrawn

REPORTS = Path(__file__).parent / "reports"
DEFAULT_STEPS = (0, 13, 25, 49, 98, 147, 196, 245, 294)  # of amazon_fr
PUBLISHED_STEPS = (0, 225, 450, 675, 900, 1125)
SIZES = dict.fromkeys(
    ("cls_books", "cls_books_published", "cls_books_course"), (200, 2000)
)  # validation and test texts; else 100 and 400
N_TRAIN = 60
LEAKED = {"cls_books_published": 12, "cls_books": 12}  # test texts that are the training texts of their number


@dataclass(frozen=True)
class Run:
    """One made-up run: it rises from `start` to `test` percent at the step `best`, and stays about there."""

    init: str
    seed: int
    test: float
    valid: float = 80.0
    best: int = 294
    pace: float = 60.0  # steps; a curve with a small one rises early
    start: float = 50.0
    dataset: str = "amazon_fr"
    model: str = "e5_small_fr"
    backend: str = "fairseq"
    method: str = "full"
    steps: tuple[int, ...] = DEFAULT_STEPS
    state: str = "done"  # or failed, or absent: planned without a folder; damaged: its log breaks off
    status: dict[str, Any] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    train: int = 0  # training texts; 0: all
    length: int = 1  # times the usual steps, which `steps` and `best` have
    one_answer: bool = False  # it gives every text the same class

    @property
    def key(self) -> RunKey:
        return RunKey(
            self.dataset, self.model, self.backend, self.method, self.init, self.seed, self.train, self.length
        )


def longer(run: Run, **more: Any) -> Run:
    """Return a run of 3 times the steps, evaluated as often. It rises as fast as the shorter one."""
    steps = tuple(3 * step for step in run.steps)
    return replace(run, **{"length": 3, "steps": steps, "best": 3 * run.best, **more})


def of_seeds(init: str, tests: list[float], **more: Any) -> list[Run]:
    """Return a run for each test accuracy, seeds from 0."""
    return [Run(init, seed, test, **more) for seed, test in enumerate(tests)]


PRETRAINED = of_seeds("pretrained", [87.0, 89.5, 85.5], valid=85.0, best=98, pace=25)
RANDOM = of_seeds("random", [71.25, 74.5, 72.75], valid=74.0, pace=90)
PUBLISHED = {
    "dataset": "cls_books",
    "model": "roberta_small_fr",
    "steps": PUBLISHED_STEPS,
    "overrides": ("experiment=published",),
}
SIX_PUBLISHED = [
    replace(run, best=best, valid=valid)
    for run, (best, valid) in zip(
        [
            *of_seeds("pretrained", [79.5, 78.5, 80.1], pace=300, **PUBLISHED),
            *of_seeds("random", [65.4, 66.7, 67.4], pace=400, **PUBLISHED),
        ],
        [(1125, 81.5), (675, 80.0), (900, 83.5), (900, 62.0), (450, 65.0), (1125, 63.0)],
        strict=True,
    )
]
WITH_LEAKS = "cls_books_published"
LONGER = (
    "experiment=published",
    "fairseq.lr_scheduler.total_num_update=3125",
    "fairseq.lr_scheduler.warmup_updates=187",
)
THIRTY = (4 * np.random.default_rng(1).normal(0, 1.5, (2, 30))).round() / 4  # quarters of a point: whole texts of 400

LABELS = {0: (87.0, 73.0), 30: (85.0, 68.0), 15: (72.25, 61.0)}  # training texts of 60 -> pre-trained, random
LADDER = {"bottom_4": 84.0, "bottom_2": 80.0, "embeddings": 77.0, "shuffled": 73.5, "statistics": 74.0}
SCATTER = [0.75, -0.5, -0.25]
DOSES = {"0M": 71.0, "250k": 70.5, "2M": 76.0, "16M": 80.0}
LOSSES = {"roberta_small_fr@0M": 10.4, "roberta_small_fr@250k": 8.125, "roberta_small_fr@16M": 4.5}
SWEEPS: dict[str, list[Run]] = {
    "labels": [
        run
        for train, means in LABELS.items()
        for init, mean in zip(("pretrained", "random"), means, strict=True)
        for run in of_seeds(init, [mean + gap * (1 + (init == "random")) for gap in SCATTER], train=train)
    ],
    "labels_and_a_longer_training": [
        *PRETRAINED,
        *RANDOM,
        *(replace(run, train=30, test=run.test - 6) for run in (*PRETRAINED, *RANDOM)),
        *map(longer, PRETRAINED),
        *(longer(run, test=run.test + 3.25) for run in RANDOM),
    ],
    "only_longer_trainings": [*map(longer, (*PRETRAINED, *RANDOM))],
    "longer_training_of_one_init": [*PRETRAINED, *RANDOM, *map(longer, PRETRAINED)],
    "longer_training_of_runs_that_learned_nothing": [
        *PRETRAINED,
        *(replace(run, test=50.0, one_answer=True) if run.seed else run for run in RANDOM),
        *map(longer, (*PRETRAINED, *RANDOM)),
    ],
    "longer_trainings_of_other_seeds_and_terms": [
        *PRETRAINED,
        *RANDOM,
        *(longer(run, test=run.test + 1, seed=run.seed + 1) for run in (*PRETRAINED, *RANDOM)),
        *(replace(run, train=30) for run in (*PRETRAINED, *RANDOM)),
        *(longer(run, train=30, overrides=("recipe.epochs=30",)) for run in (*PRETRAINED, *RANDOM)),
    ],
    "labels_of_one_seed_with_a_run_that_learned_nothing": [
        Run(init, 0, test, train=train, one_answer=test == 50)
        for train, tests in {0: (87.0, 73.0), 30: (50.0, 73.25)}.items()
        for init, test in zip(("pretrained", "random"), tests, strict=True)
    ],
    "labels_with_seeds_and_terms_that_differ": [
        *(run for run in (*PRETRAINED, *RANDOM) if (run.init, run.seed) != ("random", 2)),
        *(replace(run, train=30, test=run.test - 6) for run in (*PRETRAINED, *RANDOM)),
        *(replace(run, train=15, overrides=("recipe.epochs=30",)) for run in (*PRETRAINED, *RANDOM)),
    ],
    "labels_without_a_common_seed": [
        *PRETRAINED,
        *RANDOM,
        *(replace(run, train=30, seed=run.seed + 10) for run in (*PRETRAINED, *RANDOM)),
    ],
    "labels_of_subsets_only": [
        replace(run, train=train, test=run.test - down)
        for train, down in {30: 0.0, 15: 8.0}.items()
        for run in (*PRETRAINED, *RANDOM)
    ],
    "labels_that_random_weights_need_no_more": [
        run
        for train, means in {0: (88.0, 80.0), 30: (86.0, 82.0), 15: (70.0, 60.0)}.items()
        for init, mean in zip(("pretrained", "random"), means, strict=True)
        for run in of_seeds(init, [mean + gap for gap in SCATTER], train=train)
    ],
    "labels_of_runs_that_learned_nothing": [
        replace(run, test=50.0, one_answer=True) if run.init == "random" else run
        for run in (*PRETRAINED, *RANDOM, *(replace(run, train=30) for run in (*PRETRAINED, *RANDOM)))
    ],
    "ladder": [
        run
        for init, mean in {"pretrained": 87.0, **LADDER, "random": 73.0}.items()
        for run in of_seeds(init, [mean + gap * len(init) / 8 // 0.25 * 0.25 for gap in SCATTER])
    ],
    "ladder_with_seeds_and_terms_that_differ": [
        *PRETRAINED,
        *of_seeds("bottom_2", [83.0, 84.0, 82.5], overrides=("recipe.epochs=30",)),
        *of_seeds("embeddings", [78.0, 77.0]),
        *(replace(run, init="shuffled", seed=run.seed + 10) for run in RANDOM),
        *RANDOM,
    ],
    "ladder_of_other_seeds": [*PRETRAINED, *of_seeds("embeddings", [78.0, 77.0]), replace(RANDOM[0], seed=10)],
    "ladder_of_runs_that_learned_nothing": [
        *PRETRAINED,
        *of_seeds("bottom_2", [83.0, 84.0]),
        Run("bottom_2", 2, 50.0, one_answer=True),
        *(replace(run, init="shuffled", test=50.0, one_answer=True) for run in RANDOM),
        *RANDOM,
    ],
    "ladder_whose_random_run_learned_nothing": [
        *PRETRAINED,
        *of_seeds("embeddings", [78.0, 77.0, 76.0]),
        *RANDOM[:2],
        replace(RANDOM[2], test=50.0, one_answer=True),
    ],
    "ladder_of_equal_gains": [
        *of_seeds("pretrained", [82.0, 84.0, 83.0]),
        *of_seeds("embeddings", [77.0, 79.5, 78.0]),
        *of_seeds("random", [72.0, 74.0, 73.0]),
    ],
    "ladder_without_a_gain": [
        *of_seeds("pretrained", [73.0, 75.0, 71.0]),
        *of_seeds("embeddings", [74.0, 72.0]),
        *of_seeds("bottom_2", [74.0, 72.0, 73.0]),
        *(replace(run, init="shuffled", test=50.0, one_answer=True) for run in RANDOM),
        *of_seeds("random", [72.0, 74.0, 75.0]),
    ],
    "doses": [
        *(
            run
            for dataset, scale in {"amazon_fr": 1, "cls_books": 4}.items()
            for number, (dose, mean) in enumerate(DOSES.items(), 1)
            for run in of_seeds(
                "pretrained",
                [mean + gap * number * scale for gap in SCATTER],
                dataset=dataset,
                model=f"roberta_small_fr@{dose}",
            )
        ),
        *of_seeds("random", [70.0, 71.0, 70.5], model="roberta_small_fr"),
    ],
    "three_seeds": [*PRETRAINED, *RANDOM],
    "one_seed": [PRETRAINED[0], RANDOM[0]],
    "one_init": PRETRAINED,
    "three_against_two_seeds": [*PRETRAINED, *RANDOM[:2]],
    "other_seeds": [*PRETRAINED[:2], *(replace(run, seed=run.seed + 10) for run in RANDOM)],
    "thirty_seeds": [
        *of_seeds("pretrained", [86 + gap for gap in THIRTY[0]], valid=85.0, best=147, pace=25),
        *of_seeds("random", [74 + gap for gap in THIRTY[1]], valid=74.0, pace=90),
    ],
    "three_classes": [replace(run, dataset="mine") for run in (*PRETRAINED, *RANDOM)],
    "pairs": [replace(run, dataset="pawsx_fr") for run in (*PRETRAINED, *RANDOM)],
    "hf_only": [replace(run, backend="hf") for run in PRETRAINED],
    "lora_only": [replace(run, backend="hf", method="lora") for run in PRETRAINED],
    "fairseq_pretrained_hf_random": [*PRETRAINED, *(replace(run, backend="hf") for run in RANDOM)],
    "two_back_ends": [*PRETRAINED, *(replace(run, backend="hf", test=run.test + 0.5) for run in PRETRAINED)],
    "unequal_terms": [
        *PRETRAINED,
        *(replace(run, backend="hf", best=98, steps=(0, 49, 98), overrides=("recipe.epochs=1",)) for run in PRETRAINED),
    ],
    "two_datasets_two_models": [
        replace(run, dataset=dataset, model=model, test=run.test - down)
        for down, (dataset, model) in enumerate(product(("amazon_fr", "cls_dvd"), ("e5_small_fr", "tiny")))
        for run in (*PRETRAINED[:2], *RANDOM[:2])
    ],
    "all_failed": [
        replace(
            run,
            state="failed",
            status={
                "error": "out of memory (RuntimeError: no memory); lower recipe.batch_size, model.max_positions or JOBS"
            },
        )
        for run in (*PRETRAINED, *RANDOM)
    ],
    "all_random_failed": [
        *PRETRAINED,
        *(replace(run, state="failed", status={"error": "the disk is full"}) for run in RANDOM),
    ],
    "one_failed_one_damaged_one_missing": [
        *PRETRAINED,
        replace(PRETRAINED[0], seed=3, state="damaged"),
        *RANDOM,
        replace(RANDOM[0], seed=3, state="failed", status={"error": "killed: no process owns the run any more"}),
        replace(RANDOM[0], seed=4, state="absent"),
    ],
    "no_run_passes": [replace(run, test=run.test - 20, valid=60.0) for run in (*PRETRAINED, *RANDOM)],
    "random_never_passes": [*PRETRAINED, *(replace(run, test=run.test - 10) for run in RANDOM)],
    "some_random_never_pass": [*PRETRAINED, *RANDOM[:2], replace(RANDOM[2], test=68.0)],
    "pretrained_never_passes": [*(replace(run, test=run.test - 22, valid=66.0) for run in PRETRAINED), *RANDOM],
    "some_of_both_never_pass": [
        *PRETRAINED[:2],
        replace(PRETRAINED[2], test=66.0),
        *RANDOM[:2],
        replace(RANDOM[2], test=68.0),
    ],
    "starts_above": [*(replace(run, start=71.0) for run in PRETRAINED), *RANDOM],
    "equal_accuracies": [*of_seeds("pretrained", [80.0] * 5, pace=25), *of_seeds("random", [75.0] * 5, pace=60)],
    "equal_differences": [
        *of_seeds("pretrained", [80.0, 81.0, 82.0], pace=25),
        *of_seeds("random", [70.0, 71.0, 72.0], pace=60),
    ],
    "random_better": [*of_seeds("pretrained", [70.25, 72.5, 71.0], pace=90), *of_seeds("random", [75.0, 76.5, 75.0])],
    "no_difference": [*of_seeds("pretrained", [80.0, 82.5, 79.0]), *of_seeds("random", [80.25, 80.25, 81.0])],
    "published_setting": SIX_PUBLISHED,
    "published_with_another_schedule": [
        replace(run, steps=(0, 225, 450, 675), best=675, overrides=("experiment=published", "recipe.epochs=3"))
        for run in SIX_PUBLISHED
    ],
    "published_with_a_longer_decay": [
        *SIX_PUBLISHED[3:],
        *(replace(run, dataset=WITH_LEAKS, test=run.test + 7, overrides=LONGER) for run in SIX_PUBLISHED[3:]),
    ],
    "two_published_datasets": [
        *SIX_PUBLISHED,
        *(replace(run, dataset="cls_books_course", test=run.test - 1) for run in SIX_PUBLISHED),
    ],
    "published_with_leaks": [
        *(replace(run, dataset="cls_books_published", test=run.test + 0.35) for run in SIX_PUBLISHED),
        *SIX_PUBLISHED,
    ],
    "unequal_inits": [*PRETRAINED, *(replace(run, overrides=("recipe.epochs=5",)) for run in RANDOM)],
    "unlike_runs": [*PRETRAINED[:2], replace(PRETRAINED[2], overrides=("recipe.weight_decay=0.5",)), *RANDOM],
    "skipped_steps": [
        replace(run, status={"planned_steps": 294, "skipped_steps": 3 * run.seed, "attempts": 1 + run.seed})
        for run in (*PRETRAINED[:2], *RANDOM[:2])
    ],
}


# --- writing a sweep


def reader_of(labels: list[str], n_valid: int, n_test: int) -> Any:
    """Return a reader as data_prep has them, of texts whose words tell their class three times in four."""

    def read(path: Path, part: str, config: DictConfig) -> Iterator[Example]:
        n = {"train": N_TRAIN, "valid": n_valid, "test": n_test}[part]
        rng = np.random.default_rng([len(part), n])
        for number in range(n):
            label = labels[number % len(labels)]
            shown = label if rng.random() < 0.75 else labels[int(rng.integers(len(labels)))]
            pair = f"le livre {number} de {part}" if config.name == "pawsx_fr" else None
            of = "train" if part == "test" and number < LEAKED.get(config.name, 0) else part
            yield Example(f"{part}-{number}", f"le roman {number} de {of} est {shown}", pair, label)

    return read


def write_data(root: Path, dataset: str, model: str) -> dict[str, Any]:
    """Write data/splits and data/bin as prep does, as far as a report reads them; return what a run records of them."""
    words = ["dataset=table", f"dataset.name={dataset}"] if dataset == "mine" else [f"dataset={dataset}"]
    config = compose_config([*words, *model_words(model)]).dataset
    labels = ["mal", "moyen", "bien"] if dataset == "mine" else list(config.labels or [])
    config.labels, config.expected, config.n_valid, config.n_test = labels, None, None, None
    n_valid, n_test = SIZES.get(dataset, (100, 400))
    splits, binarised = root / f"data/splits/{dataset}", root / f"data/bin/{dataset}.{model}"
    parts = dict.fromkeys(("train", "valid", "test"), Path("made-up"))
    about = {"title": config.title, "task": config.task, "licence": config.licence, "citation": config.citation}
    build_stage(
        splits,
        {"made": "up"},
        lambda scratch: {**about, **make_splits(scratch, config, parts, reader_of(labels, n_valid, n_test))},
    )
    manifest = read_manifest(splits)
    assert manifest is not None
    examples = manifest["examples"]

    def binarise(scratch: Path) -> dict[str, Any]:
        (scratch / "test.bin").write_text(dataset)
        return {
            "max_positions": 256,
            "examples": examples,
            "labels": labels,
            "tokens": {split: 100 * n for split, n in examples.items()},
            "unknown_share": dict.fromkeys(examples, 0.001),
            "cut": {split: {"examples": 3, "share": 0.05} for split in examples},
        }

    build_stage(binarised, {"splits": manifest["outputs"]}, binarise)
    made = read_manifest(binarised)
    assert made is not None
    own = root / "data/models" / model
    if (loss := LOSSES.get(model)) is not None:
        own.mkdir(parents=True, exist_ok=True)
        (own / "model.pt").write_text(model)
        (own / "pretraining.json").write_text(json.dumps({"loss": loss, "frequency_loss": 6.75}))
    checkpoint = "c" * 8 if loss is None else sha256_of(own / "model.pt")
    return {"data": made["outputs"], "examples": examples, "labels": labels, "checkpoint": checkpoint}


def model_words(model: str) -> list[str]:
    """Return the overrides that choose a model, or a dose of it, such as e5_small_fr@16M."""
    base, _, dose = model.partition("@")
    return [f"model={base}", *([f"model.name={model}"] if dose else [])]


@cache
def configuration(dataset: str, model: str, backend: str, method: str, init: str, overrides: tuple[str, ...]) -> str:
    """Return the config.yaml of such a run, without its seed's line."""
    words = model_words(model) + group_words(backend=backend, method=method, init=init)
    words += ["dataset=table", "dataset.name=mine"] if dataset == "mine" else [f"dataset={dataset}"]
    groups = [word for word in overrides if word.startswith("experiment=")]
    config = compose_config([*groups, *words, *(word for word in overrides if word not in groups)])
    config.device, config.precision.name, config.data_dir = "cpu", "fp32", "data"
    return "".join(line for line in resolved_yaml(config).splitlines(True) if not line.startswith("seed:"))


def curve_of(run: Run, top: float, after: float) -> list[float]:
    """Return percent at each step: a curve that bends, reaches `top` at the best step and then falls by `after`."""
    rise = 1 - math.exp(-run.best / run.pace)
    return [
        run.start + (top - run.start) * (1 - math.exp(-step / run.pace)) / rise if step <= run.best else top - after
        for step in run.steps
    ]


def write_run(root: Path, sweep: str, run: Run, inputs: dict[str, Any]) -> None:
    """Write one run folder."""
    folder = run.key.folder(root / "runs", sweep)
    folder.mkdir(parents=True)
    text = configuration(run.dataset, run.model, run.backend, run.method, run.init, run.overrides)
    text = text.replace("n_train: null\n", f"n_train: {run.train}\n") if run.train else text
    text = text.replace("\nlength: 1\n", f"\nlength: {run.length}\n")
    (folder / "config.yaml").write_text(f"{text}seed: {run.seed}\n")
    state = "failed" if run.state == "failed" else "done"
    (folder / "status.json").write_text(json.dumps({"state": state, **run.status}))
    if state == "failed":
        return
    record = {
        "inputs": {**inputs, "checkpoint": inputs["checkpoint"] if run.init == "pretrained" else None},
        "git_commit": "abc",
        "device": "a made-up processor",
        "platform": "Linux",
        "precision": "fp32",
        "threads": 1,
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
    }
    (folder / "provenance.json").write_text(json.dumps(record))
    counts: dict[str, list[int]] = {}
    answers, ends = [], {}
    for split, top, after, n in (
        ("valid", run.valid, 1.0, inputs["examples"]["valid"]),
        ("test", run.test, -0.25, inputs["examples"]["test"]),
    ):
        counts[split] = [round(n * value / 100) for value in curve_of(run, top, after)]
        if split == "valid":  # the best step is the only one with its count
            most = counts[split][run.steps.index(run.best)]
            counts[split] = [
                right if step == run.best else min(right, most - 1)
                for step, right in zip(run.steps, counts[split], strict=True)
            ]
        with SummaryWriter(str(folder / "tb" / split)) as writer:
            for step, right in zip(run.steps, counts[split], strict=True):
                writer.add_scalar("n_correct", right, step)
                writer.add_scalar("n", n, step)
        ends[split] = {"step": run.steps[-1], "n": n, "n_correct": counts[split][-1]}
        rng = np.random.default_rng([run.seed, n, run.init == "random"])
        ranks = np.argsort(np.argsort(np.arange(n) + rng.normal(0, n / 5, n)))  # the same texts are hard for all runs
        right_at_best = ranks < counts[split][run.steps.index(run.best)]
        if run.one_answer:
            right_at_best = np.sort(right_at_best)[::-1]
        answers.append(
            pd.DataFrame(
                {
                    "split": split,
                    "id": [f"{split}-{number}" for number in range(n)],
                    "gold": np.where(right_at_best, "a", "b") if run.one_answer else "a",
                    "predicted": "a" if run.one_answer else np.where(right_at_best, "a", "b"),
                    "logits": [[0.0, 1.0]] * n,
                }
            )
        )
    with SummaryWriter(str(folder / "tb/train_inner")) as writer:
        for step in range(10, run.steps[-1] + 1, 10):
            writer.add_scalar("loss", 0.1 + 0.6 * math.exp(-step / run.pace / 3), step)
    pd.concat(answers).to_parquet(folder / "predictions.parquet")
    (folder / "progress.json").write_text(json.dumps({"best_step": run.best, **ends}))
    if run.state == "damaged":
        (events,) = (folder / "tb/test").glob("*")
        events.rename(events.with_name("events.out.tfevents.0"))
        events.with_name("events.out.tfevents.0").write_bytes(
            events.with_name("events.out.tfevents.0").read_bytes()[:-60]
        )


def write_sweep(root: Path, sweep: str, runs: list[Run]) -> None:
    """Write a whole sweep and the data it was made from below `root`."""
    inputs = {pair: write_data(root, *pair) for pair in {(run.dataset, run.model) for run in runs}}
    for run in runs:
        if run.state != "absent":
            write_run(root, sweep, run, inputs[run.dataset, run.model])
    listed = {"runs": [str(run.key) for run in runs], "commands": ["make prep", f"make sweep SWEEP={sweep}"]}
    (root / "runs" / sweep / "sweep.json").write_text(json.dumps(listed))


@contextmanager
def at(folder: Path) -> Iterator[None]:
    """Work in a folder, with figures that are composed but not drawn."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        with undrawn():
            yield
    finally:
        os.chdir(before)


def report_of(name: str, root: Path) -> str:
    """Write the sweep `name` below `root` and return its report, or the sentence that there is in its place."""
    write_sweep(root, name, SWEEPS[name])
    errors: list[str] = []
    with at(root), mock.patch.object(sys, "argv", ["analysis", "--sweep", name]):
        with mock.patch("builtins.print", lambda *words, **_: errors.append(" ".join(map(str, words)))):
            code = exit_code(main)
        if code:
            return errors[-1] + "\n"
        text = (root / "results" / name / "report.md").read_text(encoding="utf-8")
    return re.sub(r"^(Sweep `\w+`), .*\.$", r"\1, DATE.", text, count=1, flags=re.MULTILINE)


def write_reports() -> None:
    for path in REPORTS.glob("*.md"):
        path.unlink()
    for name in SWEEPS:
        with tempfile.TemporaryDirectory() as root:
            (REPORTS / f"{name}.md").write_text(report_of(name, Path(root)), encoding="utf-8")
        print(f"{REPORTS.name}/{name}.md")


if __name__ == "__main__":
    write_reports()
