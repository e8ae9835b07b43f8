"""What DEVICE and PRECISION come to on this machine, and how its cores or GPUs are shared among runs."""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from foundation.errors import UsageError

ALLOWED = {"cpu": ("fp32", "bf16"), "cuda": ("fp16", "bf16", "fp32")}


@dataclass(frozen=True)
class Machine:
    """`gpus` are the values CUDA_VISIBLE_DEVICES may take for one run each; empty on the CPU."""

    device: str
    precision: str
    gpus: tuple[str, ...]


def visible_gpus() -> tuple[str, ...]:
    """Return an identifier for each GPU this process may use."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return tuple(named[:count]) if named else tuple(str(index) for index in range(count))


def bf16_pays(times_as_fast: float = 1.5, seconds: float = 0.6) -> bool:
    """Whether this CPU multiplies matrices of a layer's size so many times as fast in bfloat16 as in float32.

    Measured, as the instructions that a CPU lists do not tell: with AVX512-BF16 one multiplies four times as fast, one
    half as fast (docs/measurements.md). The two kinds take turns, and the quickest product of each counts, so that
    other work on the machine disturbs both alike. It may still flip: a sweep measures once (`resolve_machine`).
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
    """Return the device and precision that `auto` stands for here.

    `chosen` is what it came to when the sweep was begun (`choice_of`), which it stands for from then on; a sweep may
    have been begun where there are GPUs, and go on, or only be looked at, where there are none.
    Raises `UsageError` when CUDA is asked for and there is none, or the device cannot train in that precision.
    """
    before = chosen or {}
    gpus = visible_gpus() if device != "cpu" else ()
    if device == "cuda" and not gpus:
        raise UsageError(
            "DEVICE=cuda: this machine has no CUDA device that torch can use; use DEVICE=auto or DEVICE=cpu"
        )
    here = before.get("device", "cuda" if gpus else "cpu") if device == "auto" else device
    if precision == "auto" and here in before:
        precision = before[here]
    best_on_cpu = "bf16" if here == "cpu" and precision == "auto" and bf16_pays() else "fp32"
    return Machine(here, _precision(here, precision, best_on_cpu), gpus if here == "cuda" else ())


def require_device(machine: Machine, sweep: str) -> None:
    """Raise `UsageError` where a sweep that was begun on CUDA is to go on without."""
    if machine.device == "cuda" and not machine.gpus:
        raise UsageError(
            f"sweep {sweep} was begun on CUDA, in {machine.precision}, and this machine has no CUDA device that torch "
            "can use; go on where there is one, or give another SWEEP"
        )


def choice_of(machine: Machine, before: Mapping[str, str]) -> dict[str, str]:
    """Return what `auto` stands for in a sweep, as sweep.json keeps it: {"device": "cpu", "cpu": "bf16"}.

    What stands in `before` stays: the first command of a sweep chooses.
    """
    return {"device": machine.device, machine.device: machine.precision, **before}


def cluster_machine(device: str, precision: str, gpus_a_run: float, chosen: Mapping[str, str] | None = None) -> Machine:
    """Return what `auto` stands for on a cluster, whose nodes this machine cannot see: CUDA where runs ask for GPUs.

    `chosen` is as for `resolve_machine`. A run that finds no such device on its node fails and says so.
    Raises `UsageError` for a contradiction.
    """
    here = "cuda" if gpus_a_run else "cpu"
    if device not in ("auto", here):
        raise UsageError(
            f'DEVICE={device}, but launcher.gpus={gpus_a_run:g}: ask for both, as in DEVICE=cpu ARGS="launcher.gpus=0"'
        )
    if precision == "auto":
        precision = (chosen or {}).get(here, "auto")
    return Machine(here, _precision(here, precision, "fp32"), ())


def _precision(device: str, precision: str, best_on_cpu: str) -> str:
    if precision == "auto":
        precision = "fp16" if device == "cuda" else best_on_cpu
    if precision not in ALLOWED[device]:
        raise UsageError(f"PRECISION={precision}: on {device} choose from auto, {', '.join(ALLOWED[device])}")
    return precision


def share_machine(machine: Machine, n_runs: int, jobs: int | None, threads: int | None) -> tuple[int, int]:
    """Return (runs at a time, CPU threads a run) that fill the machine without oversubscribing it.

    One run a GPU, or one run a core: on the CPU several one-thread runs do more work in the same time than one run
    with all threads.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    jobs = jobs or min(n_runs, len(machine.gpus) or cores)
    return jobs, threads or max(1, cores // jobs)
