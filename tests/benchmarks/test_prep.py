"""The bench runs both ways and finds that they wrote the same."""

import json
import shutil
from pathlib import Path

from tests.conftest import Workspace, refused


def test_prep_writes_what_the_shell_pipeline_writes(workspace: Workspace, tmp_path: Path) -> None:
    """Byte for byte, by real fairseq-preprocess on real pieces and with workers; with a tiny model."""
    data = tmp_path / "data"
    shutil.copytree(workspace.model, data / "models/e5_small_fr")
    shutil.copytree(workspace.root / "data/splits/amazon_fr", data / "splits/amazon_fr")
    answer = workspace.python("benchmarks.prep", "--texts", "2100", "--rounds", "1", "--data-dir", str(data))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "train.bin is the same" in answer.stdout
    measured = json.loads(answer.stdout.splitlines()[-1])
    assert measured["ratio"] == measured["seconds"]["shell pipeline"][0] / measured["seconds"]["prep"][0]
    assert all(peaks[0] > 0 for peaks in measured["peak_gb"].values())
    assert not [path for path in data.iterdir() if path.name.startswith("tmp")]


def test_without_the_default_data_it_says_so(workspace: Workspace, tmp_path: Path) -> None:
    assert "run `make prep` first" in refused(workspace.python("benchmarks.prep", "--data-dir", str(tmp_path)))
