"""Merges the `fairseq` node into fairseq's own configuration, checks every key and fills in every path.

fairseq takes seconds to import, so other modules import this module inside functions, only when they need it.
"""

import re
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

import fairseq_tasks
from foundation.errors import UsageError
from hydra_conf.checks import betas_of
from hydra_conf.words import nearest
from sweeps.seeds import internal_seed

PLUGIN = Path(fairseq_tasks.__file__).parent


def _dataclasses() -> dict[str, dict[str, Any]]:
    """Return {node: {name: dataclass}} for each node of fairseq's configuration that `_name` chooses."""
    from fairseq.models import MODEL_DATACLASS_REGISTRY
    from fairseq.registry import REGISTRIES
    from fairseq.tasks import TASK_DATACLASS_REGISTRY

    chosen = {"model": MODEL_DATACLASS_REGISTRY, "task": TASK_DATACLASS_REGISTRY}
    return {**chosen, **{name: registry["dataclass_registry"] for name, registry in REGISTRIES.items()}}


def fairseq_config(config: DictConfig, data: Path, run_folder: Path, device: str, precision: str) -> DictConfig:
    """Return fairseq's whole configuration of one run, complete except for the learning-rate schedule's length.

    `config` is our root configuration, `device` is cpu or cuda, `precision` is fp32, bf16 or fp16.
    For a key that fairseq does not know, raises `UsageError` with this key and the nearest known key.
    """
    from fairseq.dataclass.configs import FairseqConfig

    node = OmegaConf.create(OmegaConf.to_container(config.fairseq, resolve=True))
    merged = OmegaConf.structured(FairseqConfig)
    registries = _dataclasses()
    for key, settings in node.items():
        group = str(key)
        if group not in FairseqConfig.__dataclass_fields__:
            known = list(FairseqConfig.__dataclass_fields__)
            raise UsageError(f"unknown configuration key 'fairseq.{group}'{nearest(group, known)}")
        if group not in registries:
            base = merged[group]
        else:
            name = settings.get("_name")
            named = {key: value for key, value in registries[group].items() if value is not None}
            if name not in named:
                raise UsageError(
                    f"fairseq.{group}._name={name}: fairseq knows no such {group}{nearest(str(name), list(named))}"
                )
            base = OmegaConf.structured(named[name])
            with open_dict(base):
                base._name = name
        merged[group] = _merge(group, base, settings)
    merged.common.user_dir = str(PLUGIN)
    merged.common.seed = internal_seed(config.seed)
    merged.common.cpu = device == "cpu"
    merged.common.fp16 = precision == "fp16"
    merged.task.autocast = precision == "bf16"
    merged.task.data = str(data)
    if "n_train" in config:  # a classifier
        merged.task.n_train = config.n_train
        merged.task.frozen = config.method.name == "frozen"
    merged.checkpoint.save_dir = str(run_folder)
    merged.common.tensorboard_logdir = str(run_folder / "tb")
    if "adam_betas" in merged.optimizer:
        given = str(merged.optimizer.adam_betas)  # fairseq runs this text as Python
        merged.optimizer.adam_betas = str(betas_of(given, "fairseq.optimizer.adam_betas"))
    if merged.common.fp16 and len(merged.optimization.update_freq) > 1 and merged.common.fp16_scale_window is None:
        raise UsageError(
            f"fairseq.optimization.update_freq={list(merged.optimization.update_freq)} in float16 asks "
            "for fairseq.common.fp16_scale_window, too; without such a list it is 16384"
        )
    return merged


def _merge(group: str, base: DictConfig, settings: DictConfig) -> DictConfig:
    OmegaConf.set_struct(base, True)
    try:
        merged = OmegaConf.merge(base, settings)
    except OmegaConfBaseException as error:
        key = error.key
        if re.search(r"Key '.*' (is )?not in", str(error)):
            known = [str(name) for name in base if not str(name).startswith("_")]
            raise UsageError(f"unknown configuration key 'fairseq.{group}.{key}'{nearest(str(key), known)}") from error
        raise UsageError(f"fairseq.{group}.{key}: {str(error).splitlines()[0]}") from error
    assert isinstance(merged, DictConfig)
    return merged


def resolved(config: DictConfig) -> DictConfig:
    """Return a copy for fairseq's training: without interpolations, in struct mode."""
    from fairseq.dataclass.utils import omegaconf_no_object_check

    with omegaconf_no_object_check():
        copy = OmegaConf.create(OmegaConf.to_container(config, resolve=True, enum_to_str=True))
    assert isinstance(copy, DictConfig)
    OmegaConf.set_struct(copy, True)
    return copy
