"""Groups, comparisons and sentences, on runs made up for the purpose."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.text import Text
from scipy import stats

from analysis.evidence import Evidence, as_json, gather_evidence, what_n_allows
from analysis.figures import steps_to_threshold
from analysis.findings import answer, no_answer, tighter
from analysis.tables import comparisons_table, steps_table
from tests.analysis.made_up import PUBLISHED, folders_of, made_up, published_runs


def nowhere(runs: list) -> dict[str, Path]:  # type: ignore[type-arg]
    return {str(run.key): Path("nowhere") for run in runs}


@pytest.fixture
def published(tmp_path: Path) -> Evidence:
    runs = published_runs()
    return gather_evidence(runs, folders_of(tmp_path, runs), 70.0)


def test_the_published_six_give_the_published_mean_and_std(published: Evidence) -> None:
    printed = {group.title: (f"{group.spread.mean / 100:.3f}", f"{group.spread.std / 100:.4f}")
               for group in published.groups}  # fmt: skip
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


def test_a_comparison_holds_what_the_statistics_say(published: Evidence) -> None:
    c = published.comparisons[0]
    one, other = ([test for _, _, test in PUBLISHED["fairseq", init]] for init in ("pretrained", "random"))
    interval = stats.ttest_rel(one, other).confidence_interval()
    assert c.paired
    assert "head's first weights" in c.why
    assert (c.difference.low, c.difference.high) == pytest.approx((interval.low, interval.high))
    assert c.permutation.p == pytest.approx(0.1) == c.permutation.smallest
    texts = c.difference_over_texts
    assert texts is not None
    assert texts.value == pytest.approx(c.difference.value)
    assert texts.target == "new texts, new seeds"
    assert texts.method == "crossed random effects, 3 paired seeds by 2000 texts"
    assert texts.low <= c.difference.low + 1e-9
    assert texts.high >= c.difference.high - 1e-9
    assert c.one.n_censored == 0
    assert c.other.n_censored == 3
    assert c.other.counted_steps.tolist() == [1200.0] * 3
    assert c.one.steps_evaluated == [1125.0, 675.0, 900.0]
    assert c.one.steps[0] == pytest.approx(1125 * 20 / 29.5)
    assert c.needed[1.0] is not None
    assert c.needed[1.0] > (c.needed[5.0] or 0)


def test_runs_of_other_seeds_are_not_paired() -> None:
    runs = [made_up((900, 80.0, 79.0 + seed), seed) for seed in (0, 1, 2)]
    runs += [made_up((900, 60.0, 64.0 + seed), seed, init="random") for seed in (0, 1)]
    (c,) = gather_evidence(runs, nowhere(runs), 70.0).comparisons
    assert not c.paired
    assert c.why == "not paired: seeds 0,1,2 against 0,1"
    assert c.difference.method == "Welch's t, 3 and 2 seeds"
    assert math.isnan(c.spread_p)


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
    assert "buys +15.00 points, without an interval (one seed). " in answer(c)
    assert c.needed == {}
    assert tighter(c) == "One seed has no spread"
    assert what_n_allows(1)[0].startswith("One seed is one draw")
    json.dumps(as_json(evidence), allow_nan=False)


def test_three_seeds_are_told_what_they_allow_and_five_are_not() -> None:
    words = " ".join(what_n_allows(3))
    assert "cannot give a p below 0.1, so it can never reach 0.05" in words
    assert "0.52 to 6.3 times" in words
    for n, factor in ((2, 12.706), (3, 4.3027), (4, 3.1824)):
        assert f"reaches {stats.t.ppf(0.975, n - 1):.1f} standard errors" in what_n_allows(n)[0], factor
    assert what_n_allows(5) == []


def test_the_answer_is_made_of_the_numbers(published: Evidence) -> None:
    said = answer(published.comparisons[0])
    assert said.startswith(
        "On cls_books, roberta_small_fr (fairseq, full) reaches 79.37 % test accuracy from pre-trained weights and "
        "66.50 % from random ones: pre-training buys +12.87 points (95 % interval +9.99 to +15.75 for new seeds, "
        "on this test set and on new texts; 3 paired seeds). They pass 70 % after "
    )
    assert "interpolated between evaluations 1125 steps apart)" in said
    assert "(3 of 3 random runs never do, and count with their last step), at least " in said
    assert "do not show a difference" not in said


def test_the_figure_of_steps_tells_a_lower_bound_and_no_interval_of_one_seed(published: Evidence) -> None:
    runs = [made_up((900, 80.0, 79.0), 0), made_up((900, 60.0, 64.0), 0, init="random")]
    said = []
    for evidence in (published, gather_evidence(runs, nowhere(runs), 70.0)):
        said.append(" ".join(" ".join(text.get_text() for text in steps_to_threshold(evidence).findobj(Text)).split()))
    assert "Random runs need at least" in said[0]
    assert "to 70 % (95 % interval" in said[0]
    assert "Random runs need at least" in said[1]
    assert "(95 % interval" not in said[1]


def test_a_gap_that_may_be_nothing_is_called_that() -> None:
    runs = [made_up((900, 80.0, test), seed) for seed, test in enumerate((70.0, 80.0, 75.0))]
    runs += [made_up((900, 80.0, test), seed, init="random") for seed, test in enumerate((76.0, 71.0, 77.0))]
    (c,) = gather_evidence(runs, nowhere(runs), 70.0).comparisons
    assert "these runs do not show a difference" in answer(c)


def test_a_run_that_starts_above_the_mark_gives_no_ratio() -> None:
    runs = [made_up((900, 80.0, 79.0 + seed), seed, start=72.0) for seed in (0, 1)]
    runs += [made_up((900, 80.0, 75.0 + seed), seed, init="random") for seed in (0, 1)]
    (c,) = gather_evidence(runs, nowhere(runs), 70.0).comparisons
    assert c.steps_ratio is None
    assert "above 70 % before its first step" in answer(c)


def test_one_init_alone_has_no_answer() -> None:
    runs = [made_up((900, 80.0, 79.0), seed) for seed in (0, 1)]
    assert "cannot say what pre-training buys" in no_answer(gather_evidence(runs, nowhere(runs), 70.0))


def test_tables_of_comparisons_and_steps(published: Evidence) -> None:
    table = comparisons_table(published)
    assert table["difference, points"].tolist() == ["+12.87", "+0.80"]
    assert table["never reached, first / second"].tolist() == ["0 of 3 / 3 of 3", "0 of 3 / 0 of 3"]
    assert steps_table(published)["interpolated"].tolist()[3:6] == ["never"] * 3
