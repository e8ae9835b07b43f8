"""Compute what labels are worth: how many training texts a curve needs for the accuracy that another curve reaches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from analysis.alike import unequal_terms
from analysis.common_seeds import of_common_seeds, with_left_out
from analysis.estimates import ALL_THE_SAME, LEVEL, ONE_SEED, SAME_TEXTS, Array, Estimate, checked, no_interval
from analysis.evidence import Evidence
from analysis.groups import Group

REST = ("dataset", "model", "backend", "method")
METHOD = "test inversion"
STEPS = 100  # of the grid between two numbers of texts that were trained
SAME = 1e-9  # points; means that are closer are equal


def labels_needed(sizes: Sequence[int], curve: ArrayLike, level: ArrayLike) -> Estimate:
    """Return how many training texts a curve of accuracies needs to reach the mean of `level`.

    0: the fewest that were trained or fewer. Infinity: more than the most that were trained.
    `sizes` has the numbers of texts, ascending, shape (k,). `curve` has shape (k, runs), or (k, 1) for a method without
    seeds. `level` has shape (runs,): accuracies of runs of the same seeds, in the same order. The value is read from
    the curve's means, made monotone (isotonic regression) and joined by straight lines over the logarithm of the
    number of texts. The interval holds the numbers at which Student's t over seeds does not reject that the curve is at
    the level (test inversion), each seed's curve joined in the same way. A bootstrap of three seeds would hold the
    truth three times in four (docs/coverage.md).
    """
    from sklearn.isotonic import IsotonicRegression

    scores, target = checked(curve, dimensions=2), checked(level)
    logs = np.log2(np.asarray(sizes, dtype=np.float64))
    rising = IsotonicRegression().fit_transform(logs, scores.mean(axis=1))
    value = _first_at(logs, rising, float(target.mean()) - SAME)
    gaps = scores - target
    if gaps.shape[1] < 2:
        return no_interval(value, ONE_SEED)
    grid = np.concatenate([np.linspace(low, high, STEPS + 1) for low, high in pairwise(logs)])
    at = np.stack([np.interp(grid, logs, seed) for seed in gaps.T], axis=1)
    errors = at.std(axis=1, ddof=1) / math.sqrt(at.shape[1])
    if (errors <= 1e-9).all():
        return no_interval(value, ALL_THE_SAME)
    half = float(stats.t.ppf((1 + LEVEL) / 2, at.shape[1] - 1)) * errors
    mean = at.mean(axis=1)
    is_possible = np.abs(mean) <= half
    crosses = np.flatnonzero(mean[:-1] * mean[1:] < 0)  # between two points of the grid
    is_possible[crosses] = is_possible[crosses + 1] = True
    if not is_possible.any():  # every number is rejected: the curve is above the level everywhere, or below
        low, high = (0.0, float(sizes[0])) if at.mean() > 0 else (float(sizes[-1]), math.inf)
        return Estimate(value, low, high, SAME_TEXTS, METHOD)
    found = np.flatnonzero(is_possible)
    low = 0.0 if found[0] == 0 else float(2 ** grid[found[0]])
    high = math.inf if found[-1] == len(grid) - 1 else float(2 ** grid[found[-1]])
    return Estimate(value, min(low, value), max(high, value), SAME_TEXTS, METHOD)  # curves that fall part the two


def _first_at(logs: Array, rising: Array, level: float) -> float:
    if rising[0] >= level:
        return 0.0
    if rising[-1] < level:
        return math.inf
    after = int(np.argmax(rising >= level))
    share = (level - rising[after - 1]) / (rising[after] - rising[after - 1])
    return float(2 ** (logs[after - 1] + share * (logs[after] - logs[after - 1])))


@dataclass(frozen=True)
class LabelCurves:
    """The groups of one dataset, model, back end and method that differ in init and number of training texts.

    Every group holds the runs of the same seeds, so that means and differences are of the same runs.
    """

    rest: dict[str, str]  # dataset, model, backend, method
    sizes: list[int]  # numbers of training texts that both inits have, ascending
    inits: dict[str, list[Group]]  # pretrained and random: a group for each size
    left_out: list[str]  # what has no place in the curves, and why

    @property
    def seeds(self) -> list[int]:
        return self.inits["random"][0].seeds

    def scores(self, init: str) -> Array:
        """Return the test accuracies in percent, shape (sizes, seeds)."""
        return np.stack([group.test for group in self.inits[init]])


def label_curves(evidence: Evidence) -> tuple[list[LabelCurves], list[str]]:
    """Return the curves of both inits over two numbers of training texts or more, and why others have none.

    A group that differs from the others in more than its init and its texts is left out, as in any comparison: the
    largest set on equal terms stays. So is a number of texts with one init, or with fewer seeds than the others, and a
    run whose seed not all have.
    """
    found: dict[tuple[str, ...], list[Group]] = {}
    for group in evidence.groups:
        if group.n_train is not None and group.length == 1 and group.names["init"] in ("pretrained", "random"):
            found.setdefault(tuple(group.names[key] for key in REST), []).append(group)
    curves, without = [], []
    for rest, groups in found.items():
        if len({group.n_train for group in groups}) < 2 or len({group.names["init"] for group in groups}) < 2:
            continue
        of_pretrained = [group for group in groups if group.names["init"] == "pretrained"]  # random has no checkpoint
        on_terms = [_on_terms_of(first, groups) for first in of_pretrained]
        both, apart = max(on_terms, key=lambda found: (len(found[0]), max(found[0], default=0)))
        chosen, of_other_seeds = of_common_seeds(both, max(both)) if len(both) > 1 else ({}, [])
        if not chosen:
            few = "not two numbers of texts have both inits on equal terms"
            why_none = with_left_out("no seed is in all of them" if len(both) > 1 else few, apart)
            without.append(f"{' · '.join(rest)}: no curves over labels, because {why_none}.")
            continue
        left_out = apart + of_other_seeds
        pretrained, random = zip(*chosen.values(), strict=True)
        inits = {"pretrained": list(pretrained), "random": list(random)}
        curves.append(LabelCurves(dict(zip(REST, rest, strict=True)), list(chosen), inits, left_out))
    return curves, without


def _on_terms_of(first: Group, groups: list[Group]) -> tuple[dict[int, list[Group]], list[str]]:
    """Return the pre-trained and the random group of each number of texts, ascending, and what is left out, and why.

    Both are on equal terms with `first`.
    """
    unequal = {group.title: why for group in groups if (why := unequal_terms("labels", group, first))}
    found: dict[int, dict[str, Group]] = {}
    for group in sorted(groups, key=lambda group: group.n_train or 0):
        if group.title not in unequal:
            found.setdefault(group.n_train or 0, {})[group.names["init"]] = group
    both = {size: [of["pretrained"], of["random"]] for size, of in found.items() if len(of) > 1}
    alone = [group.title for size, of in found.items() if size not in both for group in of.values()]
    said = [f"{title} (other terms: {', '.join(why)})" for title, why in unequal.items()]
    return both, said + [f"{title} (no runs of the other init on equal terms)" for title in alone]
