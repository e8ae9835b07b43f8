"""What is drawn of runs made up for the purpose, and what its titles and captions say."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.baselines import Baseline
from analysis.captions import title_of_gaps
from analysis.drawing import framed
from analysis.evidence import gather_evidence
from analysis.figures import _draw_curves, accuracy_over_steps, final_accuracy
from tests.analysis.made_up import made_up, nowhere, of_curves


def test_a_title_of_many_comparisons_tells_the_least_and_the_greatest_gap() -> None:
    gaps = {"cls_books": 5.0, "cls_dvd": 9.0, "cls_music": 2.0, "amazon_fr": 7.0}
    runs = [
        made_up((900, 80.0, 70.0 + gap * (init == "pretrained") + seed), seed, init=init, dataset=dataset)
        for dataset, gap in gaps.items()
        for init in ("pretrained", "random")
        for seed in (0, 1)
    ]
    title = title_of_gaps(gather_evidence(runs, nowhere(runs), 70.0))
    assert title == "Pre-trained minus random: +2.00 to +9.00 points of test accuracy in 4 comparisons"


@pytest.mark.parametrize(("n", "width", "said"), [(1, 2.2, "Line: one run."), (2, 0.8, "Thin line: one run.")])
def test_a_run_alone_is_drawn_as_a_full_line_and_the_caption_agrees(n: int, width: float, said: str) -> None:
    curves: list[list[float]] = [[50, 55, 60, 61], [50, 56, 61, 60]]
    runs = of_curves("random", *curves[:n])
    drawing = accuracy_over_steps(gather_evidence(runs, nowhere(runs), 70.0), "test")
    assert drawing is not None
    lines = [line for line in drawing.figure.axes[0].lines if len(np.atleast_1d(line.get_xdata())) > 1]
    assert [line.get_linewidth() for line in lines[:n]] == [width] * n
    assert said in drawing.caption


@pytest.mark.parametrize(("apart", "sides"), [(1.0, {"left", "right"}), (40.0, {"center"})])
def test_the_labels_of_baselines_that_are_close_stand_on_two_sides(apart: float, sides: set[str]) -> None:
    runs = of_curves("random", [50, 55, 60, 61])
    evidence = gather_evidence(runs, nowhere(runs), 70.0)
    low = Baseline("commonest class", 50.0, 50.0, 45.0, 55.0)
    own = [replace(low, name="TF-IDF + logistic regression", test=50.0 + apart), low]
    drawing = final_accuracy(evidence, {evidence.groups[0].names["dataset"]: own})
    assert {text.get_horizontalalignment() for text in drawing.figure.axes[0].texts} == sides


def test_runs_that_were_never_evaluated_at_the_same_step_are_drawn_without_a_mean() -> None:
    runs = of_curves("random", [50, 55, 60, 61], [50, 55, 60, 62])
    runs = [replace(run, curve=run.curve.iloc[number::2]) for number, run in enumerate(runs)]
    (group,) = gather_evidence(runs, nowhere(runs), 70.0).groups
    axis = Figure().subplots()
    _draw_curves(axis, group, "test", 0.8)
    assert not axis.collections  # no band


def test_a_line_keeps_a_number_and_its_unit_together() -> None:
    title = "Smallest dose of pre-training that shows a gain: none up to 4 M tokens, 95 % of them"
    drawing = framed(title, title, Figure(figsize=(6, 4)))
    assert drawing.figure.get_suptitle().replace("\n", " ") == title.replace("4 M", "4\u00a0M").replace(
        "5 %", "5\u00a0%"
    )
    assert drawing.title == title
