"""Nested subsets of the training texts: TRAIN=100 trains on the first 100 texts of one fixed, stratified order."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foundation.counts import counted
from foundation.errors import UsageError

SEED = 20261126  # draws the order of each class; fixed, and not used as a training seed
SMALLEST_HALF = 25  # `halves` ends with a number of texts that is at most this


def nested_order(classes: Sequence[int]) -> NDArray[np.int64]:
    """Return an order of the texts in which every beginning holds the classes nearly in proportion, shape (texts,).

    `classes` has the class of each text. Text k of the n texts of a class, in an order drawn for this class, gets the
    place (k + 1/2) / n, and the texts are sorted by place. With two classes every beginning is within one text of the
    proportion; classes of equal size have equal places, so with many of them it may miss by half a text for each. The
    order depends on the classes alone: it is the same for every model, init and training seed, and a smaller subset is
    part of every larger one.
    """
    labels = np.asarray(classes, dtype=np.int64)
    places = np.empty(len(labels))
    for label in np.unique(labels):
        rows = np.random.default_rng([SEED, label]).permutation(np.flatnonzero(labels == label))
        places[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.lexsort((labels, places))


def require_texts(asked: int, there: int) -> None:
    """Raise `UsageError` when TRAIN asks for more training texts than are there."""
    if asked > there:
        raise UsageError(f"TRAIN={asked}: there are {counted(there, 'training text')}; give fewer, or all")


def nested_subset(classes: Sequence[int], n: int, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the rows of the subset of `n` texts, ascending. `names` has the names of the classes.

    Raises `UsageError` when there are no `n` texts, or when a class has no text in the subset.
    """
    require_texts(n, len(classes))
    order = nested_order(classes)
    labels = np.asarray(classes, dtype=np.int64)[order]
    firsts = {int(label): int(np.argmax(labels == label)) for label in np.unique(labels)}  # class -> its first place
    without = [names[label] for label, first in firsts.items() if first >= n]
    if without:
        fewest = max(firsts.values()) + 1
        raise UsageError(
            f"TRAIN={n}: class {', '.join(without)} has no text among so few; all classes have one from "
            f"TRAIN={fewest} on"
        )
    return np.sort(order[:n])


def halves(n: int) -> list[int]:
    """Return half of `n` texts, half of this half and so on, rounded down, until one is at most SMALLEST_HALF."""
    found = [n // 2]
    while found[-1] > SMALLEST_HALF:
        found.append(found[-1] // 2)
    return [half for half in found if half]
