"""Draw the figures in one style. Colours show inits, titles state the finding, captions give n and what is drawn."""

import textwrap
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis import captions
from analysis.baselines import COMMONEST, Baseline
from analysis.best_steps import rung
from analysis.bought_figures import dose_curve, labels_curve, ladder
from analysis.drawing import (
    COLOURS,
    STYLE,
    WIDTH,
    Drawing,
    add_legend,
    colour_of,
    draw_interval,
    draw_mean,
    draw_points,
    framed,
    grid_of,
    name_panel,
    shown_ends,
)
from analysis.event_files import KEYS
from analysis.evidence import Evidence
from analysis.groups import USUAL, Group
from analysis.intervals import mean_over_seeds
from analysis.phrases import prose
from analysis.replications import REPORT, sources
from analysis.sections import Material, Picture
from analysis.verdict import published_groups
from foundation.whole_files import replaced
from sweeps.folders import RunKey

PANEL = ["dataset", "model", "backend", "method", "train", "length"]
SPLITS = {"valid": "validation", "test": "test"}


def _over_steps(groups: list[Group]) -> tuple[Figure, list[tuple[Axes, list[Group]]]]:
    """Return a figure with a panel over steps for all groups that differ only in the init, and the panels' groups."""
    panels: dict[tuple[str, ...], list[Group]] = {}
    for group in groups:
        panels.setdefault(tuple(group.names[key] for key in PANEL), []).append(group)
    figure, axes = grid_of(len(panels), 3.9)
    for axis, names in zip(axes, panels, strict=True):
        axis.set_xlabel("step (optimiser updates)")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        name_panel(axis, dict(zip(PANEL, names, strict=True)), len(panels))
    return figure, list(zip(axes, panels.values(), strict=True))


def _inits(groups: list[Group]) -> list[str]:
    return sorted({group.names["init"] for group in groups}, key=rung)


def accuracy_over_steps(evidence: Evidence, split: str) -> Drawing | None:
    """Return a figure of each run's accuracy over steps, a marker at its best step, and each mean with its interval."""
    values = pd.concat([run.curve[split] for group in evidence.groups for run in group.runs]).dropna()
    if values.empty:
        return None
    figure, panels = _over_steps(evidence.groups)
    width = 0.8 if any(group.n > 1 for group in evidence.groups) else 2.2
    for axis, groups in panels:
        for group in groups:
            _draw_curves(axis, group, split, width)
    first, last = panels[0][0], panels[-1][0]
    first.set_ylabel(f"{SPLITS[split]} accuracy (%)")
    margin = max(0.2 * float(np.ptp(values)), 2.0)  # not the band: with three seeds it may be far wider
    first.set_ylim(max(float(values.min()) - margin, 0), min(float(values.max()) + margin, 100))
    best = Line2D([], [], color="0.3", lw=0, marker="o", mfc="white", ms=6, label="best step of a run")
    add_legend(last, _inits(evidence.groups), [best])
    return framed(captions.title_of_curves(evidence, split), captions.caption_of_curves(evidence), figure)


def _draw_curves(axis: Axes, group: Group, split: str, width: float) -> None:
    """Draw each run's curve and the mean of a group of several. `width` is of a run's line."""
    init = group.names["init"]
    tables = [(run.best_step, run.curve.dropna(subset=[split])) for run in group.runs]
    tables = [(best_step, table) for best_step, table in tables if len(table)]
    faint = 1.0 if len(tables) == 1 else min(0.65, 6 / max(len(tables), 1))
    for best_step, table in tables:
        axis.plot(table["step"], table[split], color=colour_of(init), lw=width, alpha=faint)
        best = table[table["step"] == best_step]
        look: dict[str, Any] = {"mec": colour_of(init), "mfc": "white", "clip_on": False}
        draw_points(axis, best["step"], best[split], init, ms=6, alpha=max(faint, 0.3), zorder=4, **look)
    if len(tables) < 2:  # a mean of one run is the run
        return
    at = pd.concat([table for _, table in tables]).groupby("step")[split]
    whole = at.count() == len(tables)  # the mean would jump where some runs have no value
    means = {float(str(step)): mean_over_seeds(values) for step, values in at if whole[step]}
    if not means:  # no step at which every run was evaluated
        return
    axis.plot(list(means), [found.value for found in means.values()], color=colour_of(init), lw=2.2, zorder=3)
    low, high = zip(*map(shown_ends, means.values()), strict=True)
    axis.fill_between(list(means), low, high, color=colour_of(init), alpha=0.14, lw=0)


def training_loss(scalars: pd.DataFrame, evidence: Evidence) -> Drawing | None:
    """Return a figure of the runs' training loss over steps (nats per example, mean over each logging interval)."""
    own = scalars[(scalars["split"] == "train_inner") & (scalars["tag"] == "loss")]
    runs: Any = own.groupby(KEYS)
    losses = {RunKey(*names): of_run.set_index("step")["value"] for names, of_run in runs}
    groups = [group for group in evidence.groups if any(run.key in losses for run in group.runs)]
    if not groups:
        return None
    groups.sort(key=lambda group: [getattr(group.runs[0].key, name) for name in (*PANEL, "init")])
    figure, panels = _over_steps(groups)
    last: dict[str, float] = {}
    counts: list[int] = []
    width = 0.7 if any(group.n > 1 for group in groups) else 2.2
    for axis, members in panels:
        for group in members:
            init = group.names["init"]
            curves = [losses[run.key] for run in group.runs if run.key in losses]
            for curve in curves:
                faint = 1.0 if len(curves) == 1 else min(0.5, 5 / len(curves))
                axis.plot(curve.index, curve, color=colour_of(init), lw=width, alpha=faint)
            if len(curves) > 1:
                mean = pd.concat(curves).groupby(level=0).mean()
                axis.plot(mean.index, mean, color=colour_of(init), lw=2.2)
            last[init] = float(np.mean([curve.iloc[-1] for curve in curves]))
            counts.append(len(curves))
    panels[0][0].set_ylabel("training loss (nats an example)")
    add_legend(panels[-1][0], _inits(groups))
    return framed(captions.title_of_loss(last if len(panels) == 1 else {}), captions.caption_of_loss(counts), figure)


def validation_against_test(evidence: Evidence) -> Drawing:
    """Return a figure with a point for each run at its best step, and a line where both accuracies are equal."""
    figure = Figure(figsize=(WIDTH, 5.0), layout="constrained")
    axis = figure.subplots()
    runs = [(group.names["init"], run.best_valid, run.test) for group in evidence.groups for run in group.runs]
    for init, valid, test in runs:
        draw_points(axis, [valid or 0], [test or 0], init, ms=8, alpha=0.9, clip_on=False)
    values = [value for _, valid, test in runs for value in (valid, test) if value is not None]
    ends = max(min(values) - 3, 0), min(max(values) + 3, 100)
    axis.plot(ends, ends, color="0.6", lw=1, ls="--", zorder=1)
    axis.set(xlim=ends, ylim=ends)
    axis.set(xlabel="validation accuracy at the best step (%)", ylabel="test accuracy at that step (%)")
    add_legend(axis, _inits(evidence.groups))
    return framed(captions.title_of_luck(evidence), captions.caption_of_luck(evidence), figure)


def _rows(groups: list[Group]) -> tuple[Figure, Axes, list[tuple[float, Group]]]:
    """Return a figure with one row for each group, the first on top, and the groups with their rows' heights."""
    figure = Figure(figsize=(WIDTH, 1.9 + 0.62 * len(groups)), layout="constrained")
    axis = figure.subplots()
    heights = [float(len(groups) - 1 - number) for number in range(len(groups))]
    axis.set_yticks(heights, [_row_label(group, groups) for group in groups])
    axis.set_ylim(-0.6, len(groups) - 0.4)
    axis.grid(axis="y", visible=False)
    return figure, axis, list(zip(heights, groups, strict=True))


def _row_label(group: Group, groups: list[Group]) -> str:
    differing = [
        prose(value)
        for key, value in group.names.items()
        if value != USUAL and (key == "init" or any(other.names[key] != value for other in groups))
    ]
    return "\n".join(textwrap.wrap(f"{' · '.join(differing)} (n\u00a0=\u00a0{group.n})", 30))


def _draw_seeds(axis: Axes, height: float, group: Group, values: NDArray[np.float64]) -> None:
    shifts = np.linspace(0.16, 0.30, len(values)) if len(values) > 1 else np.array([0.2])
    alpha = max(0.25, min(0.9, 20 / len(values)))
    draw_points(axis, values, height + shifts, group.names["init"], ms=6.5, alpha=alpha)


def final_accuracy(evidence: Evidence, baselines: dict[str, list[Baseline]]) -> Drawing:
    """Return a figure of the test accuracies at the best steps as points, with each group's mean and both intervals."""
    figure, axis, rows = _rows(evidence.groups)
    for height, group in rows:
        init = group.names["init"]
        _draw_seeds(axis, height, group, group.test)
        if group.over_texts is not None:
            draw_interval(axis, group.over_texts, height, init, lw=1.4)
        draw_interval(axis, group.over_seeds, height, init, lw=5.0)
        draw_mean(axis, group.over_seeds.value, height, init, ms=15, mew=2.6)
    datasets = {group.names["dataset"] for group in evidence.groups}
    for dataset in datasets if len(datasets) == 1 else []:
        own = sorted(baselines.get(dataset, []), key=lambda baseline: baseline.test)
        for baseline in own:
            axis.axvline(baseline.test, color="0.45", lw=1.2, ls=":" if baseline.name == COMMONEST else "--", zorder=1)
        is_close = len(own) > 1 and own[-1].test - own[0].test < 0.2 * float(np.ptp(axis.get_xlim()))
        for number, baseline in enumerate(own):
            side = "center" if not is_close else "left" if number else "right"  # labels do not overlap
            label = f"{baseline.name.split(',')[0]}\n{baseline.test:.2f}"
            look: dict[str, Any] = {"fontsize": "x-small", "color": "0.35", "ha": side, "va": "bottom"}
            axis.text(baseline.test, 1.0, label, transform=axis.get_xaxis_transform(), **look)
    axis.set_xlabel("test accuracy at the best step (%)")
    return framed(captions.title_of_gaps(evidence), captions.caption_of_gaps(evidence), figure)


def steps_to_threshold(evidence: Evidence) -> Drawing:
    """Return a figure with a line for each run, between the two evaluations where the run passes the threshold.

    A run that never passes gets an arrow. A run that starts at or above the threshold gets a dot.
    """
    figure, axis, rows = _rows(evidence.groups)
    for height, group in rows:
        colour = colour_of(group.names["init"])
        places = height + np.linspace(-0.28, 0.28, group.n) if group.n > 1 else [height]
        width = max(1.0, min(4.5, 14 / group.n))
        for place, run, bracket in zip(places, group.runs, group.brackets, strict=True):
            if bracket.is_at_start:
                axis.plot([0], [place], marker="o", color=colour, ms=6, lw=0, clip_on=False)
            else:
                last = float(run.curve["step"].max()) if bracket.is_censored else bracket.high
                line = axis.plot([bracket.low - 1, last], [place, place], color=colour, lw=width, solid_capstyle="butt")
                if bracket.is_censored:
                    line[0].set(marker=">", markevery=[1], mfc="white", ms=7, clip_on=False)
    axis.set_xlim(0, 1.06 * max(group.last_step for group in evidence.groups))
    axis.set_xlabel(f"steps to {evidence.threshold:g} % test accuracy (optimiser updates)")
    return framed(captions.title_of_steps(evidence), captions.caption_of_steps(evidence), figure)


def seed_spread(evidence: Evidence) -> Drawing:
    """Return a figure of each run's distance from its group's mean, with the standard deviation as a line."""
    figure, axis, rows = _rows(evidence.groups)
    for height, group in rows:
        _draw_seeds(axis, height, group, group.test - group.test.mean())
        std = group.spread.std
        if group.n > 1:
            axis.plot([-std, std], [height, height], color=colour_of(group.names["init"]), lw=5, solid_capstyle="butt")
    axis.axvline(0, color="0.6", lw=1, zorder=1)
    axis.set_xlabel("test accuracy minus the mean of its group (points)")
    return framed(captions.title_of_spread(evidence), captions.caption_of_spread(evidence), figure)


def published_sources(evidence: Evidence, baselines: dict[str, list[Baseline]]) -> Drawing | None:
    """Return a figure of the published experiment: a row per source (report, replications, ours), a point per seed."""
    groups = [group for of_dataset in published_groups(evidence).values() for group in of_dataset]
    found = sources(groups)
    if not any(source.is_ours for source in found):
        return None
    in_order = sorted(found, key=lambda source: (source.is_ours, source.name != REPORT, source.name))
    names = list(dict.fromkeys(source.name for source in in_order))
    figure = Figure(figsize=(WIDTH, 1.9 + 0.42 * len(names)), layout="constrained")
    axis = figure.subplots()
    for source in found:
        height = float(-names.index(source.name))
        alpha, size = (0.75, 8) if source.is_ours else (0.6, 6)
        places = [height + 0.14] * len(source.values)
        draw_points(axis, source.values, places, source.init, alpha=alpha, ms=size)
        draw_mean(axis, source.mean, height - 0.14, source.init, ms=11, mew=2.4)
    axis.set_yticks([float(-number) for number in range(len(names))], names)
    axis.grid(axis="y", visible=False)
    best = {
        dataset: baselines[dataset][0]
        for dataset in dict.fromkeys(group.names["dataset"] for group in groups)
        if baselines.get(dataset)
    }
    for baseline in best.values():
        axis.axvline(baseline.test, color="0.45", lw=1.2, ls="--", zorder=1)
    axis.set_xlabel("test accuracy at the best validation step (%)")
    add_legend(axis, [init for init in COLOURS if any(source.init == init for source in found)])
    published = {source.init: source.mean for source in found if source.name == REPORT}
    ours: dict[str, dict[str, float]] = {}
    for group in groups:
        if group.names["backend"] == "fairseq":
            ours.setdefault(group.names["init"], {})[group.names["dataset"]] = group.spread.mean
    return framed(captions.title_of_sources(published, ours), captions.caption_of_sources(best), figure)


def write_figures(material: Material) -> dict[str, Picture]:
    """Write every figure that has data as PNG and SVG, and return them by name."""
    evidence, baselines, fits = material.evidence, material.baselines, material.fits
    written = {}
    # with a fixed salt, the same figure gives the same file
    with (
        sns.axes_style("ticks", STYLE),
        sns.plotting_context("paper", 1.15),
        matplotlib.rc_context({"svg.hashsalt": "warmstart"}),
    ):
        doses = dose_curve(material.doses, fits, material.losses)
        in_detail = doses is None  # figures that would have a panel or a row for each dose
        drawn: dict[str, Drawing | None] = {
            "test_accuracy": accuracy_over_steps(evidence, "test") if in_detail else None,
            "valid_accuracy": accuracy_over_steps(evidence, "valid") if in_detail else None,
            "final_accuracy": final_accuracy(evidence, baselines),
            "dose": doses,
            "labels": labels_curve(material.labels, fits),
            "ladder": ladder(material.ladders, fits),
            "steps_to_threshold": steps_to_threshold(evidence) if in_detail else None,
            "seed_spread": seed_spread(evidence) if in_detail and any(of.n > 1 for of in evidence.groups) else None,
            "valid_against_test": validation_against_test(evidence),
            "train_loss": training_loss(material.scalars, evidence) if in_detail else None,
            "published_sources": published_sources(evidence, baselines),
        }
        for name, drawing in drawn.items():
            if drawing is None:
                continue
            paths = {suffix: material.folder / "figures" / f"{name}.{suffix}" for suffix in ("png", "svg")}
            for suffix, path in paths.items():
                metadata: dict[str, Any] = {"Date": None} if suffix == "svg" else {}
                with replaced(path) as temporary:
                    drawing.figure.savefig(temporary, format=suffix, dpi=200, metadata=metadata)
            written[name] = Picture(name, drawing.title, drawing.caption, paths["svg"])
    return written
