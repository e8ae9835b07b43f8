"""The whole report of made-up sweeps of many shapes, compared to the last sentence.

A change that is meant: `python -m tests.analysis.golden` writes the reports anew; read what differs.
"""

from pathlib import Path

import pytest

from tests.analysis.golden import REPORTS, SWEEPS, report_of


@pytest.mark.parametrize("name", SWEEPS)
def test_a_report_says_what_its_runs_support(name: str, tmp_path: Path) -> None:
    assert report_of(name, tmp_path) == (REPORTS / f"{name}.md").read_text(encoding="utf-8")


def test_every_report_on_disk_is_of_a_sweep() -> None:
    assert {path.stem for path in REPORTS.glob("*.md")} == set(SWEEPS)
