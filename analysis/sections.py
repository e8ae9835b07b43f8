"""What a report consists of: sections with paragraphs, tables and pictures, and the material they are made from."""

import base64
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from analysis.baselines import Baseline, Fits
from analysis.best_steps import RunResult
from analysis.dose import DoseCurve, Losses
from analysis.evidence import Evidence
from analysis.labels import LabelCurves
from analysis.ladder import Ladder
from analysis.longer import Longer
from analysis.verdict import ClaimVerdict, Verdict

LONG = 40  # rows; a longer table is collapsed
ALSO = {
    "test_accuracy": "Test accuracy over steps.",
    "valid_accuracy": "Validation accuracy over steps.",
    "dose": "Test accuracy over tokens of pre-training.",
    "labels": "Test accuracy over the number of labels.",
    "ladder": "Test accuracy by the part of the first weights that is pre-trained.",
    "final_accuracy": "Test accuracy at the best step of each run.",
    "steps_to_threshold": "Steps to the threshold.",
    "seed_spread": "Spread over seeds.",
    "valid_against_test": "Validation against test accuracy.",
    "train_loss": "Training loss over steps.",
    "published_sources": "The report, the replications and these runs.",
}


def in_markdown(frame: pd.DataFrame) -> str:
    """Return a table as Markdown; a bar, a line break or a `<` in a name is shown as it is."""

    def cell(value: object) -> str:
        return " ".join(str(value).split()).replace("|", r"\|").replace("<", r"\<")

    escaped = frame.map(cell).rename(columns=cell)
    return str(escaped.to_markdown(index=False, disable_numparse=True))


@dataclass(frozen=True)
class Table:
    title: str
    frame: pd.DataFrame
    is_upright: bool = False  # each column describes one thing, read from top to bottom

    @property
    def is_long(self) -> bool:
        return len(self.frame) > LONG

    @property
    def html(self) -> str:
        return self.frame.to_html(index=False, header=True, border=0, classes="upright" if self.is_upright else None)

    @property
    def markdown(self) -> str:
        return in_markdown(self.frame)


@dataclass(frozen=True)
class Picture:
    name: str
    title: str  # the finding
    caption: str
    svg: Path

    @property
    def what(self) -> str:
        return ALSO[self.name]

    @property
    def source(self) -> str:
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.read_bytes()).decode("ascii")


@dataclass(frozen=True)
class Section:
    title: str
    paragraphs: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Material:
    """Everything that a report is made from."""

    sweep: str
    sweep_folder: Path
    data_dir: Path
    folder: Path  # of the results
    results: list[RunResult]
    evidence: Evidence
    baselines: dict[str, list[Baseline]]  # TF-IDF and the commonest class, by dataset
    fits: Fits  # the same and probes, by dataset, model and number of training texts
    losses: Losses  # of the doses' checkpoints
    doses: list[DoseCurve]
    without_doses: list[str]  # why other doses have no curve
    labels: list[LabelCurves]
    without_labels: list[str]  # why other numbers of labels have no curves
    longer: list[Longer]
    without_longer: list[str]  # why other lengths are not set beside the usual one
    ladders: list[Ladder]
    without_ladders: list[str]  # why other inits have no share of the gain
    numbers: list[Verdict]
    claims: list[ClaimVerdict]
    table: pd.DataFrame  # a row for each run and for each baseline
    problems: list[str]
    folders: dict[str, Path]  # run -> its folder
    scalars: pd.DataFrame  # every scalar of the sweep's logs
