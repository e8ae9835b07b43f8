"""Shares of the gain of pre-training, and their sentence and title."""

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.baselines import Baseline
from analysis.evidence import gather_evidence
from analysis.ladder import Ladder, ladders
from analysis.ladder_words import ladder_sentence, title_of_ladder
from tests.analysis.made_up import evidence_of, made_up


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
