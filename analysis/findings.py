"""Words what the runs show: the answer, and which side of a comparison ends higher, is faster and spreads less."""

import math

from analysis.best_steps import RunResult
from analysis.comparisons import SHARED, Comparison
from analysis.estimates import NEW_TEXTS, SAME_TEXTS, Estimate
from analysis.evidence import Evidence
from analysis.groups import Group
from analysis.notes import states_of
from analysis.phrases import CHANCE, POSSIBLE, listed, means_of, prose, setting
from analysis.significance import no_spread_test
from analysis.steps_words import ratio_sentence, steps_sentence
from foundation.counts import counted

FLAT = 1.0  # points of test accuracy over the last third of the steps; a curve that rises less is flat


# --- the answer


def answers(evidence: Evidence, results: list[RunResult], has_doses: bool = False) -> list[str]:
    """Return the answer for each pair of pre-trained and random groups, or why there is none.

    A sweep of doses needs no such pair: dose_words.py words its answer.
    """
    found = [answer(comparison) for comparison in evidence.of_init()]
    if not found and not has_doses:
        found = [no_answer(evidence, results)]
    return [*found, *unequal(evidence)]


def answer(c: Comparison) -> str:
    """Return the answer: how much pre-training buys, with both means, the gap, the speed, and what they do not show."""
    is_void = any(len(group.one_answer) == group.n for group in (c.one, c.other))
    gap = f"a difference of {c.difference.value:+.2f} points" if is_void else bought(c.difference.value)
    start = (
        f"On {setting(c.rest)} reaches {c.one.spread.mean:.2f} % test accuracy from pre-trained weights and "
        f"{c.other.spread.mean:.2f} % from random weights ({means_of(c)}): {gap}, "
        f"{gap_interval(c)}."
    )
    return " ".join([start, *learned_nothing(c), *doubts(c), *left_out(c), steps_sentence(c)])


def learned_nothing(c: Comparison) -> list[str]:
    """Return which side's runs learned nothing, all or some of them, and what this means for the difference."""
    said = []
    if all(len(group.one_answer) == group.n for group in (c.one, c.other)):
        return [
            f"Neither {prose(c.sides[0])} nor {prose(c.sides[1])} runs learned anything: every test text gets the same "
            "class. So the difference does not tell what pre-training buys; train longer."
        ]
    for side, group in zip(c.sides, (c.one, c.other), strict=True):
        n_failed, kind = len(group.one_answer), prose(side)
        if n_failed == group.n:
            runs = f"The {kind} run" if group.n == 1 else f"All {group.n} {kind} runs"
            said.append(
                f"{runs} learned nothing: every test text gets the same class. So the difference does not tell what "
                "pre-training buys; train longer."
            )
        elif n_failed:
            said.append(f"{n_failed} of {group.n} {kind} runs learned nothing; the mean includes them.")
    return said


def bought(gap: float) -> str:
    """Return what a gap of accuracies (points) says about pre-training."""
    if f"{abs(gap):.2f}" == "0.00":
        return "pre-training makes a difference of 0.00 points"
    return f"pre-training {'buys' if gap > 0 else 'costs'} {abs(gap):.2f} points"


def gap_interval(c: Comparison) -> str:
    """Return the difference's interval for both targets, or why there is none."""
    seeds, texts = c.difference, c.difference_over_texts
    if not seeds.has_interval:
        return seeds.words()
    if texts is None or not texts.has_interval:
        return f"{seeds.words('+.2f', *POSSIBLE)} for {SAME_TEXTS}"
    if texts.ends("+.2f") == seeds.ends("+.2f"):
        return f"{seeds.words('+.2f', *POSSIBLE)} for new seeds, on this test set and on new texts"
    return f"{seeds.words('+.2f', *POSSIBLE)} for {SAME_TEXTS}, and {texts.ends('+.2f', *POSSIBLE)} for {NEW_TEXTS}"


def doubts(c: Comparison) -> list[str]:
    """Return what the difference does not show, if anything."""
    if not c.difference.has_interval:
        return ["One seed is one draw: another may turn it round."] if min(c.one.n, c.other.n) == 1 else []
    if not c.difference.excludes(0):
        return ["The interval holds 0: these runs do not show a difference."]
    texts = c.difference_over_texts
    if texts is not None and texts.has_interval and not texts.excludes(0):
        return ["The interval for new texts holds 0: on other texts there may be no difference."]
    return []


def left_out(c: Comparison) -> list[str]:
    if not c.left_out:
        return []
    has, is_ = ("has", "is") if len(c.left_out) == 1 else ("have", "are")
    return [f"{listed(c.left_out)} {has} no partner of the same seed and {is_} left out."]


def unequal(evidence: Evidence) -> list[str]:
    """Return a sentence for each pair of groups on unequal terms."""
    return [
        f"{c.title}: not compared, because not on equal terms; they differ in {', '.join(why)}."
        for c, why in evidence.unequal
    ]


def no_answer(evidence: Evidence, results: list[RunResult]) -> str:
    """Return why a sweep does not show what pre-training buys, and what to do."""
    opening = "These runs do not say what pre-training buys: "
    have = {group.names["init"] for group in evidence.groups}
    for init in ("pretrained", "random"):
        of_init = [run for run in results if run.key.init == init]
        if init not in have and of_init:
            states, advice = states_of(of_init)
            return f"{opening}no {prose(init)} run has results ({states}). {advice}."
    if not {"pretrained", "random"} <= have:
        names = " and ".join(prose(init) for init in sorted(have))
        return f"{opening}all start from {names} weights. Train both with INIT=pretrained,random."
    if any(c.sides == ("pretrained", "random") for c, _ in evidence.unequal):
        return f"{opening}pre-trained and random runs are not on equal terms."
    return (
        f"{opening}no pre-trained and random runs share dataset, model, back end and method. Train both with "
        "INIT=pretrained,random."
    )


# --- which side ends higher, is faster, spreads less, and whether the curves are flat


def comparisons(evidence: Evidence) -> list[tuple[str, list[str]]]:
    """Return, for each comparison, its title and which side ends higher, is faster and spreads less, and is flat."""
    return [(c.title, [higher(c), faster(c), tighter(c), *flat(c), *left_out(c)]) for c in evidence.comparisons]


def higher(c: Comparison) -> str:
    """Return which of two groups ends higher, as far as the runs can tell."""
    one, other = c.sides
    told = f"{prose(one, True)} minus {prose(other)}: {c.difference.value:+.2f} points, {gap_interval(c)}"
    side = higher_side(c)
    if not c.difference.has_interval:
        return f"{told}. These runs cannot tell which ends higher with new seeds."
    if side is None or doubts(c):
        return f"{told}. {doubts(c)[0]}"
    return f"{told}. {prose(side, True)} runs end higher."


def higher_side(c: Comparison) -> str | None:
    """Return which side of a comparison ends higher, or None when the interval for this test set holds 0."""
    return _side_of(c, c.difference, 0)


def _side_of(c: Comparison, found: Estimate, equal: float) -> str | None:
    """Return the first side when the interval lies above `equal`, the second when below, None when it holds it."""
    if found.low > equal:
        return c.sides[0]
    return c.sides[1] if found.high < equal else None


def faster(c: Comparison) -> str:
    """Return which of two groups needs fewer steps to the threshold, as far as the runs can tell."""
    told = ratio_sentence(c)
    winner = faster_side(c)
    if winner is not None:
        return f"{told} {prose(winner, True)} runs are faster."
    if c.steps is not None and (c.steps.low > 1 or c.steps.high < 1):
        seen = prose(c.sides[0] if c.steps.low > 1 else c.sides[1])
        return f"{told} In these runs {seen} weights are faster; this may not hold for new seeds."
    if c.steps is not None and c.steps.is_half_open:
        return told
    return f"{told} These runs cannot tell which is faster."


def faster_side(c: Comparison) -> str | None:
    """Return which side of a comparison needs fewer steps, or None when the interval does not exclude equal speed."""
    return None if c.steps is None else _side_of(c, c.steps.interval, 1)


def tighter(c: Comparison) -> str:
    """Return which of two groups spreads less over seeds, and whether the runs can tell."""
    one, other = c.one, c.other
    if min(one.n, other.n) < 2:
        return "One seed has no spread, so spreads are not compared."
    stds = {side: group.spread.std for side, group in zip(c.sides, (one, other), strict=True)}
    said = ", ".join(f"{prose(side)} {std:.2f}" for side, std in stds.items())
    told = f"Std over seeds (ddof 0, points): {said}"
    why = no_spread_test(one.test, other.test)
    if why is not None:
        return f"{told}. These runs cannot tell which spreads less: {why}."
    told += f", Brown-Forsythe p {'=' if c.spread_p >= 0.001 else 'is'} {p_value(c.spread_p)}"
    side = tighter_side(c)
    if side is None:
        return f"{told}. These runs do not show which spreads less."
    return f"{told}. {prose(side, True)} runs spread less."


def tighter_side(c: Comparison) -> str | None:
    """Return which side spreads less, or None when the test does not show a difference."""
    if math.isnan(c.spread_p) or c.spread_p >= CHANCE:
        return None
    return c.sides[0] if c.one.spread.std < c.other.spread.std else c.sides[1]


def flat(c: Comparison) -> list[str]:
    """Return whether both curves of test accuracy are flat at their end, or nothing where evaluations are too few.

    A curve is flat when it rises or falls by less than `FLAT` points over the last third of the steps, on average over
    seeds. Where runs of a side give every test text the same class, they learned nothing, and no curve is called flat.
    """
    one, other = c.one.late_rise, c.other.late_rise
    if one is None or other is None or one[0] != other[0]:
        return []
    rises = dict(zip(c.sides, (one[1], other[1]), strict=True))
    failed = {side: len(group.one_answer) for side, group in zip(c.sides, (c.one, c.other), strict=True)}
    nothing = [side for side, group in zip(c.sides, (c.one, c.other), strict=True) if failed[side] == group.n]
    learned = {side: rise for side, rise in rises.items() if side not in nothing}
    told = [
        f"{prose(side)} runs {rise.value:+.2f} points ({rise.words('+.2f', *POSSIBLE)})"
        for side, rise in learned.items()
    ]
    ends = {
        "learned nothing: they give every test text the same class.": nothing,
        f"are not flat (a rise of {FLAT:g} point or more): longer training may change the difference.": [
            side for side, rise in learned.items() if rise.value >= FLAT
        ],
        f"are not flat (a fall of {FLAT:g} point or more).": [
            side for side, rise in learned.items() if rise.value <= -FLAT
        ],
        "are not called flat, because some of them learned nothing.": [
            side for side, rise in learned.items() if failed[side] and abs(rise.value) < FLAT
        ],
    }
    said = [f"{listed([prose(of[0], True), *map(prose, of[1:])])} runs {end}" for end, of in ends.items() if of]
    said = said or [f"Both are flat (a rise or fall of less than {FLAT:g} point)."]
    if not told:
        return said
    return [
        f"Test accuracy from step {one[0]:,} to the last step, {c.one.last_step:,}: {listed(told)}. {' '.join(said)}"
    ]


# --- cells of the tables of statistics


def pairing(c: Comparison) -> str:
    """Return whether the runs are paired, and why."""
    if c.paired:
        return f"paired: runs of one seed share {SHARED[c.axis]}"
    seeds = [",".join(map(str, group.seeds)) for group in (c.one, c.other)]
    return f"not paired: seeds {seeds[0]} against {seeds[1]}"


def std_cell(group: Group) -> str:
    """Return a group's std with the interval of the true std, for a table."""
    if group.n < 2:
        return "none (one seed)"
    return f"{group.spread.std:.2f} ({group.std.ends() if group.std.has_interval else group.std.why_none})"


def spread_words(c: Comparison) -> str:
    """Return the p of Brown and Forsythe's test, or why there is none."""
    why = no_spread_test(c.one.test, c.other.test)
    return p_value(c.spread_p) if why is None else f"none ({why})"


def p_value(p: float) -> str:
    return "none" if math.isnan(p) else "below 0.001" if p < 0.001 else f"{p:.2g}"


def permutation_words(c: Comparison) -> str:
    """Return the permutation test's p with the kind of test and the smallest p that it can give."""
    if math.isnan(c.permutation.p):
        return "none (one seed)"
    kind = f"sign flips of {counted(c.one.n, 'pair')}" if c.paired else f"{c.one.n} against {counted(c.other.n, 'run')}"
    return f"{p_value(c.permutation.p)} ({kind}; the smallest possible is {c.permutation.smallest:.3g})"


def needed_words(c: Comparison) -> str:
    """Return how many seeds are needed to see a difference of 1, 2 and 5 points with a power of 80 %."""
    if not c.needed:
        return f"none ({c.difference.why_none})"
    return ", ".join(
        f"{counted(int(points), 'point')}: {f'{n:,}' if n is not None else 'more than 10,000'}"
        for points, n in c.needed.items()
    )
