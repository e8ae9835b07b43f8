"""Finds the values of DEVICE and PRECISION for this machine, and divides its cores or GPUs among the runs."""

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psutil

from foundation.counts import counted
from foundation.errors import UsageError

RUN_MEMORY = 4 * 10**9  # bytes for a run on the CPU; two of e5_small_fr took 6.4 GB together (docs/bench.md)
ALLOWED = {"cpu": ("fp32", "bf16"), "cuda": ("fp16", "bf16", "fp32")}


@dataclass(frozen=True)
class Machine:
    """`gpus` holds one value of CUDA_VISIBLE_DEVICES for each GPU that a run may use. It is empty on the CPU."""

    device: str
    precision: str
    gpus: tuple[str, ...]


def visible_gpus() -> tuple[str, ...]:
    """Return an identifier for each GPU that this process may use."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return tuple(named[:count]) if named else tuple(str(index) for index in range(count))


def bf16_pays(times_as_fast: float = 1.5, seconds: float = 0.6) -> bool:
    """Return whether bfloat16 matrix products are more than `times_as_fast` times as fast as float32 products here.

    The matrices have the size of a layer. The speed is measured, because the CPU's list of instructions does not show
    it: of two CPUs with AVX512-BF16, one multiplies four times as fast, the other half as fast (docs/precision.md).
    The two precisions take turns, and the fastest product of each counts, so that other work on the machine affects
    both equally. The result may still vary, so a sweep measures only once (`resolve_machine`).
    """
    import torch

    kinds = (torch.float32, torch.bfloat16)
    matrices = {kind: torch.ones(512, 512, dtype=kind) for kind in kinds}
    for matrix in matrices.values():  # the first products choose and compile kernels
        for _ in range(3):
            torch.mm(matrix, matrix)
    best, end = dict.fromkeys(kinds, math.inf), time.monotonic() + seconds
    while time.monotonic() < end:
        for kind, matrix in matrices.items():
            start = time.perf_counter()
            torch.mm(matrix, matrix)
            best[kind] = min(best[kind], time.perf_counter() - start)
    return best[torch.float32] > times_as_fast * best[torch.bfloat16]


def resolve_machine(device: str, precision: str, chosen: Mapping[str, str] | None = None) -> Machine:
    """Return the machine, with the values of `auto` replaced by this machine's device and precision.

    `chosen` holds the values of `auto` from the start of the sweep (`choice_of`). The sweep keeps these values. A sweep
    may begin on a machine with GPUs, and go on or only be shown on a machine without GPUs.
    Raises `UsageError` when DEVICE=cuda and there is no CUDA device, or when the device cannot train in the precision.
    """
    before = chosen or {}
    gpus = visible_gpus() if device != "cpu" else ()
    if device == "cuda" and not gpus:
        raise UsageError(
            "DEVICE=cuda: this machine has no CUDA device that torch can use; use DEVICE=auto or DEVICE=cpu"
        )
    here = before.get("device", "cuda" if gpus else "cpu") if device == "auto" else device
    return Machine(here, _precision(here, precision, before, bf16_pays), gpus if here == "cuda" else ())


def require_device(machine: Machine, sweep: str) -> None:
    """Raise `UsageError` when a sweep that began on CUDA would go on without a CUDA device."""
    if machine.device == "cuda" and not machine.gpus:
        raise UsageError(
            f"sweep {sweep} was begun on CUDA, in {machine.precision}, and this machine has no CUDA device that torch "
            "can use; go on where there is one, or give another SWEEP"
        )


def choice_of(machine: Machine, before: Mapping[str, str]) -> dict[str, str]:
    """Return the values of `auto` in a sweep, as sweep.json stores them: {"device": "cpu", "cpu": "bf16"}.

    Values in `before` stay unchanged, because the first command of a sweep chooses.
    """
    return {"device": machine.device, machine.device: machine.precision, **before}


def cluster_machine(device: str, precision: str, gpus_a_run: float, chosen: Mapping[str, str] | None = None) -> Machine:
    """Return the machine for a cluster, whose nodes this machine cannot see. Runs that ask for GPUs use CUDA.

    `chosen` is as in `resolve_machine`. A run that finds no CUDA device on its node fails with a message.
    Raises `UsageError` when `device` contradicts `gpus_a_run`, or when the device cannot train in the precision.
    """
    here = "cuda" if gpus_a_run else "cpu"
    if device not in ("auto", here):
        raise UsageError(
            f'DEVICE={device}, but launcher.gpus={gpus_a_run:g}: ask for both, as in DEVICE=cpu ARGS="launcher.gpus=0"'
        )
    return Machine(here, _precision(here, precision, chosen or {}, lambda: False), ())


def _precision(device: str, precision: str, chosen: Mapping[str, str], is_bf16_best: Callable[[], bool]) -> str:
    if precision == "auto":
        precision = chosen.get(device, "auto")
    if precision == "auto":
        precision = "fp16" if device == "cuda" else "bf16" if is_bf16_best() else "fp32"
    if precision not in ALLOWED[device]:
        raise UsageError(f"PRECISION={precision}: on {device} choose from auto, {', '.join(ALLOWED[device])}")
    return precision


def share_machine(machine: Machine, n_runs: int, jobs: int | None, threads: int | None) -> tuple[int, int]:
    """Return (runs at a time, CPU threads a run) that fill the machine without oversubscribing it.

    There is one run for each GPU, or one run for each core and each `RUN_MEMORY` of the machine; a larger model may
    need `jobs`. On the CPU, several one-thread runs do more work in the same time than one run with all threads.
    """
    cores = len(os.sched_getaffinity(0))
    held = max(1, psutil.virtual_memory().total // RUN_MEMORY)
    jobs = jobs or min(n_runs, len(machine.gpus) or min(cores, held))
    return jobs, threads or max(1, cores // jobs)


def memory_warning(n_runs: int) -> str | None:
    """Return a warning when less memory is free than `n_runs` runs on the CPU may take at once, else None."""
    free, needed = psutil.virtual_memory().available, n_runs * RUN_MEMORY
    if free >= needed:
        return None
    fewer = " or give JOBS=1" if n_runs > 1 and free >= RUN_MEMORY else ""
    return (
        f"{math.floor(free / 1e8) / 10:.1f} GB of memory is free, and {counted(n_runs, 'run')} may take "
        f"{needed / 1e9:.0f} GB; end other programs{fewer} if runs die"
    )
