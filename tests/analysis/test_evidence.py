"""Groups, comparisons and sentences, on runs made up for the purpose; whole reports are in test_reports.py."""

import json
import math
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats

from analysis.answers import answers_to_test, right_answers
from analysis.baselines import Baseline
from analysis.captions import title_of_gaps
from analysis.common_seeds import of_common_seeds, pairs_of
from analysis.comparisons import Comparison
from analysis.crossings import Bracket
from analysis.evidence import Evidence, as_json, gather_evidence
from analysis.figures import _draw_curves, accuracy_over_steps, final_accuracy
from analysis.findings import (
    answer,
    doubts,
    faster,
    faster_side,
    flat,
    needed_words,
    no_answer,
    tighter,
    tighter_side,
)
from analysis.notes import notes, of_few
from analysis.significance import brown_forsythe
from analysis.steps_words import bound, steps_sentence
from tests.analysis.made_up import PUBLISHED, folders_of, made_up, published_runs


def nowhere(runs: list) -> dict[str, Path]:  # type: ignore[type-arg]
    return {str(run.key): Path("nowhere") for run in runs}


@pytest.fixture
def published(tmp_path: Path) -> Evidence:
    runs = published_runs()
    return gather_evidence(runs, folders_of(tmp_path, runs), 70.0)


def test_the_published_six_give_the_published_mean_and_std(published: Evidence) -> None:
    printed = {
        group.title: (f"{group.spread.mean / 100:.3f}", f"{group.spread.std / 100:.4f}") for group in published.groups
    }
    assert printed == {
        "cls_books · roberta_small_fr · fairseq · full · pretrained": ("0.794", "0.0066"),
        "cls_books · roberta_small_fr · fairseq · full · random": ("0.665", "0.0083"),
        "cls_books · roberta_small_fr · hf · full · pretrained": ("0.786", "0.0035"),  # printed as 0.794 and 0.0066
    }


def test_every_pair_that_differs_in_one_thing_is_compared_inits_first(published: Evidence) -> None:
    assert [(c.axis, *c.sides) for c in published.comparisons] == [
        ("init", "pretrained", "random"),
        ("backend", "fairseq", "hf"),
    ]
    assert published.leading() == published.of_init() == published.comparisons[:1]  # what titles speak of


def test_a_comparison_holds_what_the_statistics_say(published: Evidence) -> None:
    c = published.comparisons[0]
    one, other = ([test for _, _, test in PUBLISHED["fairseq", init]] for init in ("pretrained", "random"))
    interval = stats.ttest_rel(one, other).confidence_interval()
    assert c.paired
    assert (c.difference.low, c.difference.high) == pytest.approx((interval.low, interval.high))
    assert c.permutation.p == pytest.approx(0.25) == c.permutation.smallest
    assert c.spread_p == pytest.approx(brown_forsythe(one, other))
    texts = c.difference_over_texts
    assert texts is not None
    assert texts.value == pytest.approx(c.difference.value)
    assert texts.target == "new texts, new seeds"
    assert texts.method == "crossed random effects, 3 paired seeds by 2000 texts"
    assert texts.low <= c.difference.low + 1e-9
    assert texts.high >= c.difference.high - 1e-9
    assert c.one.n_censored == 0
    assert c.other.n_censored == 3
    assert c.one.brackets == [Bracket(1, 1125), Bracket(1, 675), Bracket(1, 900)]
    assert [bracket.low for bracket in c.other.brackets] == [1126, 1, 1]  # 66.7 and 67.4 % are not clearly below
    assert c.one.best_minus_last == 0
    std = np.subtract(one, other).std(ddof=1)
    for points, n in c.needed.items():
        assert n is not None
        power = [_power(points / std, k) for k in (n - 1, n)]
        assert power[1] >= 0.8
        assert n == 2 or power[0] < 0.8


def _power(effect: float, n: int) -> float:
    bound, centre = stats.t.ppf(0.975, n - 1), effect * math.sqrt(n)
    return float(stats.nct.sf(bound, n - 1, centre) + stats.nct.cdf(-bound, n - 1, centre))


@pytest.mark.parametrize(
    ("one", "other", "pairs"),
    [
        ([0, 1, 2], [0, 1, 2], [0, 1, 2]),
        ([0], [0], [0]),
        ([0, 1, 2], [0, 1], [0, 1]),
        (list(range(10)), [seed for seed in range(10) if seed != 4], [0, 1, 2, 3, 5, 6, 7, 8, 9]),
        ([0, 1, 2], [2, 3, 4], []),  # one pair has no interval
        (list(range(10)), [8, 9, *range(10, 18)], []),  # two pairs of ten would waste the rest
        ([0, 1, 2, 3], [0, 1], [0, 1]),  # just half of the larger group
        ([0, 1], [1], []),  # one pair has no interval
        ([0, 1], [10, 11, 12], []),
        ([0], [1], []),
    ],
)
def test_the_seeds_that_both_groups_have_are_paired(one: list[int], other: list[int], pairs: list[int]) -> None:
    assert pairs_of(one, other) == pairs
    assert pairs_of(other, one) == pairs


def test_a_failed_run_costs_its_pair_and_no_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shared = (20 * rng.normal(0, 2, 10)).round() / 20  # whole texts of 2,000
    runs = [made_up((900, 80.0, 80 + gap), seed) for seed, gap in enumerate(shared)]
    runs += [
        made_up((900, 60.0, 70 + gap + 0.05 * seed), seed, init="random")
        for seed, gap in enumerate(shared)
        if seed != 4
    ]
    (c,) = gather_evidence(runs, folders_of(tmp_path, runs), 70.0).comparisons
    assert c.paired
    assert c.one.seeds == c.other.seeds == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert c.left_out == ["cls_books/roberta_small_fr/fairseq/full/pretrained/seed=4"]
    assert "seed=4 has no partner of the same seed and is left out." in answer(c)
    assert c.difference.method == "paired t, 9 seeds"
    assert c.one.right is not None
    assert c.one.right.shape[0] == 9
    assert c.difference.high - c.difference.low < 0.5  # 4 points by Welch's t


def test_a_run_without_a_partner_is_named_whichever_side_it_is_on() -> None:
    runs = [made_up((900, 80.0, 79.0 + seed), seed) for seed in (0, 1)]
    runs += [made_up((900, 60.0, 64.0 + 2 * seed), seed, init="random") for seed in (0, 1, 2)]
    (c,) = gather_evidence(runs, nowhere(runs), 70.0).comparisons
    assert c.left_out == ["cls_books/roberta_small_fr/fairseq/full/random/seed=2"]


def test_a_run_that_starts_above_is_seen_whichever_side_it_is_on() -> None:
    for init in ("pretrained", "random"):
        runs = [made_up((900, 80.0, 79.0), 0, start=72.0 if init == "pretrained" else 50.0)]
        runs += [made_up((900, 80.0, 75.0), 0, init="random", start=72.0 if init == "random" else 50.0)]
        (c,) = gather_evidence(runs, nowhere(runs), 70.0).comparisons
        assert c.steps is None


def test_runs_of_other_seeds_are_not_paired() -> None:
    runs = [made_up((900, 80.0, 79.0 + seed), seed) for seed in (0, 1, 2)]
    runs += [made_up((900, 60.0, 64.0 + seed), seed, init="random") for seed in (10, 11)]
    (c,) = gather_evidence(runs, nowhere(runs), 70.0).comparisons
    assert not c.paired
    assert c.left_out == []
    assert c.difference.method == "Welch's t, 3 and 2 seeds"
    assert c.permutation.smallest == pytest.approx(0.2)
    assert math.isnan(c.spread_p)
    assert "A permutation test of 3 against 2 runs cannot give a p below 0.2" in " ".join(
        notes(gather_evidence(runs, nowhere(runs), 70.0))
    )


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "is missing, or not whole"),
        (lambda path: path.write_bytes(path.read_bytes()[:-50]), "is missing, or not whole"),
        (lambda path: pd.read_parquet(path).assign(predicted="positive").to_parquet(path), "does not make the test"),
        (lambda path: pd.read_parquet(path).assign(id="x").to_parquet(path), "answers other texts"),
    ],
)
def test_without_answers_to_the_same_texts_there_is_no_interval_for_new_texts_and_it_says_why(
    tmp_path: Path, harm: object, said: str
) -> None:
    runs = published_runs()
    folders = folders_of(tmp_path, runs)
    assert callable(harm)
    harm(folders[str(runs[1].key)] / "predictions.parquet")
    evidence = gather_evidence(runs, folders, 70.0)
    assert evidence.groups[0].over_texts is None
    assert said in (evidence.groups[0].no_texts or "")
    assert evidence.comparisons[0].difference_over_texts is None
    assert evidence.groups[1].over_texts is not None


def test_two_groups_that_answered_other_texts_have_no_interval_for_new_texts(tmp_path: Path) -> None:
    runs = published_runs()[:6]
    folders = folders_of(tmp_path, runs)
    for run in runs[3:]:
        path = folders[str(run.key)] / "predictions.parquet"
        answers = pd.read_parquet(path)
        answers.assign(id="other-" + answers["id"]).to_parquet(path)
    evidence = gather_evidence(runs, folders, 70.0)
    assert all(group.over_texts is not None for group in evidence.groups)
    assert evidence.comparisons[0].difference_over_texts is None


def test_one_seed_says_that_it_is_one_draw() -> None:
    runs = [made_up((900, 80.0, 79.0), 0), made_up((900, 60.0, 64.0), 0, init="random")]
    evidence = gather_evidence(runs, nowhere(runs), 70.0)
    (c,) = evidence.comparisons
    assert "buys 15.00 points, no interval: one seed. One seed is one draw" in answer(c)
    assert c.needed == {}
    assert "One seed has no spread" in tighter(c)
    json.dumps(as_json(evidence), allow_nan=False)


def test_few_seeds_are_told_what_they_allow_and_five_are_not() -> None:
    for n, factor in ((2, 12.706), (3, 4.3027), (4, 3.1824)):
        assert f"reaches {stats.t.ppf(0.975, n - 1):.1f} standard errors" in of_few(n)[0], factor
        low, high = (math.sqrt(n / stats.chi2.ppf(share, n - 1)) for share in (0.975, 0.025))
        assert f"{low:.2f} to {high:.1f} times the std in the table (ddof 0)" in of_few(n)[1]
    assert f"{stats.t.ppf(0.975, 9):.1f} with ten seeds" in of_few(3)[0]
    assert of_few(5) == []


def comparison(one: list[float], other: list[float]) -> Comparison:
    """Return a comparison of pre-trained and random runs of these test accuracies."""
    runs = [made_up((900, 80.0, test), seed) for seed, test in enumerate(one)]
    runs += [made_up((900, 80.0, test), seed, init="random") for seed, test in enumerate(other)]
    (c,) = gather_evidence(runs, nowhere(runs), 70.0).comparisons
    return c


def test_a_gap_that_may_be_nothing_is_called_that() -> None:
    assert "these runs do not show a difference" in answer(comparison([70.0, 80.0, 75.0], [76.0, 71.0, 77.0]))
    c = comparison([80.0, 81.0, 82.5], [70.0, 70.5, 73.0])
    assert doubts(c) == []
    unsure = replace(c.difference, low=-1.0, high=21.0)
    assert doubts(replace(c, difference_over_texts=unsure)) == [
        "The interval for new texts holds 0: on other texts there may be no difference."
    ]
    assert "and -1.00 to +21.00 for new texts, new seeds" in answer(replace(c, difference_over_texts=unsure))


def test_the_side_that_is_faster_or_tighter_is_named_only_where_the_interval_or_test_shows_it() -> None:
    wide, narrow = [60.0, 70.0, 80.0, 90.0, 65.0, 85.0], [75.0, 75.25, 75.5, 75.0, 75.25, 75.75]
    assert tighter_side(comparison(narrow, wide)) == "pretrained"
    assert tighter_side(comparison(wide, narrow)) == "random"
    assert "Pre-trained runs spread less." in tighter(comparison(narrow, wide))
    assert tighter_side(comparison(wide, wide[::-1])) is None
    c = comparison([80.0, 81.0], [75.0, 76.0])
    assert c.steps is not None
    for low, high, side in (
        (1.1, 3.0, "pretrained"),
        (0.2, 0.9, "random"),
        (0.9, 1.1, None),
        (1.2, math.inf, "pretrained"),
        (-math.inf, 0.5, "random"),
        (-math.inf, 1.5, None),
        (math.nan, math.nan, None),
    ):
        told = replace(
            c, steps=replace(c.steps, interval=replace(c.steps.interval, low=low, high=high, method="none: x"))
        )
        assert faster_side(told) == side
        assert ("runs are faster." in faster(told)) == (side is not None)


def test_no_number_of_seeds_is_told_where_the_differences_are_the_same_but_for_rounding() -> None:
    tests = [[100 * right / 300 for right in counts] for counts in ((211, 223, 229), (181, 193, 199))]
    c = comparison(*tests)
    assert c.needed == {}
    assert needed_words(c) == "none (all differences are the same)"


def test_two_back_ends_on_unequal_terms_are_no_pair_of_inits() -> None:
    runs = [made_up((900, 80.0, 79.0), 0), made_up((900, 60.0, 64.0), 0, init="random", dataset="cls_dvd")]
    evidence = gather_evidence(runs, nowhere(runs), 70.0)
    other = comparison([80.0], [70.0])
    of_back_ends = replace(other, axis="backend")
    assert "share dataset, model" in no_answer(replace(evidence, unequal=[(of_back_ends, ["x"])]), runs)
    assert "not on equal terms" in no_answer(replace(evidence, unequal=[(other, ["x"])]), runs)


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


def test_comparisons_of_inits_come_first_and_titles_speak_of_no_others() -> None:
    tests = {"pretrained": 79.0, "random": 65.0}
    runs = [
        made_up((900, 80.0, test + seed), seed, backend, init)
        for backend in ("fairseq", "hf")
        for init, test in tests.items()
        for seed in (0, 1)
    ]
    evidence = gather_evidence(runs, nowhere(runs), 70.0)
    assert [c.axis for c in evidence.comparisons] == ["init", "init", "backend", "backend"]
    assert [(c.axis, c.rest["backend"]) for c in evidence.leading()] == [("init", "fairseq"), ("init", "hf")]
    assert title_of_gaps(evidence).count("points of test accuracy on") == 2


def test_a_title_of_many_comparisons_tells_the_least_and_the_greatest_gap() -> None:
    gaps = {"cls_books": 5.0, "cls_dvd": 9.0, "cls_music": 2.0, "amazon_fr": 7.0}
    runs = [
        made_up((900, 80.0, 70.0 + gap * (init == "pretrained") + seed), seed, init=init, dataset=dataset)
        for dataset, gap in gaps.items()
        for init in ("pretrained", "random")
        for seed in (0, 1)
    ]
    title = title_of_gaps(gather_evidence(runs, nowhere(runs), 70.0))
    assert title == "Pre-trained minus random: +2.00 to +9.00 points of test accuracy in 4 comparisons"


def test_the_same_texts_in_another_order_are_not_laid_beside_each_other(tmp_path: Path) -> None:
    runs = published_runs()[:2]
    folders = folders_of(tmp_path, runs)
    path = folders[str(runs[1].key)] / "predictions.parquet"
    pd.read_parquet(path).iloc[::-1].to_parquet(path)
    answers = [answers_to_test(folders[str(run.key)]) for run in runs]
    right, _, why_not = right_answers(runs, folders, answers)
    assert right is None
    assert why_not == f"{path} answers other texts than the runs before"


def of_curves(init: str, *curves: list[float]) -> list:  # type: ignore[type-arg]
    """Return a run for each curve of test accuracy over steps 0, 100, 200 and 300."""
    runs = [run for run in published_runs() if run.key.init == init and run.key.backend == "fairseq"]
    steps = pd.DataFrame({"step": [0, 100, 200, 300], "valid": 50.0})
    return [replace(run, curve=steps.assign(test=curve)) for run, curve in zip(runs, curves, strict=False)]


def test_a_curve_that_rises_in_the_last_third_is_not_flat() -> None:
    pretrained = of_curves("pretrained", [50, 70, 80, 80.5], [50, 70, 80, 81])
    random = of_curves("random", [50, 55, 60, 61], [50, 55, 60, 62])
    (c,) = gather_evidence([*pretrained, *random], nowhere([*pretrained, *random]), 70.0).comparisons
    low, high = stats.ttest_1samp([1, 2], 0).confidence_interval()
    assert c.other.late_rise is not None
    assert c.other.late_rise[0] == 200
    assert (c.other.late_rise[1].low, c.other.late_rise[1].high) == pytest.approx((low, high))
    assert flat(c) == [
        "Test accuracy from step 200 to the last step, 300: pre-trained runs +0.75 points (95 % interval -2.43 to "
        "+3.93) and random runs +1.50 points (95 % interval -4.85 to +7.85). Random runs are not flat (a rise of 1 "
        "point or more): longer training may change the difference."
    ]


def test_curves_that_rise_by_less_than_a_point_are_flat_and_two_evaluations_do_not_tell() -> None:
    runs = [*of_curves("pretrained", [50, 70, 80, 80.9]), *of_curves("random", [50, 55, 60, 59.2])]
    (c,) = gather_evidence(runs, nowhere(runs), 70.0).comparisons
    assert flat(c)[0].endswith(" Both are flat (a rise or fall of less than 1 point).")
    nothing = replace(c, other=replace(c.other, one_answer=c.other.seeds))
    assert flat(nothing)[0].endswith("). Random runs learned nothing: they give every test text the same class.")
    assert "random runs +" not in flat(nothing)[0]  # from one class alone to another is no rise
    some = replace(c, other=replace(c.other, runs=c.other.runs * 2, one_answer=c.other.seeds))
    assert flat(some)[0].endswith("Random runs are not called flat, because some of them learned nothing.")
    falling = [*runs[:1], *of_curves("random", [50, 55, 60, 54])]
    (c,) = gather_evidence(falling, nowhere(falling), 70.0).comparisons
    assert flat(c)[0].endswith("Random runs are not flat (a fall of 1 point or more).")
    rising = [*runs[:2], *of_curves("random", [43, 43, 43, 57])]  # from one class alone to the other alone
    (c,) = gather_evidence(rising, nowhere(rising), 70.0).comparisons
    assert "not flat" in flat(c)[0]
    assert "not flat" not in flat(replace(c, other=replace(c.other, one_answer=c.other.seeds)))[0]
    short = [replace(run, curve=run.curve.iloc[[0, 3]]) for run in runs]
    (c,) = gather_evidence(short, nowhere(short), 70.0).comparisons
    assert flat(c) == []


def test_a_record_of_inputs_without_examples_leaves_the_number_of_texts_open(tmp_path: Path) -> None:
    runs = of_curves("random", [50, 55, 60, 61])
    folders = folders_of(tmp_path, runs)
    (folders[str(runs[0].key)] / "provenance.json").write_text('{"inputs": {"examples": null}}')
    (group,) = gather_evidence(runs, folders, 70.0).groups
    assert group.n_train is None


@pytest.mark.parametrize(("n", "width", "said"), [(1, 2.2, "Line: one run."), (2, 0.8, "Thin line: one run.")])
def test_a_run_alone_is_drawn_as_a_full_line_and_the_caption_agrees(n: int, width: float, said: str) -> None:
    curves: list[list[float]] = [[50, 55, 60, 61], [50, 56, 61, 60]]
    runs = of_curves("random", *curves[:n])
    drawing = accuracy_over_steps(gather_evidence(runs, nowhere(runs), 70.0), "test")
    assert drawing is not None
    lines = [line for line in drawing.figure.axes[0].lines if len(np.atleast_1d(line.get_xdata())) > 1]
    assert [line.get_linewidth() for line in lines[:n]] == [width] * n
    assert said in drawing.caption


@pytest.mark.parametrize(("apart", "sides"), [(1.0, {"left", "right"}), (40.0, {"center"})])
def test_the_labels_of_baselines_that_are_close_stand_on_two_sides(apart: float, sides: set[str]) -> None:
    runs = of_curves("random", [50, 55, 60, 61])
    evidence = gather_evidence(runs, nowhere(runs), 70.0)
    low = Baseline("commonest class", 50.0, 50.0, 45.0, 55.0)
    own = [replace(low, name="TF-IDF + logistic regression", test=50.0 + apart), low]
    drawing = final_accuracy(evidence, {evidence.groups[0].names["dataset"]: own})
    assert {text.get_horizontalalignment() for text in drawing.figure.axes[0].texts} == sides


def test_runs_that_were_never_evaluated_at_the_same_step_are_drawn_without_a_mean() -> None:
    runs = of_curves("random", [50, 55, 60, 61], [50, 55, 60, 62])
    runs = [replace(run, curve=run.curve.iloc[number::2]) for number, run in enumerate(runs)]
    (group,) = gather_evidence(runs, nowhere(runs), 70.0).groups
    axis = Figure().subplots()
    _draw_curves(axis, group, "test", 0.8)
    assert not axis.collections  # no band


def test_the_most_runs_of_common_seeds_stay_in_a_curve() -> None:
    """As an exhaustive search finds them, over every set of seeds of the point that stays."""
    runs = [made_up((98, 80.0, 70.0 + seed), seed) for seed in range(4)]
    [group] = gather_evidence(runs, nowhere(runs), 70.0).groups
    rng = np.random.default_rng(4)
    for _ in range(200):
        own = {
            place: [seed for seed in range(4) if rng.random() < 0.6] or [0] for place in range(int(rng.integers(2, 6)))
        }
        points = {place: [group.only(seeds)] * (1 + place % 2) for place, seeds in own.items()}
        chosen, left_out = of_common_seeds(points, 1)
        sets = chain.from_iterable(combinations(own[1], n) for n in range(1, len(own[1]) + 1))
        kept = [(seeds, [place for place in own if set(seeds) <= set(own[place])]) for seeds in sets]
        most = max(
            len(seeds) * sum(len(points[place]) for place in places) * (len(places) > 1) for seeds, places in kept
        )
        assert sum(of.n for groups in chosen.values() for of in groups) == most
        assert not chosen or 1 in chosen
        assert len({tuple(of.seeds) for groups in chosen.values() for of in groups}) <= 1
        n_runs = sum(len(seeds) * len(points[place]) for place, seeds in own.items())
        if chosen:
            named = sum("a seed that not all have" in said for said in left_out)
            of_dropped = sum(len(own[place]) * len(points[place]) for place in own if place not in chosen)
            assert named + of_dropped + most == n_runs
