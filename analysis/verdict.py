"""Compare our runs with the published numbers (`published.yaml`), and give a verdict on each number by one rule.

A group of runs is compared with a published table only when it has the published dataset, model, method and training:
every setting that changes what a run learns is the one of `experiment=published`. Other runs get no verdict.
"""

import math
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from omegaconf import OmegaConf

from analysis.crossings import mean_steps
from analysis.evidence import Comparison, Evidence, Group
from analysis.findings import faster_side, gap_interval, steps_sentence, tighter, tighter_side
from analysis.statistics import Estimate, difference_over_seeds, one_more_run, spread, std_ratio
from hydra_conf.compose import compose_config
from sweeps.provenance import comparable

FALLS_TO = "fairseq.lr_scheduler.total_num_update"  # step where the learning rate is 0; unset: the last step
WARM_UP = "fairseq.lr_scheduler.warmup_updates"
RECIPE = tuple(
    f"recipe.{name}" for name in ("epochs", "batch_size", "learning_rate", "warmup_share", "weight_decay", "clip_norm")
)
COMPARED = (  # keys, or their beginnings, that change what a run learns
    "recipe.",
    "fairseq.",
    "hf.",
    "model.architecture",
    "model.attention_dropout",
    "model.known_ids",
    "model.max_positions",
    "model.shape.",
    "dataset.leaks",
    "n_train",
)
FREE = (  # of these, keys that change nothing that a run learns
    "recipe.source",
    "fairseq.task.init",
    "fairseq.common.",
    "fairseq.checkpoint.",
    "fairseq.distributed_training.",
    "fairseq.dataset.batch_size_valid",
    "fairseq.dataset.num_workers",
)
REPRODUCED, NOT_REPRODUCED, CANNOT_TELL, NOT_RUN = "reproduced", "not reproduced", "cannot tell", "not run"
MEAN = "mean test accuracy"
NOT_COUNTED = "not counted: the checkpoint is not there"


@dataclass(frozen=True)
class Verdict:
    """One published number and ours. `low` to `high` is the 95 % interval of `difference`, NaN when there is none."""

    dataset: str
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
    """One published sentence, and what our runs say about it."""

    says: str
    where: str
    comparison: str
    ours: str
    verdict: str


@cache
def published() -> dict[str, Any]:
    """Return the content of published.yaml."""
    found: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "published.yaml").read_text(encoding="utf-8"))
    return found


def rule(low: float, high: float, margin: float, ratio: bool = False) -> str:
    """Return the verdict for an interval: inside the margin, outside the margin, or neither.

    The interval is of ours minus published or, with `ratio`, of ours over published.
    """
    if math.isnan(low) or math.isnan(high):
        return CANNOT_TELL
    least, most = (1 / margin, margin) if ratio else (-margin, margin)
    if least <= low and high <= most:
        return REPRODUCED
    return NOT_REPRODUCED if high < least or low > most else CANNOT_TELL


@cache
def _as_set(dataset: str, backend: str, init: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the published training as {dotted key: value}, and {dotted key: the interpolation it is made with}."""
    config = compose_config(["experiment=published", f"dataset={dataset}", f"backend={backend}", f"init={init}"])
    told = published()["training"]
    expected = comparable(config) | {FALLS_TO: told["steps"], WARM_UP: told["warmup_updates"]}
    expected |= {f"fairseq.model.{key}": value for key, value in published()["shape"].items()}
    for key in ("model.max_positions", "fairseq.model.max_positions"):
        expected[key] = (published()["shape"]["max_positions"], None)  # None: until prep has read it
    if backend == "hf":
        expected["recipe.evaluate_every"] = ("epoch", "100")  # the published transformers runs took every 100 steps
    raw: Any = OmegaConf.to_container(config.fairseq, resolve=False)
    made_with = {f"fairseq.{node}.{key}": str(value) for node, keys in raw.items() for key, value in keys.items()}
    return expected, made_with


def differing_training(group: Group) -> dict[str, str] | None:
    """Return {key: how it differs from the published training}; empty when nothing differs.

    Every key is compared that changes what a run learns, and the number of steps. Precision and the parts that make a
    run fast may differ. None: the published experiment has another dataset, model or method.
    """
    report, names, own = published(), group.names, group.config
    if names["dataset"] not in report["datasets"] or (names["model"], names["method"]) != (
        report["model"],
        report["method"],
    ):
        return None
    expected, made_with = _as_set(names["dataset"], names["backend"], names["init"])
    found = {key: f"{_word(key)} not recorded" for key in RECIPE if own.get(key) is None}
    for key in sorted(own.keys() - found.keys(), key=lambda key: (key.startswith("fairseq."), key)):
        usual = expected.get(key)
        same = own[key] in usual if isinstance(usual, tuple) else own[key] == usual
        again = any(f"${{{other}}}" in made_with.get(key, "") for other in found)  # it was given by that other key
        if (
            same
            or again
            or not key.startswith(COMPARED)
            or key.startswith(FREE)
            or "${speed." in made_with.get(key, "")
        ):
            continue
        published_as = "as the recipe says" if usual is None else _shown(usual)
        found[key] = f"{_word(key)} {_shown(own[key])} (published {published_as})"
    training = report["training"]
    if FALLS_TO in found:
        found[FALLS_TO] = f"a learning rate that falls to step {own[FALLS_TO]:g} (published {training['steps']})"
    if abs(group.last_step - training["steps"]) > training["steps_within"] * training["steps"]:
        found["steps"] = f"{group.last_step} steps (published {training['steps']})"
    return found


def _word(key: str) -> str:
    return key.removeprefix("recipe.")


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def departures(group: Group) -> list[str] | None:
    """Return how a group's training differs from the published training, in words, as `differing_training` does."""
    found = differing_training(group)
    return None if found is None else list(found.values())


def is_published(group: Group) -> bool:
    """Return whether a group has the published dataset, model, method and training."""
    return departures(group) == []


def published_groups(evidence: Evidence) -> dict[str, list[Group]]:
    """Return the groups that are compared with the published tables, by dataset."""
    found: dict[str, list[Group]] = {}
    for group in evidence.groups:
        if is_published(group):
            found.setdefault(group.names["dataset"], []).append(group)
    return found


def number_verdicts(evidence: Evidence, weights: int | None = None) -> list[Verdict]:
    """Return a verdict for each published number and dataset; empty when no group belongs to the published experiment.

    `weights` is the number of weights in the encoder matrices of our checkpoint, None when there is no checkpoint.
    """
    verdicts = []
    for dataset, groups in published_groups(evidence).items():
        by_names = {(group.names["backend"], group.names["init"]): group for group in groups}
        verdicts.append(_weights_verdict(dataset, weights))
        for table in published()["tables"]:
            group = by_names.get((table["backend"], table["init"]))
            verdicts += _verdicts_of_table(dataset, table, group)
    return verdicts


def _verdicts_of_table(dataset: str, table: dict[str, Any], group: Group | None) -> list[Verdict]:
    report, where, runs = published(), table["where"], table["runs"]
    margins = report["margins"]
    columns = [("test accuracy", "test", "points")]
    if dataset not in report["own_validation_split"]:  # otherwise our validation texts are not the published texts
        columns += [("best validation accuracy", "valid", "points"), ("best step", "best_step", "steps")]
    verdicts = [
        _number(dataset, f"{name}, seed {run['seed']}", where, run[key], _values(group, key), unit)
        for run in runs
        for name, key, unit in columns
    ]
    tests = np.array([run["test"] for run in runs])
    mean, std = (MEAN, float(tests.mean())), ("std of test accuracy (ddof 1)", float(tests.std(ddof=1)))
    if group is None:
        return [*verdicts, _not_run(dataset, *_at(mean, where), "points"), _not_run(dataset, *_at(std, where), "ratio")]
    gap, ratio = difference_over_seeds(group.test, tests, paired=False), std_ratio(group.test, tests)
    sample = group.spread.std_sample if group.n > 1 else None
    return [
        *verdicts,
        Verdict(
            dataset,
            mean[0],
            where,
            mean[1],
            group.spread.mean,
            gap.value,
            gap.low,
            gap.high,
            "points",
            rule(gap.low, gap.high, margins["points"]),
        ),
        Verdict(
            dataset,
            std[0],
            where,
            std[1],
            sample,
            ratio.value,
            ratio.low,
            ratio.high,
            "ratio",
            rule(ratio.low, ratio.high, margins["ratio"], ratio=True),
        ),
    ]


def _at(what: tuple[str, float], where: str) -> tuple[str, str, float]:
    return what[0], where, what[1]


def _weights_verdict(dataset: str, weights: int | None) -> Verdict:
    what, told = "weights in the encoder's matrices", published()["parameters"]
    number = told["weight_matrices"]
    if weights is None:
        row = _not_run(dataset, what, told["where"], number, "weights")
        return replace(row, verdict=NOT_COUNTED)
    verdict = REPRODUCED if weights == number else NOT_REPRODUCED
    return Verdict(
        dataset, what, told["where"], number, weights, weights - number, math.nan, math.nan, "weights", verdict
    )


def _values(group: Group | None, key: str) -> Any:
    if group is None:
        return None
    name = {"test": "test", "valid": "best_valid", "best_step": "best_step"}[key]
    return np.array([getattr(run, name) for run in group.runs], dtype=np.float64)


def _not_run(dataset: str, what: str, where: str, number: float, unit: str) -> Verdict:
    return Verdict(dataset, what, where, number, None, None, math.nan, math.nan, unit, NOT_RUN)


def _number(dataset: str, what: str, where: str, number: float, values: Any, unit: str) -> Verdict:
    if values is None:
        return _not_run(dataset, what, where, number, unit)
    ours = one_more_run(values)
    low, high = ours.low - number, ours.high - number
    verdict = rule(low, high, published()["margins"][unit])
    return Verdict(dataset, what, where, number, ours.value, ours.value - number, low, high, unit, verdict)


def claim_verdicts(evidence: Evidence) -> list[ClaimVerdict]:
    """Return what our runs say about each published sentence, when both groups are of the published experiment."""
    found = []
    for comparison in evidence.comparisons:
        if not (is_published(comparison.one) and is_published(comparison.other)):
            continue
        if comparison.sides == ("pretrained", "random"):
            found += [_faster(comparison), _higher(comparison), _tighter(comparison), _steps(comparison)]
        if comparison.axis == "backend" and comparison.one.names["init"] == "pretrained":
            found += [_same_range(comparison), _as_fast(comparison)]
    return found


def _claim(name: str, comparison: Comparison, ours: str, verdict: str) -> ClaimVerdict:
    claim = published()["claims"][name]
    return ClaimVerdict(claim["says"], claim["where"], comparison.title, ours, verdict)


def _faster(c: Comparison) -> ClaimVerdict:
    side = faster_side(c)
    verdict = CANNOT_TELL if side is None else REPRODUCED if side == "pretrained" else NOT_REPRODUCED
    return _claim("faster", c, steps_sentence(c), verdict)


def _higher(c: Comparison) -> ClaimVerdict:
    gap = c.difference
    verdict = CANNOT_TELL if not gap.excludes(0) else REPRODUCED if gap.low > 0 else NOT_REPRODUCED
    return _claim("higher", c, f"{gap.value:+.2f} points, {gap_interval(c)}", verdict)


def _tighter(c: Comparison) -> ClaimVerdict:
    side = tighter_side(c)
    verdict = CANNOT_TELL if side is None else REPRODUCED if side == "pretrained" else NOT_REPRODUCED
    return _claim("tighter", c, tighter(c), verdict)


def _steps(c: Comparison) -> ClaimVerdict:
    claim = published()["claims"]["steps"]
    if c.threshold != claim["threshold"]:
        return _claim("steps", c, f"the threshold of this report is {c.threshold:g} %", NOT_RUN)
    mean = mean_steps(c.one.brackets)
    verdict = CANNOT_TELL
    if mean.has_interval:
        verdict = (
            REPRODUCED
            if mean.low >= claim["at_least"]
            else (NOT_REPRODUCED if mean.high < claim["at_least"] else CANNOT_TELL)
        )
    return _claim("steps", c, f"mean steps of pre-trained runs: {mean.words('.0f', least=1)}", verdict)


def _same_range(c: Comparison) -> ClaimVerdict:
    gap = c.difference
    ours = f"fairseq minus hf: {gap.value:+.2f} points, {gap_interval(c)}"
    return _claim("same_range", c, ours, rule(gap.low, gap.high, published()["margins"]["points"]))


def _as_fast(c: Comparison) -> ClaimVerdict:
    interval = c.steps.interval if c.steps is not None else Estimate(math.nan, math.nan, math.nan, "", "")
    low = 0.0 if interval.low == -math.inf else interval.low
    verdict = rule(low, interval.high, published()["margins"]["ratio"], ratio=True)
    return _claim("as_fast", c, steps_sentence(c), verdict)


def errata() -> list[str]:
    """Return the errors in the published tables, each with the arithmetic that shows the error."""
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
    """Return the content of verdicts.json. NaN and infinity become null. Errata appear only with published numbers."""
    plain = [
        {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(row).items()
        }
        for row in numbers
    ]
    return {"numbers": plain, "claims": [asdict(claim) for claim in claims], "errata": errata() if numbers else []}
