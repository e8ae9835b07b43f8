"""Values that are refused, in one sentence, and those that are not."""

import pytest

from foundation.errors import UsageError
from hydra_conf.compose import compose_config


@pytest.mark.parametrize("given", ["1", "100"])
def test_a_number_of_steps_between_evaluations_may_be_given_as_one(given: str) -> None:
    for word in (given, f"'{given}'"):
        assert compose_config([f"recipe.evaluate_every={word}"]).recipe.evaluate_every == given


@pytest.mark.parametrize("given", ["0", "-3", "1.5", "1e2", "true", "epochs", "geometrically", "''"])
def test_anything_else_between_evaluations_is_one_sentence(given: str) -> None:
    with pytest.raises(UsageError, match=r"recipe.evaluate_every=.*: .*epoch") as refused:
        compose_config([f"recipe.evaluate_every={given}"])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dataset=table", "dataset.name=amazon_fr"], "dataset.name=amazon_fr: DATASET=table would replace"),
        (["dataset=cls_books", "dataset.name=cls_dvd"], "dataset.name=cls_dvd: DATASET=cls_books would replace"),
        (["model.name=camembert_base"], "model.name=camembert_base: MODEL=e5_small_fr would replace"),
    ],
)
def test_ones_own_data_and_model_do_not_take_the_name_of_a_known_one(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compose_config(overrides)
