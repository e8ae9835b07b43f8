"""How examples are counted as they are read, and their labels sorted."""

from pathlib import Path

import pytest

from foundation.errors import UsageError
from tests.data_prep.test_splits import rows, split


def test_number_labels_are_sorted_as_numbers(tmp_path: Path) -> None:
    train = [(f"texte {number}", str(number)) for number in (10, 9, -1)]
    _, facts = split(tmp_path, {"train": train, "valid": [("v", "9")], "test": [("t", "10")]})
    assert facts["labels"] == ["-1", "9", "10"]


@pytest.mark.parametrize("expected", [8, 10])
def test_a_part_with_fewer_or_more_examples_than_expected_is_refused(tmp_path: Path, expected: int) -> None:
    with pytest.raises(UsageError, match=f"holds 9 examples for train, essai has {expected}: it is not the published"):
        split(tmp_path, {"train": rows(9), "test": rows(3, "e")}, expected={"train": expected})
