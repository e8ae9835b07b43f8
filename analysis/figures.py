"""Convergence curves: one thin curve a run, the mean of an init thick, its range over seeds shaded."""

from pathlib import Path

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.best_steps import accuracies
from analysis.event_files import KEYS
from data_prep.whole_files import replaced

matplotlib.use("Agg")

PANEL = ["dataset", "model", "backend", "method"]
SEED_MARKERS = "osD^vP*X"
PALETTE = sns.color_palette("colorblind")
COLOURS = {"pretrained": PALETTE[0], "random": PALETTE[1]}


def accuracy_curves(scalars: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return every run's accuracy (percent) over steps: the run keys, step, value."""
    curves = []
    for _, own in scalars.groupby(KEYS):
        curve = accuracies(own, split).rename(columns={"accuracy": "value"})
        curves.append(curve.assign(**{key: own[key].iloc[0] for key in KEYS}))
    return pd.concat(curves, ignore_index=True)


def loss_curves(scalars: pd.DataFrame) -> pd.DataFrame:
    """Return every run's training loss (nats an example, mean over each logging interval): run keys, step, value."""
    own = scalars[(scalars["split"] == "train_inner") & (scalars["tag"] == "loss")]
    return own[[*KEYS, "step", "value"]]


def draw(curves: pd.DataFrame, ylabel: str, title: str, markers: bool) -> Figure:
    """Draw one panel for each dataset, model, backend and method; colour tells inits apart, marker the seed."""
    panels, seeds = list(curves.groupby(PANEL)), sorted(int(seed) for seed in curves["seed"].unique())
    with sns.axes_style("ticks", {"axes.grid": True, "grid.color": "0.92"}), sns.plotting_context("paper", 1.15):
        figure = Figure(figsize=(5.6 * len(panels), 4.3), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, (names, panel) in zip(axes, panels, strict=True):
            _draw_panel(axis, panel, seeds, markers)
            counts = panel.groupby("init")["seed"].nunique()
            runs = ", ".join(f"{count} {init}" for init, count in counts.items())
            axis.set_title(f"{title}: {runs} runs\n{' · '.join(map(str, names))}", fontsize="medium", loc="left")
            axis.set_xlabel("step (optimiser updates)")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0].set_ylabel(ylabel)
        figure.legend(handles=_legend(curves, seeds, markers), loc="outside lower center", ncols=3, frameon=False)
        sns.despine(figure)
    return figure


def _colour(init: object) -> tuple[float, float, float]:
    return COLOURS.get(str(init), PALETTE[2])


def _marker(seeds: list[int], seed: int) -> str:
    return SEED_MARKERS[seeds.index(seed) % len(SEED_MARKERS)]


def _draw_panel(axis: Axes, panel: pd.DataFrame, seeds: list[int], markers: bool) -> None:
    for init, of_init in panel.groupby("init"):
        for seed, run in of_init.groupby("seed"):
            marker = _marker(seeds, int(str(seed))) if markers else None
            run = run.sort_values("step")
            axis.plot(run["step"], run["value"], color=_colour(init), lw=0.8, alpha=0.65, marker=marker, ms=4)
        spread = of_init.groupby("step")["value"].agg(["mean", "min", "max"])
        axis.fill_between(spread.index, spread["min"], spread["max"], color=_colour(init), alpha=0.13, lw=0)
        axis.plot(spread.index, spread["mean"], color=_colour(init), lw=2.2)


def _legend(curves: pd.DataFrame, seeds: list[int], markers: bool) -> list[Line2D]:
    lines = [
        Line2D([], [], color=_colour(init), lw=2.2, label=f"{init}: mean, range")
        for init in sorted(curves["init"].unique())
    ]
    if markers:
        lines += [
            Line2D([], [], color="0.4", lw=0.8, ms=4, marker=_marker(seeds, seed), label=f"seed {seed}")
            for seed in seeds
        ]
    return lines


def write_figures(folder: Path, scalars: pd.DataFrame) -> list[Path]:
    """Write the three figures as PNG and SVG and return the PNGs; a figure without data is left out."""
    test, valid = accuracy_curves(scalars, "test"), accuracy_curves(scalars, "valid")
    drawn = {
        "test_accuracy": (test, "test accuracy (%)", "Test accuracy while fine-tuning", True),
        "valid_accuracy": (valid, "validation accuracy (%)", "Validation accuracy while fine-tuning", True),
        "train_loss": (
            loss_curves(scalars),
            "training loss (nats an example)",
            "Training loss while fine-tuning",
            False,
        ),
    }
    written = []
    for name, (curves, ylabel, title, markers) in drawn.items():
        if curves.empty:
            continue
        figure = draw(curves, ylabel, title, markers)
        for suffix in ("png", "svg"):
            with replaced(folder / f"{name}.{suffix}") as temporary:
                figure.savefig(temporary, format=suffix, dpi=200)
        written.append(folder / f"{name}.png")
    return written
