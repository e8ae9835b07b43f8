"""The bench of the event files compares what the two readers find before it times them."""

import pytest

from analysis import bench
from hydra_conf.errors import UsageError


def test_both_readers_find_the_same_and_are_timed() -> None:
    text = bench.bench(files=2, scalars=30, rounds=2)
    assert text.startswith("2 files of 30 scalars, rounds: 2. Ours is ")
    assert text.count("\n|") == 4


def test_readers_that_find_different_scalars_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ours", lambda path: set())
    with pytest.raises(UsageError, match="do not find the same"):
        bench.bench(files=1, scalars=5, rounds=1)
