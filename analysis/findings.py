"""Words what the runs show: the answer, the comparisons, the notes. captions.py words the figures."""

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from analysis.baselines import Baseline
from analysis.best_steps import RunResult
from analysis.crossings import Ratio, geometric_bounds
from analysis.event_files import SweepLogs
from analysis.evidence import SHARED, Comparison, Evidence, Group, told
from analysis.statistics import (
    LEVEL,
    NEW_TEXTS,
    SAME_TEXTS,
    Estimate,
    difference_over_seeds,
    no_spread_test,
    std_factors,
)
from foundation.counts import counted

PROSE = {"pretrained": "pre-trained", "lora": "LoRA", "full": "fully fine-tuned"}
FEW = 5  # seeds; with fewer, the report says in words what the seeds can show
CHANCE = 1 - LEVEL
FLAT = 1.0  # points of test accuracy over the last third of the steps; a curve that rises less is flat
POSSIBLE = (-100.0, 100.0)  # points; the limits of a difference of two accuracies
T_BOUND = {2: "12.7", 3: "4.3", 4: "3.2"}  # n -> standard errors on each side of a mean, by Student's t


def prose(name: str, opens: bool = False) -> str:
    """Return the words for an init, back end or method. `opens` is true at the start of a sentence."""
    word = PROSE.get(name, name)
    return word if not opens or name in ("hf", "fairseq", "lora") else word[0].upper() + word[1:]


def listed(words: Iterable[str]) -> str:
    """Return `a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def tied_steps(group: Group) -> str | None:
    """Return how the rule for tied best steps changes a group's mean, or None when no run has tied best steps."""
    latest = {run.key.seed: run.latest for run in group.runs if run.latest is not None}
    if not latest:
        return None
    tests = [latest[run.key.seed][1] if run.key.seed in latest else run.test or 0.0 for run in group.runs]
    told = listed(f"seed {seed} (step {step}: {test:.2f} %)" for seed, (step, test) in latest.items())
    return (
        f"{group.title}: {counted(len(latest), 'run')} of {group.n} "
        f"{'has its' if len(latest) == 1 else 'have their'} highest validation accuracy at several steps. The earliest "
        f"counts here: mean test accuracy {group.spread.mean:.2f} %. Stock fairseq keeps the latest, {told}: "
        f"{np.mean(tests):.2f} %."
    )


# --- one comparison


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


def setting(names: dict[str, str]) -> str:
    """Return for example `amazon_fr with 49 training texts, e5_small_fr (fairseq, full)`."""
    return f"{names['dataset']}{with_texts(names)}, {names['model']} ({names['backend']}, {names['method']})"


def with_texts(names: dict[str, str]) -> str:
    """Return ` with 49 training texts` or ` with 3 times the steps`, or nothing for all texts in the usual length."""
    said = told({key: name for key, name in names.items() if key in ("train", "length")})
    return f" with {' and '.join(said)}" if said else ""


def means_of(c: Comparison) -> str:
    if c.paired:
        return "one seed each" if c.one.n == 1 else f"means over {counted(c.one.n, 'paired seed')}"
    return f"means over {counted(c.one.n, 'seed')} and {counted(c.other.n, 'seed')}, not paired"


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


def pairing(c: Comparison) -> str:
    """Return whether the runs are paired, and why."""
    if c.paired:
        return f"paired: runs of one seed share {SHARED[c.axis]}"
    seeds = [",".join(map(str, group.seeds)) for group in (c.one, c.other)]
    return f"not paired: seeds {seeds[0]} against {seeds[1]}"


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


def steps_sentence(c: Comparison) -> str:
    """Return when both groups pass the threshold, and how many times as many steps the second group needs."""
    if c.steps is None or c.is_without_passing:
        return ratio_sentence(c)
    first = passing(c.one, prose(c.sides[0]), f"{c.threshold:g} % test accuracy")
    first = first if first.startswith(("fairseq", "hf")) else first[0].upper() + first[1:]
    return f"{first}; {passing(c.other, prose(c.sides[1]), 'it')}. {ratio_sentence(c)}"


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
    one, other = prose(c.sides[0]), prose(c.sides[1], opens=True)
    return (
        f"{other} runs need {times(c.steps)} the steps of {one} runs to {c.threshold:g} % (bounds by the "
        f"evaluations; {steps_ends(c.steps.interval)})."
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


def tighter_side(c: Comparison) -> str | None:
    """Return which side spreads less, or None when the test does not show a difference."""
    if math.isnan(c.spread_p) or c.spread_p >= CHANCE:
        return None
    return c.sides[0] if c.one.spread.std < c.other.spread.std else c.sides[1]


def p_value(p: float) -> str:
    return "none" if math.isnan(p) else "below 0.001" if p < 0.001 else f"{p:.2g}"


def against_baseline(c: Comparison, baseline: Baseline) -> str:
    """Return how far two groups are above or below a simple baseline."""
    standing = [
        f"{f'the {prose(side)} run is' if group.n == 1 else f'{prose(side)} runs are'} "
        f"{above(group.spread.mean - baseline.test)} it{'' if group.n == 1 else ' on average'}"
        for side, group in zip(c.sides, (c.one, c.other), strict=True)
    ]
    return (
        f"{c.rest['dataset']}{with_texts({'train': c.rest['train']})}: {baseline.name} on the same splits reaches "
        f"{accuracy_of(baseline)}. {c.rest['model']} ({c.rest['backend']}, {c.rest['method']})"
        f"{with_texts({'length': c.rest['length']})}: {listed(standing)}."
    )


def accuracy_of(baseline: Baseline) -> str:
    """Return a baseline's test accuracy and its interval."""
    return f"{baseline.test:.2f} % (95 % interval {baseline.low:.2f} to {baseline.high:.2f} for new texts)"


def failed_seeds(group: Group, commonest: Baseline | None) -> list[int]:
    """Return the seeds of the runs that learned nothing.

    They answer one class alone or, where the answers are not known, are exactly as accurate as the commonest class.
    """
    if group.right is not None or commonest is None:
        return group.one_answer
    return [run.key.seed for run in group.runs if run.test is not None and abs(run.test - commonest.test) < 1e-9]


def failed(group: Group, commonest: Baseline) -> str | None:
    """Return how many runs learned nothing, and how this is seen, or None when all runs learned something."""
    count = len(failed_seeds(group, commonest))
    if not count:
        return None
    they, is_, give = ("it", "is", "gives") if count == 1 else ("they", "are", "give")
    of = f"{group.title}: {count} of {counted(group.n, 'run')}"
    if group.right is not None:
        return f"{of} learned nothing: {they} {give} every test text the same class."
    return (
        f"{of} {is_} exactly as accurate as the commonest class ({commonest.test:.2f} %): {they} may have learned "
        "nothing."
    )


def above(gap: float) -> str:
    """Return for example `5.60 points above`, or `level with` when the gap rounds to 0.00."""
    if f"{abs(gap):.2f}" == "0.00":
        return "level with"
    return f"{abs(gap):.2f} points {'above' if gap > 0 else 'below'}"


# --- the whole sweep


def answers(evidence: Evidence, results: list[RunResult], has_doses: bool = False) -> list[str]:
    """Return the answer for each pair of pre-trained and random groups, or why there is none.

    A sweep of doses needs no such pair: bought.py words its answer.
    """
    found = [answer(comparison) for comparison in evidence.of_init()]
    if not found and not has_doses:
        found = [no_answer(evidence, results)]
    return [*found, *unequal(evidence)]


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


def states_of(results: list[RunResult]) -> tuple[str, str]:
    """Return how many runs without results are in which state, and what to do about them."""
    states = Counter(run.status for run in results)
    todo = "Mend what stopped them and call the same `make sweep` again"
    if states.keys() <= {"missing", "pending", "running"}:
        todo = "They are not trained to their end; call the same `make sweep` again"
    return ", ".join(f"{n} {state}" for state, n in sorted(states.items())), todo


def unrecorded(evidence: Evidence, folders: dict[str, Path]) -> list[str]:
    """Return a sentence for each run that has a test accuracy but no record of its configuration or inputs."""
    said = []
    for name in (str(run.key) for group in evidence.groups for run in group.runs):
        gone = [file for file in ("config.yaml", "provenance.json") if not (folders[name] / file).is_file()]
        if gone:
            is_ = "is" if len(gone) == 1 else "are"
            said.append(f"{name}: {listed(gone)} {is_} not there, so whether the run is alike the others is not known.")
    return said


def comparisons(evidence: Evidence) -> list[tuple[str, list[str]]]:
    """Return, for each comparison, its title and which side ends higher, is faster and spreads less, and is flat."""
    return [(c.title, [higher(c), faster(c), tighter(c), *flat(c), *left_out(c)]) for c in evidence.comparisons]


def notes(evidence: Evidence) -> list[str]:
    """Return the limits of few seeds: for a group by its number of seeds, for a comparison by its permutation test."""
    said = [sentence for n in sorted({group.n for group in evidence.groups}) for sentence in of_few(n)]
    tests = [
        of_test(c) for c in evidence.comparisons if c.permutation.smallest > CHANCE and min(c.one.n, c.other.n) > 1
    ]
    return [*said, *dict.fromkeys(tests)]


def of_few(n: int) -> list[str]:
    """Return what n seeds can show about a group; empty from five seeds on."""
    if n >= FEW:
        return []
    if n == 1:
        return ["One seed is one draw: it has no interval and no spread, and does not tell what another seed gives."]
    low, high = std_factors(n)
    return [
        f"{n} seeds: the 95 % interval of a mean reaches {T_BOUND[n]} standard errors to each side (2.3 with ten "
        f"seeds), and rests on accuracies that are normal over seeds, which {n} seeds cannot show.",
        f"{n} seeds: the true std may be {low:.2f} to {high:.1f} times the std in the table (ddof 0).",
    ]


def of_test(c: Comparison) -> str:
    """Return the smallest p that a permutation test can give with the few runs of a comparison."""
    if c.paired:
        what = f"A sign-flip test of {counted(c.one.n, 'pair')}"
    else:
        what = f"A permutation test of {c.one.n} against {counted(c.other.n, 'run')}"
    return f"{what} cannot give a p below {c.permutation.smallest:.3g}, so it never reaches {CHANCE:.2g}."


def problems_of_logs(logs: SweepLogs, results: list[RunResult]) -> list[str]:
    """Return sentences on damaged files, further attempts and skipped steps of the runs that have a test accuracy."""
    have = {result.key for result in results if result.test is not None}
    counts = {
        key: {name: n for name, n in status.items() if isinstance(n, int)}
        for key, status in logs.statuses.items()
        if key in have
    }
    return [
        *(sentence for key, sentences in logs.damage.items() if key in have for sentence in sentences),
        *(
            f"{key} took {counted(of['attempts'], 'attempt')} (cut and taken up, or redone)."
            for key, of in counts.items()
            if of.get("attempts", 1) > 1
        ),
        *(
            f"{key} skipped {of['skipped_steps']:,} of {counted(of['planned_steps'], 'step')}: the gradients "
            "overflowed."
            for key, of in counts.items()
            if of.get("skipped_steps", 0) > 0 and "planned_steps" in of
        ),
    ]


def nothing_to_report(sweep: str, sweep_folder: Path, results: list[RunResult]) -> str:
    """Return why a sweep has no run with results, and what to do."""
    if not results:
        return f"{sweep_folder} holds no run; `make sweep SWEEP={sweep}` trains some"
    states, advice = states_of(results)
    first = next((f"; {absent([run])[0]}" for run in results if run.why), "")
    return f"{sweep_folder} holds no run with results ({states}){first}. {advice}"


def about_std() -> str:
    return (
        f"std: over seeds, ddof 0. {SAME_TEXTS.capitalize()}: Student's t. "
        f"{NEW_TEXTS.capitalize()}: crossed random effects of seeds and texts; for a baseline, Wilson's interval."
    )


def about_replications(shares_draws: bool, name: str | None) -> str:
    """Return what stands in the tables. `name` is the replication whose values after each epoch stand there, if any."""
    said = (
        "Three parties: the published report, others who did the same exercise and made their runs public "
        "(replications, by letter), and the runs of this sweep."
    )
    if shares_draws:
        said += " Two replications have nearly the report's numbers, so the three are hardly independent of each other."
    if name is not None:
        said += (
            f" After each epoch, ours stand beside replication {name}, whose warm-up had 6 steps in place of 67; the "
            "interval is that of one more of its runs (Student's prediction interval)."
        )
    return said


def worth_beside_leaks(dataset: str, leaked: int, texts: int) -> str:
    return (
        f"Leaks: {leaked:,} of {counted(texts, 'test review')} of {dataset} stand among the training and validation "
        "reviews, too, and nobody who published numbers dropped them there."
    )


def worth_beside_baseline(dataset: str, baseline: Baseline, published: list[float]) -> str:
    mean = float(np.mean(published))
    return (
        f"A simple baseline: {baseline.name.split(',')[0]} reaches {baseline.test:.2f} % on {dataset} (95 % interval "
        f"{baseline.low:.2f} to {baseline.high:.2f} for new texts), {above(baseline.test - mean)} the published mean "
        f"of the pre-trained runs, {mean:.2f} % (n = {len(published)})."
    )


def worth_beside_schedule(name: str, settings: str, longer: list[float], published: list[float]) -> str:
    gap = difference_over_seeds(longer, published, paired=False)
    return (
        f"The schedule: replication {name} ({settings}) reaches {np.mean(longer):.2f} % from random weights "
        f"(n = {len(longer)}), {above(gap.value)} the published {np.mean(published):.2f} % (n = {len(published)}; "
        f"{gap.words('+.2f', *POSSIBLE)}, {gap.method.split(',')[0]}). So a part of the published gap between the "
        "inits is a choice of the schedule."
    )


def about_leaks(has_both_sides: bool) -> str:
    said = (
        "Some test texts stand in train or validation, too, perhaps in other case, or did before prep dropped them. "
        "These texts may also be easier or harder than the others, so the difference in the table is not what the "
        "leaks bring."
    )
    if has_both_sides:
        return said
    return f"{said} Runs with and without them tell that: train DATASET=cls_books and cls_books_published in one SWEEP."


def leak_effect(kept: Group, dropped: Group, difference: Estimate) -> str:
    """Return the effect of the leaks: runs with the leaks minus runs of the same seeds without the leaks."""
    return (
        f"{prose(kept.names['init'], opens=True)} runs ({kept.names['model']}, {kept.names['backend']}, "
        f"{kept.names['method']}){with_texts(kept.names)}, with the leaks minus without them ({kept.names['dataset']}, "
        f"{dropped.names['dataset']}): {difference.value:+.2f} points of test accuracy over "
        f"{counted(kept.n, 'paired seed')}, {difference.words('+.2f', *POSSIBLE)}."
    )


def about_best_step() -> str:
    return (
        "Best step: highest validation accuracy, the earliest on a tie; test accuracy is read there and chooses "
        "nothing."
    )


def absent(results: list[RunResult]) -> list[str]:
    """Return the runs without a test accuracy, each with its state."""
    return [
        f"{result.key} ({result.status}{f': {result.why}' if result.why else ''})"
        for result in results
        if result.test is None
    ]


def std_cell(group: Group) -> str:
    """Return a group's std with the interval of the true std, for a table."""
    if group.n < 2:
        return "none (one seed)"
    return f"{group.spread.std:.2f} ({group.std.ends() if group.std.has_interval else group.std.why_none})"


def spread_words(c: Comparison) -> str:
    """Return the p of Brown and Forsythe's test, or why there is none."""
    why = no_spread_test(c.one.test, c.other.test)
    return p_value(c.spread_p) if why is None else f"none ({why})"


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
