"""Ours beside the published numbers (`published.yaml`), and a verdict on each by one stated rule."""

import math
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import stats

from analysis.evidence import Comparison, Evidence, Group
from analysis.statistics import LEVEL, Estimate, difference_over_seeds, mean_over_seeds, spread

REPRODUCED, NOT_REPRODUCED, CANNOT_TELL, NOT_RUN = "reproduced", "not reproduced", "cannot tell", "not run"


@dataclass(frozen=True)
class Verdict:
    """One published number beside ours; `low` to `high` is the 95 % interval of `difference`, NaN where none."""

    what: str
    where: str
    published: float
    ours: float | None
    difference: float | None  # ours minus published; for a ratio, ours over published
    low: float
    high: float
    unit: str  # points, steps, ratio or weights
    verdict: str


@dataclass(frozen=True)
class ClaimVerdict:
    """One published sentence, and what our runs say of it."""

    says: str
    where: str
    comparison: str
    ours: str
    verdict: str


@cache
def published() -> dict[str, Any]:
    """Return published.yaml."""
    found: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "published.yaml").read_text(encoding="utf-8"))
    return found


def rule(low: float, high: float, margin: float, ratio: bool = False) -> str:
    """Return the verdict of an interval of ours minus published (or over it): inside a margin, outside, or neither."""
    if math.isnan(low) or math.isnan(high):
        return CANNOT_TELL
    least, most = (1 / margin, margin) if ratio else (-margin, margin)
    if least <= low and high <= most:
        return REPRODUCED
    return NOT_REPRODUCED if high < least or low > most else CANNOT_TELL


def is_published_setting(group: Group) -> bool:
    """Whether a group has the published dataset, model and method."""
    report, names = published(), group.names
    return bool(names["dataset"] in report["datasets"] and names["model"] == report["model"]
                and names["method"] == report["method"])  # fmt: skip


def one_more_run(values: np.ndarray[Any, np.dtype[np.float64]]) -> Estimate:
    """Return the mean of values over seeds and the 95 % interval for one more run's value, (runs,).

    Source: Student's t prediction interval, mean +- t s sqrt(1 + 1/n).
    """
    n, mean = len(values), float(values.mean())
    if n < 2 or np.ptp(values) == 0:
        return Estimate(mean, math.nan, math.nan, "one more run", "none: one seed, or all values are the same")
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * float(values.std(ddof=1)) * math.sqrt(1 + 1 / n)
    return Estimate(mean, mean - half, mean + half, "one more run", f"prediction interval, {n} seeds")


def _std_ratio(ours: Any, theirs: Any) -> tuple[float, float, float]:
    """Return the ratio of two sample stds and its interval by the F distribution; NaN below two runs, or all alike."""
    if min(len(ours), len(theirs)) < 2 or np.ptp(ours) == 0:
        return math.nan, math.nan, math.nan
    ratio = spread(ours).std_sample / spread(theirs).std_sample
    low, high = stats.f.ppf([(1 + LEVEL) / 2, (1 - LEVEL) / 2], len(ours) - 1, len(theirs) - 1)
    return ratio, ratio / math.sqrt(low), ratio / math.sqrt(high)


def number_verdicts(evidence: Evidence, weights: int | None = None) -> list[Verdict]:
    """Return a verdict for each published number; empty when no group has the published dataset and model.

    `weights` is what our encoder's matrices hold, None when it was not counted.
    """
    report, margins = published(), published()["margins"]
    ours = {(group.names["backend"], group.names["init"]): group for group in evidence.groups
            if is_published_setting(group)}  # fmt: skip
    if not ours:
        return []
    verdicts = [_weights_verdict(weights)]
    for table in report["tables"]:
        group, runs, where = ours.get((table["backend"], table["init"])), table["runs"], table["where"]
        columns = [("test accuracy", "test", "points"), ("best validation accuracy", "valid", "points"),
                   ("best step", "best_step", "steps")]  # fmt: skip
        for run in runs:
            for name, key, unit in columns:
                verdicts.append(_number(f"{name}, seed {run['seed']}", where, run[key], _values(group, key), unit))
        tests = np.array([run["test"] for run in runs])
        if group is None:
            verdicts += [_not_run("mean test accuracy", where, float(tests.mean()), "points"),
                         _not_run("std of test accuracy", where, float(tests.std()), "ratio")]  # fmt: skip
            continue
        gap = difference_over_seeds(group.test, tests, paired=False)
        verdicts.append(Verdict("mean test accuracy", where, float(tests.mean()), group.spread.mean, gap.value, gap.low,
                                gap.high, "points", rule(gap.low, gap.high, margins["points"])))  # fmt: skip
        ratio, low, high = _std_ratio(group.test, tests)
        verdicts.append(Verdict("std of test accuracy", where, float(tests.std()), group.spread.std, ratio, low, high,
                                "ratio", rule(low, high, margins["ratio"], ratio=True)))  # fmt: skip
    return verdicts


def _weights_verdict(weights: int | None) -> Verdict:
    what, told = "weights in the encoder's matrices", published()["parameters"]
    number = told["weight_matrices"]
    if weights is None:
        return _not_run(what, told["where"], number, "weights")
    verdict = REPRODUCED if weights == number else NOT_REPRODUCED
    return Verdict(what, told["where"], number, weights, weights - number, math.nan, math.nan, "weights", verdict)


def _values(group: Group | None, key: str) -> Any:
    if group is None:
        return None
    name = {"test": "test", "valid": "best_valid", "best_step": "best_step"}[key]
    return np.array([getattr(run, name) for run in group.runs], dtype=np.float64)


def _not_run(what: str, where: str, number: float, unit: str) -> Verdict:
    return Verdict(what, where, number, None, None, math.nan, math.nan, unit, NOT_RUN)


def _number(what: str, where: str, number: float, values: Any, unit: str) -> Verdict:
    if values is None:
        return _not_run(what, where, number, unit)
    ours = one_more_run(values)
    low, high = ours.low - number, ours.high - number
    verdict = rule(low, high, published()["margins"][unit])
    return Verdict(what, where, number, ours.value, ours.value - number, low, high, unit, verdict)


def claim_verdicts(evidence: Evidence) -> list[ClaimVerdict]:
    """Return what our runs say of each published sentence, whatever the dataset and model."""
    found = []
    for comparison in evidence.comparisons:
        if comparison.sides == ("pretrained", "random"):
            found += [_faster(comparison), _higher(comparison), _tighter(comparison), _steps(comparison)]
        if comparison.axis == "backend" and comparison.one.names["init"] == "pretrained":
            found += [_same_range(comparison), _as_fast(comparison)]
    return found


def _claim(name: str, comparison: Comparison, ours: str, verdict: str) -> ClaimVerdict:
    claim = published()["claims"][name]
    return ClaimVerdict(claim["says"], claim["where"], comparison.title, ours, verdict)


def _above(estimate: Estimate | None, value: float) -> str:
    if estimate is None or not estimate.has_interval or not estimate.excludes(value):
        return CANNOT_TELL
    return REPRODUCED if estimate.low > value else NOT_REPRODUCED


def _interval(estimate: Estimate, form: str) -> str:
    if not estimate.has_interval:
        return "no interval ({estimate.method.removeprefix('none: ')})"
    return f"95 % interval {format(estimate.low, form)} to {format(estimate.high, form)}"


def _faster(c: Comparison) -> ClaimVerdict:
    if c.steps_ratio is None:
        return _claim("faster", c, "a run is above the mark before its first step", CANNOT_TELL)
    ours = f"{c.steps_ratio.value:.2f} times the steps to {c.threshold:g} %, {_interval(c.steps_ratio, '.2f')}"
    return _claim("faster", c, ours, _above(c.steps_ratio, 1.0))


def _higher(c: Comparison) -> ClaimVerdict:
    ours = f"{c.difference.value:+.2f} points, {_interval(c.difference, '+.2f')}"
    return _claim("higher", c, ours, _above(c.difference, 0.0))


def _tighter(c: Comparison) -> ClaimVerdict:
    if math.isnan(c.spread_p):
        return _claim("tighter", c, "the spread of fewer than three runs cannot be compared", CANNOT_TELL)
    one, other = c.one.spread.std, c.other.spread.std
    ours = f"std {one:.2f} against {other:.2f}, Brown-Forsythe p = {c.spread_p:.2g}"
    verdict = CANNOT_TELL if c.spread_p >= 1 - LEVEL else REPRODUCED if one < other else NOT_REPRODUCED
    return _claim("tighter", c, ours, verdict)


def _steps(c: Comparison) -> ClaimVerdict:
    least = published()["claims"]["steps"]["at_least"]
    if c.threshold != published()["claims"]["steps"]["threshold"]:
        return _claim("steps", c, f"the threshold of this report is {c.threshold:g} %", NOT_RUN)
    mean = mean_over_seeds(c.one.counted_steps)
    verdict = CANNOT_TELL
    if mean.has_interval and mean.high < least and not c.one.n_censored:
        verdict = NOT_REPRODUCED
    elif mean.has_interval and mean.low >= least:
        verdict = REPRODUCED
    late = f", {c.one.n_censored} of them never" if c.one.n_censored else ""
    ours = f"pre-trained runs pass it at step {mean.value:.0f} on average{late}, {_interval(mean, '.0f')}"
    return _claim("steps", c, ours, verdict)


def _same_range(c: Comparison) -> ClaimVerdict:
    ours = f"{c.difference.value:+.2f} points, fairseq minus hf, {_interval(c.difference, '+.2f')}"
    verdict = rule(c.difference.low, c.difference.high, published()["margins"]["points"])
    return _claim("same_range", c, ours, verdict)


def _as_fast(c: Comparison) -> ClaimVerdict:
    if c.steps_ratio is None:
        return _claim("as_fast", c, "a run is above the mark before its first step", CANNOT_TELL)
    within = _interval(c.steps_ratio, ".2f")
    ours = f"{c.steps_ratio.value:.2f} times the steps to {c.threshold:g} %, hf to fairseq, {within}"
    verdict = rule(c.steps_ratio.low, c.steps_ratio.high, published()["margins"]["ratio"], ratio=True)
    return _claim("as_fast", c, ours, verdict)


def errata() -> list[str]:
    """Return what the published tables themselves get wrong, each with the arithmetic that shows it."""
    found: list[str] = []
    seen: dict[tuple[str, str], str] = {}
    for table in published()["tables"]:
        printed, tests = table["printed"], [run["test"] for run in table["runs"]]
        own, listed = spread(tests), ", ".join(f"{test:g}" for test in tests)
        is_wrong = [
            round(value / 100, len(text.partition(".")[2])) != float(text)
            for value, text in ((own.mean, printed["mean"]), (own.std, printed["std"]))
        ]
        if any(is_wrong):
            same = seen.get((printed["mean"], printed["std"]))
            repeats = f", which repeat those of {same}" if same else ""
            found.append(
                f"{table['where']}: the test accuracies {listed} have mean {own.mean:.2f} and std {own.std:.2f} (ddof "
                f"0), not the printed {printed['mean']} and {printed['std']}{repeats}."
            )
        seen.setdefault((printed["mean"], printed["std"]), table["where"])
        if printed["unit"] == "%" and float(printed["mean"]) < 1 < min(tests):
            found.append(
                f'{table["where"]}: "{printed["mean"]}%" is a fraction; the mean of {listed} is {own.mean:.2f} %, '
                f"which is {own.mean / 100:.3f}."
            )
    return found


def as_json(numbers: list[Verdict], claims: list[ClaimVerdict]) -> dict[str, Any]:
    """Return verdicts.json; NaN becomes null."""
    plain = [
        {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in asdict(row).items()}
        for row in numbers
    ]
    return {"numbers": plain, "claims": [asdict(claim) for claim in claims], "errata": errata()}
