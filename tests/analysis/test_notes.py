"""Notes on what few seeds allow, and warnings."""

import math
from dataclasses import replace
from pathlib import Path

from scipy import stats

from analysis.evidence import gather_evidence
from analysis.notes import of_few, warnings
from tests.analysis.made_up import made_up


def test_few_seeds_are_told_what_they_allow_and_five_are_not() -> None:
    for n, factor in ((2, 12.706), (3, 4.3027), (4, 3.1824)):
        assert f"reaches {stats.t.ppf(0.975, n - 1):.1f} standard errors" in of_few(n)[0], factor
        low, high = (math.sqrt(n / stats.chi2.ppf(share, n - 1)) for share in (0.975, 0.025))
        assert f"{low:.2f} to {high:.1f} times the std in the table (ddof 0)" in of_few(n)[1]
    assert f"{stats.t.ppf(0.975, 9):.1f} with ten seeds" in of_few(3)[0]
    assert of_few(5) == []


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
