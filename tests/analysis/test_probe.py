"""The probe on a frozen encoder: what it reads, and when there is none."""

import re

import numpy as np
import pytest

from analysis.probe import features, fit_probes, probe_inputs
from tests.conftest import Workspace


def test_the_probe_reads_the_frozen_encoder_and_never_the_test_texts(swept: Workspace) -> None:
    run, data = swept.run_folder("pretrained", 0), swept.root / "data"
    made_from, why = probe_inputs(run, data)
    assert made_from is not None, why
    found = features(run, data, made_from)
    assert found["train/mean"].shape == found["train/first"].shape == (60, 64)
    assert found["test/class"].shape == (30,)
    every = np.arange(60)
    probes = fit_probes(found, every)
    assert [re.sub(r", C = .*", "", probe.name) for probe in probes] == [
        "probe: mean of the last layer",
        "probe: last layer at <s>",
    ]
    turned = dict(found) | {"test/class": 1 - found["test/class"]}
    for probe, other in zip(probes, fit_probes(turned, every), strict=True):
        assert (probe.name, probe.valid) == (other.name, other.valid)  # C is chosen without test
        assert probe.test + other.test == pytest.approx(100)
    shuffled = dict(found) | {"train/class": found["train/class"][np.random.default_rng(0).permutation(60)]}
    assert max(probe.valid for probe in probes) > max(probe.valid for probe in fit_probes(shuffled, every)) + 10


def test_features_are_those_of_each_text_in_the_order_of_the_split(swept: Workspace) -> None:
    """A text alone gives the features that it has in its batch: rows are not mixed up, padding counts for nothing."""
    import torch

    from fairseq_tasks.folders import open_checkpoint

    run, data = swept.run_folder("pretrained", 0), swept.root / "data"
    made_from, _ = probe_inputs(run, data)
    assert made_from is not None
    found = features(run, data, made_from)
    opened = open_checkpoint(swept.model / "model.pt", swept.model)
    from fairseq.data import data_utils

    texts = data_utils.load_indexed_dataset(str(swept.binarised / "input0/valid"), opened.dictionary, combine=False)
    for row in (0, 3, 11):
        tokens = torch.cat([torch.tensor([opened.dictionary.bos()]), texts[row].long()])
        tokens = torch.cat([tokens[:63], tokens[-1:]])[None] if len(tokens) > 64 else tokens[None]
        with torch.inference_mode():
            layer = opened.model(tokens, features_only=True)[0][0]
        assert np.allclose(found["valid/mean"][row], layer.mean(0).numpy(), atol=1e-4)
        assert np.allclose(found["valid/first"][row], layer[0].numpy(), atol=1e-4)


def test_a_checkpoint_that_changed_since_the_runs_gives_no_probe(swept: Workspace) -> None:
    run, data = swept.run_folder("pretrained", 0), swept.root / "data"
    checkpoint = swept.model / "model.pt"
    whole = checkpoint.read_bytes()
    try:
        checkpoint.write_bytes(whole + b" ")
        assert "is not the one that the runs started from" in probe_inputs(run, data)[1]
        checkpoint.unlink()
        assert probe_inputs(run, data)[1] == f"the checkpoint {checkpoint} is not there"
    finally:
        checkpoint.write_bytes(whole)
