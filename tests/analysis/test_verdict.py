"""The verdict on published numbers and claims, by the stated rule."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.beside_published import numbers_table, side_by_side
from analysis.evidence import gather_evidence
from analysis.groups import Group
from analysis.verdict import as_json, claim_verdicts, departures, errata, number_verdicts, published, rule
from hydra_conf.compose import compose_config
from sweeps.provenance import comparable
from tests.analysis.made_up import PUBLISHED, made_up, published_runs

PUBLISHED_WORDS = ["experiment=published", "dataset=cls_books", "init=random"]
TRAINING = comparable(compose_config(PUBLISHED_WORDS))


def evidence_of(runs: list, threshold: float = 70.0, **training: Any):  # type: ignore[type-arg, no-untyped-def]
    """Return the evidence of runs that were trained as the published ones, but for `training`."""
    evidence = gather_evidence(runs, {str(run.key): Path("nowhere") for run in runs}, threshold)
    config = {**TRAINING, **{f"recipe.{key}": value for key, value in training.items()}}
    groups = [replace(group, config=config) for group in evidence.groups]
    comparisons = [
        replace(c, one=replace(c.one, config=config), other=replace(c.other, config=config))
        for c in evidence.comparisons
    ]
    return replace(evidence, groups=groups, comparisons=comparisons)


def in_words(group: Group) -> list[str] | None:
    """Return how a group's training differs from the published training, or None for runs of something else."""
    found = departures(group)
    return None if found is None else list(found.values())


def test_the_file_holds_the_nine_published_runs() -> None:
    found = {
        (table["backend"], table["init"]): [(run["best_step"], run["valid"], run["test"]) for run in table["runs"]]
        for table in published()["tables"]
    }
    assert found == PUBLISHED
    assert published()["parameters"]["weight_matrices"] == 512 * 32000 + 258 * 512 + 4 * (4 * 512**2 + 2 * 512**2)


@given(st.floats(-20, 20), st.floats(0, 20), st.floats(0.1, 5))
def test_the_rule(middle: float, half: float, margin: float) -> None:
    low, high = middle - half, middle + half
    verdict = rule(low, high, margin)
    if verdict == "reproduced":
        assert max(abs(low), abs(high)) <= margin
    elif verdict == "not reproduced":
        assert min(abs(low), abs(high)) > margin
        assert low * high > 0
    else:
        assert low < -margin <= high or low <= margin < high


def test_the_rule_of_ratios_is_the_same_both_ways_and_without_an_interval_one_cannot_tell() -> None:
    for low, high, verdict in (
        (0.6, 1.9, "reproduced"),
        (2.1, 9.0, "not reproduced"),
        (0.1, 0.4, "not reproduced"),
        (0.4, 1.0, "cannot tell"),
        (math.nan, math.nan, "cannot tell"),
    ):
        assert rule(low, high, 2.0, ratio=True) == verdict
        assert rule(1 / high, 1 / low, 2.0, ratio=True) == verdict


def test_the_published_runs_themselves_differ_by_nothing_but_three_seeds_cannot_reproduce_a_std() -> None:
    verdicts = number_verdicts(evidence_of(published_runs()), 22_807_552)
    assert len(verdicts) == 1 + 9 + 3 * 2  # the validation texts are others: no verdict on validation and best step
    assert (verdicts[0].verdict, verdicts[0].difference) == ("reproduced", 0)
    means = [row for row in verdicts if row.what == "mean test accuracy"]
    assert [row.difference for row in means] == pytest.approx([0, 0, 0], abs=1e-9)
    assert [row.verdict for row in means] == ["reproduced", "cannot tell", "reproduced"]  # random: -2.3 to +2.3
    stds = [row for row in verdicts if row.what.startswith("std")]
    assert [row.difference for row in stds] == pytest.approx([1, 1, 1])
    assert [row.verdict for row in stds] == ["cannot tell"] * 3
    low, high = (1 / math.sqrt(stats.f.ppf(part, 2, 2)) for part in (0.975, 0.025))
    assert (stds[0].low, stds[0].high) == pytest.approx((low, high))
    assert stds[0].published == pytest.approx(np.std([79.5, 78.5, 80.1], ddof=1))  # the ratio is of what is shown
    assert stds[0].ours == pytest.approx(stds[0].published)


def test_a_ratio_of_stds_is_the_quotient_of_the_two_that_are_shown() -> None:
    runs = [made_up((900, 80.0, 79.0 + seed), seed) for seed in range(8)]
    (std,) = [row for row in number_verdicts(evidence_of(runs)) if row.what.startswith("std") and row.ours is not None]
    assert std.ours is not None
    assert std.difference == pytest.approx(std.ours / std.published)
    assert std.ours == pytest.approx(np.std(range(8), ddof=1))


def test_other_runs_get_other_verdicts_and_what_was_not_run_is_said() -> None:
    rng = np.random.default_rng(0)
    runs = [made_up((900, 70.0, 60 + rng.normal(0, 0.2)), seed) for seed in range(8)]
    verdicts = number_verdicts(evidence_of(runs))
    assert {
        row.verdict
        for row in verdicts
        if "pre-trained" in row.where
        and "fairseq" in row.where
        and "test" in row.what
        and not row.what.startswith("std")
    } == {"not reproduced"}
    not_run = [row for row in verdicts if "random" in row.where or "Hugging" in row.where or row.unit == "weights"]
    assert {row.verdict for row in not_run} == {"not run", "not counted: the checkpoint is not there"}
    assert number_verdicts(evidence_of(runs), 22_807_553)[0].verdict == "not reproduced"
    shown = numbers_table(verdicts)
    assert shown["published"].tolist()[0] == "22,807,552"
    assert shown["ours (over all seeds)"].tolist()[-1] == "none"


@pytest.mark.parametrize(
    ("change", "training", "said"),
    [
        ({"dataset": "amazon_fr"}, {}, None),
        ({"method": "lora"}, {}, None),
        ({}, {"epochs": 3}, ["epochs 3 (published 5)"]),
        ({}, {"batch_size": 16}, ["batch_size 16 (published 8)"]),
        ({}, {"learning_rate": 2e-5}, ["learning_rate 2e-05 (published 1e-05)"]),
        ({}, {"warmup_share": 0}, ["warmup_share 0 (published 0.06)"]),
        ({}, {"epochs": None}, ["epochs not recorded"]),
        ({}, {}, []),
    ],
)
def test_nothing_published_is_said_of_runs_that_are_not_the_published_experiment(
    change: dict[str, Any], training: dict[str, Any], said: list[str] | None
) -> None:
    runs = [replace(run, key=replace(run.key, **change)) for run in published_runs()]
    evidence = evidence_of(runs, **training)
    assert in_words(evidence.groups[0]) == said
    told = [*number_verdicts(evidence), *claim_verdicts(evidence)]
    assert bool(told) == (said == [])
    assert bool(as_json(number_verdicts(evidence), [])["errata"]) == (said == [])


def test_a_schedule_of_another_length_is_not_the_published_one_but_for_dropped_repeats() -> None:
    for end, said in (
        (1125, []),
        (1090, []),
        (1065, ["1065 steps (published 1125)"]),
        (1200, ["1200 steps (published 1125)"]),
    ):
        runs = [made_up((900, 80.0, 79.0), 0)]
        runs[0].curve.loc[2, "step"] = end
        assert in_words(evidence_of(runs).groups[0]) == said


def test_a_learning_rate_that_falls_more_slowly_is_not_the_published_training() -> None:
    evidence = evidence_of(published_runs())
    group = replace(evidence.groups[0], config={**TRAINING, "fairseq.lr_scheduler.total_num_update": 3125})
    assert in_words(group) == ["a learning rate that falls to step 3125 (published 1125)"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fairseq.optimization.lr=[2e-4]"], ["fairseq.optimization.lr [0.0002] (published [1e-05])"]),
        (["recipe.learning_rate=2e-4"], ["learning_rate 0.0002 (published 1e-05)"]),
        (
            ["fairseq.lr_scheduler.warmup_updates=600"],
            ["fairseq.lr_scheduler.warmup_updates 600 (published 67)"],
        ),
        (["fairseq.lr_scheduler.power=3"], ["fairseq.lr_scheduler.power 3 (published without it)"]),
        (["fairseq.model.dropout=0.5"], ["fairseq.model.dropout 0.5 (published without it)"]),
        (["fairseq.model.encoder_layers=2"], ["fairseq.model.encoder_layers 2 (published 4)"]),
        (["fairseq.optimizer.weight_decay=0.5"], ["fairseq.optimizer.weight_decay 0.5 (published 0.01)"]),
        (["recipe.adam_betas='(0.5,0.6)'"], ["adam_betas (0.5,0.6) (published (0.9, 0.98))"]),
        (["model.attention_dropout=0.5"], ["model.attention_dropout 0.5 (published 0.1)"]),
        (["model.shape.encoder_layers=2"], ["model.shape.encoder_layers 2 (published 4)"]),
        (["model.known_ids=null"], ["model.known_ids None (published ids_roberta_small_fr.json)"]),
        (["dataset.leaks=keep"], ["dataset.leaks keep (published drop)"]),
        (["recipe.evaluate_every=100"], ["evaluate_every 100 (published epoch)"]),
        (["precision=bf16", "speed=stock", "fairseq.common.log_interval=5"], []),
        (["backend=hf", "recipe.evaluate_every=100"], []),
        (["backend=hf", "+hf.optim=sgd"], ["hf.optim sgd (published without it)"]),
    ],
)
def test_every_setting_that_changes_what_a_run_learns_is_the_published_one(words: list[str], said: list[str]) -> None:
    backend = "hf" if "backend=hf" in words else "fairseq"
    group = evidence_of([made_up((900, 80.0, 79.0), 0, backend)]).groups[0]
    changed = replace(group, config=comparable(compose_config([*PUBLISHED_WORDS, *words])))
    assert in_words(changed) == said


def test_two_published_datasets_have_their_own_verdicts() -> None:
    shifted = [
        made_up((step, valid, test - 10), seed, backend, init, "cls_books_course")
        for (backend, init), runs in PUBLISHED.items()
        for seed, (step, valid, test) in enumerate(runs)
    ]
    verdicts = number_verdicts(evidence_of([*published_runs(), *shifted]))
    for dataset, ours in (("cls_books", 79.37), ("cls_books_course", 69.37)):
        own = [row for row in verdicts if row.dataset == dataset and row.what == "mean test accuracy"]
        assert round(own[0].ours or 0, 2) == ours
    named = {row.dataset for row in verdicts if row.what.startswith(("best step", "best validation"))}
    assert named == {"cls_books_course"}  # whose validation texts are the published ones


def test_the_claims_are_judged_by_their_intervals() -> None:
    by_text = {claim.says: claim for claim in claim_verdicts(evidence_of(published_runs()))}
    said = published()["claims"]
    assert by_text[said["faster"]["says"]].verdict == "cannot tell"  # no evaluation before the best step
    assert by_text[said["higher"]["says"]].verdict == "reproduced"
    assert by_text[said["tighter"]["says"]].verdict == "cannot tell"  # three seeds
    assert by_text[said["steps"]["says"]].verdict == "cannot tell"
    assert by_text[said["same_range"]["says"]].verdict == "cannot tell"  # +0.80, -1.64 to +3.24


@pytest.mark.parametrize(
    ("better", "worse", "verdict"), [("random", "pretrained", "not reproduced"), ("pretrained", "random", "reproduced")]
)
def test_a_claim_holds_or_fails_with_its_runs(better: str, worse: str, verdict: str) -> None:
    runs = [made_up((700 + 10 * seed, 80.0, 72.0 + 5 * (seed % 3)), seed, init=worse) for seed in range(9)]
    runs += [made_up((50 + seed, 80.0, 85.0 + 0.1 * seed), seed, init=better) for seed in range(9)]
    runs += [made_up((350 + 9 * seed, 80.0, 92.0 + 0.2 * (seed % 4)), seed, backend="hf") for seed in range(9)]
    for run in runs:  # evaluated just before, so that the bracket is narrow
        run.curve.loc[3] = [(run.best_step or 0) - 5, 50.0, 50.0]
        run.curve.sort_values("step", inplace=True)
    by_text = {claim.says: claim.verdict for claim in claim_verdicts(evidence_of(runs))}
    said = published()["claims"]
    for name in ("higher", "faster", "tighter"):
        assert by_text[said[name]["says"]] == verdict, name
    assert by_text[said["steps"]["says"]] == (
        "reproduced" if better == "random" else "not reproduced"
    )  # 700 or 50 steps
    assert by_text[said["as_fast"]["says"]] == ("reproduced" if better == "random" else "not reproduced")
    assert by_text[said["same_range"]["says"]] == "not reproduced"


def test_the_steps_claim_is_of_seventy_percent_only() -> None:
    claims = claim_verdicts(evidence_of(published_runs(), threshold=60.0))
    (steps,) = [claim for claim in claims if "400 steps" in claim.says]
    assert (steps.verdict, steps.ours) == ("not run", "the threshold of this report is 60 %")


def test_the_second_tables_mean_and_std_are_flagged_with_the_arithmetic() -> None:
    (wrong,) = [line for line in errata() if "repeat" in line]
    assert wrong == (
        "table 2, Hugging Face, pre-trained: the test accuracies 78.15, 79, 78.55 have mean 78.57 and std 0.35 "
        "(ddof 0), not the printed 0.794 and 0.0066, which repeat those of table 1, fairseq, pre-trained."
    )
    assert sum("is a fraction" in line for line in errata()) == 3


def test_the_published_tables_have_ours_beside_them() -> None:
    evidence = evidence_of(published_runs("amazon_fr"))
    table = side_by_side("fairseq", evidence.groups[:2], number_verdicts(evidence))
    assert table["published: test %"].tolist()[:3] == ["79.5", "78.5", "80.1"]
    assert table["ours: test %"].tolist() == [
        "79.50",
        "78.50",
        "80.10",
        "79.37, 0.66",
        "65.40",
        "66.70",
        "67.40",
        "66.50, 0.83",
    ]
    assert table["replications: test %"].tolist()[4] == "A 65.5, C 73.9, D 65.4, E 65.4, F 67.5"
    assert table["replications: test %"].tolist()[7].endswith("F 67.67, H 71.39")
    assert side_by_side("hf", [], [])["ours: test %"].tolist() == ["no result"] * 4


def test_what_is_claimed_of_pretrained_runs_is_not_judged_on_random_ones() -> None:
    runs = [*published_runs(), *(made_up((900, 62.0, 65.0 + seed), seed, "hf", "random") for seed in range(3))]
    evidence = evidence_of(runs)
    titles = [c.title for c in evidence.comparisons if c.axis == "backend"]
    assert len(titles) == 2
    judged = [claim for claim in claim_verdicts(evidence) if claim.comparison in titles]
    assert [claim.comparison for claim in judged] == [title for title in titles if title.endswith("pretrained")] * 2


@pytest.mark.parametrize(("passes", "verdict"), [(420, "cannot tell"), (650, "reproduced"), (250, "not reproduced")])
def test_a_number_of_steps_is_claimed_by_the_whole_interval(passes: int, verdict: str) -> None:
    runs = [made_up((passes + 10 * seed, 80.0, 79.0), seed) for seed in range(3)]
    for run in runs:  # passed in the 120 steps before
        run.curve.loc[3] = [(run.best_step or 0) - 120, 50.0, 50.0]
        run.curve.sort_values("step", inplace=True)
    runs += [made_up((900, 62.0, 65.0), seed, init="random") for seed in range(3)]
    (steps,) = [claim for claim in claim_verdicts(evidence_of(runs)) if "400 steps" in claim.says]
    assert steps.verdict == verdict, steps.ours
