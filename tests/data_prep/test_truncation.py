"""How the texts of a pair share the room there is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_prep.truncation import cut_lengths


def cut_one_by_one(first: int, second: int, budget: int) -> tuple[int, int]:
    while first + second > budget:
        if first > second:
            first -= 1
        else:
            second -= 1
    return first, second


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=20), st.integers(0, 60))
def test_pairs_are_cut_as_if_token_by_token_from_the_longer_text(pairs: list[tuple[int, int]], budget: int) -> None:
    first, second = (np.array(lengths) for lengths in zip(*pairs, strict=True))
    cut = cut_lengths(first, second, budget)
    assert list(zip(*(kept.tolist() for kept in cut), strict=True)) == [cut_one_by_one(*pair, budget) for pair in pairs]
