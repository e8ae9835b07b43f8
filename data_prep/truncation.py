"""How the texts of a pair share the room there is."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def cut_lengths(first: ArrayLike, second: ArrayLike, budget: int) -> tuple[Any, Any]:
    """Return how many tokens of each text of a pair are kept, shapes (pairs,), so that they sum to `budget` at most.

    As if tokens were taken off one by one, always from the longer text, from the second when they are equally long.
    """
    first, second = np.asarray(first), np.asarray(second)
    excess = np.maximum(first + second - budget, 0)
    longer = np.minimum(np.abs(first - second), excess)  # taken off the longer one until both are as long
    rest = excess - longer
    from_first = np.where(first > second, longer, 0) + rest // 2
    return first - from_first, second - (excess - from_first)
