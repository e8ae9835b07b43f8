"""Finds errors that would stop every run of a kind, before the first run starts."""

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, pairwise
from pathlib import Path

import psutil
from omegaconf import DictConfig

from foundation.errors import UsageError, is_out_of_memory
from sweeps.device import Machine
from sweeps.fairseq_keys import check_schedule, check_values, refuse_unheeded, with_nothing_given
from sweeps.grid import PlannedRun
from sweeps.provenance import binarised_folder
from sweeps.steps import plan_steps, planned

ELSEWHERE = ("dataset.", "launcher.")  # overrides that fairseq and transformers do not get


def preflight(runs: list[PlannedRun], machine: Machine, overrides: list[str]) -> None:
    """Build one run of each kind, up to its first step. An error that would stop all runs becomes one sentence.

    A kind is everything but the seed, the number of training texts and the length; the fewest texts are taken. Raises
    `UsageError`. `overrides` are the user's own, which the error names when fairseq or transformers refuse the
    configuration.
    """
    fewest_last = sorted(runs, key=lambda run: run.config.n_train or math.inf, reverse=True)
    for run in {run.key.kind: run for run in fewest_last}.values():
        with tempfile.TemporaryDirectory() as scratch, _told(overrides):
            _make(run, machine, Path(scratch), overrides)


def _require_memory(weights: int, trains_here: bool) -> None:
    """Raise `UsageError` if the machine's memory cannot hold a model with this number of weights, in float32.

    Training holds four numbers for each weight: the weight, its gradient, and Adam's two.
    """
    needed, there = 4 * weights * (4 if trains_here else 1), psutil.virtual_memory().total
    if needed > there:
        raise UsageError(
            f"a model of {weights:,} weights needs {needed / 2**30:,.0f} GiB of memory, and this machine has "
            f"{there / 2**30:,.0f}; lower model.max_positions or the sizes given of fairseq.model"
        )


@contextmanager
def _told(overrides: list[str]) -> Iterator[None]:
    """Turn a library's error into a `UsageError` of one sentence that names the user's overrides."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise UsageError(f"this machine's memory is full; given was {_given(overrides)}") from error
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(
            f"a run cannot be made of this configuration ({said}); given was {_given(overrides)}"
        ) from error


def _given(overrides: list[str]) -> str:
    return " ".join(word for word in overrides if not word.startswith(ELSEWHERE)) or "no override"


def _make(run: PlannedRun, machine: Machine, folder: Path, overrides: list[str]) -> None:
    """Build the parts of a run and count its steps. With BACKEND=fairseq, also compute the loss of one text."""
    import torch
    from fairseq import tasks, utils

    from fairseq_tasks.architectures import matrix_weights
    from sweeps.fairseq_config import fairseq_config, resolved

    def settings_of(config: DictConfig) -> DictConfig:
        data = binarised_folder(run.config)
        return resolved(fairseq_config(config, data, folder, machine.device, machine.precision))

    settings = settings_of(run.config)
    refuse_unheeded(run.config, settings, settings_of(with_nothing_given(run.config)))
    check_values(settings)
    utils.import_user_module(settings.common)
    settings, plan = planned(settings, run.config)
    check_schedule(settings, plan.steps)
    task = tasks.setup_task(settings.task)
    trains_here = run.config.launcher.name == "local" and machine.device == "cpu"
    _require_memory(matrix_weights(settings.model, len(task.source_dictionary)), trains_here)
    if run.key.backend == "hf":
        ends, _ = plan_steps(settings)
        whole = ends[:-1] if settings.optimization.max_update else ends
        lengths = {end - begin for begin, end in pairwise([0, *whole])}
        if len(lengths) > 1:
            raise UsageError(
                f"fairseq.dataset.max_tokens={settings.dataset.max_tokens}: epochs have from "
                f"{min(lengths)} to {max(lengths)} batches, and those of BACKEND=hf have as many each; "
                "leave it out"
            )
        from hf_tasks.arguments import check_optimizer, training_arguments
        from hf_tasks.first_weights import converted, draw_model

        elsewhere = run.config.launcher.name != "local"
        arguments = training_arguments(folder, run.config, settings, plan.steps, elsewhere)
        model = converted(draw_model(settings)[-1], list(run.inputs["labels"]), settings, run.config.method)
        check_optimizer(arguments, model, overrides)
        return
    from fairseq.optim import build_optimizer
    from fairseq.optim.lr_scheduler import build_lr_scheduler

    model, criterion = task.build_model(settings.model), task.build_criterion(settings.criterion)
    weights = [weight for weight in chain(model.parameters(), criterion.parameters()) if weight.requires_grad]
    schedule = build_lr_scheduler(settings.lr_scheduler, build_optimizer(settings.optimizer, weights))
    for step in (0, 1, plan.steps // 2, plan.steps):
        schedule.step_update(step)
    texts = task.load_dataset("train")
    with torch.no_grad():
        criterion(model.eval(), texts.collater([texts[0]]))
