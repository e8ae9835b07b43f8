"""Say what an estimate and its interval are, how they are written, and which values they can be computed from.

*This test set, new seeds* asks what other seeds would give on the same test texts; *new texts, new seeds* asks what
they would give on other texts of the same kind.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

SAME_TEXTS = "this test set, new seeds"
NEW_TEXTS = "new texts, new seeds"
LEVEL = 0.95
ONE_SEED, ALL_THE_SAME, ALL_DIFFERENCES_THE_SAME = "one seed", "all values are the same", "all differences are the same"
Array = NDArray[np.float64]
Form = str | Callable[[float, bool], str]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, one end of which may be infinite.

    Without an interval, `low` and `high` are NaN and `method` says why.
    """

    value: float
    low: float
    high: float
    target: str
    method: str

    @property
    def has_interval(self) -> bool:
        return not math.isnan(self.low)

    @property
    def why_none(self) -> str:
        """The reason why there is no interval."""
        return self.method.removeprefix("none: ")

    def excludes(self, value: float) -> bool:
        return self.has_interval and not self.low <= value <= self.high

    def ends(self, form: Form = ".2f", least: float = -math.inf, most: float = math.inf) -> str:
        """Return `low to high`, `from low`, `up to high`, or `none (why)`. `least` and `most` limit the ends.

        `form` is a format, or a function of an end that is also told whether the end is the upper one.
        """
        if not self.has_interval:
            return f"none ({self.why_none})"
        low, high = max(self.low, least), min(self.high, most)
        if math.isinf(low) and math.isinf(high):
            return "none (no end is known)"

        def write(end: float, up: bool) -> str:
            return form(end, up) if callable(form) else f"{end:{form}}"

        if math.isinf(high):
            return f"from {write(low, False)}"
        return f"{'up' if math.isinf(low) else write(low, False)} to {write(high, True)}"

    def words(self, form: Form = ".2f", least: float = -math.inf, most: float = math.inf) -> str:
        """Return `95 % interval low to high`, or `no interval: why`, as `ends` writes them."""
        if not self.has_interval:
            return f"no interval: {self.why_none}"
        return f"{100 * LEVEL:.0f} % interval {self.ends(form, least, most)}"


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over n seeds. `std` has ddof 0, as published, and `std_sample` has ddof 1."""

    n: int
    mean: float
    std: float
    std_sample: float  # NaN for n = 1


def checked(values: ArrayLike, dimensions: int = 1) -> Array:
    """Return the values as an array of float64.

    Raises `ValueError` for NaN, an infinite value, a wrong shape or no value at all.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions or array.size == 0:
        raise ValueError(f"expected values in {dimensions} dimension(s), at least one, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("a value is NaN or infinite; leave runs without a value out, and name them")
    return array


def checked_two(one: ArrayLike, other: ArrayLike, paired: bool = False) -> tuple[Array, Array]:
    first, second = checked(one), checked(other)
    if paired and len(first) != len(second):
        raise ValueError(f"pairs need as many values of each, got {len(first)} and {len(second)}")
    return first, second


def are_alike(array: Array) -> bool:
    """Return whether all values are the same, apart from rounding.

    Accuracies are shares of texts, and a share like 0.1 has no exact binary form.
    """
    return bool(np.ptp(array) <= 1e-9 * max(1.0, float(np.abs(array).max())))


def no_interval(value: float, why: str, target: str = SAME_TEXTS) -> Estimate:
    """Return an estimate that says why it has no interval."""
    return Estimate(value, math.nan, math.nan, target, f"none: {why}")


def spread(values: ArrayLike) -> Spread:
    """Return mean and standard deviations of values over seeds, shape (runs,)."""
    array = checked(values)
    sample = float(array.std(ddof=1)) if len(array) > 1 else math.nan
    return Spread(len(array), float(array.mean()), float(array.std()), sample)
