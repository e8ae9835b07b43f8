"""Words what pre-training buys: at each dose, in labels, in parts of the weights, and beyond a frozen encoder."""

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.baselines import Baseline, Fits
from analysis.captions import caption, counted_range
from analysis.dose import DoseCurve, Losses, loss_by_frequency, losses_of
from analysis.evidence import Comparison, Group
from analysis.findings import POSSIBLE, above, accuracy_of, failed_seeds, flat, listed, means_of, prose, setting
from analysis.labels import SAME, LabelCurves, labels_needed
from analysis.ladder import Ladder, Rung
from analysis.longer import Longer
from analysis.sections import Material
from analysis.statistics import SAME_TEXTS, Estimate, difference_over_seeds
from data_prep.doses import dose_name
from foundation.counts import counted

PROBE, COMMONEST = "probe", "commonest class"
TF_IDF, PUBLISHED = "TF-IDF", "published, pre-trained"  # labels of lines
NOTHING = "learned nothing"
OF_TWO_GAPS = (-200.0, 200.0)  # points; a difference of two gaps is in this range
OF_MEAN = f"95 % interval of the mean for {SAME_TEXTS} (Student's t)."


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
    each = "the run is" if group.n == 1 else f"the {group.n} runs are on average"
    return (
        f"{names['dataset']}: logistic regression on the pre-trained encoder as it is, a probe "
        f"({names['model']}, {probe.name.partition(': ')[2]}), reaches {accuracy_of(probe)}. With all weights "
        f"trained {each} {above(gap)} it ({names['backend']})."
    )


def is_beaten(group: Group, probe: Baseline) -> bool:
    """Return whether a probe is above the mean of the fully trained runs."""
    return probe.test - group.spread.mean >= 0.005


# --- labels


def with_interval(estimate: Estimate, possible: tuple[float, float] = POSSIBLE) -> str:
    """Return a difference in points with its interval in brackets, or why there is none.

    `possible` limits the interval: two accuracies differ by at most 100 points.
    """
    ends = estimate.ends("+.2f", *possible) if estimate.has_interval else f"no interval: {estimate.why_none}"
    return f"{signed(estimate.value)} ({ends})"


def signed(points: float) -> str:
    """Return points with their sign, and +0.00 for what rounds to 0."""
    return f"{round(points, 2) + 0.0:+.2f}"


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


def failed_runs(group: Group, fits: Fits) -> list[int]:
    """Return the seeds of the runs that learned nothing."""
    return failed_seeds(group, _commonest(group, fits))


def _commonest(group: Group, fits: Fits) -> Baseline | None:
    own = fits.get((group.names["dataset"], group.names["model"], group.n_train or 0), [])
    return next((fit for fit in own if fit.name == COMMONEST), None)


def failed_cell(group: Group, fits: Fits) -> str:
    """Return how many runs learned nothing, and which, for a table."""
    failed = failed_runs(group, fits)
    if not failed and group.right is None and _commonest(group, fits) is None:
        return "not known"
    return f"{len(failed)} of {group.n} ({seeds_words(failed)})" if failed else "none"


def accuracy_columns(groups: list[Group], fits: Fits, of: str = "") -> dict[str, list[str]]:
    """Return the columns of a table with a row for each group: mean, median, and the runs that learned nothing.

    `of` is what the names of the columns begin with.
    """
    return {
        f"{of}test %": [f"{group.spread.mean:.2f}" for group in groups],
        f"{of}median %": [f"{np.median(group.test):.2f}" for group in groups],
        f"{of}{NOTHING}": [failed_cell(group, fits) for group in groups],
    }


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


def by_seed(seeds: list[int]) -> str:
    return f"{seeds_words(seeds).capitalize()}, compared seed by seed."


def seeds_words(seeds: list[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def without(left_out: list[str]) -> str:
    return f" Left out: {'; '.join(left_out)}." if left_out else ""


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


# --- a longer training


def longer_sentence(found: Longer, fits: Fits) -> str:
    """Return the gap after a longer training, how it differs from the usual one, and whether the curves are flat."""
    usual, longer = found.usual, found.longer
    change, gap = found.change, longer.difference
    failed = failed_of_lengths(found, fits)
    said = (
        f"{setting(usual.rest)}: pre-trained minus random is {usual.difference.value:+.2f} points with the usual "
        f"{usual.one.last_step:,} steps and {gap.value:+.2f} with {longer.rest['length']}, "
        f"{longer.one.last_step:,} ({means_of(longer)}; {gap.words('+.2f', *POSSIBLE)})."
    )
    if failed:
        said += f" {listed(failed)} {NOTHING}, so no change of the gap is told."
    else:
        said += (
            f" The longer training changes the gap by {signed(change.value)} points "
            f"({change.words('+.2f', *OF_TWO_GAPS)})."
        )
    ends = flat(longer) or ["The evaluations are too few to say whether the longer curves are flat."]
    return " ".join([said, *ends]) + without(found.left_out)


def failed_of_lengths(found: Longer, fits: Fits) -> list[str]:
    """Return how many runs of each group learned nothing, for the groups with such runs."""
    return [
        f"{len(seeds)} of {group.n} {prose(group.names['init'])} runs of {group.last_step:,} steps"
        for group in (found.usual.one, found.usual.other, found.longer.one, found.longer.other)
        if (seeds := failed_runs(group, fits))
    ]


def longer_table(found: list[Longer], fits: Fits) -> pd.DataFrame:
    """Return a row for each number of training texts and each length: accuracies, gap, and rises at the end."""
    rows: dict[str, tuple[Comparison, str]] = {}
    for own in found:
        rows.setdefault(own.usual.title, (own.usual, "usual length"))
        change = (
            "not told: runs learned nothing" if failed_of_lengths(own, fits) else with_interval(own.change, OF_TWO_GAPS)
        )
        rows[own.longer.title] = (own.longer, change)
    compared = [comparison for comparison, _ in rows.values()]

    def late_rise(group: Group) -> str:
        if len(failed_runs(group, fits)) == group.n:
            return NOTHING
        return "too few evaluations" if group.late_rise is None else with_interval(group.late_rise[1])

    return pd.DataFrame(
        {
            "labels": [f"{c.one.n_train:,}" if c.one.n_train is not None else "not recorded" for c in compared],
            "steps": [f"{c.one.last_step:,}" for c in compared],
            **accuracy_columns([c.one for c in compared], fits, of="pre-trained, "),
            **accuracy_columns([c.other for c in compared], fits, of="random, "),
            "gap, points": [with_interval(c.difference) for c in compared],
            "change of the gap, points": [change for _, change in rows.values()],
            "pre-trained, late rise": [late_rise(c.one) for c in compared],
            "random, late rise": [late_rise(c.other) for c in compared],
        }
    )


def about_longer() -> str:
    """Return how the table of lengths is to be read."""
    return (
        "Is the gap only the schedule's? A longer training takes several times the steps and is evaluated as often, so "
        "that it has as many evaluations to choose the best step from. Its learning rates are those of the usual "
        "length; none was searched for it. In brackets: 95 % intervals for new seeds on this test set, none corrected "
        "for the number of lengths. Late rise: of test accuracy in points, from the latest evaluation in the first two "
        "thirds of the steps to the last step."
    )


# --- parts of the weights


def ladder_sentence(found: Ladder, fits: Fits) -> str:
    """Return the share of the gain that each init between random and pre-trained weights brings."""
    why_none, gap, of = why_no_shares(found, fits), found.gap, setting(found.top.names)
    told = "; ".join(rung_words(rung, found, fits) for rung in found.rungs)
    over = "" if found.has_all_seeds else f" over {seeds_words(found.top.seeds)}, which these inits share"
    if why_none is None:
        said = f"{of}: of the {gap.value:.2f} points that pre-training buys{over}, {told}."
    else:
        said = (
            f"{of}: pre-trained minus random is {gap.value:+.2f} points{over} ({gap.words('+.2f', *POSSIBLE)}). No "
            f"shares of it are told, because {why_none}. Minus random, in points: {told}."
        )
    if any(rung.group.names["init"].startswith("bottom_") for rung in found.rungs):
        said += " In bottom_k the embeddings and the first k layers are pre-trained, all other weights random."
    n_failed = len(failed_runs(found.top, fits))
    return said + (f" {n_failed} of {counted(found.top.n, 'pre-trained run')} learned nothing." if n_failed else "")


def why_no_shares(found: Ladder, fits: Fits) -> str | None:
    """Return why the runs have no gain of pre-training to share out, or None."""
    n_failed = len(failed_runs(found.bottom, fits))
    if n_failed:
        return f"{n_failed} of {counted(found.bottom.n, 'random run')} learned nothing"
    return "these runs show no gain" if found.is_without_gain else None


def rung_words(rung: Rung, found: Ladder, fits: Fits) -> str:
    """Return an init's gain, and in brackets its share and what is special about its runs."""
    n_failed, n = len(failed_runs(rung.group, fits)), rung.group.n
    notes = [] if why_no_shares(found, fits) and n_failed < n else [share_words(rung, fits)]
    if 0 < n_failed < n:
        notes.append(f"{n_failed} of {n} runs learned nothing")
    said = f"{prose(rung.group.names['init'])} {rung.gain.value:+.2f}"
    return f"{said} ({'; '.join(notes)})" if notes else said


def share_words(rung: Rung, fits: Fits) -> str:
    """Return a share in percent with its interval, or why there is none."""
    if len(failed_runs(rung.group, fits)) == rung.group.n:
        return NOTHING
    if math.isnan(rung.share.value):
        return "no share: there is no gain"
    value = f"{100 * rung.share.value + 0.0:.0f} %".replace("-0 %", "0 %")
    if not rung.share.has_interval:
        return f"{value}, no interval: {rung.share.why_none}"
    return f"{value}, {100 * rung.share.low:.0f} to {100 * rung.share.high:.0f} %"


def ladder_table(found: Ladder, fits: Fits) -> pd.DataFrame:
    """Return a row for each init from pre-trained to random: mean, gain over random weights, share of the gain."""
    why_none = why_no_shares(found, fits)
    shares = [share_words(rung, fits) for rung in found.rungs]
    shares = shares if why_none is None else [share if share == NOTHING else why_none for share in shares]
    groups = [found.top, *(rung.group for rung in found.rungs), found.bottom]
    gains = [with_interval(found.gap), *(with_interval(rung.gain) for rung in found.rungs), "0, by definition"]
    return pd.DataFrame(
        {
            "first weights": [prose(group.names["init"]) for group in groups],
            **accuracy_columns(groups, fits),
            "gain over random, points": gains,
            "share of the gain": [why_none or "100 %, by definition", *shares, why_none or "0 %, by definition"],
        }
    )


def about_ladder(found: Ladder) -> str:
    """Return how the table of parts of the weights is to be read, and what is left out of it."""
    return (
        f"{by_seed(found.top.seeds)} In brackets: 95 % intervals for new seeds on this test set, of gains by Student's "
        "t, of shares by Fieller's method. The shares overlap, as bottom_4 includes bottom_2 and both include the "
        "embeddings: they do not add up." + without(found.left_out)
    )


def title_of_ladder(found: list[Ladder], fits: Fits) -> str:
    """Return the finding of the figure: the share of the gain that each init brings, where the runs show a gain."""
    if len(found) != 1 or why_no_shares(found[0], fits):
        return "Test accuracy by the part of the first weights that is pre-trained"
    shares = {prose(rung.group.names["init"]): share_words(rung, fits).partition(",")[0] for rung in found[0].rungs}
    told = [f"{init} {share}" for init, share in shares.items() if share != NOTHING]
    failed = [init for init, share in shares.items() if share == NOTHING]
    parts = ([listed(told)] if told else []) + ([f"{listed(failed)} {NOTHING}"] if failed else [])
    return f"Share of the gain of pre-training: {'; '.join(parts)}"


def caption_of_ladder(found: list[Ladder]) -> str:
    n = [group.n for of in found for group in (of.top, of.bottom, *(rung.group for rung in of.rungs))]
    return caption(
        f"{counted_range(n)} per row. Point: one run. Bar: mean. Dashed: the means of pre-trained and random weights.",
        {f"Thick line: {OF_MEAN}": max(n) > 1},
    )


# --- doses


def in_tokens(dose: int) -> str:
    """Return a dose in short form, such as `16 M` or `250 k`."""
    number, unit = dose_name(dose).rstrip("kM"), dose_name(dose).lstrip("0123456789")
    return f"{int(number):,} {unit}".strip() if dose else "0"


def dose_sentence(curve: DoseCurve) -> str:
    """Return the smallest dose that buys something, or that the runs show none."""
    of, most, last = setting(curve.rest), in_tokens(curve.doses[-1]), curve.gains[-1]
    n = curve.groups[0].n
    if n == 1:
        return (
            f"{of}: with {most} tokens of pre-training the accuracy is {last.value:+.2f} points over dose 0 (no "
            "interval: one seed). One seed is one draw, so no dose is said to buy something."
        )
    words = last.words("+.2f", *POSSIBLE)
    at_last = f"With {most} tokens the difference from dose 0 is {last.value:+.2f} points ({words})"
    if curve.smallest is None:
        return f"{of}: no dose up to {most} tokens buys accuracy that these {n} seeds can show. {at_last}."
    gain, dose = curve.gains[curve.smallest - 1], curve.doses[curve.smallest]
    said = (
        f"{of}: pre-training on {in_tokens(dose)} tokens is the smallest dose that buys something: {gain.value:+.2f} "
        f"points over dose 0 ({gain.words('+.2f', *POSSIBLE)}, {n} seeds)."
    )
    return said if dose == curve.doses[-1] else f"{said} {at_last}."


def loss_words(curve: DoseCurve, losses: Losses) -> str:
    """Return how far pre-training has come: the held-out loss after the last two doses, and that of a simple guess.

    Empty when the loss after the largest dose is not known.
    """
    *_, before, last = losses_of(curve, losses)
    if last is None:
        return ""
    own, frequencies = [in_tokens(dose) for dose in curve.doses[-2:]], loss_by_frequency(curve, losses)
    known = f", {before.loss:.3f} after {own[0]}" if before is not None and curve.doses[-2] else ""
    guess = f"; a guess from token frequencies alone has {frequencies:.3f}" if frequencies is not None else ""
    return f"The held-out loss is {last.loss:.3f} nats after {own[1]} tokens{known}{guess}."


def dose_table(curve: DoseCurve, fits: Fits, losses: Losses) -> pd.DataFrame:
    """Return a row for each dose: held-out loss, accuracy, and the difference from dose 0."""
    found = losses_of(curve, losses)
    return pd.DataFrame(
        {
            "tokens": [f"{dose:,}" for dose in curve.doses],
            "held-out loss, nats": ["not known" if own is None else f"{own.loss:.3f}" for own in found],
            **accuracy_columns(curve.groups, fits),
            "difference from dose 0, points": ["0, by definition", *map(with_interval, curve.gains)],
            "n": [group.n for group in curve.groups],
        }
    )


def about_doses(curve: DoseCurve) -> str:
    """Return how the table of doses is to be read, and what is left out of it."""
    return (
        f"{by_seed(curve.groups[0].seeds)} A dose is the number of tokens of masked-language-model pre-training that "
        "the checkpoint has seen; dose 0 has its first, random weights. Held-out loss: of the checkpoint, per masked "
        f"token of text that it was not trained on. In brackets: 95 % intervals for {SAME_TEXTS} (paired t). "
        f"For the smallest dose {counted(len(curve.gains), 'interval')} {'is' if len(curve.gains) == 1 else 'are'} "
        "looked at, none corrected. No probe is fitted on the doses, and no curves over steps are drawn."
        + without(curve.left_out)
    )


def title_of_doses(found: list[DoseCurve]) -> str:
    """Return the finding of the figure: the smallest dose that buys accuracy, for each dataset."""
    datasets = [curve.rest["dataset"] for curve in found]
    if len(set(datasets)) < len(found) or any(curve.groups[0].n == 1 for curve in found):
        return "Test accuracy over tokens of pre-training"
    said = [
        f"none up to {in_tokens(curve.doses[-1])} tokens"
        if curve.smallest is None
        else f"{in_tokens(curve.doses[curve.smallest])} tokens"
        for curve in found
    ]
    said = [f"{own} ({dataset})" for own, dataset in zip(said, datasets, strict=True)] if len(found) > 1 else said
    return f"Smallest dose of pre-training that shows a gain: {listed(said)}"


def caption_of_doses(found: list[DoseCurve], drawn: list[str], losses: Losses) -> str:
    """Return what is drawn. `drawn` has the labels of the lines to compare with."""
    n = [group.n for curve in found for group in curve.groups]
    first = " or ".join(dict.fromkeys(in_tokens(curve.doses[1]) for curve in found))
    return caption(
        f"{counted_range(n)} per point. Point: one run. Line: mean. The axis is logarithmic from {first} tokens on.",
        {
            f"Bar: {OF_MEAN}": max(n) > 1,
            "Dashed: logistic regression on TF-IDF, on the same texts.": TF_IDF in drawn,
            "Dotted: mean of the published pre-trained runs, with their own pre-training and fine-tuning.": (
                PUBLISHED in drawn
            ),
            "Below: held-out loss of the checkpoint.": bool(losses),
            "Dotted there: a guess from token frequencies alone.": any(
                loss_by_frequency(curve, losses) is not None for curve in found
            ),
        },
    )


# --- all of them


@dataclass(frozen=True)
class Part:
    """A table of doses, of labels, of lengths or of parts of the weights."""

    name: str  # dose, labels, length or ladder
    rest: dict[str, str]  # the names that its rows share
    about: str  # how it is to be read
    frame: pd.DataFrame


def parts_of(material: Material) -> list[Part]:
    """Return the tables of doses, labels, lengths and parts of the first weights."""
    fits, losses = material.fits, material.losses
    return [
        *(Part("dose", of.rest, about_doses(of), dose_table(of, fits, losses)) for of in material.doses),
        *(Part("labels", of.rest, about_labels(of), labels_table(of, fits)) for of in material.labels),
        *(Part("length", rest, about_longer(), longer_table(of, fits)) for rest, of in _by_rest(material.longer)),
        *(Part("ladder", of.rest, about_ladder(of), ladder_table(of, fits)) for of in material.ladders),
    ]


def _by_rest(found: list[Longer]) -> list[tuple[dict[str, str], list[Longer]]]:
    """Return longer trainings by what they share but for the number of training texts."""
    by_rest: dict[str, tuple[dict[str, str], list[Longer]]] = {}
    for own in found:
        rest = {key: name for key, name in own.usual.rest.items() if key not in ("train", "length")}
        by_rest.setdefault(str(rest), (rest, []))[1].append(own)
    return list(by_rest.values())


def tables_of(parts: list[Part]) -> dict[str, pd.DataFrame]:
    """Return the tables of each name as one, each row with what it is of."""
    return {
        name: pd.concat([part.frame.assign(**part.rest) for part in parts if part.name == name])
        for name in dict.fromkeys(part.name for part in parts)
    }


def dose_sentences(material: Material) -> list[str]:
    """Return the sentences on doses, which the answer begins with."""
    said = [f"{dose_sentence(curve)} {loss_words(curve, material.losses)}".rstrip() for curve in material.doses]
    return [*said, *material.without_doses]


def bought(material: Material) -> list[str]:
    """Return the sentences of the answer on labels, on longer trainings and on parts of the weights."""
    return [
        *(worth(curves, material.fits) for curves in material.labels),
        *material.without_labels,
        *(longer_sentence(found, material.fits) for found in material.longer),
        *material.without_longer,
        *(ladder_sentence(found, material.fits) for found in material.ladders),
        *material.without_ladders,
    ]
