"""Decides how the two texts of a pair share the token limit."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def cut_lengths(first: ArrayLike, second: ArrayLike, budget: int) -> tuple[Any, Any]:
    """Return how many tokens to keep of each text of a pair, shapes (pairs,), so that their sum is at most `budget`.

    The result is the same as removing tokens one by one: always from the longer text, and from the second text when
    both texts are equally long.
    """
    first, second = np.asarray(first), np.asarray(second)
    excess = np.maximum(first + second - budget, 0)
    longer = np.minimum(np.abs(first - second), excess)  # removed from the longer text until both are equally long
    rest = excess - longer
    from_first = np.where(first > second, longer, 0) + rest // 2
    return first - from_first, second - (excess - from_first)
