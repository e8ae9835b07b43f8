"""What DEVICE and PRECISION come to, and how a machine is shared."""

from types import SimpleNamespace

import pytest

from foundation.errors import UsageError
from sweeps import device
from sweeps.device import Machine, resolve_machine, share_machine


@pytest.mark.parametrize(
    ("gpus", "pays", "asked", "expected"),
    [
        ((), False, ("auto", "auto"), ("cpu", "fp32")),
        ((), True, ("auto", "auto"), ("cpu", "bf16")),
        ((), True, ("cpu", "fp32"), ("cpu", "fp32")),
        (("0", "1"), True, ("auto", "auto"), ("cuda", "fp16")),
        (("0",), True, ("cuda", "fp32"), ("cuda", "fp32")),
        (("0",), True, ("cpu", "auto"), ("cpu", "bf16")),
    ],
)
def test_auto_is_what_the_machine_has(
    monkeypatch: pytest.MonkeyPatch,
    gpus: tuple[str, ...],
    pays: bool,
    asked: tuple[str, str],
    expected: tuple[str, str],
) -> None:
    monkeypatch.setattr(device, "visible_gpus", lambda: gpus)
    monkeypatch.setattr(device, "bf16_pays", lambda: pays)
    machine = resolve_machine(*asked)
    assert (machine.device, machine.precision) == expected


def test_bf16_is_chosen_by_how_fast_it_is() -> None:
    assert device.bf16_pays(times_as_fast=1e-6)
    assert not device.bf16_pays(times_as_fast=1e6)


@pytest.mark.parametrize(
    ("asked", "message"), [(("cuda", "auto"), "no CUDA device"), (("cpu", "fp16"), "PRECISION=fp16")]
)
def test_what_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch, asked: tuple[str, str], message: str) -> None:
    monkeypatch.setattr(device, "visible_gpus", lambda: ())
    with pytest.raises(UsageError, match=message):
        resolve_machine(*asked)


@pytest.mark.parametrize(
    ("cores", "memory", "gpus", "n_runs", "asked", "expected"),
    [  # memory in GB
        (2, 24, 0, 6, (None, None), (2, 1)),
        (8, 64, 0, 2, (None, None), (2, 4)),
        (8, 64, 0, 6, (3, None), (3, 2)),
        (2, 24, 0, 1, (None, None), (1, 2)),
        (16, 8, 4, 6, (None, None), (4, 4)),
        (2, 2, 0, 6, (4, None), (4, 1)),
        (4, 24, 0, 6, (2, 1), (2, 1)),
        (8, 16, 0, 36, (None, None), (4, 2)),  # a laptop
        (2, 2, 0, 6, (None, None), (1, 2)),
    ],
)
def test_the_machine_is_filled_and_not_oversubscribed(
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    memory: int,
    gpus: int,
    n_runs: int,
    asked: tuple[int | None, int | None],
    expected: tuple[int, int],
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=memory * 10**9))
    machine = Machine("cuda" if gpus else "cpu", "fp32", tuple(map(str, range(gpus))))
    assert share_machine(machine, n_runs, *asked) == expected


def test_little_free_memory_brings_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(available=7.96e9, total=24e9)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    assert device.memory_warning(1) is None
    said = "7.9 GB of memory is free, and 2 runs may take 8 GB; end other programs or give JOBS=1 if runs die"
    assert device.memory_warning(2) == said
    memory.available = 3e9
    assert device.memory_warning(2) == said.replace("7.9", "3.0").replace(" or give JOBS=1", "")
