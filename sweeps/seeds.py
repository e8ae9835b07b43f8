"""Keeps the random streams of any two seeds apart."""

STRIDE = 1_000_000  # steps
LARGEST = 2_000  # numpy takes seeds below 2^32


def internal_seed(seed: int) -> int:
    """Return fairseq's `common.seed` for our `seed`.

    fairseq seeds update k with `common.seed + k` and epoch e with `common.seed + e`. So neighbouring seeds would share
    their random streams, one step apart. A stride of a million keeps all seeds' streams apart for a million steps.
    """
    return (seed + 1) * STRIDE
