"""The bench of pre-training: every way trains, and has its row."""

import argparse
import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks import pretrain
from benchmarks.parts import step_seconds
from foundation.errors import UsageError
from sweeps.pretrain import arguments_of_pretrain, plan
from sweeps.pretrain_run import OF_SHORT_TEXTS
from tests.conftest import make_workspace
from tests.sweeps.test_pretrain import words_of, write_corpus
from tests.warm import warm


def test_every_way_trains_and_has_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_workspace(tmp_path)
    shape = {"layers": 1, "embed_dim": 64, "ffn_embed_dim": 128, "attention_heads": 2}
    told = [f"fairseq.model.encoder_{name}={value}" for name, value in shape.items()]
    _, _, *short = words_of(write_corpus(made.root / "made.txt"), "8k", *told)
    options = ["--data-dir", str(made.root / "data"), "--runs-dir", str(made.root / "runs")]
    ways = argparse.Namespace(steps=8, rounds=2, data_dir=made.root / "data")
    with pytest.raises(UsageError, match="first_block_tokens=16: stock fairseq trains on whole blocks"):
        pretrain.bench(ways, plan(arguments_of_pretrain([*options, *short]))[0], [], [])
    words = [word for word in short if not word.startswith(OF_SHORT_TEXTS)] + [pretrain.WHOLE_BLOCKS]
    config, _ = plan(arguments_of_pretrain([*options, *words]))
    monkeypatch.setattr(pretrain, "peak_flops", lambda kind: {"fp32": 1e12}[kind])

    masks = []

    def forked(commands: list[list[str]]) -> None:
        for command in commands:
            if "--mask-prob" in command:
                masks.append(float(command[command.index("--mask-prob") + 1]))
            if "--bare-loop" in command:
                masks.append(json.loads(command[-1])["mask"])
            answer = warm("fairseq").run(command[2:], Path.cwd(), 300)
            assert answer.returncode == 0, answer.stdout + answer.stderr

    def noted(runs: Path) -> float:
        """Return the seconds per step of the only way whose logs are there, which holds a point for every step."""
        (folder,) = runs.rglob("train_inner")
        assert [point.step for point in EventAccumulator(str(folder)).Reload().Scalars("loss")] == list(range(1, 9))
        return step_seconds(runs)

    monkeypatch.setattr(pretrain, "timed", forked)
    monkeypatch.setattr(pretrain, "step_seconds", noted)
    ours = words[words.index("--") + 1 :]
    found, numbers = pretrain.bench(ways, config, ["--model", "tiny", "--corpus", "text"], ours)
    assert masks == [config.fairseq.task.mask_prob] * 4  # stock and the bare loop, twice each, as many as ours
    assert list(numbers["seconds"]) == ["stock", "bare loop", "ours"]
    assert all(len(seconds) == 2 for seconds in numbers["seconds"].values())
    assert len({one for seconds in numbers["seconds"].values() for one in seconds}) == 6  # each trains in every round
    for way in ("stock, fp32", "bare loop, fp32", "ours, fp32"):
        assert f"| {way} " in found
    assert not list((made.root / "data/models").glob("*@*"))  # the models of the bench are not kept


def test_the_command_compares_whole_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "data/raw/eltec_fra/eltec_fra.txt.xz"
    file.parent.mkdir(parents=True)
    file.touch()
    asked: list[list[str]] = []

    def noted(arguments: argparse.Namespace) -> tuple[str, Path]:
        asked.append(arguments.overrides)
        return "the configuration", tmp_path

    def measured(_: object, config: str, words: list[str], overrides: list[str]) -> tuple[str, dict[str, str]]:
        asked.append(overrides)
        return config, {}

    monkeypatch.setattr(pretrain, "plan", noted)
    monkeypatch.setattr(pretrain, "bench", measured)
    monkeypatch.setattr(pretrain, "show", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["pretrain", "--data-dir", str(tmp_path / "data")])
    assert pretrain.main() == 0
    assert asked == [["pretraining.first_block_tokens=null"]] * 2
