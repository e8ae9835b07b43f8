"""How often each 95 % interval holds what it is for: python -m benchmarks.coverage

Draws worlds in which the truth is known and prints, as a Markdown table, the share of them in which each interval
covers its target, of the worlds in which it is given. A run of a seed answers a text rightly when ability + seed effect
+ text effect + noise is above zero, all normal; pre-trained and random runs of one seed share half of the seed effect's
variance, `strangers` are random runs of other seeds, and all runs share the texts. Each run also has a curve that rises
and bends, 50 + 38 (1 - exp(-step / tau)) percent; it is seen at the evaluations of the default schedule, and passes
70 % at a step that is log-normal over seeds. Accuracies over the number of labels rise and bend, too.
"""

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.crossings import Bracket, bracket_of, mean_steps, ratio_of_steps
from analysis.estimates import LEVEL, NEW_TEXTS, SAME_TEXTS, Array, Estimate
from analysis.intervals import (
    difference_over_seeds,
    difference_over_texts,
    mean_over_seeds,
    mean_over_texts,
    one_more_run,
    ratio_of_means,
    share_interval,
    std_interval,
    std_ratio,
)
from analysis.labels import labels_needed
from fairseq_tasks.evaluation_steps import evaluation_steps

TEXTS = 400
STRANGERS = "strangers"
ABILITY = {"pretrained": 1.1, "random": 0.63, STRANGERS: 0.63}  # accuracies of 86 and 74 %, as on amazon_fr
OF_SEED, OF_TEXT, OF_NOISE = 0.08, 0.8, 0.6  # standard deviations; the accuracy then varies by 2 to 3 points over seeds
STEPS = evaluation_steps([98, 196, 294], "geometric")  # of the default sweep
LOG_STEPS = {"pretrained": math.log(35), "random": math.log(167), STRANGERS: math.log(167)}  # means, to 70 %
OF_LOG_STEPS = 0.35  # standard deviation over seeds; 5 % of the random runs then end below 70 %
START, TOP, THRESHOLD = 50.0, 88.0, 70.0  # percent
RESAMPLES = 1_000
SIZES = [24, 49, 98, 196, 392, 784]  # labels, as on amazon_fr
LABELS = 150.0  # that the curve needs for the level
GAIN, PART = 14.0, 5.0  # points over random weights: of all pre-trained weights, of a part of them
OF_RUN = 1.5  # standard deviation of an accuracy over seeds, in points; seeds also share a shift of 1 point


@dataclass(frozen=True)
class World:
    """One sweep on one draw of texts, in percent, and the true values that its intervals should hold."""

    right: dict[str, Array]  # (runs, texts) of 0 or 100
    brackets: dict[str, list[Bracket]]
    labels: tuple[Array, Array]  # accuracies over SIZES, (sizes, runs), and at the level, (runs,)
    ladder: tuple[Array, Array]  # gains of a part of the weights and of all of them, (runs,)
    normal: tuple[Array, Array]  # two samples of shape (runs,), true std 1
    one_more: float  # accuracy of one more pre-trained run on these texts
    of_first: float  # accuracy of the first pre-trained run on any texts
    on_these_texts: dict[str, float]
    on_any_texts: dict[str, float]

    def test(self, init: str) -> Array:
        """Return the accuracies of the runs."""
        return self.right[init].mean(axis=1)


def accuracy_at(labels: Array) -> Array:
    """Return the true accuracy in percent of a run with so many labels: a curve that rises and bends."""
    return 55 + 25 * (1 - np.exp(-np.log2(labels / 12) / 3))


def draw_labels(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return a curve over labels and the accuracies that it is to reach. Runs of one seed share a shift."""
    shift = rng.normal(0, 1, n)
    curve = accuracy_at(np.array(SIZES))[:, None] + shift + rng.normal(0, OF_RUN, (len(SIZES), n))
    return curve, accuracy_at(np.array(LABELS)) + shift + rng.normal(0, OF_RUN, n)


def draw_ladder(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the gains of a part of the weights and of all weights over random ones, which both share."""
    floor = rng.normal(0, 1, n)
    return PART + rng.normal(0, OF_RUN, n) - floor, GAIN + rng.normal(0, OF_RUN, n) - floor


def draw(n: int, rng: np.random.Generator, more_rng: np.random.Generator) -> World:
    """Return a world with a sweep of n seeds. `more_rng` draws the accuracies over labels and parts of the weights."""
    of_text, shared, pace = rng.normal(0, OF_TEXT, TEXTS), rng.normal(0, 1, (n, 1)), rng.normal(0, 1, n)
    right, brackets, these, anything = {}, {}, {}, {}
    for init, ability in ABILITY.items():
        common = rng.normal(0, 1, (n, 1)) if init == STRANGERS else shared
        of_seed = OF_SEED * (common + rng.normal(0, 1, (n, 1))) / np.sqrt(2)
        right[init] = 100.0 * (ability + of_seed + of_text + rng.normal(0, OF_NOISE, (n, TEXTS)) > 0)
        these[init] = 100 * float(stats.norm.cdf((ability + of_text) / np.hypot(OF_SEED, OF_NOISE)).mean())
        anything[init] = 100 * float(stats.norm.cdf(ability / np.sqrt(OF_SEED**2 + OF_NOISE**2 + OF_TEXT**2)))
        own = rng.normal(0, 1, n) if init == STRANGERS else pace
        logs = LOG_STEPS[init] + OF_LOG_STEPS * (own + rng.normal(0, 1, n)) / np.sqrt(2)
        brackets[init] = [_seen(float(step)) for step in np.exp(logs)]
        if init == "pretrained":
            first = 100 * float(stats.norm.cdf((ability + of_seed[0, 0]) / np.hypot(OF_NOISE, OF_TEXT)))
    more = ABILITY["pretrained"] + OF_SEED * rng.normal() + of_text + rng.normal(0, OF_NOISE, TEXTS) > 0
    normal = rng.normal(0, 1, n), rng.normal(0, 1, n)
    labels, ladder = draw_labels(n, more_rng), draw_ladder(n, more_rng)
    return World(right, brackets, labels, ladder, normal, 100 * float(more.mean()), first, these, anything)


def _seen(step: float) -> Bracket:
    """Return the bracket that the schedule's evaluations give for a curve that passes the threshold at `step`."""
    tau = step / -math.log(1 - (THRESHOLD - START) / (TOP - START))
    steps = np.array(STEPS, dtype=np.float64)
    return bracket_of(steps, START + (TOP - START) * (1 - np.exp(-steps / tau)), THRESHOLD)


Interval = Callable[[World], Estimate]
Truth = Callable[[World], float]


def _over_seeds(other: str, paired: bool) -> Interval:
    return lambda world: difference_over_seeds(world.test("pretrained"), world.test(other), paired)


def _over_texts(other: str, paired: bool) -> Interval:
    return lambda world: difference_over_texts(world.right["pretrained"], world.right[other], paired)


def _ratio(other: str, paired: bool) -> Interval:
    return lambda world: ratio_of_steps(world.brackets[other], world.brackets["pretrained"], paired).interval


def _wilson(world: World) -> Estimate:
    n_right = int(world.right["pretrained"][0].sum() / 100)
    low, high = share_interval(n_right, TEXTS)
    return Estimate(n_right / TEXTS, 100 * low, 100 * high, NEW_TEXTS, "Wilson")


def _gap_here(world: World) -> float:
    return world.on_these_texts["pretrained"] - world.on_these_texts["random"]


def _gap_anywhere(world: World) -> float:
    return world.on_any_texts["pretrained"] - world.on_any_texts["random"]


def _mean_here(world: World) -> float:
    return world.on_these_texts["pretrained"]


RATIO = math.exp(LOG_STEPS["random"] - LOG_STEPS["pretrained"])
MEAN_STEPS = math.exp(LOG_STEPS["pretrained"] + OF_LOG_STEPS**2 / 2)
ONE_MORE = "one more run"
INTERVALS: list[tuple[str, str, Interval, Truth]] = [
    ("mean, Student's t", SAME_TEXTS, lambda w: mean_over_seeds(w.test("pretrained")), _mean_here),
    ("difference, paired t", SAME_TEXTS, _over_seeds("random", True), _gap_here),
    ("difference of other seeds, Welch's t", SAME_TEXTS, _over_seeds(STRANGERS, False), _gap_here),
    ("ratio of steps, paired, seeds and brackets", SAME_TEXTS, _ratio("random", True), lambda w: RATIO),
    ("ratio of steps of other seeds, seeds and brackets", SAME_TEXTS, _ratio(STRANGERS, False), lambda w: RATIO),
    (
        "mean steps, seeds and brackets",
        SAME_TEXTS,
        lambda w: mean_steps(w.brackets["pretrained"]),
        lambda w: MEAN_STEPS,
    ),
    ("labels needed, test inversion", SAME_TEXTS, lambda w: labels_needed(SIZES, *w.labels), lambda w: LABELS),
    ("share of a gain, Fieller", SAME_TEXTS, lambda w: ratio_of_means(*w.ladder), lambda w: PART / GAIN),
    ("std of normal values, chi-squared", SAME_TEXTS, lambda w: std_interval(w.normal[0]), lambda w: 1.0),
    ("ratio of stds of normal values, F", SAME_TEXTS, lambda w: std_ratio(*w.normal), lambda w: 1.0),
    ("one more run, prediction interval", ONE_MORE, lambda w: one_more_run(w.test("pretrained")), lambda w: w.one_more),
    (
        "mean, crossed random effects",
        NEW_TEXTS,
        lambda w: mean_over_texts(w.right["pretrained"]),
        lambda w: w.on_any_texts["pretrained"],
    ),
    ("difference, crossed, paired", NEW_TEXTS, _over_texts("random", True), _gap_anywhere),
    ("difference of other seeds, crossed", NEW_TEXTS, _over_texts(STRANGERS, False), _gap_anywhere),
    ("accuracy of one classifier, Wilson", "new texts, this run", _wilson, lambda w: w.of_first),
    ("(not used) difference of the same seeds, Welch's t", SAME_TEXTS, _over_seeds("random", False), _gap_here),
]


def bootstraps(right: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return percentile intervals of the mean accuracy, over resampled seeds and over seeds and texts.

    `right` has shape (runs, texts). These intervals are for comparison only.
    """
    n = len(right)
    of_seeds = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n
    of_texts = rng.multinomial(TEXTS, np.full(TEXTS, 1 / TEXTS), RESAMPLES) / TEXTS
    means = of_seeds @ right.mean(axis=1), ((of_seeds @ right) * of_texts).sum(axis=1)
    over_seeds, over_both = (np.percentile(resampled, [2.5, 97.5]) for resampled in means)
    return over_seeds, over_both


def coverage(n: int, repeats: int, seed: int = 0) -> dict[tuple[str, str], tuple[float, float]]:
    """Return, for each of `INTERVALS`, how often a given interval holds the true value, and how often it is given."""
    rng, more_rng = np.random.default_rng([seed, n]), np.random.default_rng([seed, n, 2])
    held = dict.fromkeys([(name, target) for name, target, _, _ in INTERVALS], 0)
    given = dict.fromkeys(held, 0)
    for _ in range(repeats):
        world = draw(n, rng, more_rng)
        for name, target, interval, truth in INTERVALS:
            found = interval(world)
            given[name, target] += found.has_interval
            held[name, target] += found.low <= truth(world) <= found.high
    return {key: (held[key] / max(given[key], 1), given[key] / repeats) for key in held}


def coverage_of_bootstraps(n: int, repeats: int, seed: int = 0) -> dict[tuple[str, str], tuple[float, float]]:
    """Return the same shares for the two percentile bootstraps of a mean, which the analysis does not use."""
    rng = np.random.default_rng([seed, n, 1])
    over_seeds, over_both = "(not used) mean, bootstrap of seeds", "(not used) mean, bootstrap of seeds and texts"
    held = dict.fromkeys([(over_seeds, SAME_TEXTS), (over_both, SAME_TEXTS), (over_both, NEW_TEXTS)], 0)
    for _ in range(repeats):
        world = draw(n, rng, np.random.default_rng(0))
        truths = {SAME_TEXTS: world.on_these_texts["pretrained"], NEW_TEXTS: world.on_any_texts["pretrained"]}
        found = dict(zip((over_seeds, over_both), bootstraps(world.right["pretrained"], rng), strict=True))
        for name, target in held:
            held[name, target] += found[name][0] <= truths[target] <= found[name][1]
    return {key: (count / repeats, 1.0) for key, count in held.items()}


def _cell(share: float, given: float) -> str:
    return f"{100 * share:.1f} %" + (f" (given in {100 * given:.0f} %)" if given < 0.995 else "")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coverage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=4_000, help="worlds for each n (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 10], help="numbers of seeds")
    arguments = parser.parse_args()
    columns = {}
    for n in arguments.seeds:
        found = {**coverage(n, arguments.repeats), **coverage_of_bootstraps(n, arguments.repeats // 4)}
        columns[f"n = {n}"] = {key: _cell(share, given) for key, (share, given) in found.items()}
    table = pd.DataFrame(columns).rename_axis(["interval", "target"]).reset_index()
    print(f"nominal {100 * LEVEL:.0f} %; {arguments.repeats} worlds of {TEXTS} texts an n, a quarter for bootstraps\n")
    print(table.to_markdown(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
