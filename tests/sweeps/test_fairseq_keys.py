"""A key of fairseq's is heeded or refused, and the learning rate begins and ends where the run does."""

import random
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from foundation.errors import UsageError
from hydra_conf.compose import compose_config
from sweeps.fairseq_keys import HEEDED, NAMES, check_schedule, refuse_unheeded, with_nothing_given
from sweeps.steps import planned
from tests.conftest import Workspace


def settings_of(config: DictConfig, workspace: Workspace) -> DictConfig:
    from sweeps.fairseq_config import fairseq_config, resolved

    return resolved(fairseq_config(config, workspace.binarised, workspace.root, "cpu", "fp32"))


def composed(*words: str) -> DictConfig:
    return compose_config(["model=tiny", "init=random", "recipe.epochs=3", *words])


def refuse(workspace: Workspace, *words: str, usual: DictConfig | None = None) -> None:
    config = composed(*words)
    usual = usual or settings_of(with_nothing_given(config), workspace)
    refuse_unheeded(config, settings_of(config, workspace), usual)


def all_keys(workspace: Workspace) -> dict[str, Any]:
    """Return {node.key: value} of fairseq's whole configuration, as a run has it."""
    settings = settings_of(composed(), workspace)
    return {
        f"{group!s}.{key!s}": value
        for group, node in settings.items()
        if isinstance(node, DictConfig)
        for key, value in node.items()
    }


def other(value: Any) -> str:
    """Return a value of the same type, in words of Hydra's."""
    if isinstance(value, bool):
        return str(not value).lower()
    return str(value + 1) if isinstance(value, int | float) else "other"


def test_every_key_that_is_heeded_is_one_of_fairseqs(workspace: Workspace) -> None:
    known = all_keys(workspace)
    assert [f"{group}.{key}" for group, keys in HEEDED.items() for key in keys if f"{group}.{key}" not in known] == [
        "lr_scheduler.warmup_init_lr"
    ]  # of inverse_sqrt


def test_no_key_is_taken_and_does_nothing(workspace: Workspace) -> None:
    heeded = {f"{group}.{key}" for group, keys in HEEDED.items() for key in keys}
    known = all_keys(workspace)
    others = sorted(
        key for key, value in known.items() if key not in heeded and isinstance(value, bool | int | float | str)
    )
    assert len(others) > 150
    usual = settings_of(with_nothing_given(composed()), workspace)
    for key in random.Random(4).sample(others, 40):
        given = f"fairseq.{key}={other(known[key])}"
        with pytest.raises(UsageError, match=rf"fairseq\.{key}"):
            refuse(workspace, given, usual=usual)


def test_a_key_given_as_it_is_anyway_is_no_mistake(workspace: Workspace) -> None:
    refuse(workspace, "fairseq.checkpoint.patience=-1", "fairseq.checkpoint.best_checkpoint_metric=accuracy")
    refuse(workspace, "fairseq.optimization.max_epoch=3", "fairseq.task.reshuffle=true")


@pytest.mark.parametrize(("given", "instead"), [("common={seed: 3}", "SEEDS"), ("task={n_train: 50}", "TRAIN")])
def test_what_runs_of_one_sweep_differ_in_is_never_a_key(workspace: Workspace, given: str, instead: str) -> None:
    key = given.replace("={", ".").partition(":")[0]
    for usual in (None, settings_of(composed(f"fairseq.{given}"), workspace)):  # also when it is as it is anyway
        with pytest.raises(UsageError, match=rf"fairseq\.{key} cannot be given: use {instead}"):
            refuse(workspace, f"fairseq.{given}", usual=usual)


def rates(workspace: Workspace, *words: str) -> list[float]:
    """Return the learning rate of each step, the one before training first."""
    import torch
    from fairseq.optim import build_optimizer
    from fairseq.optim.lr_scheduler import build_lr_scheduler

    config = composed("recipe.learning_rate=1", *words)
    settings = settings_of(config, workspace)
    settings, plan = planned(settings, config)
    check_schedule(settings, plan.steps)
    weight = torch.nn.Parameter(torch.zeros(1))
    schedule = build_lr_scheduler(settings.lr_scheduler, build_optimizer(settings.optimizer, [weight]))
    return [schedule.step_update(step) for step in range(plan.steps + 1)]


def test_the_rate_rises_over_the_recipes_share_of_the_steps_and_ends_at_zero(workspace: Workspace) -> None:
    found = rates(workspace, "recipe.warmup_share=0.25")
    assert (len(found), found[3], found[6], found[24]) == (25, 0.5, 1, 0)


def test_a_warm_up_of_zero_is_none(workspace: Workspace) -> None:
    found = rates(workspace, "fairseq.lr_scheduler.warmup_updates=0", "recipe.warmup_share=0.25")
    assert (found[0], found[24]) == (1, 0)
    assert rates(workspace, "fairseq.lr_scheduler.warmup_updates=12")[12] == 1


@pytest.mark.parametrize("given", [7, 24, 1000])
def test_the_rate_ends_at_zero_wherever_max_update_is(workspace: Workspace, given: int) -> None:
    found = rates(workspace, f"fairseq.optimization.max_update={given}")
    assert (len(found) - 1, found[-1]) == (min(given, 24), 0)
    assert found[-2] > 0


def test_a_schedule_that_is_given_is_kept(workspace: Workspace) -> None:
    assert rates(workspace, "fairseq.lr_scheduler.total_num_update=12")[11:14] == [pytest.approx(1 / 11), 0, 0]
    assert rates(workspace, "fairseq.lr_scheduler.total_num_update=47")[24] == pytest.approx(23 / 46)
    for words in (("fairseq.lr_scheduler.total_num_update=1",), ("fairseq.lr_scheduler.warmup_updates=24",)):
        with pytest.raises(UsageError, match="the run has 24 steps"):
            rates(workspace, *words)


@pytest.mark.parametrize("name", NAMES["lr_scheduler"])
def test_every_schedule_warms_up_as_the_recipe_says(workspace: Workspace, name: str) -> None:
    found = rates(workspace, f"fairseq.lr_scheduler._name={name}", "recipe.warmup_share=0.5")
    assert found[0] < found[6] < found[12] == pytest.approx(1)
    assert max(found) == found[12]


def test_the_keys_of_a_model_are_all_heeded_but_for_those_that_are_set_in_another_way() -> None:
    from fairseq_tasks.architectures import RobertaConfig

    names = {field.name for field in fields(RobertaConfig)}
    names -= {"_name", "max_positions", "no_token_positional_embeddings", "position_init"}  # the last: of pre-training
    assert names == set(HEEDED["model"])


def test_adams_rates_are_numbers_whatever_stands_there(workspace: Workspace, tmp_path: Path) -> None:
    for given in ("'(0.9, 0.98)'", "[0.9,0.98]", "'0.9,0.98'"):
        config = composed(f"fairseq.optimizer.adam_betas={given}")
        assert settings_of(config, workspace).optimizer.adam_betas == "(0.9, 0.98)"
    with pytest.raises(UsageError, match="it is a pair of numbers"):
        settings_of(composed(f"recipe.adam_betas=open('{tmp_path}/made', 'w')"), workspace)
    assert not (tmp_path / "made").exists()
