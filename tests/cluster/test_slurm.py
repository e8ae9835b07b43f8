"""A real SLURM on this machine: six runs, one job cancelled, others pre-empted, and the same bits in the end."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeps.folders import find_runs, read_json, read_status
from tests.cluster.conftest import PATIENCE, RUNS, SETTINGS
from tests.conftest import Workspace
from tests.sweeps.test_cut_runs import same
from tests.sweeps.test_processes import step_of, until

pytest.importorskip("submitit")
pytestmark = pytest.mark.slow

SLURM = ("--launcher", "slurm")
ON_SLURM = ("launcher.gpus=0", "launcher.memory_gb=1", "launcher.minutes=10", "launcher.jobs=2")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start a SLURM of one node, or skip with the reason; its folder holds slurm.conf."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("SLURM is installed and started by root on Debian only")
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run(
        [str(Path(__file__).with_name("start_slurm.sh")), str(folder)], capture_output=True, text=True, timeout=300
    )
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        if started.returncode:
            pytest.skip(f"SLURM does not start here: {' '.join((started.stdout + started.stderr).split())[-300:]}")
        yield folder
    finally:
        subprocess.run(["scancel", "--user=root"], check=False)
        for daemon in ("slurmd", "slurmctld"):
            if (folder / f"{daemon}.pid").is_file():
                os.kill(int((folder / f"{daemon}.pid").read_text()), 15)
        del os.environ["SLURM_CONF"]


def folders_of(workspace: Workspace, sweep: str) -> list[Path]:
    return list(find_runs(workspace.root / "runs" / sweep).values())


def running(folder: Path) -> bool:
    return read_status(folder)["state"] == "running" and step_of(folder) > 0


def test_six_runs_through_a_queue_that_cancels_one_and_pre_empts_others(
    workspace: Workspace, calm: Callable[[], str], slurm: Path
) -> None:
    words = ("--sweep", "queued", *RUNS, *SLURM)
    sent = workspace.sweep(*words, "--no-wait", "--", *SETTINGS, *ON_SLURM)
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert "6 submitted" in sent.stdout
    folders = folders_of(workspace, "queued")
    jobs = {folder: read_json(folder / "status.json")["job"] for folder in folders}
    assert len(set(jobs.values())) == 6
    again = workspace.sweep(*words, "--no-wait", "--", *SETTINGS, *ON_SLURM)
    assert "6 jobs in SLURM's queue already, 0 submitted" in again.stdout

    until(lambda: any(map(running, folders)))
    cancelled = next(filter(running, folders))
    subprocess.run(["scancel", jobs[cancelled]], check=True)
    until(lambda: any(running(folder) for folder in folders if folder != cancelled))
    wrap = ["sbatch", "--partition=high", "--cpus-per-task=4", f"--output={slurm}/high.log", "--wrap", "sleep 2"]
    subprocess.run(wrap, check=True)
    until(lambda: any("PREEMPTED" in line or "requeue" in line.lower() for line in controller_log(slurm)))

    watched = workspace.python("sweeps", "status", "--sweep", "queued", "--watch", timeout=PATIENCE)
    assert watched.returncode == 0, watched.stderr
    assert "cancelled or lost" in read_status(cancelled)["error"]
    assert [read_status(folder)["state"] for folder in folders].count("done") == 5, watched.stdout
    resumed = [folder for folder in folders if read_json(folder / "provenance.json").get("resumed")]
    assert resumed, "no run was pre-empted in the middle"

    last = workspace.sweep(*words, "--", *SETTINGS, *ON_SLURM, timeout=PATIENCE)
    assert last.returncode == 0, last.stdout + last.stderr
    assert "1 submitted" in last.stdout
    for folder, undisturbed in zip(folders, folders_of(workspace, calm()), strict=True):
        same(folder, undisturbed)


def controller_log(slurm: Path) -> list[str]:
    return (slurm / "slurmctld.log").read_text().splitlines()
