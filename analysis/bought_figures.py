"""Draw what pre-training buys: accuracy over the number of labels, and accuracy over parts of the first weights."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis import bought
from analysis.bought import Fits
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
from analysis.evidence import Evidence
from analysis.findings import prose
from analysis.labels import label_curves
from analysis.ladder import ladders

SIMPLE = {"TF-IDF": ("0.35", "--", bought.tf_idf_of), "probe": ("0.55", ":", bought.probe_of)}


def labels_curve(evidence: Evidence, fits: Fits) -> Drawing | None:
    """Return a figure of test accuracy over the number of training texts (log axis), or None without such curves."""
    found, _ = label_curves(evidence)
    if not found:
        return None
    figure, axes = grid_of(len(found), 4.2)
    simple: dict[str, Line2D] = {}
    for axis, curves in zip(axes, found, strict=True):
        shown = [value for groups in curves.inits.values() for group in groups for value in group.test]
        for init, groups in curves.inits.items():
            beside = 0.98 if init == "pretrained" else 1.02  # so that the two inits do not hide each other
            places = [beside * size for size in curves.sizes]
            for group, place in zip(groups, places, strict=True):
                draw_points(axis, [place] * group.n, group.test, init, ms=5.5)
                if group.over_seeds.has_interval:
                    ends = shown_ends(group.over_seeds)
                    axis.plot([place, place], ends, color=colour_of(init), lw=1.4, alpha=0.4, zorder=1)
            axis.plot(places, [group.spread.mean for group in groups], color=colour_of(init), lw=2.2, zorder=3)
        for name, (colour, style, of) in SIMPLE.items():
            own = [of(fits.get((curves.rest["dataset"], curves.rest["model"], size), [])) for size in curves.sizes]
            values = [np.nan if fit is None else fit.test for fit in own]
            if np.isfinite(values).any():
                line = axis.plot(curves.sizes, values, color=colour, ls=style, lw=1.8, zorder=2, label=name)[0]
                simple.setdefault(name, line)
                shown += [value for value in values if np.isfinite(value)]
        axis.set_ylim(max(min(shown) - 4, 0), min(max(shown) + 3, 101))  # not the bars: with three seeds they are long
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(FixedLocator(curves.sizes))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
        axis.set_xlabel("labels (training texts)")
        name_panel(axis, curves.rest, len(found))
    axes[0].set_ylabel("test accuracy at the best step (%)")
    add_legend(axes[0], ["pretrained", "random"], list(simple.values()))
    return framed(bought.title_of_labels(evidence), bought.caption_of_labels(evidence, bool(simple)), figure)


def ladder(evidence: Evidence) -> Drawing | None:
    """Return a figure of the test accuracy for each init from pre-trained to random, or None without inits between."""
    found = ladders(evidence)
    if not found:
        return None
    rows = [(of.top, of.bottom, [of.top, *(rung.group for rung in of.rungs), of.bottom]) for of in found]
    tall = 1.4 * len(rows) + 0.5 + 0.5 * sum(len(groups) for _, _, groups in rows)
    figure = Figure(figsize=(WIDTH, tall), layout="constrained")
    axes = list(figure.subplots(len(rows), 1, squeeze=False).flat)
    for axis, (top, bottom, groups) in zip(axes, rows, strict=True):
        heights = [float(-number) for number in range(len(groups))]
        for height, group in zip(heights, groups, strict=True):
            init = group.names["init"]
            draw_points(axis, group.test, [height + 0.16] * group.n, init)
            draw_interval(axis, group.over_seeds, height, init, lw=4, alpha=0.5)
            draw_mean(axis, group.spread.mean, height, init, ms=14, mew=2.6)
        for group in (top, bottom):
            axis.axvline(group.spread.mean, color="0.6", lw=1, ls="--", zorder=1)
        axis.set_yticks(heights, [f"{prose(group.names['init'])} (n\u00a0=\u00a0{group.n})" for group in groups])
        axis.grid(axis="y", visible=False)
        axis.set_xlabel("test accuracy at the best step (%)")
        name_panel(axis, {key: name for key, name in top.names.items() if key != "init"}, len(rows))
    return framed(bought.title_of_ladder(found), bought.caption_of_ladder(found), figure)
