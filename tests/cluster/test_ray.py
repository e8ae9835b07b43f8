"""A real Ray of two nodes on this machine: six runs, one node killed in the middle, and the same bits in the end."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from sweeps.folders import find_runs, read_json, read_status
from tests.cluster.conftest import PATIENCE, RUNS, SETTINGS
from tests.conftest import Workspace
from tests.sweeps.test_cut_runs import same
from tests.sweeps.test_processes import start, step_of, until

# found, not imported, as that takes seconds wherever tests are collected
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("ray") is None, reason="the extra cluster is not installed: make setup EXTRAS=dev,cluster"
    ),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """Start a Ray of two nodes with one CPU each, or skip with the reason."""
    from ray.cluster_utils import Cluster

    try:
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100_000_000})
        made.add_node(num_cpus=1, object_store_memory=100_000_000)
        made.wait_for_nodes(timeout=60)
    except Exception as error:  # whatever keeps Ray from starting on this machine
        pytest.skip(f"Ray does not start here: {error}")
    os.environ["RAY_ADDRESS"] = made.address
    yield made
    del os.environ["RAY_ADDRESS"]
    made.shutdown()


def node_of(folder: Path) -> int | None:
    """Return the process id of the Ray node that trains the run."""
    status = read_status(folder)
    if status["state"] != "running" or step_of(folder) == 0:
        return None
    above = psutil.Process(status["pid"]).parents()
    return next((process.pid for process in above if process.name() == "raylet"), None)


def test_six_runs_on_two_nodes_of_which_one_dies(
    workspace: Workspace, calm: Callable[[], str], cluster: object
) -> None:
    words = ("--sweep", "on-ray", *RUNS, "--launcher", "ray", "--", *SETTINGS, "launcher.gpus=0")
    process = start(workspace, *words)
    root = workspace.root / "runs" / "on-ray"
    _, worker = (node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes())  # type: ignore[attr-defined]

    def hit() -> Path | None:
        return next((folder for folder in find_runs(root).values() if node_of(folder) == worker), None)

    until(lambda: hit() is not None or process.poll() is not None)
    folder = hit()
    assert folder is not None, process.communicate()[0]
    for victim in [*psutil.Process(worker).children(recursive=True), psutil.Process(worker)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert read_json(folder / "status.json")["attempts"] == 2
    for key, undisturbed in find_runs(workspace.root / "runs" / calm()).items():
        same(key.folder(workspace.root / "runs", "on-ray"), undisturbed)
