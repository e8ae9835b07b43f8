"""Three parties, curves after each epoch, leaks and tied best steps: what stands beside the published numbers."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.beside_published import about_replications
from analysis.best_steps import RunResult
from analysis.evidence import Evidence, gather_evidence
from analysis.intervals import one_more_run
from analysis.leaks import leak_effects, leaks_table
from analysis.notes import about_leaks, leak_effect, tied_steps
from analysis.replications import BY_EPOCH, by_epoch, longer_schedule, ours_by_epoch, sources, sources_table
from tests.analysis.made_up import folders_of, made_up, published_runs

EPOCHS = 5
PER_EPOCH = Path("analysis/replications_per_epoch.csv")


def evidence_of(root: Path, runs: list[RunResult]) -> Evidence:
    return gather_evidence(runs, folders_of(root, runs), 70.0)


def test_every_source_has_its_row_and_ours_stand_last(tmp_path: Path) -> None:
    found = sources(evidence_of(tmp_path, published_runs()).groups)
    random = [source for source in found if source.init == "random"]
    assert [source.name.removeprefix("replication ") for source in random] == [
        "the report",
        "A",
        "C",
        "D",
        "E",
        "F",
        "H",
        "ours, leaks dropped",
    ]
    assert [source.is_ours for source in random] == [False] * 7 + [True]
    assert random[0].values == random[-1].values == [65.4, 66.7, 67.4]
    table = sources_table(found)
    of_h = table[(table["source"] == "replication H") & (table["init"] == "random")].iloc[0]
    assert (of_h["test % by seed"], of_h["mean"], of_h["n"]) == ("not told", "71.39", "not told")
    assert of_h["runs"].endswith("std 0.82")
    assert table[table["source"] == "replication D"]["runs"].str.endswith("nearly the report's numbers").all()
    of_report = table[(table["source"] == "the report") & (table["init"] == "random")].iloc[0]
    assert of_report["95 %: this test set, new seeds"] == "63.98 to 69.02"
    assert longer_schedule()["random"] == [73.9, 73.9, 73.1]


def curves(values: dict[str, list[float]], seed: int) -> tuple[RunResult, pd.DataFrame]:
    """Return a run with these curves over five epochs, and the scalars of its training loss in nats."""
    run = made_up((1125, 60.0, 60.0), seed, init="random")
    steps = [225 * epoch for epoch in range(EPOCHS + 1)]
    curve = pd.DataFrame(
        {
            "step": steps,
            "valid": [50.0, *values["validation accuracy (%)"]],
            "test": [50.0, *values["test accuracy (%)"]],
        }
    )
    losses = [value * math.log(2) for value in values["training loss (bits)"]]
    scalars = pd.DataFrame(
        [
            {**vars(run.key), "split": "train", "tag": "loss", "step": step, "value": loss}
            for step, loss in zip(steps[1:], losses, strict=True)
        ]
    )
    best = int(np.argmax(values["validation accuracy (%)"]))
    run = replace(run, curve=curve, best_step=steps[best + 1], test=values["test accuracy (%)"][best])
    return run, scalars


def theirs() -> dict[str, np.ndarray]:
    """Return replication A's random runs, each of shape (seeds, epochs), by what is compared."""
    table = pd.read_csv(PER_EPOCH)
    table = table[(table["replication"] == "A") & (table["init"] == "random")].sort_values(["seed", "epoch"])
    return {name: table[column].to_numpy().reshape(3, EPOCHS) for name, column in BY_EPOCH.items()}


def test_after_each_epoch_ours_lie_in_the_interval_for_one_more_run_or_not(tmp_path: Path) -> None:
    told = theirs()
    made = [curves({name: list(rows[seed]) for name, rows in told.items()}, seed) for seed in range(3)]
    group = evidence_of(tmp_path, [run for run, _ in made]).groups[0]
    group = replace(group, config={"recipe.epochs": EPOCHS})
    scalars = pd.concat([own for _, own in made])
    for name, rows in ours_by_epoch(scalars, group).items():
        np.testing.assert_allclose(rows, told[name])
    table = by_epoch(scalars, group, "A")
    assert len(table) == 3 * EPOCHS
    assert set(table["inside"]) == {"3 of 3"}  # its own runs
    first = table[(table["after epoch"] == "1") & (table["quantity"] == "training loss (bits)")].iloc[0]
    expected = one_more_run(told["training loss (bits)"][:, 0])
    assert first["interval for one more run"] == f"{expected.low:.3f} to {expected.high:.3f}"
    far = scalars.assign(value=scalars["value"] + 1.0)
    outside = by_epoch(far, group, "A")
    assert set(outside[outside["quantity"] == "training loss (bits)"]["inside"]) == {"0 of 3"}
    assert by_epoch(scalars[scalars["step"] > 225], group, "A")["quantity"].nunique() == 2  # an epoch is not logged


def splits(root: Path, dataset: str, leaked: list[str]) -> None:
    folder = root / "splits" / dataset
    folder.mkdir(parents=True)
    (folder / "leaked.txt").write_text("".join(f"{text}\n" for text in leaked))


def with_leaks(evidence: Evidence, *leaks: str) -> Evidence:
    """Return evidence whose groups, in their order, kept or dropped the leaks, as their config.yaml says."""
    groups = [
        replace(group, config={**group.config, "dataset.leaks": said})
        for group, said in zip(evidence.groups, leaks, strict=True)
    ]
    return replace(evidence, groups=groups)


def test_the_worth_of_leaks_is_that_of_runs_with_them_minus_the_same_without(tmp_path: Path) -> None:
    leaked = [f"test-{number}" for number in range(54)]
    splits(tmp_path, "cls_books_published", leaked)
    splits(tmp_path, "cls_books", leaked)
    gains = [1.0, 2.0, 1.5]
    kept = [made_up((1125, 80.0, 79.0 + gain), seed, dataset="cls_books_published") for seed, gain in enumerate(gains)]
    dropped = [made_up((1125, 80.0, 79.0), seed) for seed in range(4)]
    evidence = with_leaks(evidence_of(tmp_path / "runs", [*dropped, *kept]), "drop", "keep")
    [(one, other, difference)] = leak_effects(evidence)
    assert (one.n, other.n, one.names["dataset"]) == (3, 3, "cls_books_published")
    assert difference.value == pytest.approx(1.5)
    said = leak_effect(one, other, difference)
    assert said.startswith("Pre-trained runs (roberta_small_fr, fairseq, full), with the leaks minus without them")
    assert "+1.50 points of test accuracy over 3 paired seeds, 95 % interval +0.26 to +2.74." in said
    table = leaks_table(evidence, tmp_path)
    assert table["in train or validation"].tolist() == ["dropped", "kept"]
    assert table["test texts"].tolist() == ["54 leaked, 1946 others"] * 2
    group = evidence.groups[1]
    assert group.right is not None
    assert table["accuracy on the leaked"].iloc[1] == f"{group.right[:, :54].mean():.2f} %"
    assert table["accuracy on the others"].iloc[1] == f"{group.right[:, 54:].mean():.2f} %"


@pytest.mark.parametrize("change", ["terms", "kept in neither", "no seed in common"])
def test_the_worth_of_leaks_is_not_told_of_runs_that_differ_otherwise(tmp_path: Path, change: str) -> None:
    seeds = (2, 3) if change == "no seed in common" else (0, 1)
    runs = [
        *(made_up((1125, 80.0, 79.0), seed, dataset="cls_books_published") for seed in (0, 1)),
        *(made_up((1125, 80.0, 78.0), seed) for seed in seeds),
    ]
    kept = "drop" if change == "kept in neither" else "keep"
    evidence = with_leaks(evidence_of(tmp_path / "runs", runs), kept, "drop")
    if change == "terms":
        groups = [
            replace(group, config={**group.config, "recipe.epochs": number})
            for number, group in enumerate(evidence.groups)
        ]
        evidence = replace(evidence, groups=groups)
    assert leak_effects(evidence) == []


def test_both_rules_for_tied_best_steps_are_told_where_they_differ(tmp_path: Path) -> None:
    tied, plain = made_up((450, 80.0, 70.0), 0), made_up((900, 80.0, 72.0), 1)
    tied.curve.loc[2, ["valid", "test"]] = [80.0, 76.0]
    plain.curve.loc[2, ["valid", "test"]] = [79.0, 78.0]
    assert (tied.latest, plain.latest) == ((1125, 76.0), None)
    [group] = evidence_of(tmp_path, [tied, plain]).groups
    assert tied_steps(group) == (
        "cls_books · roberta_small_fr · fairseq · full · pretrained: 1 run of 2 has its highest validation accuracy at "
        "several steps. The earliest counts here: mean test accuracy 71.00 %. Stock fairseq keeps the latest, seed 0 "
        "(step 1125: 76.00 %): 74.00 %."
    )
    [alone] = evidence_of(tmp_path / "x", [plain]).groups
    assert tied_steps(alone) is None
    tied.curve.loc[2, "test"] = 70.0  # the same accuracy at both steps
    [same] = evidence_of(tmp_path / "y", [tied, plain]).groups
    assert tied_steps(same) is None


def test_what_tells_the_effect_of_leaks_is_named_for_the_datasets_of_the_sweep() -> None:
    assert "train DATASET=cls_books and cls_books_published in one SWEEP" in about_leaks(["cls_books"], False)
    assert "train the same dataset with dataset.leaks=keep and without" in about_leaks(["mine"], False)
    assert "Runs with and without" not in about_leaks(["mine"], True)


def test_what_is_said_of_the_tables_is_said_only_where_they_stand() -> None:
    assert "hardly independent" in about_replications(True, None)
    assert "After each epoch" not in about_replications(True, None)
    assert "hardly independent" not in about_replications(False, "A")
    assert "replication A, whose warm-up" in about_replications(False, "A")
