"""Decides at which steps a run is evaluated (`recipe.evaluate_every`). Both back ends evaluate at the same steps.

epoch       step 0 and each epoch's end
<number>    the steps of `epoch`, and every multiple of the number
geometric   the steps of `epoch`, and steps between them, close together where a curve changes: each step is at most
            twice the step before, and at most half an epoch, rounded up, lies between two steps

`geometric` halves an epoch, and its first half again (rounding up), until the first step is at most EARLIEST (in the
first epoch) or at most twice the last step of the previous epoch. Epochs of 98 steps give 0, 13, 25, 49, 98, 147, 196,
245, 294.
"""

from itertools import pairwise

EARLIEST = 16  # with `geometric`, the first evaluation after step 0 comes no later than this step


def evaluation_steps(epoch_ends: list[int], every: str) -> list[int]:
    """Return the evaluation steps, ascending and distinct. `epoch_ends` are the last steps of the epochs, ascending."""
    ends = [0, *epoch_ends]
    steps = set(ends)
    if every == "geometric":
        for begin, end in pairwise(ends):
            steps.update(begin + distance for distance in _halves(end - begin, begin or EARLIEST))
    elif every != "epoch":
        steps.update(range(0, ends[-1], int(every)))
    return sorted(steps)


def _halves(length: int, longest: int) -> list[int]:
    """Return half of `length`, half of this half and so on, rounded up, until a half is at most `longest`."""
    halves = [-(-length // 2)]
    while halves[-1] > longest:
        halves.append(-(-halves[-1] // 2))
    return halves
