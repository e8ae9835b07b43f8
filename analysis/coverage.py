"""How often each 95 % interval holds what it is for: python -m analysis.coverage

Draws worlds in which the truth is known and prints, as a Markdown table, the share of them in which each interval
covers its target. A run of a seed answers a text rightly when ability + seed effect + text effect + noise is above
zero, all normal; pre-trained and random runs of one seed share half of the seed effect's variance, `strangers` are
random runs of other seeds, and all runs share the texts.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.statistics import (
    LEVEL,
    NEW_TEXTS,
    SAME_TEXTS,
    Estimate,
    difference_over_seeds,
    difference_over_texts,
    mean_over_seeds,
    mean_over_texts,
    ratio_over_seeds,
    std_factors,
)

Array = NDArray[np.float64]
TEXTS = 400
STRANGERS = "strangers"
ABILITY = {"pretrained": 1.1, "random": 0.63, STRANGERS: 0.63}  # accuracies of 86 and 74 %, as on amazon_fr
OF_SEED, OF_TEXT, OF_NOISE = 0.08, 0.8, 0.6  # standard deviations; a seed's accuracy then varies by 2 to 3 points
LOG_STEPS = {"pretrained": 4.0, "random": 5.3}  # mean logarithm of the steps to the threshold
OF_LOG_STEPS, HORIZON = 0.35, 392.0  # random runs are still below it at the horizon in 3 % of the cases
RESAMPLES = 1_000


@dataclass(frozen=True)
class World:
    """One sweep on one draw of texts, in percent, and the truths that its intervals are for."""

    right: dict[str, Array]  # (runs, texts) of 0 or 100
    steps: dict[str, Array]  # (runs,)
    normal: Array  # (runs,) values of std 1
    on_these_texts: dict[str, float]
    on_any_texts: dict[str, float]


def draw(n: int, rng: np.random.Generator) -> World:
    """Return a sweep of n seeds."""
    of_text, shared = rng.normal(0, OF_TEXT, TEXTS), rng.normal(0, 1, (n, 1))
    right, steps, these, anything = {}, {}, {}, {}
    for init, ability in ABILITY.items():
        common = rng.normal(0, 1, (n, 1)) if init == STRANGERS else shared
        of_seed = OF_SEED * (common + rng.normal(0, 1, (n, 1))) / np.sqrt(2)
        right[init] = 100.0 * (ability + of_seed + of_text + rng.normal(0, OF_NOISE, (n, TEXTS)) > 0)
        these[init] = 100 * float(stats.norm.cdf((ability + of_text) / np.hypot(OF_SEED, OF_NOISE)).mean())
        anything[init] = 100 * float(stats.norm.cdf(ability / np.sqrt(OF_SEED**2 + OF_NOISE**2 + OF_TEXT**2)))
        if init in LOG_STEPS:
            steps[init] = np.minimum(np.exp(rng.normal(LOG_STEPS[init], OF_LOG_STEPS, n)), HORIZON)
    return World(right, steps, rng.normal(0, 1, n), these, anything)


def true_ratio() -> float:
    """Return the ratio of geometric mean steps, random to pretrained, counted up to the horizon."""
    logs = {}
    for init, mean in LOG_STEPS.items():
        end = (np.log(HORIZON) - mean) / OF_LOG_STEPS
        below = stats.norm.cdf(end)
        logs[init] = mean * below - OF_LOG_STEPS * stats.norm.pdf(end) + np.log(HORIZON) * (1 - below)
    return float(np.exp(logs["random"] - logs["pretrained"]))


def _accuracies(world: World, init: str) -> Array:
    return world.right[init].mean(axis=1)


def _std(world: World) -> Estimate:
    std = float(world.normal.std(ddof=1))
    low, high = (std * factor for factor in std_factors(len(world.normal)))
    return Estimate(std, low, high, SAME_TEXTS, "chi-squared")


def _gap(truth: dict[str, float]) -> float:
    return truth["pretrained"] - truth["random"]


RATIO = true_ratio()
Judged = tuple[str, str, Callable[[World], Estimate], Callable[[World], float]]
INTERVALS: list[Judged] = [
    ("mean, Student's t", SAME_TEXTS,
     lambda w: mean_over_seeds(_accuracies(w, "pretrained")), lambda w: w.on_these_texts["pretrained"]),
    ("difference, paired t", SAME_TEXTS,
     lambda w: difference_over_seeds(_accuracies(w, "pretrained"), _accuracies(w, "random"), True),
     lambda w: _gap(w.on_these_texts)),
    ("difference of other seeds, Welch's t", SAME_TEXTS,
     lambda w: difference_over_seeds(_accuracies(w, "pretrained"), _accuracies(w, STRANGERS), False),
     lambda w: _gap(w.on_these_texts)),
    ("ratio of steps, paired t of logarithms", SAME_TEXTS,
     lambda w: ratio_over_seeds(w.steps["random"], w.steps["pretrained"], True), lambda w: RATIO),
    ("std of normal values, chi-squared", SAME_TEXTS, _std, lambda w: 1.0),
    ("mean, crossed random effects", NEW_TEXTS,
     lambda w: mean_over_texts(w.right["pretrained"]), lambda w: w.on_any_texts["pretrained"]),
    ("difference, crossed, paired", NEW_TEXTS,
     lambda w: difference_over_texts(w.right["pretrained"], w.right["random"], True), lambda w: _gap(w.on_any_texts)),
    ("difference of other seeds, crossed", NEW_TEXTS,
     lambda w: difference_over_texts(w.right["pretrained"], w.right[STRANGERS], False), lambda w: _gap(w.on_any_texts)),
    ("(not used) difference of the same seeds, Welch's t", SAME_TEXTS,
     lambda w: difference_over_seeds(_accuracies(w, "pretrained"), _accuracies(w, "random"), False),
     lambda w: _gap(w.on_these_texts)),
]  # fmt: skip


class Bootstraps:
    """Percentile bootstraps of the mean accuracy, for comparison only: the weights of all resamples, drawn once."""

    def __init__(self, n: int, rng: np.random.Generator) -> None:
        self.of_seeds = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n
        self.of_texts = rng.multinomial(TEXTS, np.full(TEXTS, 1 / TEXTS), RESAMPLES) / TEXTS

    def over_seeds(self, right: Array) -> Array:
        """Return the interval over resampled seeds."""
        return np.percentile(self.of_seeds @ right.mean(axis=1), [2.5, 97.5])

    def over_both(self, right: Array) -> Array:
        """Return the interval over resampled seeds and texts."""
        return np.percentile(((self.of_seeds @ right) * self.of_texts).sum(axis=1), [2.5, 97.5])


def coverage(n: int, repeats: int, seed: int = 0) -> dict[tuple[str, str], float]:
    """Return the share of worlds of n seeds in which each of `INTERVALS` holds its truth."""
    rng = np.random.default_rng([seed, n])
    held = dict.fromkeys([(name, target) for name, target, _, _ in INTERVALS], 0)
    for _ in range(repeats):
        world = draw(n, rng)
        for name, target, interval, truth in INTERVALS:
            found = interval(world)
            held[name, target] += found.low <= truth(world) <= found.high
    return {key: count / repeats for key, count in held.items()}


def coverage_of_bootstraps(n: int, repeats: int, seed: int = 0) -> dict[tuple[str, str], float]:
    """Return the same for the two percentile bootstraps of a mean, which are not used."""
    rng = np.random.default_rng([seed, n, 1])
    over_seeds, over_both = "(not used) mean, bootstrap of seeds", "(not used) mean, bootstrap of seeds and texts"
    held = dict.fromkeys([(over_seeds, SAME_TEXTS), (over_both, SAME_TEXTS), (over_both, NEW_TEXTS)], 0)
    for _ in range(repeats):
        world, bootstraps = draw(n, rng), Bootstraps(n, rng)
        truths = {SAME_TEXTS: world.on_these_texts["pretrained"], NEW_TEXTS: world.on_any_texts["pretrained"]}
        found = {over_seeds: bootstraps.over_seeds(world.right["pretrained"]),
                 over_both: bootstraps.over_both(world.right["pretrained"])}  # fmt: skip
        for name, target in held:
            held[name, target] += found[name][0] <= truths[target] <= found[name][1]
    return {key: count / repeats for key, count in held.items()}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.coverage", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--repeats", type=int, default=4_000, help="worlds for each n (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 10], help="numbers of seeds")
    arguments = parser.parse_args()
    columns = {}
    for n in arguments.seeds:
        found = {**coverage(n, arguments.repeats), **coverage_of_bootstraps(n, arguments.repeats // 4)}
        columns[f"n = {n}"] = {key: f"{100 * share:.1f} %" for key, share in found.items()}
    table = pd.DataFrame(columns).rename_axis(["interval", "target"]).reset_index()
    print(f"nominal {100 * LEVEL:.0f} %; {arguments.repeats} worlds of {TEXTS} texts an n, a quarter for bootstraps\n")
    print(table.to_markdown(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
