"""How far apart the random streams of two seeds are kept."""

STRIDE = 1_000_000  # steps
LARGEST = 2_000  # numpy takes seeds below 2^32


def internal_seed(seed: int) -> int:
    """Return fairseq's `common.seed` for our `seed`.

    fairseq seeds update k with `common.seed + k` and epoch e with `common.seed + e`, so neighbouring seeds would share
    their random streams one step apart. A stride of a million keeps those of all seeds apart for a million steps.
    """
    return (seed + 1) * STRIDE
