"""Nested, stratified subsets of the training texts."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from data_prep.subsets import halves, nested_order, nested_subset
from foundation.errors import UsageError

RANDOM = np.random.default_rng(3)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.43, 0.57), (0.1, 0.9), (0.2, 0.3, 0.5)])
def test_every_beginning_holds_the_classes_in_proportion(shares: tuple[float, ...]) -> None:
    classes = RANDOM.choice(len(shares), size=784, p=shares).tolist()
    order = nested_order(classes)
    assert sorted(order) == list(range(784))
    whole = Counter(classes)
    for n in range(1, 785):
        found = Counter(classes[row] for row in order[:n])
        assert all(abs(found[label] - n * whole[label] / 784) <= 1 for label in whole), n


def test_a_smaller_subset_is_part_of_every_larger_one() -> None:
    classes = RANDOM.choice(2, size=200).tolist()
    subsets = [set(nested_subset(classes, n, ["a", "b"])) for n in (10, 25, 50, 100, 200)]
    assert [len(subset) for subset in subsets] == [10, 25, 50, 100, 200]
    assert all(smaller < larger for smaller, larger in pairwise(subsets))


def test_the_texts_of_a_class_are_drawn_and_not_the_first_of_the_file() -> None:
    rows = nested_subset([0, 1] * 100, 40, ["a", "b"])
    assert rows.max() > 100
    assert rows.tolist() != list(range(40))


def test_a_class_without_a_text_and_too_many_texts_are_refused() -> None:
    classes = [0] * 54 + [1] * 54 + [2] * 2
    with pytest.raises(UsageError, match="TRAIN=4: class rare has no text among so few; all .* TRAIN=[0-9]+ on") as why:
        nested_subset(classes, 4, ["a", "b", "rare"])
    fewest = int(str(why.value).split("TRAIN=")[-1].split()[0])
    assert {classes[row] for row in nested_subset(classes, fewest, ["a", "b", "rare"])} == {0, 1, 2}
    with pytest.raises(UsageError, match=f"TRAIN={fewest} on"):
        nested_subset(classes, fewest - 1, ["a", "b", "rare"])
    with pytest.raises(UsageError, match="TRAIN=11: there are 10 training texts; give fewer, or all"):
        nested_subset([0, 1] * 5, 11, ["a", "b"])


def test_halves_end_at_25_or_fewer() -> None:
    assert halves(784) == [392, 196, 98, 49, 24]
    assert halves(1800) == [900, 450, 225, 112, 56, 28, 14]
    assert halves(50) == [25]
