"""The bench of pre-training: every way trains, and has its row."""

import argparse
from pathlib import Path

import pytest

from benchmarks import pretrain
from foundation.errors import UsageError
from sweeps.pretrain import arguments_of_pretrain, plan
from tests.conftest import make_workspace
from tests.sweeps.test_pretrain import words_of, write_corpus


def test_every_way_trains_and_has_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_workspace(tmp_path)
    shape = {"layers": 1, "embed_dim": 64, "ffn_embed_dim": 128, "attention_heads": 2}
    told = [f"fairseq.model.encoder_{name}={value}" for name, value in shape.items()]
    _, _, *words = words_of(write_corpus(made.root / "made.txt"), "8k", *told)
    options = ["--data-dir", str(made.root / "data"), "--runs-dir", str(made.root / "runs")]
    config, _ = plan(arguments_of_pretrain([*options, *words]))
    monkeypatch.setattr(pretrain, "peak_flops", lambda kind: {"fp32": 1e12}[kind])
    logs: list[str] = []

    def noted(log: str) -> float:  # in the place of seconds_per_step: tiny steps lie within one second
        logs.append(log)
        assert len(pretrain.STEP.findall(log)) == 8
        return 0.5

    monkeypatch.setattr(pretrain, "seconds_per_step", noted)
    ways = argparse.Namespace(steps=8, rounds=2, data_dir=made.root / "data")
    ours = words[words.index("--") + 1 :]
    found, numbers = pretrain.bench(ways, config, ["--model", "tiny", "--corpus", "text"], ours)
    assert list(numbers["seconds"]) == ["stock", "bare loop", "ours"]
    assert all(len(seconds) == 2 for seconds in numbers["seconds"].values())
    assert len(set(logs)) == 6  # each way trains in every round
    for way in ("stock, fp32", "bare loop, fp32", "ours, fp32"):
        assert f"| {way} " in found
    assert not list((made.root / "data/models").glob("*@*"))  # the models of the bench are not kept


def test_seconds_of_a_step_are_between_the_first_and_the_last() -> None:
    line = "2026-11-29 05:00:{:02} | INFO | train_inner | epoch 001: loss=9, num_updates={}, lr=0.1\n"
    log = "".join(line.format(second, step) for second, step in ((10, 1), (14, 2), (30, 5)))
    assert pretrain.seconds_per_step(log) == 5
    with pytest.raises(UsageError, match="fewer than two steps"):
        pretrain.seconds_per_step(line.format(1, 1))
    with pytest.raises(UsageError, match="within one second; give more --steps"):
        pretrain.seconds_per_step(line.format(1, 1) + line.format(1, 2))
