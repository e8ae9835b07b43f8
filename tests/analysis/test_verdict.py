"""The verdict on published numbers and claims, by the stated rule."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.evidence import gather_evidence
from analysis.report import numbers_table, side_by_side
from analysis.verdict import claim_verdicts, errata, number_verdicts, one_more_run, published, rule
from tests.analysis.made_up import PUBLISHED, made_up, published_runs


def evidence_of(runs: list, threshold: float = 70.0):  # type: ignore[type-arg, no-untyped-def]
    return gather_evidence(runs, {str(run.key): Path("nowhere") for run in runs}, threshold)


def test_the_file_holds_the_nine_published_runs() -> None:
    found = {(table["backend"], table["init"]): [(run["best_step"], run["valid"], run["test"]) for run in table["runs"]]
             for table in published()["tables"]}  # fmt: skip
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
    for low, high, verdict in ((0.6, 1.9, "reproduced"), (2.1, 9.0, "not reproduced"), (0.1, 0.4, "not reproduced"),
                               (0.4, 1.0, "cannot tell"), (math.nan, math.nan, "cannot tell")):  # fmt: skip
        assert rule(low, high, 2.0, ratio=True) == verdict
        assert rule(1 / high, 1 / low, 2.0, ratio=True) == verdict


def test_the_published_runs_themselves_differ_by_nothing_but_three_seeds_cannot_reproduce_a_std() -> None:
    verdicts = number_verdicts(evidence_of(published_runs()), 22_807_552)
    assert len(verdicts) == 1 + 9 * 3 + 3 * 2
    assert (verdicts[0].verdict, verdicts[0].difference) == ("reproduced", 0)
    means = [row for row in verdicts if row.what == "mean test accuracy"]
    assert [row.difference for row in means] == pytest.approx([0, 0, 0], abs=1e-9)
    assert [row.verdict for row in means] == ["reproduced", "cannot tell", "reproduced"]  # random: -2.3 to +2.3
    stds = [row for row in verdicts if row.what.startswith("std")]
    assert [row.difference for row in stds] == pytest.approx([1, 1, 1])
    assert [row.verdict for row in stds] == ["cannot tell"] * 3
    low, high = (1 / math.sqrt(stats.f.ppf(part, 2, 2)) for part in (0.975, 0.025))
    assert (stds[0].low, stds[0].high) == pytest.approx((low, high))


def test_other_runs_get_other_verdicts_and_what_was_not_run_is_said() -> None:
    rng = np.random.default_rng(0)
    runs = [made_up((900, 70.0, 60 + rng.normal(0, 0.2)), seed) for seed in range(8)]
    verdicts = number_verdicts(evidence_of(runs))
    assert {row.verdict for row in verdicts if "pre-trained" in row.where and "fairseq" in row.where
            and "test" in row.what and not row.what.startswith("std")} == {"not reproduced"}  # fmt: skip
    not_run = [row for row in verdicts if "random" in row.where or "Hugging" in row.where or row.unit == "weights"]
    assert {row.verdict for row in not_run} == {"not run"}
    assert number_verdicts(evidence_of(runs), 22_807_553)[0].verdict == "not reproduced"
    shown = numbers_table(verdicts)
    assert shown["published"].tolist()[0] == "22,807,552"
    assert shown["ours"].tolist()[-1] == "-"


def test_one_more_run_is_within_a_prediction_interval() -> None:
    values = np.array([79.5, 78.5, 80.1])
    found = one_more_run(values)
    half = 4.302653 * values.std(ddof=1) * math.sqrt(4 / 3)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), rel=1e-6)
    assert not one_more_run(values[:1]).has_interval
    assert not one_more_run(np.array([1.0, 1.0])).has_interval


def test_another_dataset_gets_a_verdict_on_the_claims_only() -> None:
    evidence = evidence_of(published_runs("amazon_fr"))
    assert number_verdicts(evidence) == []
    by_text = {claim.says: claim for claim in claim_verdicts(evidence)}
    said = published()["claims"]
    assert by_text[said["faster"]["says"]].verdict == "reproduced"
    assert by_text[said["higher"]["says"]].verdict == "reproduced"
    assert by_text[said["tighter"]["says"]].verdict == "cannot tell"  # three seeds
    assert by_text[said["steps"]["says"]].verdict == "cannot tell"
    assert by_text[said["same_range"]["says"]].verdict == "cannot tell"  # +0.80, -1.64 to +3.24


def test_a_claim_that_fails_is_not_reproduced() -> None:
    runs = [made_up((200 + 10 * seed, 80.0, 65.0 + 5 * (seed % 3)), seed) for seed in range(9)]
    runs += [made_up((50 + seed, 80.0, 85.0 + 0.1 * seed), seed, init="random") for seed in range(9)]
    runs += [made_up((50 + seed, 80.0, 75.0 + 5 * (seed % 3) + 0.1 * seed), seed, backend="hf") for seed in range(9)]
    by_text = {claim.says: claim.verdict for claim in claim_verdicts(evidence_of(runs))}
    said = published()["claims"]
    assert by_text[said["higher"]["says"]] == "not reproduced"
    assert by_text[said["faster"]["says"]] == "not reproduced"
    assert by_text[said["tighter"]["says"]] == "not reproduced"
    assert by_text[said["same_range"]["says"]] == "not reproduced"
    assert by_text[said["as_fast"]["says"]] == "not reproduced"


def test_the_steps_claim_is_of_seventy_percent_only() -> None:
    claims = claim_verdicts(evidence_of(published_runs("amazon_fr"), threshold=60.0))
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
    table = side_by_side("fairseq", evidence.groups[:2])
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
    assert side_by_side("hf", [])["ours: test %"].tolist() == ["-"] * 4
