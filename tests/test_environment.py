"""The environment that `make setup` makes."""

import importlib
import importlib.util
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

LOCK = Path(__file__).parent.parent / "lock"
NEEDED = {"dev": "pytest", "hf": "transformers", "cluster": "ray", "fairseq": "fairseq"}  # lock file -> what it brings


def test_fairseq_imports_and_torchaudio_is_not_there() -> None:
    assert importlib.import_module("fairseq.tasks")
    assert importlib.util.find_spec("torchaudio") is None  # beside a CPU torch it breaks transformers and peft


def test_torch_is_the_pinned_one() -> None:
    assert version("torch").split("+")[0] == "2.13.0"


@pytest.mark.parametrize("extra", sorted(NEEDED))
def test_every_version_is_the_locked_one(extra: str) -> None:
    if importlib.util.find_spec(NEEDED[extra]) is None:
        pytest.skip(f"the extra {extra} is not installed: make setup EXTRAS=dev,{extra}")
    lines = re.findall(r"^\S+==.*?(?= \\$)", (LOCK / f"{extra}.txt").read_text(), re.MULTILINE)
    asked = [Requirement(line) for line in lines]
    assert asked
    here = [one for one in asked if one.marker is None or one.marker.evaluate()]
    found = {one.name: version(one.name) for one in here}
    assert {name: found[name] for name in found} == {one.name: str(one.specifier)[2:] for one in here}


def test_every_package_of_the_setup_is_locked() -> None:
    """A package that is added to setup.cfg without `make lock` would not be installed."""
    text = (LOCK.parent / "setup.cfg").read_text()
    parts = {"dev": "dev =", "hf": "hf =", "cluster": "cluster ="}
    base = re.findall(r"^    ([\w.-]+==[\w.]+)$", text.split("[options.packages.find]")[0], re.MULTILINE)
    for extra, heading in parts.items():
        own = re.findall(r"^    ([\w.-]+==[\w.]+)$", text.split(f"\n{heading}\n")[1].split(" =\n")[0], re.MULTILINE)
        locked = {
            line.lower() for line in re.findall(r"^(\S+==\S+)", (LOCK / f"{extra}.txt").read_text(), re.MULTILINE)
        }
        assert {name.lower() for name in [*base, *own] if not name.startswith("torch==")} <= locked


def test_transformers_trainer_and_peft_import_when_the_extra_is_there() -> None:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("the extra hf is not installed: make setup EXTRAS=dev,hf")
    assert importlib.import_module("transformers").Trainer
    assert importlib.import_module("peft").LoraConfig
