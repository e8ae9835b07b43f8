"""Words which share of the gain each part of the pre-trained weights brings."""

import math

import pandas as pd

from analysis.baselines import Fits
from analysis.captions import OF_MEAN, caption, counted_range
from analysis.ladder import Ladder, Rung
from analysis.phrases import (
    NOTHING,
    POSSIBLE,
    accuracy_columns,
    by_seed,
    failed_runs,
    listed,
    prose,
    seeds_words,
    setting,
    with_interval,
    without,
)
from foundation.counts import counted


def ladder_sentence(found: Ladder, fits: Fits) -> str:
    """Return the share of the gain that each init between random and pre-trained weights brings."""
    why_none, gap, of = why_no_shares(found, fits), found.gap, setting(found.top.names)
    told = "; ".join(rung_words(rung, found, fits) for rung in found.rungs)
    over = "" if found.has_all_seeds else f" over {seeds_words(found.top.seeds)}"
    if why_none is None:
        bought = f"{of}: pre-training buys {gap.value:.2f} points{over}"
        said = f"{bought}. Minus random, with the share of these points: {told}."
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
    """Return an init's gain with its share and its failed runs in brackets, or that all its runs learned nothing."""
    n_failed, n, init = len(failed_runs(rung.group, fits)), rung.group.n, prose(rung.group.names["init"])
    if n_failed == n:
        return f"{init} {NOTHING}"
    notes = [] if why_no_shares(found, fits) else [share_words(rung, fits)]
    if n_failed:
        notes.append(f"{n_failed} of {n} runs learned nothing")
    said = f"{init} {rung.gain.value:+.2f}"
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
