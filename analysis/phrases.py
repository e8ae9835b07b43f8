"""Words the phrases that several modules share: names, lists, differences, seeds, and runs that learned nothing."""

from collections.abc import Iterable

import numpy as np

from analysis.baselines import COMMONEST, Baseline, Fits
from analysis.comparisons import Comparison
from analysis.estimates import LEVEL, Estimate
from analysis.groups import Group, told
from foundation.counts import counted

PROSE = {"pretrained": "pre-trained", "lora": "LoRA", "full": "fully fine-tuned"}
CHANCE = 1 - LEVEL
POSSIBLE = (-100.0, 100.0)  # points; the limits of a difference of two accuracies
NOTHING = "learned nothing"


def prose(name: str, opens: bool = False) -> str:
    """Return the words for an init, back end or method. `opens` is true at the start of a sentence."""
    word = PROSE.get(name, name)
    return word if not opens or name in ("hf", "fairseq", "lora") else word[0].upper() + word[1:]


def listed(words: Iterable[str]) -> str:
    """Return `a, b and c`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


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


def above(gap: float) -> str:
    """Return for example `5.60 points above`, or `level with` when the gap rounds to 0.00."""
    if f"{abs(gap):.2f}" == "0.00":
        return "level with"
    return f"{abs(gap):.2f} points {'above' if gap > 0 else 'below'}"


def signed(points: float) -> str:
    """Return points with their sign, and +0.00 for what rounds to 0."""
    return f"{round(points, 2) + 0.0:+.2f}"


def with_interval(estimate: Estimate, possible: tuple[float, float] = POSSIBLE) -> str:
    """Return a difference in points with its interval in brackets, or why there is none.

    `possible` limits the interval: two accuracies differ by at most 100 points.
    """
    ends = estimate.ends("+.2f", *possible) if estimate.has_interval else f"no interval: {estimate.why_none}"
    return f"{signed(estimate.value)} ({ends})"


def by_seed(seeds: list[int]) -> str:
    return f"{seeds_words(seeds).capitalize()}, compared seed by seed."


def seeds_words(seeds: list[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def without(left_out: list[str]) -> str:
    return f" Left out: {'; '.join(left_out)}." if left_out else ""


def failed_seeds(group: Group, commonest: Baseline | None) -> list[int]:
    """Return the seeds of the runs that learned nothing.

    They answer one class alone or, where the answers are not known, are exactly as accurate as the commonest class.
    """
    if group.right is not None or commonest is None:
        return group.one_answer
    return [run.key.seed for run in group.runs if run.test is not None and abs(run.test - commonest.test) < 1e-9]


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
