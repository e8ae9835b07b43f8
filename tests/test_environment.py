"""The environment that `make setup` makes."""

import importlib
import importlib.util
from importlib.metadata import version

import pytest


def test_fairseq_imports_and_torchaudio_is_not_there() -> None:
    assert importlib.import_module("fairseq.tasks")
    assert importlib.util.find_spec("torchaudio") is None  # beside a CPU torch it breaks transformers and peft


def test_torch_is_the_pinned_one() -> None:
    assert version("torch").split("+")[0] == "2.13.0"


def test_transformers_trainer_and_peft_import_when_the_extra_is_there() -> None:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("the extra hf is not installed: make setup EXTRAS=dev,hf")
    assert importlib.import_module("transformers").Trainer
    assert importlib.import_module("peft").LoraConfig
