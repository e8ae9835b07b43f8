"""`python -m analysis` on a real sweep."""

import json
import shutil
from pathlib import Path

import pandas as pd
from PIL import Image

from tests.conftest import EPOCHS, Workspace, refused


def test_figures_tables_and_summary_of_a_real_sweep(swept: Workspace) -> None:
    answer = swept.python("analysis")
    assert answer.returncode == 0, answer.stderr
    results = swept.root / "results/default"
    for name in ("test_accuracy", "valid_accuracy", "train_loss"):
        assert Image.open(results / f"figures/{name}.png").size[0] > 800
        assert "<svg" in (results / f"figures/{name}.svg").read_text()[:2000]
    assert {path.name for path in (results / "tables").iterdir()} == {"results.md", "results.csv", "results.tex"}
    summary = json.loads((results / "summary.json").read_text())
    assert [run["status"] for run in summary["runs"]] == ["done"] * 4
    for run in summary["runs"]:
        progress = json.loads((swept.run_folder(run["init"], run["seed"]) / "progress.json").read_text())
        assert run["best_step"] == progress["best_step"]
        assert run["best_valid"] == 100 * progress["best_valid"]["n_correct"] / progress["best_valid"]["n"]
    table = pd.read_parquet(results / "scalars.parquet")
    assert len(table[(table["split"] == "test") & (table["tag"] == "n_correct")]) == 4 * (EPOCHS + 1)
    assert "pretrained minus random" in answer.stdout


def test_a_failed_and_a_missing_run_are_named(swept: Workspace, tmp_path: Path) -> None:
    runs = Path(shutil.copytree(swept.root / "runs/default", tmp_path / "runs/default")).parent
    folder = runs / "default/amazon_fr/tiny/fairseq/full/random"
    status = json.loads((folder / "seed=0/status.json").read_text())
    (folder / "seed=0/status.json").write_text(json.dumps({**status, "state": "failed"}))
    shutil.rmtree(folder / "seed=1")
    answer = swept.python("analysis", "--runs-dir", str(runs), "--results-dir", str(tmp_path / "results"))
    assert answer.returncode == 0, answer.stderr
    foot = (tmp_path / "results/default/tables/results.md").read_text().splitlines()[-1]
    assert "amazon_fr/tiny/fairseq/full/random/seed=0 (failed)" in foot
    assert "amazon_fr/tiny/fairseq/full/random/seed=1 (missing)" in foot


def test_no_sweep_is_one_sentence(swept: Workspace) -> None:
    assert "holds no run that is done" in refused(swept.python("analysis", "--sweep", "nope"))
