"""At which steps a run is evaluated: `recipe.evaluate_every`, the same steps in both back ends.

epoch       step 0 and each epoch's end
<number>    these, and every step that is a multiple of it
geometric   these, and steps between them that stand close where a curve moves: each is at most twice the one before,
            and none is further than half an epoch, rounded up, from the next

An epoch of `geometric` is halved at its middle, and its first half again (rounding up) until its first step is at most
EARLIEST (in the first epoch) or at most twice the last step of the epoch before. Epochs of 98 steps give 0, 13, 25, 49,
98, 147, 196, 245, 294.
"""

from itertools import pairwise

EARLIEST = 16  # the first evaluation after step 0 comes no later


def evaluation_steps(epoch_ends: list[int], every: str) -> list[int]:
    """Return the steps, ascending and without repeats, of a run whose epochs end at the ascending `epoch_ends`."""
    ends = [0, *epoch_ends]
    steps = set(ends)
    if every == "geometric":
        for begin, end in pairwise(ends):
            steps.update(begin + distance for distance in _halves(end - begin, begin or EARLIEST))
    elif every != "epoch":
        steps.update(range(0, ends[-1], int(every)))
    return sorted(steps)


def _halves(length: int, longest: int) -> list[int]:
    """Return half of `length`, half of that and so on, rounded up, until one is at most `longest`."""
    halves = [-(-length // 2)]
    while halves[-1] > longest:
        halves.append(-(-halves[-1] // 2))
    return halves
