"""Event files: merged and damaged ones."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.tensorboard import SummaryWriter

from analysis.best_steps import results_of
from analysis.event_files import event_files, read_file, read_run, read_sweep
from analysis.notes import problems_of_logs
from sweeps.folders import RunKey

KEY = RunKey("amazon_fr", "tiny", "fairseq", "full", "pretrained", 0)


def write(folder: Path, split: str, points: list[tuple[str, int, float]], wall_time: float | None = None) -> Path:
    """Write one event file of (tag, step, value) and return it."""
    before = set((folder / "tb" / split).glob("*")) if (folder / "tb" / split).is_dir() else set()
    with SummaryWriter(str(folder / "tb" / split)) as writer:
        for tag, step, value in points:
            writer.add_scalar(tag, value, step, walltime=wall_time)
    (made,) = set((folder / "tb" / split).glob("*")) - before
    return made


def counts(step: int, right: int, n: int) -> list[tuple[str, int, float]]:
    return [("n_correct", step, right), ("n", step, n)]


def make_run(root: Path, seed: int = 0, steps: tuple[int, ...] = (0, 5, 10)) -> Path:
    """Write a done run whose validation accuracy rises to the last step but one."""
    folder = RunKey("amazon_fr", "tiny", "fairseq", "full", "pretrained", seed).folder(root, "s")
    right = {step: 10 + min(number, len(steps) - 2) for number, step in enumerate(steps)}
    write(folder, "valid", [point for step in steps for point in counts(step, right[step], 20)])
    write(folder, "test", [point for step in steps for point in counts(step, right[step] + 5, 40)])
    (folder / "status.json").write_text(json.dumps({"state": "done"}))
    last, best = {"step": steps[-1]}, steps[-2]
    (folder / "progress.json").write_text(json.dumps({"best_step": best, "valid": last, "test": last}))
    return folder


@given(st.lists(st.tuples(st.sampled_from(["loss", "n"]), st.integers(0, 500), st.integers(0, 400)), max_size=30))
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, points: list[tuple[str, int, float]]
) -> None:
    path = write(tmp_path_factory.mktemp("events"), "valid", points)
    scalars, wrong = read_file(path)
    assert [(tag, step, value) for tag, step, value, _ in scalars] == points
    assert wrong is None


def test_two_files_of_a_resumed_run_are_merged_by_step_and_the_later_writing_wins(tmp_path: Path) -> None:
    write(tmp_path, "valid", [("loss", 0, 1.0), ("loss", 5, 2.0), ("loss", 10, 3.0)], wall_time=100.0)
    later = write(tmp_path, "valid", [("loss", 10, 30.0), ("loss", 15, 4.0)], wall_time=200.0)
    later.rename(later.with_name("events.out.tfevents.0000000001.earlier-name"))  # names do not decide, times do
    table, damage = read_run(tmp_path)
    assert list(zip(table["step"], table["value"], strict=True)) == [(0, 1.0), (5, 2.0), (10, 30.0), (15, 4.0)]
    assert damage == []


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda whole: whole[:-7], "ends in the middle of a record, after 5 whole ones"),
        (lambda whole: whole[:-30] + bytes([whole[-30] ^ 1]) + whole[-29:], "fails its checksum, after 5 whole ones"),
        (lambda whole: b"", "is empty"),
        (lambda whole: b"\0" * 40, "fails its checksum, after 0 whole ones"),
    ],
)
def test_a_damaged_file_is_named_and_read_up_to_the_damage(tmp_path: Path, harm: object, said: str) -> None:
    path = write(tmp_path, "test", [("loss", step, step / 2) for step in range(5)])
    assert callable(harm)
    path.write_bytes(harm(path.read_bytes()))
    scalars, wrong = read_file(path)
    assert wrong == f"{path} {said}"
    assert [step for _, step, _, _ in scalars] == ([0, 1, 2, 3] if "after 5" in said else [])


def test_what_an_operating_system_leaves_beside_event_files_is_no_log(tmp_path: Path) -> None:
    path = write(tmp_path, "valid", [("loss", 1, 0.5)])
    alone = read_run(tmp_path)
    for name in (".DS_Store", f"._{path.name}", "Thumbs.db", "desktop.ini"):
        (path.parent / name).write_bytes(b"\0\5\26\7")
        (path.parent.parent / name).write_bytes(b"\0\5\26\7")
    hidden = path.parent.parent / ".Trash"
    hidden.mkdir()
    (hidden / path.name).write_bytes(b"\0")
    table, damage = read_run(tmp_path)
    assert damage == []
    assert table.equals(alone[0])
    assert event_files(tmp_path) == [path]


def test_a_damaged_run_keeps_its_figures_only_while_its_best_step_and_its_end_can_be_read(tmp_path: Path) -> None:
    folders = [make_run(tmp_path, seed) for seed in (0, 1, 2)]
    (valid,) = (folders[1] / "tb/valid").glob("*")
    valid.write_bytes(valid.read_bytes()[:-7])  # the last evaluation is gone
    write(folders[2], "train_inner", [("loss", 1, 0.5)])
    (loss,) = (folders[2] / "tb/train_inner").glob("*")
    loss.write_bytes(loss.read_bytes()[:-3])  # a training loss is gone
    logs = read_sweep(tmp_path / "s")
    assert {key.seed for key in logs.damage} == {1, 2}
    by_seed = {result.key.seed: result for result in results_of(logs, [])}
    assert [by_seed[seed].status for seed in (0, 1, 2)] == ["done", "damaged", "done"]
    assert by_seed[1].test is None
    assert by_seed[2].test == by_seed[0].test == 40.0


def test_a_run_whose_logs_tell_another_best_step_than_it_did_is_damaged(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    (folder / "progress.json").write_text(json.dumps({"best_step": 0, "valid": {"step": 10}, "test": {"step": 10}}))
    assert results_of(read_sweep(tmp_path / "s"), [])[0].status == "damaged"


def test_an_odd_status_is_read_as_far_as_it_goes_and_an_error_is_one_short_line(tmp_path: Path) -> None:
    statuses = [
        {"state": "done", "skipped_steps": 3},
        {"state": "done", "attempts": None, "skipped_steps": -3, "planned_steps": 9},
        {"state": "done", "attempts": 2, "skipped_steps": 3, "planned_steps": 9},
        {"state": "failed", "error": "one\n## two\n" + "x " * 500},
    ]
    for seed, status in enumerate(statuses):
        (make_run(tmp_path, seed) / "status.json").write_text(json.dumps(status))
    logs = read_sweep(tmp_path / "s")
    results = results_of(logs, [])
    key = replace(KEY, seed=2)
    assert problems_of_logs(logs, results) == [
        f"{key} took 2 attempts (cut and taken up, or redone).",
        f"{key} skipped 3 of 9 steps: the gradients overflowed.",
    ]
    told = results[-1].why
    assert told.startswith("one ## two x x")
    assert len(told) <= 300
