"""Runs a sweep on a Ray cluster: one Ray task for each run, through Ray's own Python interface.

Hydra's Ray launcher is not used: it needs boto3 and an old cloudpickle, and it trains in Ray's own worker process. Here
a task starts the run in a fresh process. When the node of a task dies, Ray starts the task again on another node, and
the run goes on from its last checkpoint. The run folders must be on a disk that all nodes share.
"""

import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from foundation.errors import UsageError
from sweeps.child import Child, train_here
from sweeps.folders import EXIT_NOT_OURS, read_json, set_status
from sweeps.grid import PlannedRun
from sweeps.pool import Signals, SweepInterrupted
from sweeps.standing import to_start

POLL_SECONDS = 1.0
SAVE_SECONDS = 60.0


def train_task(folder: Path, threads: int, retries: int, digest: str) -> int:
    """Train a run on the node that Ray has chosen and return the exit code. After `ray.cancel` the run saves."""
    children: list[Child] = []
    try:
        return train_here(folder, threads, retries, digest, children.append)
    except KeyboardInterrupt:
        for child in children:
            child.stop(SAVE_SECONDS)
        raise


def run_on_ray(runs: list[PlannedRun], launcher: DictConfig, on_poll: Callable[[], None]) -> None:
    """Train all runs. A failed run does not stop the others.

    The first Ctrl-C or SIGTERM lets each run save. The second ends all runs at once. Then `SweepInterrupted` is raised.
    Raises `UsageError` when there is no cluster, or when no node of the cluster is large enough for a run.
    """
    import ray

    _connect(launcher)
    wanted: dict[str, Any] = {"num_cpus": launcher.threads, "num_gpus": launcher.gpus}
    if launcher.memory_gb:
        wanted["memory"] = launcher.memory_gb * 2**30
    task = ray.remote(**wanted, max_retries=-1, max_calls=1)(train_task)
    waiting, tasks = list(runs), dict[Any, PlannedRun]()
    begun = {run.folder: read_json(run.folder / "status.json").get("attempts", 0) for run in runs}
    try:
        with Signals() as signals:
            while waiting or tasks:
                while waiting and not signals.got and len(tasks) < (launcher.jobs or len(runs)):
                    run = waiting.pop(0)
                    if digest := to_start(run, begun[run.folder]):
                        named = task.options(name=str(run.key))
                        tasks[named.remote(run.folder, launcher.threads, launcher.retries, digest)] = run
                ended = ray.wait(list(tasks), num_returns=len(tasks), timeout=POLL_SECONDS)[0] if tasks else []
                for reference in ended:
                    run = tasks.pop(reference)
                    if _result(reference, run.folder, stopped=bool(signals.got)) == EXIT_NOT_OURS:
                        waiting.append(run)
                on_poll()
                signals.answer(tasks, ray.cancel, partial(ray.cancel, force=True))
                if len(signals.got) > 1:
                    time.sleep(POLL_SECONDS)
                if signals.got and not tasks:
                    raise SweepInterrupted(signals.got[0])
    finally:
        ray.shutdown()


def _connect(launcher: DictConfig) -> None:
    import ray

    host, _, port = launcher.address.rpartition(":")
    try:
        if launcher.address != "auto":
            socket.create_connection((host, int(port)), timeout=10).close()  # ray.init would try for six minutes
        ray.init(address=launcher.address, log_to_driver=False, logging_level="warning")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"LAUNCHER=ray: no Ray cluster answers at launcher.address={launcher.address}; "
            '`.venv/bin/ray start --head` starts one on this machine; another: ARGS="launcher.address=HOST:6379"'
        ) from error
    most = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    asked = {"CPU": launcher.threads, "GPU": launcher.gpus, "memory": (launcher.memory_gb or 0) * 2**30}
    if not any(all(node.get(kind, 0) >= amount for kind, amount in asked.items()) for node in most):
        ray.shutdown()
        has = "; ".join(
            f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs, {node.get('memory', 0) / 2**30:.1f} GiB"
            for node in most
        )
        raise UsageError(
            f"no node of the Ray cluster has room for a run of launcher.threads={launcher.threads}, "
            f"launcher.gpus={launcher.gpus:g}, launcher.memory_gb={launcher.memory_gb}; its nodes have {has}"
        )


def _result(reference: Any, folder: Path, stopped: bool) -> int | None:
    """Return a task's exit code. If it has none, write the status that its run could not write itself."""
    import ray

    try:
        code: int = ray.get(reference)
        return code
    except (ray.exceptions.RayError, KeyboardInterrupt) as error:
        if not stopped and read_json(folder / "status.json").get("state") not in ("done", "failed"):
            said = " ".join(str(error).split())[-300:]
            set_status(folder, state="failed", error=f"Ray gave the run up ({said}); called again it goes on")
        return None
