"""Words how many labels pre-training is worth."""

import math
from collections.abc import Collection
from dataclasses import replace
from itertools import takewhile

import pandas as pd
from numpy.typing import ArrayLike

from analysis.baselines import PROBE, TF_IDF, Fits, probe_of, tf_idf_of
from analysis.captions import OF_MEAN, caption, counted_range
from analysis.estimates import Estimate
from analysis.intervals import difference_over_seeds
from analysis.labels import SAME, LabelCurves, labels_needed
from analysis.phrases import POSSIBLE, accuracy_columns, by_seed, failed_runs, setting, with_interval, without
from foundation.counts import counted


def worth(curves: LabelCurves, fits: Fits) -> str:
    """Return with how few labels each init reaches what random weights reach with the most labels."""
    most, target = curves.sizes[-1], curves.scores("random")[-1]
    with_most = f"with {'all ' if curves.inits['random'][-1].is_whole else ''}{most:,} labels"
    names = setting(curves.rest)
    n_failed = len(failed_runs(curves.inits["random"][-1], fits))
    if n_failed:
        return (
            f"{names}: {n_failed} of {counted(len(target), 'random run')} {with_most} learned nothing, so the report "
            "does not say what pre-training is worth in labels."
        )
    level = target.mean() - SAME
    reached = {
        init: [n for n, own in zip(curves.sizes, curves.scores(init), strict=True) if own.mean() >= level]
        for init in ("pretrained", "random")
    }
    over = f"mean of {counted(len(target), 'seed')}" if len(target) > 1 else "one seed"
    score = f"{target.mean():.2f} % ({over})"
    if not reached["pretrained"]:
        return f"{names}: random weights reach {score} {with_most}; pre-trained weights do so with no number here."
    size, of_random = (sizes[0] for sizes in reached.values())  # random weights reach it with the most at least
    if of_random < most:
        saved = " Pre-training saves no labels here." if size >= of_random else ""
        return (
            f"{names}: random weights reach {score} {with_most} and no less with {of_random:,}; pre-trained "
            f"weights reach it with {size:,}.{saved}"
        )
    if size == most:
        return f"{names}: pre-trained weights, too, reach what random ones reach, {score}, only {with_most}."
    gaps = {
        n: difference_over_seeds(own, target, paired=True)
        for n, own in zip(curves.sizes, curves.scores("pretrained"), strict=True)
    }
    mean = curves.scores("pretrained")[curves.sizes.index(size)].mean()
    in_order = list(takewhile(lambda n: gaps[n].has_interval and gaps[n].low >= -SAME, reversed(curves.sizes)))
    shown = min(in_order, default=most)  # a fixed sequence of tests: the factor needs no correction
    is_worth = "is" if shown == size else "may be"
    said = (
        f"{names}: random weights reach {score} {with_most}, pre-trained weights {mean:.2f} % with {size:,}: "
        f"pre-training {is_worth} worth at least {times(most, size)} times the labels. The difference there is "
        f"{gaps[size].value:+.2f} points, {gaps[size].words('+.2f', *POSSIBLE)}."
    )
    if size < shown and gaps[size].low >= -SAME:
        first = curves.sizes[-1 - len(in_order)]
        said += (
            f" With {first:,} labels it is {gaps[first].value:+.2f} points, {gaps[first].words('+.2f', *POSSIBLE)}; "
            "fewer labels count only if more labels show a gain."
        )
    if size < shown < most:
        said += (
            f" With {shown:,} labels it is {gaps[shown].value:+.2f} points, {gaps[shown].words('+.2f', *POSSIBLE)}: "
            f"pre-training is worth at least {times(most, shown)} times the labels."
        )
    return said


def times(most: int, size: int) -> str:
    """Return how many times as large one number is, rounded down, so that `at least` holds."""
    return str(most // size) if most >= 10 * size else f"{10 * most // size / 10:.1f}"


def labels_table(curves: LabelCurves, fits: Fits) -> pd.DataFrame:
    """Return a row for each number of training texts: accuracies, the gap, and the labels that others need."""
    scores = {init: curves.scores(init) for init in curves.inits}
    at = [fits.get((curves.rest["dataset"], curves.rest["model"], size), []) for size in curves.sizes]
    simple = {"TF-IDF": [tf_idf_of(own) for own in at], "probe": [probe_of(own) for own in at]}
    words = [[fit.test] for fit in simple["TF-IDF"] if fit is not None]
    pairs = list(zip(scores["pretrained"], scores["random"], strict=True))

    def to_match(curve: ArrayLike) -> list[str]:
        needed = [labels_needed(curves.sizes, curve, own) for own in scores["pretrained"]]
        return [needed_cell(estimate, curves.sizes) for estimate in needed]

    columns = {
        "labels": [f"{size:,}" for size in curves.sizes],
        **accuracy_columns(curves.inits["pretrained"], fits, of="pre-trained, "),
        **accuracy_columns(curves.inits["random"], fits, of="random, "),
        "gap, points": [with_interval(difference_over_seeds(*pair, paired=True)) for pair in pairs],
        **{
            f"{name}, test %": ["not fitted" if fit is None else f"{fit.test:.2f}" for fit in own]
            for name, own in simple.items()
        },
        "labels for random weights to match pre-trained": to_match(scores["random"]),
        "labels for TF-IDF to match pre-trained": to_match(words)
        if len(words) == len(at)
        else ["not fitted"] * len(at),
    }
    return pd.DataFrame(columns)


def needed_cell(needed: Estimate, sizes: list[int]) -> str:
    """Return a number of training texts with its interval, for a table. `sizes` are the numbers that were trained."""
    if math.isinf(needed.value):
        value = f"more than {sizes[-1]:,}"
    else:
        value = f"{sizes[0]:,} or fewer" if needed.value == 0 else f"{round(needed.value):,}"
    if not needed.has_interval:
        return f"{value} (no interval: {needed.why_none})"
    if needed.low == 0 and math.isinf(needed.high):
        return f"{value} (these runs give no bound)"
    whole = replace(needed, low=needed.low or -math.inf)
    return f"{value} ({whole.ends(lambda end, up: f'{math.ceil(end) if up else math.floor(end):,}')})"


def about_labels(curves: LabelCurves) -> str:
    """Return how the table of labels is to be read, and what is left out of it."""
    is_by_epochs = curves.inits["random"][0].config.get("recipe.updates") == "epochs"
    said = (
        f"{by_seed(curves.seeds)} A label is a training text with its class. Each subset is part of the larger "
        "ones and has about the same class balance; a run on a subset takes as many "
        f"{'epochs' if is_by_epochs else 'steps'} as a run on all. In brackets: 95 % intervals for new seeds on this "
        "test set and these subsets, none corrected for the number of sizes. Labels to match are read between the "
        "sizes trained, on straight lines over their logarithm."
    )
    return said + without(curves.left_out)


def title_of_labels(curves: list[LabelCurves]) -> str:
    """Return the finding of the figure of labels: the gap with the fewest and with all labels."""
    if len(curves) != 1:
        return "Test accuracy over the number of labels"
    gaps = curves[0].scores("pretrained").mean(axis=1) - curves[0].scores("random").mean(axis=1)
    few, many = curves[0].sizes[0], curves[0].sizes[-1]
    return f"Pre-trained minus random: {gaps[0]:+.2f} points with {few:,} labels, {gaps[-1]:+.2f} with {many:,}"


def caption_of_labels(curves: list[LabelCurves], simple: Collection[str]) -> str:
    """Return what the figure of labels shows. `simple` has the names of the simple baselines that are drawn."""
    n = [group.n for curve in curves for groups in curve.inits.values() for group in groups]
    return caption(
        f"{counted_range(n)} per point. Point: one run. Line: mean.",
        {
            f"Bar: {OF_MEAN}": max(n) > 1,
            "Dashed: logistic regression on TF-IDF, on the same texts.": TF_IDF in simple,
            "Dotted: logistic regression on the frozen encoder (probe), on the same texts.": PROBE in simple,
        },
    )
