"""Draw what pre-training buys: accuracy over doses, over the number of labels, and over parts of the first weights."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.baselines import PROBE, TF_IDF, Fits, probe_of, tf_idf_of
from analysis.dose import DoseCurve, Losses, loss_by_frequency, losses_of
from analysis.dose_words import PUBLISHED, caption_of_doses, in_tokens, title_of_doses
from analysis.drawing import (
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
from analysis.groups import Group
from analysis.labels import LabelCurves
from analysis.labels_words import caption_of_labels, title_of_labels
from analysis.ladder import Ladder
from analysis.ladder_words import caption_of_ladder, title_of_ladder
from analysis.phrases import prose
from analysis.verdict import is_of_report, published_tests

SIMPLE = {TF_IDF: ("0.35", "--", tf_idf_of), PROBE: ("0.55", ":", probe_of)}


def dose_curve(found: list[DoseCurve], fits: Fits, losses: Losses) -> Drawing | None:
    """Return a figure of test accuracy over tokens of pre-training, or None without such curves.

    The checkpoints' held-out loss is drawn below, where it is known.
    """
    if not found:
        return None
    heights = [3.6, 1.5] if losses else [3.6]
    size = max(WIDTH, 4.2 * len(found)), sum(heights) + 1.1
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(heights), len(found), sharex="col", sharey="row", squeeze=False, height_ratios=heights)
    lines: dict[str, Line2D] = {}
    shown: list[float] = []
    for curve, (axis, *below) in zip(found, axes.T, strict=True):
        shown += [value for group in curve.groups for value in group.test]
        _draw_curve(axis, curve.doses, curve.groups, "pretrained")
        for name, value in _references(curve, fits).items():
            style = "--" if name == TF_IDF else ":"
            lines[name] = axis.axhline(value, color="0.35", ls=style, lw=1.8, zorder=2, label=name)
            shown.append(value)
        for under in below:
            own = [np.nan if held_out is None else held_out.loss for held_out in losses_of(curve, losses)]
            under.plot(curve.doses, own, color="0.35", marker="o", ms=4, lw=1.6)
            if (guess := loss_by_frequency(curve, losses)) is not None:
                under.axhline(guess, color="0.35", ls=":", lw=1.8, zorder=2)
        # in doublings; 0 lies as far below the first dose as half of it would lie
        axis.set_xscale("symlog", base=2, linthresh=curve.doses[1], linscale=0.5)
        axis.set_xlim(-0.4 * curve.doses[1], 1.3 * curve.doses[-1])
        axis.set_xticks(curve.doses, [in_tokens(dose) for dose in curve.doses])
        axis.minorticks_off()
        (below or [axis])[-1].set_xlabel("dose (tokens of pre-training)")
        name_panel(axis, curve.rest, len(found))
    axes[0, 0].set_ylim(max(min(shown) - 4, 0), min(max(shown) + 3, 101))  # not the bars, as for labels
    axes[0, 0].set_ylabel("test accuracy at the best step (%)")
    if losses:
        axes[1, 0].set_ylabel("held-out loss (nats)")
    if lines:
        add_legend(axes[0, 0], [], list(lines.values()))
    return framed(title_of_doses(found), caption_of_doses(found, list(lines), losses), figure)


def _references(curve: DoseCurve, fits: Fits) -> dict[str, float]:
    """Return the accuracies to compare a curve with, by the labels of their lines."""
    first = curve.groups[0]
    simple = tf_idf_of(fits.get((first.names["dataset"], first.names["model"], first.n_train or 0), []))
    published = published_tests("pretrained", curve.rest["backend"]) if is_of_report(curve.rest) else []
    found = {TF_IDF: simple.test} if simple is not None else {}
    return found | ({PUBLISHED: float(np.mean(published))} if published else {})


def _draw_curve(axis: Axes, places: Sequence[float], groups: list[Group], init: str) -> None:
    """Draw a curve of groups: a point for each run, the mean, and its interval as a bar."""
    for group, place in zip(groups, places, strict=True):
        draw_points(axis, [place] * group.n, group.test, init, ms=5.5)
        if group.over_seeds.has_interval:
            ends = shown_ends(group.over_seeds)
            axis.plot([place, place], ends, color=colour_of(init), lw=1.4, alpha=0.4, zorder=1)
    axis.plot(places, [group.spread.mean for group in groups], color=colour_of(init), lw=2.2, zorder=3)


def labels_curve(found: list[LabelCurves], fits: Fits) -> Drawing | None:
    """Return a figure of test accuracy over the number of training texts (log axis), or None without such curves."""
    if not found:
        return None
    figure, axes = grid_of(len(found), 4.2)
    simple: dict[str, Line2D] = {}
    for axis, curves in zip(axes, found, strict=True):
        shown = [value for groups in curves.inits.values() for group in groups for value in group.test]
        for init, groups in curves.inits.items():
            beside = 0.98 if init == "pretrained" else 1.02  # so that the two inits do not hide each other
            _draw_curve(axis, [beside * size for size in curves.sizes], groups, init)
        for name, (colour, style, of) in SIMPLE.items():
            own = [of(fits.get((curves.rest["dataset"], curves.rest["model"], size), [])) for size in curves.sizes]
            values = [np.nan if fit is None else fit.test for fit in own]
            if np.isfinite(values).any():
                line = axis.plot(curves.sizes, values, color=colour, ls=style, lw=1.8, zorder=2, label=name)[0]
                simple.setdefault(name, line)
                shown += [value for value in values if np.isfinite(value)]
        axis.set_ylim(max(min(shown) - 4, 0), min(max(shown) + 3, 101))  # not the bars: with three seeds they are long
        axis.set_xscale("log")
        axis.set_xticks(curves.sizes, [f"{size:,}" for size in curves.sizes])
        axis.minorticks_off()
        axis.set_xlabel("labels (training texts)")
        name_panel(axis, curves.rest, len(found))
    axes[0].set_ylabel("test accuracy at the best step (%)")
    add_legend(axes[0], ["pretrained", "random"], list(simple.values()))
    return framed(title_of_labels(found), caption_of_labels(found, simple), figure)


def ladder(found: list[Ladder], fits: Fits) -> Drawing | None:
    """Return a figure of the test accuracy for each init from pre-trained to random, or None without inits between."""
    if not found:
        return None
    rows = [[of.top, *(rung.group for rung in of.rungs), of.bottom] for of in found]
    tall = 1.4 * len(rows) + 0.5 + 0.5 * sum(map(len, rows))
    figure = Figure(figsize=(WIDTH, tall), layout="constrained")
    axes = list(figure.subplots(len(rows), 1, squeeze=False).flat)
    for axis, of, groups in zip(axes, found, rows, strict=True):
        heights = [float(-number) for number in range(len(groups))]
        for height, group in zip(heights, groups, strict=True):
            init = group.names["init"]
            draw_points(axis, group.test, [height + 0.16] * group.n, init)
            draw_interval(axis, group.over_seeds, height, init, lw=4, alpha=0.5)
            draw_mean(axis, group.spread.mean, height, init, ms=14, mew=2.6)
        for group in (of.top, of.bottom):
            axis.axvline(group.spread.mean, color="0.6", lw=1, ls="--", zorder=1)
        axis.set_yticks(heights, [f"{prose(group.names['init'])} (n\u00a0=\u00a0{group.n})" for group in groups])
        axis.grid(axis="y", visible=False)
        axis.set_xlabel("test accuracy at the best step (%)")
        name_panel(axis, of.rest, len(rows))
    return framed(title_of_ladder(found, fits), caption_of_ladder(found), figure)
