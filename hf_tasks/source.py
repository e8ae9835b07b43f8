"""Finds what to convert: a fairseq folder, or a finished run's best checkpoint together with the run's test texts."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow
import pyarrow.parquet
import yaml
from omegaconf import OmegaConf

from data_prep.examples import Example, read_split
from foundation.errors import UsageError


@dataclass(frozen=True)
class Source:
    """What is converted: a checkpoint, the folder with its dictionary and sentencepiece model, the names of classes.

    For a run, the source also has the precision, the test texts, and the run's answer to each text at its best step: a
    label, and how far the next label's logit is below. `without_tests` says why there are no test texts.
    """

    title: str
    checkpoint: Path
    model_folder: Path
    labels: list[str]
    precision: str = "fp32"
    tests: list[Example] = field(default_factory=list)
    answers: list[tuple[str, float]] = field(default_factory=list)
    without_tests: str = ""


def source_of(folder: Path) -> Source:
    """Return the source in a fairseq folder or a run folder. Raises `UsageError` when the folder is neither."""
    if (folder / "checkpoint_best.pt").is_file():
        return _of_run(folder)
    if (folder / "model.pt").is_file():
        return Source(folder.name, folder / "model.pt", folder, [])
    refuse_pruned(folder)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; give a run folder, or a model that `make prep` has made")
    raise UsageError(
        f"{folder} holds neither model.pt (a fairseq folder) nor checkpoint_best.pt (a finished run); "
        "`make prep MODEL=...` makes the folder of a model"
    )


def refuse_pruned(folder: Path) -> None:
    """Raise `UsageError` when a folder without a checkpoint is a run folder."""
    if (folder / "config.yaml").is_file() and (folder / "status.json").is_file():
        raise UsageError(
            f"{folder} holds no checkpoint_best.pt: its run has not begun, or `sweeps prune` has deleted it; "
            "`make sweep` with FORCE=1 trains it again"
        )


def _of_run(folder: Path) -> Source:
    try:
        config = OmegaConf.load(folder / "config.yaml")
        labels = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["inputs"]["labels"]
        state = json.loads((folder / "status.json").read_text(encoding="utf-8"))["state"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise UsageError(f"{folder} is no whole run folder: {type(error).__name__}: {said}") from error
    if state != "done":
        raise UsageError(f"{folder} is not finished: its run is {state}; `make sweep` finishes it")
    split = Path(config.data_dir) / "splits" / config.dataset.name / "test.jsonl"
    tests, answers, why = _answered(folder / "predictions.parquet", split)
    how = f"{config.backend.name}, {config.method.name}, seed {config.seed}"
    return Source(
        title=f"{config.init.name} {config.model.name}, fine-tuned on {config.dataset.name} ({how})",
        checkpoint=folder / "checkpoint_best.pt",
        model_folder=Path(config.model.folder),
        labels=labels,
        precision=config.precision.name,
        tests=tests,
        answers=answers,
        without_tests=why,
    )


def _answered(predictions: Path, split: Path) -> tuple[list[Example], list[tuple[str, float]], str]:
    """Return the test texts and the run's answers to them, or two empty lists and the reason."""
    for path in (predictions, split):
        if not path.is_file():
            return [], [], f"{path} is not there"
    try:
        table = pyarrow.parquet.read_table(predictions)
    except pyarrow.ArrowException:
        return [], [], f"{predictions} is not whole"
    rows = [row for row in table.to_pylist() if row["split"] == "test"]
    examples = list(read_split(split))
    if [(row["id"], row["gold"]) for row in rows] != [(example.id, example.label) for example in examples]:
        return [], [], f"{split} holds other texts than the run was tested on"
    highest = [sorted(row["logits"])[-2:] for row in rows]
    return examples, [(row["predicted"], two[-1] - two[0]) for row, two in zip(rows, highest, strict=True)], ""
