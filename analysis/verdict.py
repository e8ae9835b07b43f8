"""Compare our runs with the published numbers (`published.yaml`), and give a verdict on each number by one rule.

A group of runs is compared with a published table only when it has the published dataset, model, method and training:
every setting that changes what a run learns is the one of `experiment=published`. Other runs get no verdict.
"""

import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from omegaconf import OmegaConf

from analysis.comparisons import Comparison
from analysis.crossings import mean_steps
from analysis.estimates import Estimate, no_interval, spread
from analysis.evidence import Evidence, as_plain
from analysis.findings import faster_side, gap_interval, higher_side, tighter, tighter_side
from analysis.groups import Group
from analysis.intervals import difference_over_seeds, one_more_run, std_ratio
from analysis.steps_words import steps_sentence
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
    "length",
)
FREE = (  # of these, keys that change nothing that a run learns
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
    """Return the verdict for an interval of ours minus published or, with `ratio`, of ours over published."""
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


def departures(group: Group) -> dict[str, str] | None:
    """Return {key: how it differs from the published training, in words}; empty when nothing differs.

    Every key is compared that changes what a run learns, and the number of steps. Precision and the parts that make a
    run fast may differ. None: the published experiment has another dataset, model or method.
    """
    report, names, own = published(), group.names, group.config
    if not is_of_report(names):
        return None
    expected, made_with = _as_set(names["dataset"], names["backend"], names["init"])
    found = {key: f"{_word(key)} not recorded" for key in RECIPE if own.get(key) is None}
    for key in sorted(own.keys() - found.keys(), key=lambda key: (key.startswith("fairseq."), key)):
        usual = expected.get(key)
        same = own[key] in usual if isinstance(usual, tuple) else own[key] == usual
        again = any(f"${{{other}}}" in made_with.get(key, "") for other in found)  # it was given by that other key
        is_free = not key.startswith(COMPARED) or key.startswith(FREE) or "${speed." in made_with.get(key, "")
        if same or again or is_free:
            continue
        published_as = "without it" if usual is None else _shown(usual)
        found[key] = f"{_word(key)} {_shown(own[key])} (published {published_as})"
    training = report["training"]
    if FALLS_TO in found:
        found[FALLS_TO] = f"a learning rate that falls to step {own[FALLS_TO]:g} (published {training['steps']})"
    if abs(group.last_step - training["steps"]) > training["steps_within"] * training["steps"]:
        found["steps"] = f"{group.last_step} steps (published {training['steps']})"
    return found


def is_of_report(names: dict[str, str]) -> bool:
    """Return whether the published experiment has this dataset, model and method."""
    report = published()
    return names["dataset"] in report["datasets"] and all(names[key] == report[key] for key in ("model", "method"))


def published_tests(init: str, backend: str = "fairseq") -> list[float]:
    """Return the published test accuracies of an init on a back end, one for each seed; empty where there are none."""
    return [
        run["test"]
        for table in published()["tables"]
        if (table["backend"], table["init"]) == (backend, init)
        for run in table["runs"]
    ]


def _word(key: str) -> str:
    return key.removeprefix("recipe.")


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def published_groups(evidence: Evidence) -> dict[str, list[Group]]:
    """Return the groups that are compared with the published tables, by dataset."""
    found: dict[str, list[Group]] = {}
    for group in evidence.groups:
        if departures(group) == {}:
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
            verdicts += _verdicts_of_table(dataset, table, by_names.get((table["backend"], table["init"])))
    return verdicts


def _verdicts_of_table(dataset: str, table: dict[str, Any], group: Group | None) -> list[Verdict]:
    def verdict(what: str, number: float, unit: str, ours: float | None, gap: Estimate | None) -> Verdict:
        if gap is None:
            return Verdict(dataset, what, table["where"], number, ours, None, math.nan, math.nan, unit, NOT_RUN)
        said = rule(gap.low, gap.high, published()["margins"][unit], ratio=unit == "ratio")
        return Verdict(dataset, what, table["where"], number, ours, gap.value, gap.low, gap.high, unit, said)

    columns = [("test accuracy", "test", "test", "points")]
    if dataset not in published()["own_validation_split"]:  # otherwise our validation texts are not the published texts
        columns += [("best validation accuracy", "valid", "best_valid", "points")]
        columns += [("best step", "best_step", "best_step", "steps")]
    verdicts = []
    for run in table["runs"]:
        for name, key, own, unit in columns:
            mean = gap = None
            if group is not None:
                ours = one_more_run([getattr(one, own) for one in group.runs])
                ends = {end: getattr(ours, end) - run[key] for end in ("value", "low", "high")}
                mean, gap = ours.value, replace(ours, **ends)
            verdicts.append(verdict(f"{name}, seed {run['seed']}", run[key], unit, mean, gap))
    tests = np.array([run["test"] for run in table["runs"]])
    mean = std = gap = ratio = None
    if group is not None:
        gap, ratio = difference_over_seeds(group.test, tests, paired=False), std_ratio(group.test, tests)
        mean, std = group.spread.mean, group.spread.std_sample if group.n > 1 else None
    return [
        *verdicts,
        verdict(MEAN, float(tests.mean()), "points", mean, gap),
        verdict("std of test accuracy (ddof 1)", float(tests.std(ddof=1)), "ratio", std, ratio),
    ]


def _weights_verdict(dataset: str, weights: int | None) -> Verdict:
    told = published()["parameters"]
    number = told["weight_matrices"]
    gap = None if weights is None else weights - number
    verdict = NOT_COUNTED if gap is None else NOT_REPRODUCED if gap else REPRODUCED
    what = "weights in the encoder's matrices"
    return Verdict(dataset, what, told["where"], number, weights, gap, math.nan, math.nan, "weights", verdict)


def claim_verdicts(evidence: Evidence) -> list[ClaimVerdict]:
    """Return what our runs say about each published sentence, when both groups are of the published experiment."""
    found = []
    for comparison in evidence.comparisons:
        if not departures(comparison.one) == departures(comparison.other) == {}:
            continue
        judged: dict[str, tuple[str, str]] = {}
        if comparison.sides == ("pretrained", "random"):
            judged |= _of_inits(comparison)
        if comparison.axis == "backend" and comparison.one.names["init"] == "pretrained":
            judged |= _of_backends(comparison)
        for name, (ours, verdict) in judged.items():
            claim = published()["claims"][name]
            found.append(ClaimVerdict(claim["says"], claim["where"], comparison.title, ours, verdict))
    return found


def _of_inits(c: Comparison) -> dict[str, tuple[str, str]]:
    """Return ours and the verdict for each claim on pre-trained and random weights, by its name in published.yaml."""

    def pretrained_is(side: str | None) -> str:
        return CANNOT_TELL if side is None else REPRODUCED if side == "pretrained" else NOT_REPRODUCED

    return {
        "faster": (steps_sentence(c), pretrained_is(faster_side(c))),
        "higher": (f"{c.difference.value:+.2f} points, {gap_interval(c)}", pretrained_is(higher_side(c))),
        "tighter": (tighter(c), pretrained_is(tighter_side(c))),
        "steps": _steps(c),
    }


def _steps(c: Comparison) -> tuple[str, str]:
    claim = published()["claims"]["steps"]
    if c.threshold != claim["threshold"]:
        return f"the threshold of this report is {c.threshold:g} %", NOT_RUN
    mean = mean_steps(c.one.brackets)
    verdict = CANNOT_TELL
    if mean.low >= claim["at_least"]:
        verdict = REPRODUCED
    elif mean.high < claim["at_least"]:
        verdict = NOT_REPRODUCED
    return f"mean steps of pre-trained runs: {mean.words('.0f', least=1)}", verdict


def _of_backends(c: Comparison) -> dict[str, tuple[str, str]]:
    gap, margins = c.difference, published()["margins"]
    ratio = c.steps.interval if c.steps is not None else no_interval(math.nan, "a run starts above")
    return {
        "same_range": (
            f"fairseq minus hf: {gap.value:+.2f} points, {gap_interval(c)}",
            rule(gap.low, gap.high, margins["points"]),
        ),
        "as_fast": (steps_sentence(c), rule(max(ratio.low, 0), ratio.high, margins["ratio"], ratio=True)),
    }


def errata() -> list[str]:
    """Return the errors in the published tables, each with the arithmetic that shows the error."""
    found: list[str] = []
    seen: dict[tuple[str, str], str] = {}
    for table in published()["tables"]:
        where, printed, tests = table["where"], table["printed"], [run["test"] for run in table["runs"]]
        own, listed = spread(tests), ", ".join(f"{test:g}" for test in tests)
        texts = printed["mean"], printed["std"]
        is_right = [
            round(value / 100, len(text.partition(".")[2])) == float(text)
            for value, text in zip((own.mean, own.std), texts, strict=True)
        ]
        if not all(is_right):
            repeats = f", which repeat those of {seen[texts]}" if texts in seen else ""
            found.append(
                f"{where}: the test accuracies {listed} have mean {own.mean:.2f} and std {own.std:.2f} (ddof "
                f"0), not the printed {printed['mean']} and {printed['std']}{repeats}."
            )
        seen.setdefault(texts, where)
        if printed["unit"] == "%" and float(printed["mean"]) < 1 < min(tests):
            found.append(
                f'{where}: "{printed["mean"]}%" is a fraction; the mean of {listed} is {own.mean:.2f} %, '
                f"which is {own.mean / 100:.3f}."
            )
    return found


def as_json(numbers: list[Verdict], claims: list[ClaimVerdict]) -> dict[str, Any]:
    """Return the content of verdicts.json. Errata appear only with published numbers."""
    found: dict[str, Any] = as_plain({"numbers": numbers, "claims": claims, "errata": errata() if numbers else []})
    return found
