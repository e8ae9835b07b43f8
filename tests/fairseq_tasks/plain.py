"""fairseq's configuration and task of one run of a workspace, in this process."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from hydra_conf.compose import compose_config
from sweeps.fairseq_config import fairseq_config, resolved
from tests.conftest import Workspace


def plain_settings(workspace: Workspace, folder: Path, *overrides: str) -> DictConfig:
    """Return the resolved configuration of a roberta_tiny run on the CPU in fp32."""
    words = ["model=tiny", f"data_dir={workspace.root / 'data'}", "fairseq.lr_scheduler.total_num_update=100"]
    config = compose_config([*words, *overrides])
    return resolved(fairseq_config(config, workspace.binarised, folder, "cpu", "fp32"))


def plain_task(workspace: Workspace, folder: Path, *overrides: str) -> Any:
    """Return the classification task of that run, its datasets not loaded."""
    from fairseq import tasks

    return tasks.setup_task(plain_settings(workspace, folder, *overrides).task)
