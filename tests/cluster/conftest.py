"""The six runs that SLURM and Ray are given, and the same runs on this machine, trained once for both."""

import functools
from collections.abc import Callable

import pytest

from tests.conftest import Workspace

RUNS = ("--seeds", "0,1,2", "--epochs", "30")
SETTINGS = ("launcher.threads=1", "launcher.save_every=1", "recipe.evaluate_every=150", "recipe.batch_size=2")
PATIENCE = 1800  # seconds until six runs hang rather than take long: an old core needs some minutes for them


@pytest.fixture(scope="session")
def calm(workspace: Workspace) -> Callable[[], str]:
    """Return a function that trains the six runs, once, disturbed by nobody, and returns the name of their sweep.

    A function, so that nothing is trained where neither SLURM nor Ray starts.
    """

    @functools.cache
    def trained() -> str:
        answer = workspace.sweep("--sweep", "calm", *RUNS, "--", *SETTINGS, timeout=PATIENCE)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return "calm"

    return trained
