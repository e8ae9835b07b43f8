"""Doses of pre-training: the smallest that buys something, its sentence, table and figure."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.__main__ import made_from
from analysis.baselines import Baseline
from analysis.best_steps import by_group
from analysis.bought_figures import dose_curve
from analysis.dose import HeldOut, Losses, dose_curves, held_out_losses, one_for_all
from analysis.dose_words import (
    about_doses,
    dose_sentence,
    dose_table,
    in_tokens,
    loss_words,
    title_of_doses,
    untrained_words,
)
from analysis.evidence import Evidence, gather_evidence
from analysis.findings import answers
from data_prep.doses import base_and_dose
from foundation.whole_files import sha256_of
from sweeps.folders import RunKey
from tests.analysis.made_up import made_up

MODEL = "roberta_small_fr"
ZERO, LOW, UNCLEAR, BETTER, WIDE = (
    [70.0, 71, 72],
    [60.0, 61.1, 62],
    [70.5, 71.5, 72],
    [72.0, 73.5, 74.2],
    [71.0, 75, 79],
)
FOUND = {"0M": ZERO, "1M": UNCLEAR, "2M": BETTER, "16M": WIDE}
NONE = {"0M": ZERO, "250k": LOW, "1M": UNCLEAR, "16M": WIDE}


def evidence_of(tests: dict[str, list[float]], dataset: str = "cls_books") -> Evidence:
    """Return the evidence of pre-trained runs with these test accuracies, seeds from 0, for each dose."""
    runs = [
        replace(
            made_up((98, 80.0, test), seed),
            key=RunKey(dataset, f"{MODEL}@{dose}", "fairseq", "full", "pretrained", seed),
        )
        for dose, own in tests.items()
        for seed, test in enumerate(own)
    ]
    return gather_evidence(runs, {str(run.key): Path("nowhere") for run in runs}, 70.0)


def with_config(evidence: Evidence, dose: str, **config: object) -> Evidence:
    """Return the evidence with these keys in the configuration of a dose, and the model's name in each."""
    groups = [
        replace(group, config={"model.name": group.names["model"], **(config if of_dose else {})})
        for group in evidence.groups
        for of_dose in [group.names["model"].endswith(f"@{dose}")]
    ]
    return replace(evidence, groups=groups)


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("roberta_small_fr@16M", ("roberta_small_fr", 16_000_000)),
        ("roberta_small_fr@0M", ("roberta_small_fr", 0)),
        ("tiny@250k", ("tiny", 250_000)),
        ("tiny@1234567", ("tiny", 1_234_567)),
        ("mine@home@1G", ("mine@home", 10**9)),
        ("mine@home", ("mine@home", None)),
        ("tiny@16m", ("tiny@16m", None)),
        ("16M", ("16M", None)),
    ],
)
def test_the_dose_of_a_model_stands_in_its_name(name: str, parsed: tuple[str, int | None]) -> None:
    assert base_and_dose(name) == parsed


def test_a_dose_is_written_as_its_folder_is_named() -> None:
    assert [in_tokens(dose) for dose in (0, 250_000, 16_000_000, 1_234_567)] == ["0", "250 k", "16 M", "1,234,567"]


def test_doses_ascend_in_every_table() -> None:
    runs = [run for group in evidence_of({**NONE, "2M": BETTER}).groups for run in group.runs]
    models = [names[1] for names in by_group(sorted(runs, key=lambda run: run.key))]
    assert [base_and_dose(model)[1] for model in models] == [0, 250_000, 1_000_000, 2_000_000, 16_000_000]


def test_the_smallest_dose_is_the_first_whose_interval_lies_above_zero() -> None:
    [curve], without = dose_curves(evidence_of(FOUND))
    assert without == []
    assert curve.doses == [0, 1_000_000, 2_000_000, 16_000_000]
    assert curve.smallest == 2
    assert dose_sentence(curve) == (
        "cls_books, roberta_small_fr (fairseq, full): pre-training on 2 M tokens is the smallest dose that buys "
        "something: +2.23 points over dose 0 (95 % interval +1.61 to +2.86, 3 seeds). With 16 M tokens the difference "
        "from dose 0 is +4.00 points (95 % interval -3.45 to +11.45)."
    )
    assert title_of_doses([curve]) == "Smallest dose of pre-training that shows a gain: 2 M tokens"


def test_no_dose_is_named_when_no_interval_lies_above_zero() -> None:
    """An interval that lies below zero buys nothing either."""
    [curve], _ = dose_curves(evidence_of(NONE))
    assert curve.gains[0].high < 0
    assert curve.smallest is None
    assert dose_sentence(curve) == (
        "cls_books, roberta_small_fr (fairseq, full): no dose up to 16 M tokens buys accuracy that these 3 seeds can "
        "show. With 16 M tokens the difference from dose 0 is +4.00 points (95 % interval -3.45 to +11.45)."
    )
    assert title_of_doses([curve]) == "Smallest dose of pre-training that shows a gain: none up to 16 M tokens"


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ({"16M": HeldOut(5.9956, 7.1234), "2M": HeldOut(6.2, 7.1234)}, "5.996 nats after 16 M tokens, 6.200 after 2 M"),
        ({"16M": HeldOut(5.9956, 7.1234)}, "5.996 nats after 16 M tokens"),
        ({"16M": HeldOut(5.9956, None), "0M": HeldOut(10.4, 7.1234)}, "5.996 nats after 16 M tokens"),
    ],
)
def test_the_answer_says_how_far_pre_training_has_come(losses: dict[str, HeldOut], said: str) -> None:
    [curve], _ = dose_curves(evidence_of(FOUND))
    known: Losses = {("cls_books", f"{MODEL}@{dose}"): own for dose, own in losses.items()}
    guess = "; a guess from token frequencies alone has 7.123."
    assert loss_words(curve, known) == f"The held-out loss is {said}{guess}"
    older = {key: replace(own, by_frequency=None) for key, own in known.items()}
    assert loss_words(curve, older) == f"The held-out loss is {said}."
    assert loss_words(curve, {("cls_books", f"{MODEL}@2M"): HeldOut(6.2, 7.1234)}) == ""
    trial = {
        **known,
        ("cls_books", f"{MODEL}@1M"): HeldOut(6.2, 7.1234, 128),
        ("cls_books", f"{MODEL}@0M"): HeldOut(9, 9, 0),
    }
    said = "Positions from 128 on are not trained after 1 M tokens."
    assert untrained_words(curve, trial) == said
    del trial["cls_books", f"{MODEL}@16M"]
    assert (loss_words(curve, trial), untrained_words(curve, trial)) == ("", said)
    assert untrained_words(curve, known) == ""
    [first_only], _ = dose_curves(evidence_of({"0M": ZERO, "16M": WIDE}))
    known["cls_books", f"{MODEL}@0M"] = HeldOut(10.4, 7.1234)
    assert "after 0" not in loss_words(first_only, known)


def test_one_seed_claims_nothing() -> None:
    [curve], _ = dose_curves(evidence_of({"0M": [70.0], "1M": [90.0]}))
    assert curve.smallest is None
    assert dose_sentence(curve) == (
        "cls_books, roberta_small_fr (fairseq, full): with 1 M tokens of pre-training the accuracy is +20.00 points "
        "over dose 0 (no interval: one seed). One seed is one draw, so no dose is said to buy something."
    )
    assert title_of_doses([curve]) == "Test accuracy over tokens of pre-training"


def test_without_dose_0_there_is_no_curve() -> None:
    assert dose_curves(evidence_of({"1M": UNCLEAR, "2M": BETTER})) == (
        [],
        ["cls_books · roberta_small_fr · fairseq · full: no curve over doses, because no run of dose 0 has results."],
    )
    assert dose_curves(evidence_of({"2M": BETTER})) == ([], [])  # one dose is no curve, and asks for none


def test_a_dose_on_other_terms_is_left_out_and_named() -> None:
    unequal = with_config(evidence_of(FOUND), "2M", **{"recipe.epochs": 30})
    [curve], _ = dose_curves(unequal)
    assert curve.doses == [0, 1_000_000, 16_000_000]
    assert curve.smallest is None
    left_out = (
        "cls_books · roberta_small_fr@2M · fairseq · full · pretrained (other terms: recipe.epochs (30 against absent))"
    )
    assert curve.left_out == [left_out]
    assert about_doses(curve).endswith(f" Left out: {left_out}.")
    of_other_data = [replace(group, inputs={"data": group.names["model"]}) for group in unequal.groups]
    [], [why] = dose_curves(replace(unequal, groups=of_other_data))
    assert "because no dose is on equal terms with dose 0: " in why
    assert "@16M · fairseq · full · pretrained (other terms: data (input))" in why


def test_every_dose_has_the_runs_of_the_same_seeds() -> None:
    [curve], _ = dose_curves(evidence_of({**FOUND, "0M": ZERO[:2]}))
    assert [group.seeds for group in curve.groups] == [[0, 1]] * 4
    assert curve.gains[1].value == pytest.approx(2.25)
    assert f"cls_books/{MODEL}@2M/fairseq/full/pretrained/seed=2 (a seed that not all have)" in curve.left_out
    [curve], _ = dose_curves(evidence_of({**FOUND, "1M": UNCLEAR[:1]}))  # three doses of three seeds, not four of one
    assert curve.doses == [0, 2_000_000, 16_000_000]
    assert [group.seeds for group in curve.groups] == [[0, 1, 2]] * 3
    assert curve.left_out == [f"cls_books · {MODEL}@1M · fairseq · full · pretrained (no runs of seed 1, 2 there)"]
    [curve], _ = dose_curves(evidence_of({"0M": ZERO, "1M": UNCLEAR[:1]}))  # two doses at least
    assert [group.seeds for group in curve.groups] == [[0]] * 2
    evidence = evidence_of({"0M": ZERO[:1], "1M": UNCLEAR})
    apart = replace(evidence, groups=[evidence.groups[0], evidence.groups[1].only([1, 2])])
    [], [why] = dose_curves(apart)
    assert why.endswith("no curve over doses, because no seed is in all of them.")


def test_the_answer_is_that_of_the_doses() -> None:
    evidence = evidence_of(FOUND)
    curves, _ = dose_curves(evidence)
    assert answers(evidence, [], has_doses=bool(curves)) == []
    assert "all start from pre-trained weights" in answers(evidence_of({"2M": BETTER}), [])[0]
    assert [group.names["model"] for group in one_for_all(evidence, curves)] == [f"{MODEL}@0M"]


def test_the_table_has_the_numbers_of_a_calculation_by_hand() -> None:
    [curve], _ = dose_curves(evidence_of(FOUND))
    of_others = {("amazon_fr", f"{MODEL}@1M"): HeldOut(9.0, None)}
    table = dose_table(curve, {}, {("cls_books", f"{MODEL}@2M"): HeldOut(5.4321, None), **of_others})
    assert table.columns.tolist() == [
        "tokens",
        "held-out loss, nats",
        "test %",
        "median %",
        "learned nothing",
        "difference from dose 0, points",
        "n",
    ]
    assert table.to_numpy().tolist() == [
        ["0", "not known", "71.00", "71.00", "not known", "0, by definition", 3],
        ["1,000,000", "not known", "71.33", "71.50", "not known", "+0.33 (-0.38 to +1.05)", 3],
        ["2,000,000", "5.432", "73.23", "73.50", "not known", "+2.23 (+1.61 to +2.86)", 3],
        ["16,000,000", "not known", "75.00", "75.00", "not known", "+4.00 (-3.45 to +11.45)", 3],
    ]
    assert "3 intervals are looked at, none corrected" in about_doses(curve)


def test_a_loss_is_that_of_the_checkpoint_which_the_runs_started_from(tmp_path: Path) -> None:
    evidence = evidence_of(FOUND)
    groups = []
    for group in evidence.groups:
        folder = tmp_path / "models" / group.names["model"]
        folder.mkdir(parents=True)
        (folder / "model.pt").write_text(group.names["model"])
        (folder / "pretraining.json").write_text(
            json.dumps({"loss": 6.5, "frequency_loss": 7.0, "untrained_from": 128})
        )
        groups.append(replace(group, inputs={"checkpoint": sha256_of(folder / "model.pt")}))
    (tmp_path / "models" / f"{MODEL}@1M/model.pt").write_text("another")
    (tmp_path / "models" / f"{MODEL}@2M/pretraining.json").unlink()
    losses = held_out_losses(dose_curves(replace(evidence, groups=groups))[0], tmp_path)
    assert losses == {("cls_books", f"{MODEL}@{dose}"): HeldOut(6.5, 7.0, 128) for dose in ("0M", "16M")}


def test_another_loss_makes_the_report_anew(tmp_path: Path) -> None:
    RunKey("cls_books", f"{MODEL}@1M", "fairseq", "full", "pretrained", 0).folder(tmp_path, "s").mkdir(parents=True)
    before = made_from(tmp_path / "s", tmp_path, 70.0)
    (tmp_path / f"models/{MODEL}@1M").mkdir(parents=True)
    (tmp_path / f"models/{MODEL}@1M/pretraining.json").write_text("{}")
    assert made_from(tmp_path / "s", tmp_path, 70.0) != before


def test_the_figure_shows_runs_means_intervals_references_and_losses() -> None:
    evidence = evidence_of(FOUND)
    evidence = replace(evidence, groups=[replace(group, n_train=100) for group in evidence.groups])
    losses = {("cls_books", f"{MODEL}@{dose}"): HeldOut(loss, 7.5) for dose, loss in (("0M", 10.0), ("16M", 5.0))}
    fits = {
        ("cls_books", f"{MODEL}@0M", 100): [Baseline("TF-IDF + logistic regression, C = 1", 80.0, 84.0, 82.0, 86.0)]
    }
    drawing = dose_curve(dose_curves(evidence)[0], fits, losses)
    assert drawing is not None
    above, below = drawing.figure.axes
    places = [0, 1_000_000, 2_000_000, 16_000_000]
    drawn: list[Any] = [
        (list(np.asarray(line.get_xdata())), list(np.asarray(line.get_ydata()))) for line in above.lines
    ]
    for place, tests in zip(places, FOUND.values(), strict=True):
        assert ([place] * 3, tests) in drawn
    assert (places, pytest.approx([71, 71.3333, 73.2333, 75], abs=1e-3)) in drawn
    assert ([2e6, 2e6], pytest.approx([70.44, 76.03], abs=0.01)) in drawn  # 73.233 +- 4.303 * 1.124 / sqrt(3)
    labels = {str(line.get_label()): np.asarray(line.get_ydata())[0] for line in above.lines}
    assert labels["TF-IDF"] == 84.0
    assert labels["published, pre-trained"] == pytest.approx((79.5 + 78.5 + 80.1) / 3)
    loss, guess = below.lines
    assert np.asarray(guess.get_ydata()).tolist() == [7.5, 7.5]
    assert np.asarray(loss.get_xdata()).tolist() == places
    assert np.array_equal(np.asarray(loss.get_ydata(), dtype=float), [10.0, np.nan, np.nan, 5.0], equal_nan=True)
    assert above.get_xticks().tolist() == places
    assert [tick.get_text() for tick in below.get_xticklabels()] == ["0", "1 M", "2 M", "16 M"]
    at = above.transData.transform([(place, 70) for place in places])[:, 0]
    assert np.diff(at) / (at[2] - at[1]) == pytest.approx([1, 1, 3])  # a doubling, a doubling, three doublings
    for said in ("3 runs per point", "TF-IDF", "published", "held-out loss", "token frequencies", "from 1 M tokens on"):
        assert said in drawing.caption


def test_a_figure_draws_only_what_there_is() -> None:
    drawing = dose_curve(dose_curves(evidence_of(FOUND, "amazon_fr"))[0], {}, {})
    assert drawing is not None
    assert len(drawing.figure.axes) == 1  # no losses, no panel
    assert not any(word in drawing.caption for word in ("TF-IDF", "published", "held-out"))
    assert dose_curve(dose_curves(evidence_of({"2M": BETTER}))[0], {}, {}) is None
