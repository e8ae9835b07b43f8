"""Words how many steps runs need to the threshold, and how many times as many the others need."""

import math

from analysis.comparisons import Comparison
from analysis.crossings import Ratio, geometric_bounds
from analysis.estimates import SAME_TEXTS, Estimate
from analysis.groups import Group
from analysis.phrases import prose
from foundation.counts import counted


def steps_sentence(c: Comparison) -> str:
    """Return when both groups pass the threshold, and how many times as many steps the second group needs."""
    if c.steps is None or c.is_without_passing:
        return ratio_sentence(c)
    first = passing(c.one, prose(c.sides[0]), f"{c.threshold:g} % test accuracy")
    first = first if first.startswith(("fairseq", "hf")) else first[0].upper() + first[1:]
    return f"{first}; {passing(c.other, prose(c.sides[1]), 'it')}. {ratio_sentence(c)}"


def passing(group: Group, name: str, mark: str) -> str:
    """Return when a group's runs pass the threshold `mark`, or how many runs never pass it."""
    end = f"within {counted(group.last_step, 'step')}"
    if group.n_censored == group.n:
        return f"no {name} run passes {mark} {end}"
    if group.n_censored:
        verb = "passes" if group.n_censored == 1 else "pass"
        return f"{group.n_censored} of {counted(group.n, f'{name} run')} never {verb} {mark} {end}"
    low, high = geometric_bounds(group.brackets)
    between = f"{mark} between steps {math.floor(low + 1e-9):,} and {math.ceil(high - 1e-9):,}"
    if group.n == 1:
        return f"the {name} run passes {between}"
    return f"{name} runs pass {between} (geometric mean of {group.n})"


def ratio_sentence(c: Comparison) -> str:
    """Return how many times as many steps the second group needs to reach the threshold, or why this is not known."""
    mark = f"{c.threshold:g} % test accuracy"
    if c.steps is None:
        return f"A run is at or above {mark} before its first step, so the steps to it are not compared."
    if c.is_without_passing:
        return f"None of these runs passes {mark}."
    if c.steps.is_wide:
        return f"The evaluations are too far apart to compare the steps to {mark}."
    if c.steps.is_half_open:
        return f"Some runs never pass {mark}, and these runs do not say which kind needs fewer steps to it."
    if not c.steps.is_known:
        return f"Some runs of each kind never pass {mark}, so the ratio of the steps to it has no bound."
    one, other = prose(c.sides[0]), prose(c.sides[1])
    return (
        f"To reach {c.threshold:g} %, {other} runs need {times(c.steps)} the steps of {one} runs (bounds, because runs "
        f"are evaluated at some steps only; {steps_ends(c.steps.interval)})."
    )


def ratio_cell(c: Comparison) -> str:
    """Return the same ratio in short form, for a table."""
    if c.steps is not None and c.steps.is_known:
        return f"{times(c.steps)}; {steps_ends(c.steps.interval)}"
    has_bounds = c.steps is None or c.steps.is_wide or c.steps.is_half_open
    return f"{'not compared' if has_bounds else 'no bound'}: {why_no_ratio(c)}"


def why_no_ratio(c: Comparison) -> str:
    """Return why the steps of two groups are not compared, or their ratio has no bound, in short form."""
    if c.steps is None:
        return "a run starts above it"
    if c.steps.is_wide:
        return "the evaluations are too far apart"
    if c.steps.is_half_open:
        return "some runs never pass it, and these runs do not say which kind needs fewer steps"
    return "none of these runs passes it" if c.is_without_passing else "some runs of each kind never pass it"


def times(ratio: Ratio) -> str:
    """Return the bounds of a ratio of steps: `3.0 to 7.8 times`, `at least 3.0 times`, `at most 0.5 times`."""
    if math.isinf(ratio.high):
        return f"at least {bound(ratio.low, up=False)} times"
    if ratio.low == 0:
        return f"at most {bound(ratio.high, up=True)} times"
    return f"{bound(ratio.low, up=False)} to {bound(ratio.high, up=True)} times"


def bound(value: float, up: bool) -> str:
    """Return a positive bound with two or more significant digits (three near 1), rounded outwards so that it holds."""
    decimals = 2 if value < 2 else 1 if value < 10 else 0
    decimals = 1 - math.floor(math.log10(value)) if value < 0.1 else decimals
    whole = math.ceil(value * 10**decimals - 1e-9) if up else math.floor(value * 10**decimals + 1e-9)
    return f"{whole / 10**decimals:,.{decimals}f}"


def steps_ends(interval: Estimate) -> str:
    """Return the interval of a ratio of steps in words, or why there is none."""
    return interval.words(bound) + (f" for {SAME_TEXTS}" if interval.has_interval else "")
