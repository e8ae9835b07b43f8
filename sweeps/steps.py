"""Plans the steps of a run, counted from its real batches, and checks that the run took them all."""

import math
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, open_dict

from foundation.counts import counted
from foundation.errors import UsageError
from sweeps.seeds import STRIDE

SKIPPED_AT_MOST = 0.1  # of the planned steps: a run that skips more no longer follows its plan


@dataclass(frozen=True)
class Plan:
    """The plan of a run: the number of its batches, and the steps of its evaluations. The last one is the run's end."""

    batches: int
    evaluations: list[int]

    @property
    def steps(self) -> int:
        return self.evaluations[-1]


def planned(settings: DictConfig, config: DictConfig) -> tuple[DictConfig, Plan]:
    """Return fairseq's whole configuration with the run's length and schedule, and the plan of the run.

    A run on a subset of the training texts takes as many steps as a run on all of them and is evaluated at the same
    steps (`recipe.updates=full`): fewer texts in fewer steps would measure the steps. Its epochs are as many as needed.
    A run of length k takes k times the steps and is evaluated at k times each of the steps, so that it has as many
    evaluations to choose the best step from.
    """
    from fairseq_tasks.evaluation_steps import evaluation_steps

    every, is_subset = config.recipe.evaluate_every, bool(config.n_train) and config.recipe.updates == "full"
    if not is_subset and config.length == 1:
        ends, batches = plan_steps(settings)
        plan = Plan(batches, evaluation_steps(ends, every))
    else:
        usual = settings.copy()
        usual.task.n_train = None if is_subset else config.n_train
        usual_ends, _ = plan_steps(usual)
        last = config.length * usual_ends[-1]
        settings.optimization.max_update = settings.optimization.max_epoch = last
        ends, batches = plan_steps(settings)
        settings.optimization.max_epoch = len(ends)
        settings.dataset.validate_interval = len(ends) + 1  # no evaluation at the end of each of many epochs
        plan = Plan(batches, [config.length * step for step in evaluation_steps(usual_ends, every)])
    return with_schedule(settings, config, plan.steps), plan


def plan_steps(config: DictConfig) -> tuple[list[int], int]:
    """Return (the step at which each epoch ends, number of batches in the run), counted from the real batches.

    Raises `UsageError` when an epoch has fewer batches than a step takes, or when the run has so many steps and epochs
    that the random streams of two seeds would overlap.
    """
    from fairseq import tasks

    task = tasks.setup_task(config.task)
    dataset = task.load_dataset(config.dataset.train_subset)
    limit = config.optimization.max_update or math.inf
    frequencies = config.optimization.update_freq
    steps = batches = 0
    ends: list[int] = []
    for epoch in range(1, config.optimization.max_epoch + 1):
        iterator = task.get_batch_iterator(
            dataset=dataset,
            max_tokens=config.dataset.max_tokens,
            max_sentences=config.dataset.batch_size,
            max_positions=config.task.max_positions,
            ignore_invalid_inputs=True,
            required_batch_size_multiple=config.dataset.required_batch_size_multiple,
            seed=config.common.seed,
            epoch=epoch,
        )
        if steps == limit:
            break
        frequency = frequencies[min(epoch, len(frequencies)) - 1]
        in_epoch = len(iterator.frozen_batches)
        if max(frequencies) > in_epoch:
            raise UsageError(
                f"fairseq.optimization.update_freq={list(frequencies)}: an epoch has "
                f"{counted(in_epoch, 'batch', 'batches')}, and a step takes no more"
            )
        epoch_steps = math.ceil(in_epoch / frequency)
        if steps + epoch_steps > limit:
            taken = int(limit) - steps
            return [*ends, int(limit)], batches + min(in_epoch, taken * frequency)
        steps, batches = steps + epoch_steps, batches + in_epoch
        epochs = int(
            min(config.optimization.max_epoch, math.ceil(limit / epoch_steps) if limit < math.inf else math.inf)
        )
        if min(epochs * epoch_steps, limit) + epochs >= STRIDE:
            asked = f"{counted(epochs, 'epoch')} of {counted(epoch_steps, 'step')}"
            raise UsageError(f"{asked}: seeds are kept apart for {STRIDE:,} steps only; ask for fewer")
        ends.append(steps)
    return ends, batches


def with_schedule(settings: DictConfig, config: DictConfig, steps: int) -> DictConfig:
    """Set the schedule's length and warm-up from this run's `steps`, unless the user gave them.

    With this length the learning rate reaches zero at the last step. `settings` is fairseq's whole configuration of the
    run. `config` is our configuration, which shows what the user gave.
    """
    schedule, given = settings.lr_scheduler, config.fairseq.lr_scheduler
    with open_dict(settings):
        if "total_num_update" in schedule and "total_num_update" not in given:
            schedule.total_num_update = float(steps)
        if "warmup_updates" in schedule and "warmup_updates" not in given:
            schedule.warmup_updates = round(config.recipe.warmup_share * steps)
    return settings


def check_finished(progress: dict[str, Any], plan: Plan, splits: list[str]) -> int:
    """Return the number of steps taken. Raise `UsageError` unless the run completed its plan and its evaluations.

    A complete run has trained on every planned batch once, and on no other batch. Every planned step was taken or
    skipped. A step is skipped when its gradients overflow in float16, and at most SKIPPED_AT_MOST of the steps may be
    skipped. `step` is the back end's own count. fairseq does not count skipped steps, so its count may end before the
    last planned step. The run must then be evaluated at its own last step.
    """
    batches, step, overflowed = (int(progress.get(name, 0)) for name in ("batches", "step", "overflowed"))
    if batches > plan.batches:
        raise UsageError(
            f"{batches} batches were trained on where {plan.batches} were planned; drop what changes how many batches "
            "make a step"
        )
    if batches < plan.batches:
        raise UsageError(f"training stopped after {batches} of {plan.batches} batches; train.log says why")
    if step + overflowed != plan.steps:
        raise UsageError(f"{step} steps were taken and {overflowed} skipped of {plan.steps}; train.log says why")
    due = {step, *(planned for planned in plan.evaluations if planned <= step)}
    for split in splits:
        missing = due - set(progress.get("evaluated", {}).get(split, []))
        if missing:
            raise UsageError(f"{split} was not evaluated at step {min(missing)} of {step}; train.log says why")
    skipped = overflowed + int(progress.get("skipped", 0))
    if skipped > SKIPPED_AT_MOST * plan.steps:
        raise UsageError(
            f"{skipped} of {plan.steps} steps were skipped, as their gradients overflowed in float16, and at most "
            f"{SKIPPED_AT_MOST:.0%} may be; train with PRECISION=bf16 or PRECISION=fp32"
        )
    return plan.steps - skipped
