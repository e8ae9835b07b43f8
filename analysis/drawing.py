"""What all figures share: colours and markers of inits, the frame of title and caption, panels, the legend."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.estimates import Estimate
from analysis.groups import told
from analysis.phrases import prose

matplotlib.use("Agg")

PALETTE = sns.color_palette("colorblind")
COLOURS = dict(zip(("pretrained", "random", "embeddings", "shuffled", "statistics"), PALETTE, strict=False))
OF_LAYERS = sns.color_palette("Purples", 8)[2:]  # darker with more pre-trained layers: 0, 1, 2 or 3, 4 to 7 ...
MARKERS = {"pretrained": "o", "random": "s"}
STYLE = {"axes.grid": True, "grid.color": "0.92"}
WIDTH, PANELS_A_ROW = 7.2, 3  # inches

Colour = tuple[float, float, float]


def colour_of(init: object) -> Colour:
    """Return the colour of an init. Inits of the bottom layers get one by their number of layers."""
    layers = str(init).rpartition("_")[2]
    doublings = int(layers).bit_length() if layers.isdigit() else 0
    return COLOURS.get(str(init), OF_LAYERS[min(doublings, len(OF_LAYERS) - 1)])


def marker_of(init: object) -> str:
    return MARKERS.get(str(init), "D")


@dataclass(frozen=True)
class Drawing:
    """A figure, its title (the finding, above the figure) and its caption (what is drawn, below the figure)."""

    figure: Figure
    title: str
    caption: str


def draw_points(axis: Axes, x: Any, y: Any, init: str, **look: Any) -> None:
    """Draw points in the colour and with the marker of an init."""
    axis.plot(x, y, **{"marker": marker_of(init), "color": colour_of(init), "mec": "white", "lw": 0, **look})


def shown_ends(found: Estimate) -> list[float]:
    """Return the ends of an interval of accuracies, limited to 0 to 100 %."""
    return [max(found.low, 0), min(found.high, 100)]


def draw_interval(axis: Axes, found: Estimate, height: float, init: str, **look: Any) -> None:
    """Draw the interval of an accuracy, if there is one, as a line."""
    if found.has_interval:
        axis.plot(shown_ends(found), [height, height], color=colour_of(init), solid_capstyle="butt", **look)


def draw_mean(axis: Axes, value: float, height: float, init: str, **look: Any) -> None:
    """Draw a mean as an upright stroke."""
    axis.plot([value], [height], marker="|", color=colour_of(init), lw=0, **look)


def name_panel(axis: Axes, names: dict[str, str], n_panels: int) -> None:
    """Put the names above a panel, unless it is the only one."""
    if n_panels > 1:
        axis.set_title(textwrap.fill(" · ".join(told(names)), 52), fontsize="small", loc="left")


def framed(title: str, caption: str, figure: Figure) -> Drawing:
    """Put the title above the figure and the caption below, both wrapped to the figure's width.

    A line does not break between a number and its unit: `4 M`, `95 %`.
    """
    given = title, caption
    title, caption = (re.sub(r"(?<=\d) (?=[Mk]\b|%)", "\u00a0", text) for text in given)
    width = int(figure.get_figwidth() * 8.6)
    figure.suptitle("\n".join(textwrap.wrap(title, width)), x=0.01, ha="left", fontsize="large", fontweight="bold")
    lines = "\n".join(textwrap.wrap(caption, int(width * 1.52)))
    figure.supxlabel(lines, x=0.01, ha="left", fontsize="small", color="0.35")
    sns.despine(figure)
    return Drawing(figure, *given)


def grid_of(n: int, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(n, PANELS_A_ROW)
    rows = -(-n // columns)
    figure = Figure(figsize=(max(WIDTH, 4.2 * columns), height * rows + 0.7), layout="constrained")
    axes = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for axis in axes[n:]:
        axis.remove()
    return figure, axes[:n]


def add_legend(axis: Axes, inits: Iterable[str], more: Sequence[Line2D] = ()) -> None:
    lines = [
        Line2D([], [], color=colour_of(init), lw=2.2, marker=marker_of(init), ms=5, label=prose(init)) for init in inits
    ]
    axis.legend(handles=[*lines, *more], loc="best", fontsize="small", frameon=True, framealpha=0.85, edgecolor="none")
