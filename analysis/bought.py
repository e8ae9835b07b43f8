"""Words what pre-training buys in labels, in parts of the weights, and beyond a frozen encoder."""

import math

import numpy as np
import pandas as pd

from analysis.baselines import Baseline
from analysis.evidence import Evidence, Group
from analysis.findings import POSSIBLE, above, listed, prose
from analysis.labels import LabelCurves, Needed, label_curves, labels_needed
from analysis.ladder import Rung, ladders
from analysis.statistics import SAME_TEXTS, difference_over_seeds
from foundation.counts import counted

Fits = dict[tuple[str, str, int], list[Baseline]]  # (dataset, model, training texts) -> TF-IDF, commonest, probes
PROBE, COMMONEST = "probe", "commonest class"


def probe_of(fits: list[Baseline]) -> Baseline | None:
    """Return the probe with the higher validation accuracy, the first on a tie, or None without one."""
    probes = [fit for fit in fits if fit.name.startswith(PROBE)]
    return max(probes, key=lambda fit: fit.valid) if probes else None


def tf_idf_of(fits: list[Baseline]) -> Baseline | None:
    return next((fit for fit in fits if fit.name.startswith("TF-IDF")), None)


def against_probe(group: Group, probe: Baseline) -> str:
    """Return how far fully fine-tuned runs are above or below the probe on the same encoder, frozen."""
    names = group.names
    gap = group.spread.mean - probe.test
    opens = "The frozen encoder is enough: " if gap < 0 and f"{abs(gap):.2f}" != "0.00" else ""
    each = "The run is" if group.n == 1 else "Runs are on average"
    return (
        f"{opens}{names['dataset']}: logistic regression on frozen {names['model']} ({probe.name.partition(': ')[2]}) "
        f"reaches {probe.test:.2f} % (95 % interval {probe.low:.2f} to {probe.high:.2f} for new texts). {each} "
        f"{above(gap)} it when all weights are trained from pre-trained ones ({names['backend']})."
    )


# --- labels


def texts_words(value: float, needed: Needed) -> str:
    """Return a number of training texts in words: `430`, `24 or fewer`, `more than 784`."""
    if math.isinf(value):
        return f"more than {needed.most:,}"
    return f"{needed.fewest:,} or fewer" if value == 0 else f"{round(value):,}"


def needed_cell(needed: Needed) -> str:
    """Return a number of training texts with its interval, for a table."""
    value = texts_words(needed.value, needed)
    if not needed.has_interval:
        return f"{value} (no interval: {needed.why_none})"
    if needed.low == 0 and math.isinf(needed.high):
        return f"{value} (no bound)"
    if needed.low == 0:
        return f"{value} (up to {math.ceil(needed.high):,})"
    low = f"{math.floor(needed.low):,}"
    return f"{value} ({f'from {low}' if math.isinf(needed.high) else f'{low} to {math.ceil(needed.high):,}'})"


def worth(curves: LabelCurves) -> str:
    """Return with how few labels pre-trained weights reach what random weights reach with all of them."""
    scores = {init: curves.scores(init) for init in curves.inits}
    most, target = curves.sizes[-1], scores["random"][-1]
    names = f"{curves.rest['dataset']}, {curves.rest['model']} ({curves.rest['backend']}, {curves.rest['method']})"
    reached = f"what random weights reach with all {most:,} ({target.mean():.2f} %)"
    enough = [place for place, own in enumerate(scores["pretrained"]) if own.mean() >= target.mean()]
    if not enough:
        return f"{names}: with no number of labels here do pre-trained weights reach {reached}."
    place = enough[0]
    size, own = curves.sizes[place], scores["pretrained"][place]
    gap = difference_over_seeds(own, target, paired=True)
    over = f"mean of {counted(len(own), 'seed')}" if len(own) > 1 else "one seed"
    said = (
        f"{names}: with {size:,} labels pre-trained weights reach {own.mean():.2f} % ({over}), at least {reached}: "
        f"pre-training is worth at least {_rounded(most / size)} times the labels"
    )
    if not gap.has_interval:
        return f"{said}. The difference there is {gap.value:+.2f} points, {gap.words('+.2f', *POSSIBLE)}."
    doubt = "" if gap.low >= 0 else " The interval holds values below 0: with new seeds more labels may be needed."
    return f"{said}. The difference there is {gap.value:+.2f} points, {gap.words('+.2f', *POSSIBLE)}.{doubt}"


def _rounded(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"


def failed_runs(group: Group, commonest: Baseline | None) -> list[int]:
    """Return the seeds of the runs that answer as accurately as the commonest class: they have learned nothing."""
    if commonest is None:
        return []
    return [run.key.seed for run in group.runs if run.test is not None and abs(run.test - commonest.test) < 1e-9]


def accuracy_cell(group: Group, commonest: Baseline | None) -> str:
    """Return mean, median and the runs that failed, for a table."""
    said = f"{group.spread.mean:.2f}"
    if group.n > 1:
        said += f" (median {np.median(group.test):.2f})"
    failed = failed_runs(group, commonest)
    if failed:
        seeds = f"seed{'s' if len(failed) > 1 else ''} {listed(map(str, failed))}"
        said += f"; {len(failed)} of {group.n} at the commonest class ({seeds})"
    return said


def labels_table(curves: LabelCurves, fits: Fits) -> pd.DataFrame:
    """Return a row for each number of training texts: accuracies, the gap, and the labels that others need."""
    scores = {init: curves.scores(init) for init in curves.inits}
    at = [fits.get((curves.rest["dataset"], curves.rest["model"], size), []) for size in curves.sizes]
    simple = [tf_idf_of(own) for own in at]
    rows = []
    for place, size in enumerate(curves.sizes):
        commonest = next((fit for fit in at[place] if fit.name == COMMONEST), None)
        own = scores["pretrained"][place]
        gap = difference_over_seeds(own, scores["random"][place], paired=True)
        tf_idf, probe = simple[place], probe_of(at[place])
        curve_of_words = [[fit.test] for fit in simple if fit is not None]
        words = labels_needed(curves.sizes, curve_of_words, own) if len(curve_of_words) == len(curves.sizes) else None
        rows.append(
            {
                "labels": f"{size:,}",
                "pre-trained, test %": accuracy_cell(curves.inits["pretrained"][place], commonest),
                "random, test %": accuracy_cell(curves.inits["random"][place], commonest),
                "gap, points": f"{gap.value:+.2f} ({gap.ends('+.2f', *POSSIBLE)})",
                "TF-IDF, test %": f"{tf_idf.test:.2f}" if tf_idf is not None else "not fitted",
                "probe, test %": f"{probe.test:.2f}" if probe is not None else "not fitted",
                "labels that random weights need for the pre-trained accuracy": needed_cell(
                    labels_needed(curves.sizes, scores["random"], own)
                ),
                "labels that TF-IDF needs for it": needed_cell(words) if words is not None else "not fitted",
            }
        )
    return pd.DataFrame(rows)


def about_labels(curves: LabelCurves) -> str:
    """Return how the table of labels is to be read."""
    n = counted(len(curves.seeds), "paired seed")
    return (
        f"{n}, seeds {', '.join(map(str, curves.seeds))}. The subsets are nested and hold the classes in proportion; "
        "a run on fewer texts takes as many updates. In brackets: 95 % intervals for new seeds on this test set and "
        "these subsets. Labels needed are read between the sizes trained, on straight lines over their logarithm."
    )


def title_of_labels(evidence: Evidence) -> str:
    """Return the finding of the figure of labels: the gap with the fewest and with all labels."""
    curves = label_curves(evidence)
    if len(curves) != 1:
        return "Test accuracy over the number of labels"
    gaps = curves[0].scores("pretrained").mean(axis=1) - curves[0].scores("random").mean(axis=1)
    few, many = curves[0].sizes[0], curves[0].sizes[-1]
    return f"Pre-trained minus random: {gaps[0]:+.2f} points with {few:,} labels, {gaps[-1]:+.2f} with {many:,}"


def caption_of_labels(evidence: Evidence, has_simple: bool) -> str:
    n = sorted({group.n for curve in label_curves(evidence) for groups in curve.inits.values() for group in groups})
    runs = f"{n[0]} to {n[-1]} runs" if len(n) > 1 else counted(n[0], "run")
    words = [f"{runs} per point. Point: one run. Line: mean."]
    if n[-1] > 1:
        words.append(f"Bar: 95 % interval of the mean for {SAME_TEXTS} (Student's t).")
    if has_simple:
        words.append(
            "Dashed and dotted: logistic regression on TF-IDF and on the frozen encoder (probe), on the same texts."
        )
    return " ".join(words)


# --- parts of the weights


def ladder_sentence(top: Group, bottom: Group, rungs: list[Rung]) -> str:
    """Return the share of the gain that each init between random and pre-trained weights brings."""
    gap = difference_over_seeds(*_common(top, bottom), paired=True)
    start = (
        f"{top.names['dataset']}, {top.names['model']} ({top.names['backend']}, {top.names['method']}): of the "
        f"{gap.value:+.2f} points that all pre-trained weights bring"
    )
    if gap.value <= 0:
        said = [f"{prose(rung.group.names['init'])} {rung.gain.value:+.2f}" for rung in rungs]
        return f"{start}, in points: {'; '.join(said)}."
    said = [f"{prose(rung.group.names['init'])} {rung.gain.value:+.2f} {share_words(rung)}" for rung in rungs]
    return f"{start}, in points and as a share: {'; '.join(said)}."


def _common(top: Group, bottom: Group) -> tuple[np.ndarray, np.ndarray]:
    seeds = sorted(set(top.seeds) & set(bottom.seeds))
    return top.only(seeds).test, bottom.only(seeds).test


def share_words(rung: Rung) -> str:
    """Return a share in percent with its interval, in brackets."""
    if math.isnan(rung.share.value):
        return "(no share: there is no gain)"
    value = f"{100 * rung.share.value:.0f} %"
    if not rung.share.has_interval:
        return f"({value}, no interval: {rung.share.why_none})"
    return f"({value}, {100 * rung.share.low:.0f} to {100 * rung.share.high:.0f} %)"


def ladder_table(top: Group, bottom: Group, rungs: list[Rung]) -> pd.DataFrame:
    """Return a row for each init from pre-trained to random: mean, gain over random weights, share of the gain."""
    rows = [
        {
            "first weights": prose(top.names["init"]),
            "n": str(top.n),
            "test %": f"{top.spread.mean:.2f}",
            "gain over random, points": _gain(top, bottom),
            "share of the gain": "100 %, by definition",
        }
    ]
    rows += [
        {
            "first weights": prose(rung.group.names["init"]),
            "n": str(rung.group.n),
            "test %": f"{rung.group.spread.mean:.2f}",
            "gain over random, points": f"{rung.gain.value:+.2f} ({rung.gain.ends('+.2f', *POSSIBLE)})",
            "share of the gain": share_words(rung).strip("()"),
        }
        for rung in rungs
    ]
    rows.append(
        {
            "first weights": "random",
            "n": str(bottom.n),
            "test %": f"{bottom.spread.mean:.2f}",
            "gain over random, points": "0, by definition",
            "share of the gain": "0 %, by definition",
        }
    )
    return pd.DataFrame(rows)


def _gain(top: Group, bottom: Group) -> str:
    gap = difference_over_seeds(*_common(top, bottom), paired=True)
    return f"{gap.value:+.2f} ({gap.ends('+.2f', *POSSIBLE)})"


def about_ladder() -> str:
    return (
        "Gains and shares are over the seeds that the three kinds of runs share. In brackets: 95 % intervals for new "
        "seeds on this test set, of gains by Student's t, of shares by Fieller's method. Shares of different inits "
        "need not add up to 100 %: an init that loads less is no part of another's gain."
    )


def title_of_ladder(found: list[tuple[Group, Group, list[Rung]]]) -> str:
    """Return the finding of the figure: the share of the gain that each init brings, where the runs show a gain."""
    plain = "Test accuracy by the part of the first weights that is pre-trained"
    if len(found) != 1:
        return plain
    top, bottom, rungs = found[0]
    gap = difference_over_seeds(*_common(top, bottom), paired=True)
    if gap.value <= 0 or (gap.has_interval and not gap.excludes(0)):
        return plain  # shares of a gain that the runs do not show
    said = listed(f"{prose(rung.group.names['init'])} {100 * rung.share.value:.0f} %" for rung in rungs)
    return f"Share of the gain of pre-training: {said}"


def caption_of_ladder(found: list[tuple[Group, Group, list[Rung]]]) -> str:
    counts = sorted({group.n for top, bottom, rungs in found for group in (top, bottom, *(r.group for r in rungs))})
    n = f"{counts[0]} to {counts[-1]} runs" if len(counts) > 1 else counted(counts[0], "run")
    words = [f"{n} per row. Point: one run. Bar: mean. Dashed: the means of pre-trained and random weights."]
    if counts[-1] > 1:
        words.append(f"Thick line: 95 % interval of the mean for {SAME_TEXTS} (Student's t).")
    return " ".join(words)


def bought(evidence: Evidence) -> list[str]:
    """Return the sentences of the answer on labels and on parts of the weights."""
    return [*map(worth, label_curves(evidence)), *(ladder_sentence(*found) for found in ladders(evidence))]
