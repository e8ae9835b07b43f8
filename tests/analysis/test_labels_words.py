"""Sentences on how many labels pre-training is worth."""

import pytest

from analysis.labels import label_curves
from analysis.labels_words import times, worth
from tests.analysis.made_up import evidence_of


@pytest.mark.parametrize(
    ("most", "size", "said"), [(784, 24, "32"), (1800, 14, "128"), (884, 198, "4.4"), (784, 98, "8.0")]
)
def test_a_factor_of_labels_is_rounded_down(most: int, size: int, said: str) -> None:
    assert times(most, size) == said


def test_one_seed_does_not_show_what_labels_are_worth() -> None:
    points = {("pretrained", 0): 87.0, ("random", 0): 73.0, ("pretrained", 30): 85.0, ("random", 30): 68.0}
    ((curves,), without) = label_curves(evidence_of({point: {0: test} for point, test in points.items()}))
    assert without == []
    assert "pre-training may be worth at least 2.0 times the labels" in worth(curves, {})


def worth_of(of_15: tuple[float, float, float], of_30: tuple[float, float, float]) -> str:
    """Return what is said of accuracies of pre-trained weights with 15 and 30 of 60 labels, seeds 0 to 2."""
    points = {  # (init, training texts) -> accuracies
        ("pretrained", 0): (87.0, 88.5, 89.0),
        ("random", 0): (72.0, 73.0, 74.0),
        ("pretrained", 30): of_30,
        ("random", 30): (66.0, 66.5, 67.0),
        ("pretrained", 15): of_15,
        ("random", 15): (60.0, 60.5, 61.0),
    }
    ((curves,), _) = label_curves(evidence_of({point: dict(enumerate(tests)) for point, tests in points.items()}))
    return worth(curves, {})


def test_the_fewest_labels_at_which_the_worth_is_shown_stand_beside_a_worth_that_is_not() -> None:
    said = worth_of((70.0, 75.0, 80.0), (80.0, 81.5, 82.0))
    assert "pre-trained weights 75.00 % with 15: pre-training may be worth at least 4.0 times the labels" in said
    # differences 8, 8.5, 8: mean 8.1667, standard error 0.1667, t 4.3027
    assert said.endswith(
        "With 30 labels it is +8.17 points, 95 % interval +7.45 to +8.88: pre-training is "
        "worth at least 2.0 times the labels."
    )


@pytest.mark.parametrize(
    ("of_15", "of_30", "ended"),
    [  # differences with 30 labels: -7, 7, 21 (mean 7, standard error 8.0829), and 3 points each
        ((80.0, 81.5, 82.0), (65.0, 80.0, 95.0), "+7.00 points, 95 % interval -27.78 to +41.78"),
        ((80.0, 81.5, 82.0), (75.0, 76.0, 77.0), "+3.00 points, no interval: all differences are the same"),
    ],
)
def test_labels_after_the_first_number_that_shows_no_gain_are_not_counted_as_shown(
    of_15: tuple[float, float, float], of_30: tuple[float, float, float], ended: str
) -> None:
    said = worth_of(of_15, of_30)
    assert "pre-training may be worth at least 4.0 times the labels. The difference there is +8.17 points" in said
    assert said.endswith(f"With 30 labels it is {ended}; fewer labels count only if more labels show a gain.")
