"""Sentences made from the numbers: what the answer, the figures' titles and the notes say."""

import math

import numpy as np

from analysis.baselines import Baseline
from analysis.evidence import Comparison, Evidence, what_n_allows
from analysis.statistics import NEW_TEXTS, SAME_TEXTS, Estimate


def interval(estimate: Estimate | None, form: str = ".2f", joint: str = " to ") -> str:
    """Return `low to high`, or a dash where there is no interval."""
    if estimate is None or not estimate.has_interval:
        return "-"
    return f"{estimate.low:{form}}{joint}{estimate.high:{form}}"


def answer(comparison: Comparison) -> str:
    """Return the two sentences that answer how much pre-training buys, and a third where one must not be missed."""
    one, other, gap = comparison.one, comparison.other, comparison.difference
    names = one.names
    first = (
        f"On {names['dataset']}, {names['model']} ({names['backend']}, {names['method']}) reaches "
        f"{one.spread.mean:.2f} % test accuracy from pre-trained weights and {other.spread.mean:.2f} % from random "
        f"ones: pre-training buys {gap.value:+.2f} points"
    )
    if gap.has_interval:
        texts = comparison.difference_over_texts
        within = interval(gap, "+.2f")
        if texts is None or not texts.has_interval:
            first += f" (95 % interval {within} for {SAME_TEXTS}"
        elif interval(texts, "+.2f") == within:  # so few seeds decide both
            first += f" (95 % interval {within} for new seeds, on this test set and on new texts"
        else:
            first += f" (95 % interval {within} for {SAME_TEXTS}; {interval(texts, '+.2f')} for {NEW_TEXTS}"
        first += f"; {len(one.seeds)} {'paired seeds' if comparison.paired else f'and {len(other.seeds)} seeds'})"
    else:
        first += f", without an interval ({gap.method.removeprefix('none: ')})"
    sentence = first + ". " + _speed(comparison)
    if gap.has_interval and not gap.excludes(0):
        sentence += " The interval holds 0: these runs do not show a difference."
    return sentence


def at_least(comparison: Comparison) -> str:
    """Return the words before a ratio of steps: runs that count with their last step would have needed more."""
    return "at least " if comparison.other.n_censored and not comparison.one.n_censored else ""


def _speed(comparison: Comparison) -> str:
    one, other, ratio, mark = comparison.one, comparison.other, comparison.steps_ratio, f"{comparison.threshold:g} %"
    missed = [f"{group.n_censored} of {len(group.runs)} {group.names['init']} runs never do" for group in (one, other)
              if group.n_censored]  # fmt: skip
    note = f" ({'; '.join(missed)}, and count with their last step)" if missed else ""
    if one.n_censored == len(one.runs) and other.n_censored == len(other.runs):
        return f"No run passes {mark} of test accuracy."
    if ratio is None:
        return f"A run is above {mark} before its first step, so steps to {mark} have no ratio."
    means = [float(np.exp(np.log(group.counted_steps).mean())) for group in (one, other)]
    sentence = (
        f"They pass {mark} after {means[0]:.0f} steps against {means[1]:.0f} (geometric means, interpolated between "
        f"evaluations {max(one.apart, other.apart):.0f} steps apart){note}, {at_least(comparison)}"
        f"{ratio.value:.1f} times as many"
    )
    return f"{sentence} (95 % interval {interval(ratio)})." if ratio.has_interval else f"{sentence}."


def no_answer(evidence: Evidence) -> str:
    """Return what to say of a sweep without a pair of pre-trained and random runs."""
    inits = sorted({group.names["init"] for group in evidence.groups})
    return (
        f"These runs start from {' and '.join(inits)} weights only, so they cannot say what pre-training buys; train "
        "both with INIT=pretrained,random."
    )


def against_baseline(comparison: Comparison, baseline: Baseline) -> str:
    """Return how two groups stand to what one would pick instead."""
    standing = []
    for group in (comparison.one, comparison.other):
        gap = group.spread.mean - baseline.test
        standing.append(
            f"{group.names[comparison.axis]} is {abs(gap):.2f} points {'above' if gap >= 0 else 'below'} it"
        )
    return (
        f"{baseline.name} on the same splits reaches {baseline.test:.2f} % (95 % interval {baseline.low:.2f} to "
        f"{baseline.high:.2f} for new texts): {', '.join(standing)}."
    )


def tighter(comparison: Comparison) -> str:
    """Return which of two groups spreads less over seeds, and whether so many seeds can tell."""
    one, other = comparison.one, comparison.other
    if min(len(one.runs), len(other.runs)) < 2:
        return "One seed has no spread"
    names, stds = [group.names[comparison.axis] for group in (one, other)], [one.spread.std, other.spread.std]
    order = sorted(zip(stds, names, strict=True), key=lambda pair: pair[0])
    said = f"{order[0][1].capitalize()} runs spread less: std {order[0][0]:.2f} against {order[1][0]:.2f} points"
    if order[0][0] == order[1][0]:
        said = f"Both spread alike: std {order[0][0]:.2f} points"
    if math.isnan(comparison.spread_p):
        return f"{said}; so few seeds cannot tell"
    verdict = "more than chance" if comparison.spread_p < 0.05 else "no more than chance gives"
    return f"{said}, {verdict} (Brown-Forsythe p = {comparison.spread_p:.2g})"


def notes(evidence: Evidence) -> list[str]:
    """Return what so few seeds allow one to say, once for each number of seeds."""
    return [sentence for n in sorted({len(group.runs) for group in evidence.groups}) for sentence in what_n_allows(n)]
