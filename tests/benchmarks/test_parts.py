"""The bench of the parts: a step's seconds come from the event files, and every row is a real sweep."""

from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from benchmarks.parts import GPU_PARTS, PARTS, SHAPES, START, step_seconds
from foundation.errors import UsageError
from hydra_conf.compose import compose_config
from tests.conftest import Workspace


def points(folder: Path, steps: list[int], seconds: float) -> None:
    with SummaryWriter(str(folder / "tb/train_inner")) as writer:
        for step in steps:
            writer.add_scalar("loss", 1.0, step, walltime=1_000 + seconds * step)


def test_a_steps_seconds_are_the_mean_over_the_runs(tmp_path: Path) -> None:
    points(tmp_path / "seed=0", [1, 2, 3, 4], 0.5)
    points(tmp_path / "seed=1", [1, 2, 5], 1.5)
    assert step_seconds(tmp_path) == pytest.approx(1.0)
    points(tmp_path / "seed=2", [1], 1.0)
    with pytest.raises(UsageError, match="1 points"):
        step_seconds(tmp_path)


def test_every_row_composes_and_the_first_has_no_quick_part() -> None:
    rows = {**PARTS, **GPU_PARTS, **START, **SHAPES}
    configs = {
        name: compose_config([word for word in words if not word.startswith("--")]) for name, words in rows.items()
    }
    assert not any([*list(configs["fairseq's own parts, float32"].speed.values())[:3]])
    assert all([*list(configs["all"].speed.values())[:3]])
    assert configs["all"].speed.adam == "warmstart_adam"


def test_the_profile_names_the_matrix_products(workspace: Workspace, tmp_path: Path) -> None:
    page = tmp_path / "bench.md"
    page.write_text("<!-- profile -->\n<!-- end of profile -->\n")
    words = ["--model", "tiny", "--steps", "2", "--precision", "fp32", "--page", str(page), "profile"]
    wide = SHAPES["roberta_small_fr's shape"]  # width 512: at 64, a product may take less time than what surrounds it
    answer = workspace.python("benchmarks.parts", *words, *workspace.overrides, "init=random", *wide)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert page.read_text().startswith("<!-- profile -->\n2 steps in fp32, ")
    assert "`aten::addmm`" in page.read_text()


@pytest.mark.slow
def test_the_tables_are_made_by_real_sweeps(workspace: Workspace, tmp_path: Path) -> None:
    page = tmp_path / "bench.md"
    page.write_text("<!-- parts -->\n<!-- end of parts -->\n<!-- costs -->\n<!-- end of costs -->\n")
    for what in ("parts", "costs"):
        words = ["--model", "tiny", "--rounds", "1", "--steps", "3", "--page", str(page), what]
        answer = workspace.python("benchmarks.parts", *words, *workspace.overrides, timeout=1_800)
        assert answer.returncode == 0, answer.stdout + answer.stderr
    said = page.read_text()
    assert "| all  " in said
    assert "| 24 runs of 5 steps " in said
