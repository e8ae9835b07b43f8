"""Sentences on steps to the threshold, and how their bounds are rounded."""

import math

from analysis.crossings import Bracket
from analysis.evidence import gather_evidence
from analysis.steps_words import bound, steps_sentence
from tests.analysis.made_up import made_up, nowhere


def test_a_bound_is_rounded_outwards_so_that_it_holds() -> None:
    for value, down, up in (
        (11.8, "11", "12"),
        (5.68, "5.6", "5.7"),
        (1.234, "1.23", "1.24"),
        (0.0712, "0.071", "0.072"),
        (1234.5, "1,234", "1,235"),
        (14.0, "14", "14"),
        (9.99, "9.9", "10.0"),
    ):
        assert (bound(value, up=False), bound(value, up=True)) == (down, up)


def test_the_sentence_of_steps_knows_every_case() -> None:
    passes, never = Bracket(14, 25), Bracket(295, math.inf)
    cases = {
        "None of these runs passes 70 % test accuracy.": ([never] * 2, [never] * 2),
        "Some runs of each kind never pass 70 % test accuracy, so the ratio": ([never, passes], [never, passes]),
        "need at least": ([passes] * 2, [never, passes]),
        "need at most": ([never, passes], [passes] * 2),
        "need 0.56 to 1.79 times": ([passes] * 2, [passes] * 2),
        "A run is at or above 70 % test accuracy before its first step": ([passes, Bracket(0, 0)], [passes] * 2),
    }
    for said, (one, other) in cases.items():
        runs = [
            made_up((900, 80.0, 80.0 + seed), seed, init=init) for init in ("pretrained", "random") for seed in (0, 1)
        ]
        for brackets, init in ((one, "pretrained"), (other, "random")):
            for bracket, run in zip(brackets, [run for run in runs if run.key.init == init], strict=True):
                end = 294 if bracket.is_censored else bracket.high
                steps = sorted({0.0, max(bracket.low - 1.0, 0), float(end), 294.0})
                run.curve.drop(run.curve.index, inplace=True)
                for step in steps:
                    run.curve.loc[len(run.curve)] = [step, 50.0, 80.0 if step >= bracket.high else 50.0]
        (c,) = gather_evidence(runs, nowhere(runs), 70.0).comparisons
        assert (c.one.brackets, c.other.brackets) == (one, other)
        sentence = steps_sentence(c)
        assert said in sentence
        assert sum(words in sentence for words in cases) == 1
