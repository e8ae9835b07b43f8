"""The figures, one style: colour tells inits apart, titles state the finding, captions say n and what is drawn."""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.baselines import Baseline
from analysis.event_files import KEYS
from analysis.evidence import Evidence, Group
from analysis.findings import at_least, interval, tighter
from analysis.statistics import Estimate, area_under, mean_over_seeds
from data_prep.whole_files import replaced

matplotlib.use("Agg")

PALETTE = sns.color_palette("colorblind")
COLOURS = {"pretrained": PALETTE[0], "random": PALETTE[1]}
MARKERS = {"pretrained": "o", "random": "s"}
STYLE = {"axes.grid": True, "grid.color": "0.92"}
WIDTH, PANELS_A_ROW = 7.2, 3  # inches
PANEL = ["dataset", "model", "backend", "method"]

Colour = tuple[float, float, float]


def _colour(init: object) -> Colour:
    return COLOURS.get(str(init), PALETTE[2])


def _marker(init: object) -> str:
    return MARKERS.get(str(init), "D")


def _framed(title: str, caption: str, figure: Figure) -> Figure:
    """Put the finding above and what is drawn below, both wrapped to the figure's width."""
    width = int(figure.get_figwidth() * 9.2)
    figure.suptitle("\n".join(textwrap.wrap(title, width)), x=0.01, ha="left", fontsize="large", fontweight="bold")
    lines = "\n".join(textwrap.wrap(caption, int(width * 1.42)))
    figure.supxlabel(lines, x=0.01, ha="left", fontsize="small", color="0.35")
    sns.despine(figure)
    return figure


def _counts(groups: Iterable[Group]) -> str:
    counts: dict[str, int] = {}
    for group in groups:
        counts[group.names["init"]] = counts.get(group.names["init"], 0) + len(group.runs)
    return ", ".join(f"{count} {init}" for init, count in counts.items())


def _panels(evidence: Evidence) -> dict[tuple[str, ...], list[Group]]:
    panels: dict[tuple[str, ...], list[Group]] = {}
    for group in evidence.groups:
        panels.setdefault(tuple(group.names[key] for key in PANEL), []).append(group)
    return panels


def _grid(n: int, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(n, PANELS_A_ROW)
    rows = -(-n // columns)
    figure = Figure(figsize=(max(WIDTH, 4.2 * columns), height * rows + 0.7), layout="constrained")
    axes = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for axis in axes[n:]:
        axis.remove()
    return figure, axes[:n]


def _legend(axis: Axes, inits: Iterable[str], more: Sequence[Line2D] = ()) -> None:
    lines = [Line2D([], [], color=_colour(init), lw=2.2, marker=_marker(init), ms=5, label=init) for init in inits]
    axis.legend(handles=[*lines, *more], loc="best", fontsize="small", frameon=True, framealpha=0.85, edgecolor="none")


def accuracy_over_steps(evidence: Evidence, split: str) -> Figure | None:
    """Return each run's accuracy over steps, the mean with its interval, and a marker at each run's best step."""
    panels = _panels(evidence)
    figure, axes = _grid(len(panels), 3.9)
    values = pd.concat([run.curve[split] for group in evidence.groups for run in group.runs]).dropna()
    if values.empty:
        return None
    for axis, (names, groups) in zip(axes, panels.items(), strict=True):
        for group in groups:
            _draw_curves(axis, group, split)
        axis.set_xlabel("step (optimiser updates)")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(panels) > 1:
            axis.set_title(" · ".join(names), fontsize="small", loc="left")
    axes[0].set_ylabel(f"{SPLITS[split]} accuracy (%)")
    margin = max(0.2 * float(np.ptp(values)), 2.0)  # a band of three seeds may reach far beyond the runs
    axes[0].set_ylim(max(float(values.min()) - margin, 0), min(float(values.max()) + margin, 100))
    best = Line2D([], [], color="0.3", lw=0, marker="o", mfc="white", ms=6, label="best step of a run")
    _legend(axes[-1], sorted({group.names["init"] for group in evidence.groups}), [best])
    caption = (
        f"{_where(evidence)}n = {_counts(evidence.groups)} runs. Thin: one run. Thick: mean. Band: 95 % interval of "
        "the mean, Student's t over seeds. Best step: highest validation accuracy, the earliest on a tie."
    )
    return _framed(_curve_title(evidence, split), caption, figure)


SPLITS = {"valid": "validation", "test": "test"}


def _where(evidence: Evidence) -> str:
    """Return what all groups share, for the caption; what tells them apart is in panels and rows."""
    first, *others = (group.names for group in evidence.groups)
    shared = [value for key, value in first.items() if key != "init" and all(names[key] == value for names in others)]
    return f"{' · '.join(shared)}. " if shared else ""


def _row_label(group: Group, groups: list[Group]) -> str:
    differing = [value for key, value in group.names.items()
                 if key == "init" or any(other.names[key] != value for other in groups)]  # fmt: skip
    return f"{' · '.join(differing)} (n = {len(group.runs)})"


def _curve_title(evidence: Evidence, split: str) -> str:
    found = evidence.leading()
    if not found:
        return f"{SPLITS[split].capitalize()} accuracy while fine-tuning"
    areas = [[np.mean([_area(run.curve, split) for run in group.runs]) for group in (c.one, c.other)] for c in found]
    leads = [float(one - other) for one, other in areas]
    lead = f"{min(leads):+.1f}" if len(leads) == 1 else f"{min(leads):+.1f} to {max(leads):+.1f}"
    one, other = found[0].sides
    return f"{_opening(one)} less {other}, over all of training: {lead} points of {SPLITS[split]} accuracy"


def _area(curve: pd.DataFrame, split: str) -> float:
    own = curve.dropna(subset=[split])
    return area_under(own["step"], own[split])


def _opening(name: str) -> str:
    """Return a name as a sentence may begin with it."""
    return name if name == "hf" else name.capitalize()


def _draw_curves(axis: Axes, group: Group, split: str) -> None:
    init = group.names["init"]
    tables = [run.curve.dropna(subset=[split])[["step", split]] for run in group.runs]
    tables = [table for table in tables if len(table)]
    if not tables:
        return
    faint = min(0.65, 6 / len(tables))
    for run, table in zip([run for run in group.runs if run.curve[split].notna().any()], tables, strict=True):
        axis.plot(table["step"], table[split], color=_colour(init), lw=0.8, alpha=faint)
        best = table[table["step"] == run.best_step]
        axis.plot(best["step"], best[split], color=_colour(init), marker=_marker(init), mfc="white", ms=6, lw=0,
                  alpha=max(faint, 0.3), zorder=4, clip_on=False)  # fmt: skip
    at = pd.concat(tables).groupby("step")[split]
    whole = at.count() == len(tables)  # a mean over the runs that happen to be there would jump
    means = [(float(str(step)), mean_over_seeds(values)) for step, values in at if whole[step]]
    steps = [step for step, _ in means]
    axis.plot(steps, [found.value for _, found in means], color=_colour(init), lw=2.2, zorder=3)
    low, high = [max(found.low, 0) for _, found in means], [min(found.high, 100) for _, found in means]
    axis.fill_between(steps, low, high, color=_colour(init), alpha=0.14, lw=0)


def training_loss(scalars: pd.DataFrame) -> Figure | None:
    """Return each run's training loss (nats an example, mean over each logging interval) over steps."""
    own = scalars[(scalars["split"] == "train_inner") & (scalars["tag"] == "loss")]
    if own.empty:
        return None
    panels = list(own.groupby(PANEL))
    figure, axes = _grid(len(panels), 3.9)
    for axis, (names, panel) in zip(axes, panels, strict=True):
        for init, of_init in panel.groupby("init"):
            runs = of_init.groupby("seed")
            for _, run in runs:
                axis.plot(run["step"], run["value"], color=_colour(init), lw=0.7, alpha=min(0.5, 5 / len(runs)))
            mean = of_init.groupby("step")["value"].mean()
            axis.plot(mean.index, mean, color=_colour(init), lw=2.2)
        axis.set_xlabel("step (optimiser updates)")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(panels) > 1:
            axis.set_title(" · ".join(map(str, names)), fontsize="small", loc="left")
    axes[0].set_ylabel("training loss (nats an example)")
    runs_of = own.drop_duplicates(KEYS).groupby("init").size()
    ends = own[own["step"] == own.groupby(KEYS)["step"].transform("max")].groupby("init")["value"].mean()
    inits = sorted(map(str, runs_of.index))
    _legend(axes[-1], inits)
    title = "Training loss ends at " + " and ".join(f"{ends[init]:.2f} nats ({init})" for init in inits)
    counts = ", ".join(f"{runs_of[init]} {init}" for init in inits)
    caption = f"n = {counts} runs. Thin: one run, mean over each logging interval. Thick: mean over runs."
    return _framed(title, caption, figure)


def validation_against_test(evidence: Evidence) -> Figure:
    """Return a point a run at its best step, against the line of equality."""
    runs = [(group.names["init"], run.best_valid, run.test) for group in evidence.groups for run in group.runs]
    figure = Figure(figsize=(WIDTH, 5.0), layout="constrained")
    axis = figure.subplots()
    for init, valid, test in runs:
        axis.plot([valid or 0], [test or 0], marker=_marker(init), color=_colour(init), mec="white", ms=8, lw=0,
                  alpha=0.9, clip_on=False)  # fmt: skip
    values = [value for _, valid, test in runs for value in (valid, test) if value is not None]
    low, high = max(min(values) - 3, 0), min(max(values) + 3, 100)
    axis.plot([low, high], [low, high], color="0.6", lw=1, ls="--", zorder=1)
    axis.set(xlim=(low, high), ylim=(low, high), xlabel="validation accuracy at the best step (%)",
             ylabel="test accuracy at that step (%)")  # fmt: skip
    _legend(axis, sorted({init for init, _, _ in runs}))
    gap = float(np.mean([(valid or 0) - (test or 0) for _, valid, test in runs]))
    side = "above" if gap > 0 else "below"
    title = f"The best validation accuracy is {abs(gap):.1f} points {side} the test accuracy at that step, on average"
    caption = (
        f"{_where(evidence)}n = {_counts(evidence.groups)} runs. Dashed: equal. A step chosen for its validation "
        "accuracy is seen at its luckiest there; its test accuracy is not."
    )
    return _framed(title, caption, figure)


def _rows(groups: list[Group]) -> tuple[Figure, Axes, list[float]]:
    """Return a figure with a row a group, the first on top, and the rows' heights."""
    figure = Figure(figsize=(WIDTH, 1.9 + 0.62 * len(groups)), layout="constrained")
    axis = figure.subplots()
    heights = [float(len(groups) - 1 - number) for number in range(len(groups))]
    axis.set_yticks(heights, [_row_label(group, groups) for group in groups])
    axis.set_ylim(-0.6, len(groups) - 0.4)
    axis.grid(axis="y", visible=False)
    return figure, axis, heights


def _draw_points(axis: Axes, height: float, group: Group, values: Sequence[float]) -> None:
    shifts = np.linspace(0.16, 0.30, len(values)) if len(values) > 1 else np.array([0.2])
    init = group.names["init"]
    axis.plot(values, height + shifts, marker=_marker(init), color=_colour(init), mec="white", ms=6.5, lw=0,
              alpha=max(0.25, min(0.9, 20 / len(values))))  # fmt: skip


def _draw_interval(
    axis: Axes, height: float, group: Group, found: Estimate | None, width: float, shown: bool,
    most: float = np.inf,
) -> None:  # fmt: skip
    colour = _colour(group.names["init"])
    if found is not None and found.has_interval:
        axis.plot([found.low, min(found.high, most)], [height, height], color=colour, lw=width, solid_capstyle="butt")
    if found is not None and shown:
        axis.plot([found.value], [height], marker="|", color=colour, ms=15, mew=2.6, lw=0)


def final_accuracy(evidence: Evidence, baselines: dict[str, list[Baseline]]) -> Figure:
    """Return the test accuracies at the best steps as points, with their mean and both intervals."""
    figure, axis, heights = _rows(evidence.groups)
    for height, group in zip(heights, evidence.groups, strict=True):
        _draw_points(axis, height, group, group.test.tolist())
        _draw_interval(axis, height, group, group.over_texts, 1.4, False, most=100)
        _draw_interval(axis, height, group, group.over_seeds, 5.0, True, most=100)
    datasets = sorted({group.names["dataset"] for group in evidence.groups})
    for dataset in datasets if len(datasets) == 1 else []:
        for baseline, style in zip(baselines.get(dataset, []), ("--", ":"), strict=False):
            axis.axvline(baseline.test, color="0.45", lw=1.2, ls=style, zorder=1)
            label = f"{baseline.name.split(',')[0]}\n{baseline.test:.1f}"
            axis.text(baseline.test, 1.0, label, fontsize="x-small", color="0.35",
                      transform=axis.get_xaxis_transform(), ha="center", va="bottom")  # fmt: skip
    axis.set_xlabel("test accuracy at the best step (%)")
    found = evidence.leading()
    title = "Test accuracy at the best step"
    if found:
        one, other = found[0].sides
        gaps = [comparison.difference for comparison in found[:2]]
        said = "; ".join(f"{gap.value:+.1f} points (95 % interval {interval(gap, '+.1f')})" for gap in gaps)
        title = f"{_opening(one)} less {other}: {said}"
    caption = (
        f"{_where(evidence)}Points: runs. Bar: mean. Thick: its 95 % interval for this test set, new seeds (Student's "
        "t). Thin: for new texts, new seeds (crossed random effects)."
    )
    return _framed(title, caption, figure)


def steps_to_threshold(evidence: Evidence) -> Figure:
    """Return the steps that each run takes to the threshold; open triangles for runs that never reach it."""
    figure, axis, heights = _rows(evidence.groups)
    for height, group in zip(heights, evidence.groups, strict=True):
        reached = [step for step in group.steps if step is not None]
        if reached:
            _draw_points(axis, height, group, reached)
        if group.n_censored:
            axis.plot([group.last_step] * group.n_censored, np.linspace(height - 0.3, height - 0.12, group.n_censored),
                      marker=">", color=_colour(group.names["init"]), mfc="white", ms=7, lw=0)  # fmt: skip
        counted = group.counted_steps
        if counted.min() > 0:
            logs = mean_over_seeds(np.log(counted))
            value, low, high = (float(np.exp(part)) for part in (logs.value, logs.low, logs.high))
            steps = Estimate(value, low, high, logs.target, logs.method)
            _draw_interval(axis, height, group, steps, 5.0, True)
    axis.set_xlim(0, 1.06 * max(group.last_step for group in evidence.groups))
    axis.set_xlabel(f"steps to {evidence.threshold:g} % test accuracy (optimiser updates)")
    found = [comparison for comparison in evidence.leading() if comparison.steps_ratio is not None]
    title = f"Steps to {evidence.threshold:g} % test accuracy"
    if found and found[0].steps_ratio is not None:
        ratio, (one, other) = found[0].steps_ratio, found[0].sides
        within = f" (95 % interval {interval(ratio, '.1f')})" if ratio.has_interval else ""
        title = (f"{_opening(other)} runs need {at_least(found[0])}{ratio.value:.1f} times the steps of {one} ones to "
                 f"{evidence.threshold:g} %{within}")  # fmt: skip
    caption = (
        f"{_where(evidence)}Points: runs, interpolated between evaluations up to "
        f"{max(group.apart for group in evidence.groups):.0f} steps apart. Triangles: never reached; counted with the "
        "last step. Bar: geometric mean with its 95 % interval over seeds."
    )
    return _framed(title, caption, figure)


def seed_spread(evidence: Evidence) -> Figure:
    """Return each run's distance from its group's mean, with the sample standard deviation as a line."""
    figure, axis, heights = _rows(evidence.groups)
    for height, group in zip(heights, evidence.groups, strict=True):
        _draw_points(axis, height, group, (group.test - group.test.mean()).tolist())
        std = group.spread.std_sample
        if len(group.runs) > 1:
            axis.plot([-std, std], [height, height], color=_colour(group.names["init"]), lw=5, solid_capstyle="butt")
    axis.axvline(0, color="0.6", lw=1, zorder=1)
    axis.set_xlabel("test accuracy less the mean of its group (points)")
    found = evidence.leading()
    title = tighter(found[0]) if found else "Spread of test accuracy over seeds"
    return _framed(title, f"{_where(evidence)}Points: runs. Line: one sample standard deviation (ddof 1) to each side.",
                   figure)  # fmt: skip


def write_figures(
    folder: Path, scalars: pd.DataFrame, evidence: Evidence, baselines: dict[str, list[Baseline]]
) -> dict[str, str]:
    """Write every figure that there are data for as PNG and SVG; return each one's finding by its name."""
    written = {}
    # the salt makes the same figure the same file
    with (
        sns.axes_style("ticks", STYLE),
        sns.plotting_context("paper", 1.15),
        matplotlib.rc_context({"svg.hashsalt": "warmstart"}),
    ):
        drawn: dict[str, Figure | None] = {
            "test_accuracy": accuracy_over_steps(evidence, "test"),
            "valid_accuracy": accuracy_over_steps(evidence, "valid"),
            "final_accuracy": final_accuracy(evidence, baselines),
            "steps_to_threshold": steps_to_threshold(evidence),
            "seed_spread": seed_spread(evidence),
            "valid_against_test": validation_against_test(evidence),
            "train_loss": training_loss(scalars),
        }
        for name, figure in drawn.items():
            if figure is None:
                continue
            for suffix in ("png", "svg"):
                metadata: dict[str, Any] = {"Date": None} if suffix == "svg" else {}
                with replaced(folder / f"{name}.{suffix}") as temporary:
                    figure.savefig(temporary, format=suffix, dpi=200, metadata=metadata)
            written[name] = " ".join(figure.get_suptitle().split())
    return written
