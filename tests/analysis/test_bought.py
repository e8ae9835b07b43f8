"""What pre-training buys: labels needed, shares of the gain, the probe on a frozen encoder."""

import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from analysis.__main__ import main as analysis_main
from analysis.baselines import Baseline, baselines_of, probe_of
from analysis.baselines_words import against_probe, is_beaten
from analysis.evidence import Evidence, gather_evidence
from analysis.groups import Group
from analysis.intervals import ratio_of_means
from analysis.labels import label_curves, labels_needed
from analysis.labels_words import times, worth
from analysis.ladder import Ladder, ladders
from analysis.ladder_words import ladder_sentence, title_of_ladder
from analysis.notes import warnings
from analysis.phrases import failed_cell, failed_runs
from analysis.probe import features, fit_probes, probe_inputs
from data_prep.examples import read_split
from data_prep.subsets import nested_subset
from foundation.errors import exit_code
from sweeps.folders import RunKey
from tests.analysis.golden import SWEEPS, at, write_sweep
from tests.analysis.made_up import folders_of, made_up
from tests.conftest import Workspace

SIZES = [24, 49, 98, 196, 392, 784]
Array = NDArray[np.float64]


def log_line(sizes: list[int], at_fewest: float, a_doubling: float) -> Array:
    return at_fewest + a_doubling * np.log2(np.array(sizes) / sizes[0])


def test_labels_needed_are_those_of_a_known_curve() -> None:
    """A curve that rises by 4 points a doubling reaches a level after as many doublings as the level asks for."""
    curve = log_line(SIZES, 60.0, 4.0)
    for labels in (24, 40, 100, 300, 784):
        level = 60.0 + 4.0 * math.log2(labels / 24)
        found = labels_needed(SIZES, curve[:, None] + [[-1.0, 0.0, 1.0]], level + np.array([-0.5, 0.5, 0.0]))
        assert (found.value or 24) == pytest.approx(labels, rel=1e-6)
        assert found.low <= labels <= found.high


def test_labels_needed_agree_with_a_search_through_every_number() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        rise = np.cumsum(rng.normal(3, 3, len(SIZES)))[:, None] + rng.normal(0, 1, (len(SIZES), 4))
        level = rng.uniform(rise.min() - 2, rise.max() + 2) + rng.normal(0, 1, 4)
        found = labels_needed(SIZES, rise, level)
        means = rise.mean(axis=1)
        isotonic = np.array(  # its definition: the largest of the smallest means of a stretch
            [
                max(min(means[begin : end + 1].mean() for end in range(k, len(means))) for begin in range(k + 1))
                for k in range(len(means))
            ]
        )
        numbers = np.arange(24, 785)
        reached = np.interp(np.log2(numbers), np.log2(SIZES), isotonic) >= level.mean()
        brute = math.inf if not reached.any() else 0 if reached[0] else numbers[reached.argmax()]
        assert found.value == brute or abs(found.value - brute) <= 1


def test_a_level_that_is_never_reached_or_reached_at_once_is_censored() -> None:
    curve = log_line(SIZES, 60.0, 2.0)[:, None] + [[-0.5, 0.0, 0.5]]
    over = labels_needed(SIZES, curve, [90.0, 91.0, 90.5])
    assert (over.value, over.low, over.high) == (math.inf, 784, math.inf)
    under = labels_needed(SIZES, curve, [40.0, 41.0, 40.5])
    assert (under.value, under.low, under.high) == (0, 0, 24)
    near = labels_needed(SIZES, curve, [69.0, 71.5, 70.5])  # the curve ends at 70
    assert math.isinf(near.high)
    assert 24 < near.low < 784


def test_one_seed_and_equal_seeds_have_no_interval() -> None:
    curve = log_line(SIZES, 60.0, 4.0)
    assert labels_needed(SIZES, curve[:, None], [68.0]).why_none == "one seed"
    assert labels_needed(SIZES, np.tile(curve[:, None], 3), [68.0] * 3).why_none == "all values are the same"


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_interval_of_labels_needed_holds_the_truth(n: int) -> None:
    """Curves that bend, seeds that share a shift, as fine-tuning runs of one seed do."""
    rng = np.random.default_rng(n)
    truth_curve = 55 + 25 * (1 - np.exp(-np.log2(np.array(SIZES) / 12) / 3))
    true = 150.0
    level = float(np.interp(math.log2(true), np.log2(SIZES), truth_curve))
    held = given = 0
    for _ in range(2_000):
        shared = rng.normal(0, 1, n)
        curve = truth_curve[:, None] + shared + rng.normal(0, 1.5, (len(SIZES), n))
        found = labels_needed(SIZES, curve, level + shared + rng.normal(0, 1.5, n))
        held += found.low <= true <= found.high
        given += found.has_interval
    assert given == 2_000
    assert 0.94 <= held / given <= 0.99  # the numbers that are not rejected may have gaps, and the interval spans them


@pytest.mark.parametrize("n", [3, 10])
def test_the_interval_of_a_share_holds_the_truth(n: int) -> None:
    rng = np.random.default_rng(n)
    held = given = 0
    for _ in range(2000):
        floor = rng.normal(0, 1, n)
        whole, part = 14 + rng.normal(0, 1.5, n) - floor, 5 + rng.normal(0, 1.5, n) - floor
        found = ratio_of_means(part, whole)
        given += found.has_interval
        held += found.has_interval and found.low <= 5 / 14 <= found.high
    assert given > 1900
    assert held / given == pytest.approx(0.95, abs=0.015)


def test_a_share_is_that_of_a_search_and_has_no_interval_where_there_is_no_gain() -> None:
    part, whole = np.array([4.0, 6.0, 5.5, 3.0]), np.array([13.0, 15.0, 12.5, 14.0])
    found = ratio_of_means(part, whole)
    assert found.value == pytest.approx(part.mean() / whole.mean())
    grid = np.linspace(0, 1, 100_001)
    rest = part - grid[:, None] * whole
    t = np.abs(rest.mean(axis=1)) / (rest.std(axis=1, ddof=1) / 2)
    possible = grid[t <= 3.182446305]
    assert found.low == pytest.approx(possible[0], abs=2e-5)
    assert found.high == pytest.approx(possible[-1], abs=2e-5)
    none = ratio_of_means([1.0, 2.0, 0.5], [3.0, -2.0, 1.0])
    assert none.why_none == "the interval of the whole holds 0"
    assert ratio_of_means([1.0], [2.0]).why_none == "one seed"


def test_baselines_of_a_subset_are_fitted_on_the_texts_that_runs_see(swept: Workspace) -> None:
    splits, memory = swept.root / "data/splits/amazon_fr", swept.root / "few.json"
    few, whole = baselines_of(splits, memory, 10), baselines_of(splits, memory)
    assert [fit.name.split(",")[0] for fit in few] == ["TF-IDF + logistic regression", "commonest class"]
    names = json.loads((splits / "manifest.json").read_text())["labels"]
    classes = [names.index(example.label) for example in read_split(splits / "train.jsonl")]
    rows = nested_subset(classes, 10, names)
    share = max(np.bincount(np.array(classes)[rows])) / 10
    assert 0.4 <= share <= 0.6
    assert json.loads(memory.read_text()).keys() == {"amazon_fr", "amazon_fr, 10 training texts"}
    assert [fit.name.split(",")[0] for fit in whole] == [fit.name.split(",")[0] for fit in few]


def test_the_probe_reads_the_frozen_encoder_and_never_the_test_texts(swept: Workspace) -> None:
    run, data = swept.run_folder("pretrained", 0), swept.root / "data"
    made_from, why = probe_inputs(run, data)
    assert made_from is not None, why
    found = features(run, data, made_from)
    assert found["train/mean"].shape == found["train/first"].shape == (60, 64)
    assert found["test/class"].shape == (30,)
    every = np.arange(60)
    probes = fit_probes(found, every)
    assert [re.sub(r", C = .*", "", probe.name) for probe in probes] == [
        "probe: mean of the last layer",
        "probe: last layer at <s>",
    ]
    turned = dict(found) | {"test/class": 1 - found["test/class"]}
    for probe, other in zip(probes, fit_probes(turned, every), strict=True):
        assert (probe.name, probe.valid) == (other.name, other.valid)  # C is chosen without test
        assert probe.test + other.test == pytest.approx(100)
    shuffled = dict(found) | {"train/class": found["train/class"][np.random.default_rng(0).permutation(60)]}
    assert max(probe.valid for probe in probes) > max(probe.valid for probe in fit_probes(shuffled, every)) + 10


def test_features_are_those_of_each_text_in_the_order_of_the_split(swept: Workspace) -> None:
    """A text alone gives the features that it has in its batch: rows are not mixed up, padding counts for nothing."""
    import torch

    from fairseq_tasks.folders import open_checkpoint

    run, data = swept.run_folder("pretrained", 0), swept.root / "data"
    made_from, _ = probe_inputs(run, data)
    assert made_from is not None
    found = features(run, data, made_from)
    opened = open_checkpoint(swept.model / "model.pt", swept.model)
    from fairseq.data import data_utils

    texts = data_utils.load_indexed_dataset(str(swept.binarised / "input0/valid"), opened.dictionary, combine=False)
    for row in (0, 3, 11):
        tokens = torch.cat([torch.tensor([opened.dictionary.bos()]), texts[row].long()])
        tokens = torch.cat([tokens[:63], tokens[-1:]])[None] if len(tokens) > 64 else tokens[None]
        with torch.inference_mode():
            layer = opened.model(tokens, features_only=True)[0][0]
        assert np.allclose(found["valid/mean"][row], layer.mean(0).numpy(), atol=1e-4)
        assert np.allclose(found["valid/first"][row], layer[0].numpy(), atol=1e-4)


def test_a_checkpoint_that_changed_since_the_runs_gives_no_probe(swept: Workspace) -> None:
    run, data = swept.run_folder("pretrained", 0), swept.root / "data"
    checkpoint = swept.model / "model.pt"
    whole = checkpoint.read_bytes()
    try:
        checkpoint.write_bytes(whole + b" ")
        assert "is not the one that the runs started from" in probe_inputs(run, data)[1]
        checkpoint.unlink()
        assert probe_inputs(run, data)[1] == f"the checkpoint {checkpoint} is not there"
    finally:
        checkpoint.write_bytes(whole)


def test_the_probe_that_is_told_is_chosen_by_validation_never_by_test() -> None:
    by_valid, by_test = Baseline("probe: a", 80.0, 70.0, 60.0, 80.0), Baseline("probe: b", 79.0, 75.0, 60.0, 80.0)
    assert probe_of([Baseline("commonest class", 99.0, 99.0, 90.0, 100.0), by_test, by_valid]) == by_valid
    assert probe_of([]) is None


def test_a_probe_that_wins_is_told_first() -> None:
    group = made_up((98, 80.0, 81.0), 0)
    evidence = gather_evidence([group], {str(group.key): Path("nowhere")}, 70.0)
    won, lost = (Baseline("probe: mean, C = 1", 80.0, test, 70.0, 90.0) for test in (83.0, 79.0))
    assert against_probe(evidence.groups[0], won) == (
        "cls_books: logistic regression on the pre-trained encoder as it is, a probe (roberta_small_fr, mean, C = 1), "
        "reaches 83.00 % (95 % interval 70.00 to 90.00 for new texts). With all weights trained the pre-trained run is "
        "2.00 points below it (fairseq)."
    )
    assert [is_beaten(evidence.groups[0], probe) for probe in (won, lost)] == [True, False]


def test_runs_judged_before_their_first_update_and_small_validation_splits_are_told() -> None:
    runs = [made_up((0, 80.0, 81.0), 0), made_up((98, 80.0, 81.0), 1)]
    evidence = gather_evidence(runs, {str(run.key): Path("nowhere") for run in runs}, 70.0)
    [said] = warnings(evidence)
    assert "the best step of seed 0 is 0, so the test accuracy there is that of the weights before the first" in said
    few = replace(evidence, groups=[replace(evidence.groups[0].only([1]), inputs={"examples": {"valid": 6}})])
    [said] = warnings(few)
    assert said.startswith("cls_books: 6 validation texts: one text is 16.67 points")
    many = replace(evidence, groups=[replace(evidence.groups[0].only([1]), inputs={"examples": {"valid": 50}})])
    assert warnings(many) == []


def test_a_value_lies_in_its_interval_whatever_the_curve() -> None:
    rng = np.random.default_rng(8)
    for _ in range(1_000):
        n = int(rng.integers(2, 6))
        curve = rng.normal(70, 8, (4, 1)) + rng.normal(0, rng.choice([0.2, 3.0]), (4, n))
        found = labels_needed([25, 50, 100, 200], curve, rng.uniform(55, 85) + rng.normal(0, 1, n))
        assert found.low <= found.value <= found.high
    steep = labels_needed([25, 50, 100], [[60, 61, 62], [81, 82, 83], [84, 87, 90]], [71, 72, 73])
    assert 25 < steep.low <= steep.value <= steep.high < 50


def test_a_run_that_answers_one_class_has_learned_nothing_whichever_class_it_is(tmp_path: Path) -> None:
    runs = [made_up((98, 80.0, test), seed) for seed, test in enumerate((57.0, 43.0, 57.0))]
    runs.append(made_up((98, 80.0, 57.0), 3, start=68.5))  # better at another step: it has learned something
    folders = folders_of(tmp_path, runs)
    for run in (*runs[:2], runs[3]):
        path = folders[str(run.key)] / "predictions.parquet"
        answers = pd.read_parquet(path)
        answers["gold"] = np.where(answers["gold"] == answers["predicted"], "positive", "negative")
        answers["predicted"] = "positive"
        answers.to_parquet(path)
    (group,) = gather_evidence(runs, folders, 70.0).groups
    assert group.one_answer == [0, 1]
    assert failed_runs(group, {}) == [0, 1]
    assert failed_runs(group.only([1, 2]), {}) == [1]


def test_whether_runs_learned_nothing_is_not_told_where_nobody_knows_their_answers(tmp_path: Path) -> None:
    runs = [made_up((98, 80.0, test), seed) for seed, test in enumerate((57.0, 58.0))]
    folders = folders_of(tmp_path, runs)
    assert failed_cell(gather_evidence(runs, folders, 70.0).groups[0], {}) == "none"
    for run in runs:
        (folders[str(run.key)] / "predictions.parquet").unlink()
    (group,) = gather_evidence(runs, folders, 70.0).groups
    assert failed_cell(group, {}) == "not known"
    commonest = Baseline("commonest class", 57.0, 57.0, 50.0, 64.0)
    names = group.names["dataset"], group.names["model"], group.n_train or 0
    assert failed_cell(group, {names: [commonest]}) == "1 of 2 (seed 0)"


def test_runs_of_an_earlier_version_stay_in_their_group(tmp_path: Path) -> None:
    """Their config.yaml lacks keys that have come since; the keys have their defaults."""
    root = tmp_path / "runs"
    write_sweep(tmp_path, "old", SWEEPS["three_seeds"])
    for number, path in enumerate(sorted((root / "old").rglob("config.yaml"))):
        if number != 2:
            lines = path.read_text().splitlines(True)
            new = ("n_train:", "length:", "  updates:", "  layers:", "axes:")
            kept = [line for line in lines if not line.startswith(new)]
            assert len(kept) == len(lines) - 5
            path.write_text("".join(kept))
    with at(tmp_path), mock.patch.object(sys, "argv", ["analysis", "--sweep", "old"]):
        assert exit_code(analysis_main) == 0
    report = (tmp_path / "results/old/report.md").read_text()
    assert "(means over 3 paired seeds): pre-training buys 14.50 points" in report
    assert "unlike" not in report


def evidence_of(points: dict[tuple[str, int], dict[int, float]]) -> Evidence:
    """Return the evidence of runs by (init, training texts; 0: all 60) and seed, with these test accuracies."""
    runs = [
        replace(made_up((98, 80.0, test), seed, init=init), key=RunKey("d", "m", "fairseq", "full", init, seed, train))
        for (init, train), tests in points.items()
        for seed, test in tests.items()
    ]
    evidence = gather_evidence(runs, {str(run.key): Path("nowhere") for run in runs}, 70.0)
    return replace(evidence, groups=[replace(group, n_train=group.n_train or 60) for group in evidence.groups])


def of_terms(evidence: Evidence, where: Callable[[Group], bool], **config: object) -> Evidence:
    """Return the evidence with a configuration for each group; it has these keys where the condition holds."""
    groups = [replace(group, config={"a": 1, **(config if where(group) else {})}) for group in evidence.groups]
    return replace(evidence, groups=groups)


BOTH = ("pretrained", "random")
THREE = {0: 70.0, 1: 71.0, 2: 73.0}


def test_a_first_look_with_one_seed_leaves_the_other_numbers_of_labels_their_seeds() -> None:
    points = {(init, n): THREE for n in (0, 30, 15) for init in BOTH} | {(init, 20): {0: 70.0} for init in BOTH}
    ((curves,), _) = label_curves(evidence_of(points))
    assert (curves.sizes, curves.seeds) == ([15, 30, 60], [0, 1, 2])
    assert len(curves.left_out) == 2
    assert all(
        "20 training texts" in said and said.endswith("(no runs of seed 1, 2 there)") for said in curves.left_out
    )
    ((curves,), _) = label_curves(evidence_of(points | {(init, 0): {0: 70.0} for init in BOTH}))
    assert (curves.sizes, curves.seeds) == ([15, 20, 30, 60], [0])  # the most labels stay


def test_a_number_of_labels_with_one_init_is_named() -> None:
    ((curves,), _) = label_curves(
        evidence_of({(init, n): THREE for n in (0, 15) for init in BOTH} | {(BOTH[0], 20): THREE})
    )
    assert curves.sizes == [15, 60]
    assert curves.left_out == [
        "d · m · fairseq · full · pretrained · 20 training texts (no runs of the other init on equal terms)"
    ]


def test_the_largest_set_of_labels_on_equal_terms_has_curves_and_the_terms_of_the_others_are_named() -> None:
    evidence = evidence_of({(init, n): THREE for n in (0, 30, 15) for init in BOTH})
    odd = of_terms(evidence, lambda group: group.n_train == 60, b=2)
    ((curves,), _) = label_curves(odd)
    assert curves.sizes == [15, 30]
    assert len(curves.left_out) == 2
    assert all("(other terms: b (2 against absent))" in said for said in curves.left_out)
    [], [why] = label_curves(of_terms(replace(evidence, groups=[g for g in odd.groups if g.n_train != 15]), is_60, b=2))
    assert "not two numbers of texts have both inits on equal terms. Left out: " in why
    assert "(other terms: b (absent against 2))" in why


def is_60(group: Group) -> bool:
    return group.n_train == 60


def test_runs_of_another_checkpoint_have_no_place_in_a_curve_or_a_ladder() -> None:
    points = {(init, n): THREE for n in (0, 30, 15) for init in BOTH} | {("bottom_2", 0): THREE}
    evidence = evidence_of(points)
    other = {"pretrained": "x", "bottom_2": "y", "random": None}
    groups = [replace(group, inputs={"checkpoint": other[group.names["init"]]}) for group in evidence.groups]
    [], [why] = ladders(replace(evidence, groups=groups))
    assert "no init is on equal terms. Left out: bottom_2 (other terms: checkpoint (input))" in why
    groups = [
        replace(group, inputs={"checkpoint": "z"}) if group.inputs["checkpoint"] and group.n_train == 30 else group
        for group in groups
    ]
    ((curves,), _) = label_curves(replace(evidence, groups=groups))
    assert curves.sizes == [15, 60]
    assert "30 training texts (other terms: checkpoint (input))" in curves.left_out[0]


def test_a_mean_that_is_equal_but_for_rounding_is_reached() -> None:
    lower, level = [73.1, 72.3, 70.7], [73.1, 70.7, 72.3]
    assert np.mean(lower) < np.mean(level)
    of = {("pretrained", 0): lower, ("random", 0): level, ("pretrained", 15): lower, ("random", 15): [60.0, 60.5, 61.0]}
    ((curves,), _) = label_curves(evidence_of({point: dict(enumerate(tests)) for point, tests in of.items()}))
    assert "pre-trained weights 72.03 % with 15: pre-training may be worth at least 4.0 times" in worth(curves, {})
    curve = np.array([60.0, np.mean(lower)])[:, None]
    assert labels_needed([15, 60], curve, [float(np.mean(level))]).value == pytest.approx(60)


@pytest.mark.parametrize(
    ("most", "size", "said"), [(784, 24, "32"), (1800, 14, "128"), (884, 198, "4.4"), (784, 98, "8.0")]
)
def test_a_factor_of_labels_is_rounded_down(most: int, size: int, said: str) -> None:
    assert times(most, size) == said


def ladder_of(
    top: dict[int, float], between: dict[int, float], bottom: dict[int, float]
) -> tuple[list[Ladder], list[str]]:
    return ladders(evidence_of({("pretrained", 0): top, ("bottom_2", 0): between, ("random", 0): bottom}))


def test_all_shares_are_of_the_gain_over_the_same_seeds() -> None:
    ten = {seed: 85.0 + seed for seed in range(10)}
    ((found,), _) = ladder_of(ten, {0: 80.0, 1: 80.5, 2: 82.0}, {seed: 70.0 + seed / 2 for seed in range(10)})
    assert found.gap.value == pytest.approx(15.5)  # not that of ten seeds, 17.25
    [rung] = found.rungs
    assert rung.share.value == pytest.approx(rung.gain.value / found.gap.value)
    said = (
        "pre-training buys 15.50 points over seeds 0, 1, 2. Minus random, with the share of these points: bottom_2 +10"
    )
    assert said in ladder_sentence(found, {})
    assert "d/m/fairseq/full/pretrained/seed=9 (a seed that not all have)" in found.left_out
    ((found,), _) = ladder_of(ten, ten, ten)
    assert found.left_out == []
    assert "over seeds" not in ladder_sentence(found, {})
    [], [why] = ladder_of({0: 80.0}, {1: 75.0}, {0: 70.0})
    assert why == "d · m · fairseq · full: no shares of the gain, because no seed is in all of them."


def test_one_seed_does_not_show_what_labels_are_worth() -> None:
    points = {("pretrained", 0): 87.0, ("random", 0): 73.0, ("pretrained", 30): 85.0, ("random", 30): 68.0}
    ((curves,), without) = label_curves(evidence_of({point: {0: test} for point, test in points.items()}))
    assert without == []
    assert "pre-training may be worth at least 2.0 times the labels" in worth(curves, {})


def worth_of(of_15: tuple[float, float, float], of_30: tuple[float, float, float]) -> str:
    """Return what is said of accuracies of pre-trained weights with 15 and 30 of 60 labels, seeds 0 to 2."""
    points = {  # (init, training texts) -> accuracies
        ("pretrained", 0): (87.0, 88.5, 89.0),
        ("random", 0): (72.0, 73.0, 74.0),
        ("pretrained", 30): of_30,
        ("random", 30): (66.0, 66.5, 67.0),
        ("pretrained", 15): of_15,
        ("random", 15): (60.0, 60.5, 61.0),
    }
    ((curves,), _) = label_curves(evidence_of({point: dict(enumerate(tests)) for point, tests in points.items()}))
    return worth(curves, {})


def test_the_fewest_labels_at_which_the_worth_is_shown_stand_beside_a_worth_that_is_not() -> None:
    said = worth_of((70.0, 75.0, 80.0), (80.0, 81.5, 82.0))
    assert "pre-trained weights 75.00 % with 15: pre-training may be worth at least 4.0 times the labels" in said
    # differences 8, 8.5, 8: mean 8.1667, standard error 0.1667, t 4.3027
    assert said.endswith(
        "With 30 labels it is +8.17 points, 95 % interval +7.45 to +8.88: pre-training is "
        "worth at least 2.0 times the labels."
    )


@pytest.mark.parametrize(
    ("of_15", "of_30", "ended"),
    [  # differences with 30 labels: -7, 7, 21 (mean 7, standard error 8.0829), and 3 points each
        ((80.0, 81.5, 82.0), (65.0, 80.0, 95.0), "+7.00 points, 95 % interval -27.78 to +41.78"),
        ((80.0, 81.5, 82.0), (75.0, 76.0, 77.0), "+3.00 points, no interval: all differences are the same"),
    ],
)
def test_labels_after_the_first_number_that_shows_no_gain_are_not_counted_as_shown(
    of_15: tuple[float, float, float], of_30: tuple[float, float, float], ended: str
) -> None:
    said = worth_of(of_15, of_30)
    assert "pre-training may be worth at least 4.0 times the labels. The difference there is +8.17 points" in said
    assert said.endswith(f"With 30 labels it is {ended}; fewer labels count only if more labels show a gain.")


def test_a_ladder_says_what_bottom_is_and_names_inits_that_learned_nothing_once() -> None:
    tests = {
        "pretrained": (87.0, 88.0),
        "bottom_4": (80.0, 81.0),
        "shuffled": (57.0, 57.0),
        "statistics": (57.0, 57.0),
        "random": (72.0, 73.5),
    }
    runs = [made_up((98, 80.0, test), seed, init=init) for init, of in tests.items() for seed, test in enumerate(of)]
    evidence = gather_evidence(runs, {str(run.key): Path("nowhere") for run in runs}, 70.0)
    names = evidence.groups[0].names
    fits = {(names["dataset"], names["model"], 0): [Baseline("commonest class", 57.0, 57.0, 52.0, 62.0)]}
    ((found,), _) = ladders(evidence)
    assert title_of_ladder([found], fits) == (
        "Share of the gain of pre-training: bottom_4 53 %; shuffled and statistics learned nothing"
    )
    said = ladder_sentence(found, fits)
    assert said.endswith("In bottom_k the embeddings and the first k layers are pre-trained, all other weights random.")
    without = replace(found, rungs=[rung for rung in found.rungs if rung.group.names["init"] != "bottom_4"])
    assert "bottom_k" not in ladder_sentence(without, fits)
    assert title_of_ladder([without], fits).endswith(": shuffled and statistics learned nothing")
