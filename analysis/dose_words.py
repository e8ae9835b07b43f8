"""Words which dose of pre-training buys something."""

import pandas as pd

from analysis.baselines import TF_IDF, Fits
from analysis.captions import OF_MEAN, caption, counted_range
from analysis.dose import DoseCurve, Losses, loss_by_frequency, losses_of
from analysis.estimates import SAME_TEXTS
from analysis.phrases import POSSIBLE, accuracy_columns, by_seed, listed, setting, with_interval, without
from data_prep.doses import dose_name
from foundation.counts import counted

PUBLISHED = "published, pre-trained"  # label of a line


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


def untrained_words(curve: DoseCurve, losses: Losses) -> str:
    """Return which positions no text of pre-training has reached, for each dose above 0; empty if all are trained."""
    return " ".join(
        f"Positions from {own.untrained_from} on are not trained after {in_tokens(dose)} tokens."
        for dose, own in zip(curve.doses, losses_of(curve, losses), strict=True)
        if dose and own and own.untrained_from is not None
    )


def in_tokens(dose: int) -> str:
    """Return a dose in short form, such as `16 M` or `250 k`."""
    number, unit = dose_name(dose).rstrip("kM"), dose_name(dose).lstrip("0123456789")
    return f"{int(number):,} {unit}".strip() if dose else "0"


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
