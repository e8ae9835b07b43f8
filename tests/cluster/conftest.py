"""The six runs that SLURM and Ray are given, and the same runs on this machine, trained once for both."""

import functools
from collections.abc import Callable

import pytest

from tests.conftest import Workspace

RUNS = ("--seeds", "0,1,2", "--epochs", "60")
SETTINGS = ("launcher.threads=1", "launcher.save_every=1", "recipe.evaluate_every=300", "recipe.batch_size=2")


@pytest.fixture(scope="session")
def calm(workspace: Workspace) -> Callable[[], str]:
    """Return a function that trains the six runs, once, disturbed by nobody, and returns the name of their sweep.

    A function, so that nothing is trained where neither SLURM nor Ray starts.
    """

    @functools.cache
    def trained() -> str:
        answer = workspace.sweep("--sweep", "calm", *RUNS, "--", *SETTINGS)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return "calm"

    return trained
