"""The published runs, for tests of what is computed from them."""

from pathlib import Path

import pytest

from analysis.evidence import Evidence, gather_evidence
from tests.analysis.made_up import folders_of, published_runs


@pytest.fixture
def published(tmp_path: Path) -> Evidence:
    runs = published_runs()
    return gather_evidence(runs, folders_of(tmp_path, runs), 70.0)
