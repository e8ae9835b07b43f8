"""What a comparison of two groups holds, and which runs it leaves out."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.crossings import Bracket
from analysis.evidence import Evidence, gather_evidence
from analysis.findings import answer
from analysis.notes import notes
from analysis.significance import brown_forsythe
from tests.analysis.made_up import PUBLISHED, folders_of, made_up, nowhere, published_runs


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
