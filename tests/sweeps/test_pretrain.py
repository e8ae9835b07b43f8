"""Pre-training by masked language modelling: doses, resume, the corpus, and a loss with a known lower bound."""

import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from data_prep.doses import dose_name, models_of
from foundation.errors import UsageError
from foundation.whole_files import write_json
from hydra_conf.compose import compose_config
from sweeps.folders import is_owned, read_json, set_status
from sweeps.pretrain import _train_in_child, parse_tokens
from sweeps.pretrain_run import compared, doses_of, identity
from sweeps.seeds import internal_seed
from sweeps.standing import stored_config
from tests.conftest import Workspace, make_workspace, refused, reviews, write_tiny_model
from tests.sweeps.test_processes import until

DOSES = ("0M", "2k", "4k", "8k")
SMALL = (
    "pretraining.first_dose=2000",
    "pretraining.batch_tokens=512",
    "pretraining.block_tokens=64",
    "pretraining.first_block_tokens=16",
    "pretraining.growing_tokens=4000",
    "pretraining.warmup_tokens=1000",
    "threads=1",
)


def write_corpus(path: Path, n: int = 300) -> Path:
    path.write_text("\n\n".join(text for text, _ in reviews(n, seed=9)), encoding="utf-8")
    return path


def words_of(corpus: Path, tokens: str, *more: str) -> list[str]:
    own = ["corpus.name=made", f"corpus.file={corpus}", *SMALL, *more]
    options = ["--model", "tiny", "--corpus", "text", "--tokens", tokens, "--device", "cpu", "--precision", "fp32"]
    return ["sweeps", "pretrain", *options, "--", *own]


def by_force(words: list[str]) -> list[str]:
    return [*words[:2], "--force", *words[2:]]


def weights_of(workspace: Workspace, dose: str) -> dict[str, torch.Tensor]:
    model = torch.load(workspace.root / "data" / "models" / f"tiny@{dose}" / "model.pt", weights_only=True)["model"]
    assert isinstance(model, dict)
    return model


def loss_of(workspace: Workspace, dose: str) -> float:
    return float(read_json(workspace.root / "data" / "models" / f"tiny@{dose}" / "pretraining.json")["loss"])


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a corpus and an undisturbed training on 8,000 tokens."""
    made = make_workspace(tmp_path_factory.mktemp("pretrained"))
    assert made.prep().returncode == 0
    answer = made.python(*words_of(write_corpus(made.root / "made.txt"), "8k"))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return made


def test_a_model_folder_stands_at_each_dose_and_says_what_it_is(pretrained: Workspace) -> None:
    about = [read_json(pretrained.root / "data/models" / f"tiny@{dose}" / "pretraining.json") for dose in DOSES]
    assert [one["dose"] for one in about] == [0, 2000, 4000, 8000]
    assert [one["tokens"] for one in about] == [0, 2048, 4096, 8192]  # 512 tokens a step
    assert [one["corpus"] for one in about] == ["made"] * 4
    assert all(list(one["checked"]) == ["amazon_fr"] for one in about)
    losses = [one["loss"] for one in about]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(math.log(62), abs=0.5)  # 57 pieces, four special symbols, <mask>
    card = (pretrained.root / "data/models/tiny@8k/card.md").read_text(encoding="utf-8")
    assert "masked language modelling on the corpus made" in card
    assert "first texts: 16 tokens, whole blocks after 4,000 tokens" in card
    assert "positions: begin as sinusoids; all are trained" in card
    assert [one["untrained_from"] for one in about] == [0, 16, 32, None]  # the last batch before a dose decides
    short = {"0M": "none is trained", "2k": "those from 16 on, counted from 0, are not trained"}
    for dose, said in short.items():
        assert said in (pretrained.root / f"data/models/tiny@{dose}/card.md").read_text(encoding="utf-8")
    assert not same(weights_of(pretrained, "0M"), weights_of(pretrained, "2k"))


def test_a_training_that_is_made_longer_ends_with_the_same_weights(pretrained: Workspace, tmp_path: Path) -> None:
    made = make_workspace(tmp_path)
    corpus = write_corpus(made.root / "made.txt")
    for tokens in ("3k", "8k"):
        answer = made.python(*words_of(corpus, tokens))
        assert answer.returncode == 0, answer.stdout + answer.stderr
    assert (made.root / "data/models/tiny@3k/model.pt").is_file()
    for dose in DOSES:
        assert same(weights_of(made, dose), weights_of(pretrained, dose)), dose
        assert loss_of(made, dose) == loss_of(pretrained, dose)
    folder = made.root / "runs" / "pretraining" / "made.tiny"
    for state in ("done", "pending"):  # pending: it was killed after its last step
        set_status(folder, state=state)
        again = made.python(*words_of(corpus, "8k"))
        assert again.returncode == 0, again.stdout + again.stderr
        assert ("tokens, cpu fp32" in again.stdout) == (state == "pending")
        assert read_json(folder / "progress.json")["step"] == 16
    assert same(weights_of(made, "8k"), weights_of(pretrained, "8k"))
    record = read_json(folder / "provenance.json")
    (made.root / "data/models/tiny@2k").rename(made.root / "moved")
    answer = made.python(*words_of(corpus, "8k"))
    assert "tiny@2k is not there, and the training is past it, at 8,192 tokens" in answer.stdout
    assert record == read_json(folder / "provenance.json")  # what is refused has not gone on
    (made.root / "moved").rename(made.root / "data/models/tiny@2k")
    (folder / "provenance.json").unlink()
    answer = made.python(*words_of(corpus, "16k"))
    assert "provenance.json is missing or damaged, so the inputs that the run began with are not known" in answer.stdout
    assert answer.returncode == 1
    answer = made.python(*by_force(words_of(corpus, "3k")))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"FORCE=1 deletes {made.root / 'data/models/tiny@8k'}" in answer.stdout
    names = sorted(path.name for path in (made.root / "data/models").glob("tiny@*"))
    assert names == ["tiny@0M", "tiny@2k", "tiny@3k"]


def test_a_training_that_is_killed_ends_with_the_same_weights(pretrained: Workspace, tmp_path: Path) -> None:
    made = make_workspace(tmp_path)
    words = [sys.executable, "-m", *words_of(write_corpus(made.root / "made.txt"), "8k")]
    folder = made.root / "runs" / "pretraining" / "made.tiny"
    process = subprocess.Popen(words, cwd=made.root, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    first = made.root / "data/models/tiny@0M/pretraining.json"
    while not (first.is_file() and list(folder.glob("resume/step=*"))) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not is_owned(folder))
    assert read_json(first)["checked"] == {}  # nothing is prepared here; the models of a cut training can be fine-tuned
    half_written = made.root / "data/models/.tiny@8k.ab_4efgh"  # as the killed process may leave it
    half_written.mkdir()
    os.utime(half_written, (0, 0))
    being_written = made.root / "data/models/.tiny@8k.cd_4efgh"  # by another process
    being_written.mkdir()
    answer = made.python(*words_of(made.root / "made.txt", "8k"))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert not half_written.exists()
    assert being_written.exists()
    assert "going on from step" in (folder / "train.log").read_text(encoding="utf-8")
    assert read_json(folder / "provenance.json")["resumed"][0]["step"] > 0
    for dose in DOSES:
        assert same(weights_of(made, dose), weights_of(pretrained, dose)), dose
        assert loss_of(made, dose) == loss_of(pretrained, dose)


def test_a_dose_is_a_model_like_any_other(pretrained: Workspace) -> None:
    folder = str(pretrained.root / "data/models/tiny@4k")
    of_dose = Workspace(pretrained.root, pretrained.overrides)
    answer = of_dose.python("data_prep", "--model", folder, *of_dose.overrides)
    assert answer.returncode == 0, answer.stderr
    words = ["--model", folder, "--init", "pretrained", "--seeds", "0", "--epochs", "1", "--sweep", "dose"]
    answer = of_dose.sweep(*words)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    run = pretrained.root / "runs/dose/amazon_fr/tiny@4k/fairseq/full/pretrained/seed=0"
    record = read_json(run / "initialisation.json")
    assert len(record["encoder_weights_loaded"]) == 36
    assert "encoder.lm_head.weight" in record["in_checkpoint_not_used"]


def test_the_experiment_trains_every_dose_on_a_dataset_that_the_corpus_was_checked_against(
    pretrained: Workspace,
) -> None:
    words = ["--experiment", "dose", "--model", "tiny"]
    answer = pretrained.python("data_prep", *words, *pretrained.overrides)
    assert answer.returncode == 0, answer.stderr
    answer = pretrained.sweep("--experiment", "dose", "--seeds", "0", "--epochs", "1", "--sweep", "doses")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    folders = sorted(path.name for path in (pretrained.root / "runs/doses/amazon_fr").iterdir())
    assert folders == ["tiny@0M", "tiny@2k", "tiny@4k", "tiny@8k"]
    name = ["dataset.name=unseen", "dataset.test_seed=7"]
    answer = pretrained.python("data_prep", *words, *pretrained.overrides, *name)
    assert answer.returncode == 0, answer.stderr
    answer = pretrained.sweep("--experiment", "dose", "--seeds", "0", "--sweep", "unseen", *name)
    assert "nobody has looked for the test texts of unseen" in refused(answer)
    shutil.rmtree(pretrained.root / "data/splits/unseen")
    other = pretrained.root / "data/models/tiny@16k"
    shutil.copytree(pretrained.root / "data/models/tiny@8k", other)
    about = read_json(other / "pretraining.json")
    write_json(other / "pretraining.json", {**about, "identity": "other", "dose": 16_000})
    answer = pretrained.sweep("--experiment", "dose", "--seeds", "0", "--sweep", "mixed")
    assert "are of different trainings" in refused(answer)
    shutil.rmtree(other)
    some = ",".join(str(pretrained.root / f"data/models/tiny@{dose}") for dose in ("0M", "8k"))
    answer = pretrained.sweep(
        "--experiment", "dose", "--model", some, "--seeds", "0", "--epochs", "1", "--sweep", "some"
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert len(list((pretrained.root / "runs/some/amazon_fr").iterdir())) == 2
    assert models_of("tiny@8k", {"doses_of": "tiny"}, pretrained.root / "data") == [some.partition(",")[2]]
    answer = pretrained.sweep("--experiment", "dose", "--model", "data/models/tiny@4M", "--sweep", "none")
    assert "MODEL=data/models/tiny@4M: there is no such dose; in " in refused(answer)
    answer = pretrained.sweep("--experiment", "dose", "--model", "nobody", "--sweep", "none")
    assert "MODEL=nobody: there is no dose of it in " in refused(answer)


def test_the_loss_falls_to_the_entropy_of_a_made_up_language(tmp_path: Path) -> None:
    """Words are drawn independently, and a paragraph ends after each with the same probability: no model does better.

    Only <mask> stands at a masked place, so the text around it says nothing. The <s> of a block is always known. The
    training ends within an epoch, while fairseq's thread makes the next batches.
    """
    shares = {"aa": 0.5, "bb": 0.25, "cc": 0.125, "dd": 0.125}
    ends = 0.02
    draw = random.Random(3)
    lines: list[list[str]] = [[]]
    for _ in range(200_000):  # the held-out hundredth has some 600 masked tokens
        lines[-1].append(draw.choices(list(shares), list(shares.values()))[0])
        if draw.random() < ends / (1 - ends):
            lines.append([])
    texts = [" ".join(line) for line in lines if line]
    made = Workspace(tmp_path, ())
    write_tiny_model(made.model, texts, vocabulary=12)
    (tmp_path / "made.txt").write_text("\n".join(texts), encoding="utf-8")
    plain = ("fairseq.task.leave_unmasked_prob=0.0", "fairseq.task.random_token_prob=0.0")
    more = ("pretraining.batch_tokens=2048", "pretraining.first_dose=400000", "pretraining.learning_rate=3e-3")
    answer = made.python(*words_of(tmp_path / "made.txt", "400k", *plain, *more))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    loss = read_json(tmp_path / "data/models/tiny@400k/pretraining.json")["loss"]
    probabilities = [ends, *(share * (1 - ends) for share in shares.values())]
    entropy = -sum(share * math.log(share) for share in probabilities)
    assert loss == pytest.approx(entropy * 63 / 64, abs=0.06)


def task_of(pretrained: Workspace, **settings: Any) -> Any:
    """Return the task of the pre-training, with blocks of 64 tokens and 8 of them in a step."""
    from fairseq import tasks

    from fairseq_tasks.masked_lm import PretrainingConfig

    own: dict[str, Any] = {"seed": 7, "max_positions": 64, "batch_size": 8, "batch_size_valid": 8}
    own |= {"train_subset": "train", "valid_subset": "valid", "tensorboard_logdir": None, "fp16": False}
    own |= {
        "tokens_per_sample": 64,
        "mask_prob": 0.3,
        "first_block": 64,
        "growing_tokens": 0,
        "save_dir": str(pretrained.root),
    }
    own |= {"data": str(pretrained.root / "data/bin/corpus.made.tiny/input0"), **settings}
    config = OmegaConf.merge(OmegaConf.structured(PretrainingConfig), own)
    return tasks.setup_task(OmegaConf.merge(config, {"_name": "warmstart_masked_lm"}))


def test_texts_are_short_at_first_and_double_until_they_are_whole_blocks(pretrained: Workspace) -> None:
    from fairseq_tasks.masked_lm import length_of_texts

    lengths = [length_of_texts(seen, 16, 64, 3000) for seen in (0, 1499, 1500, 2999, 3000, 10**12)]
    assert lengths == [16, 16, 32, 32, 64, 64]
    assert {length_of_texts(seen, 64, 64, 3000) for seen in (0, 2000, 4000)} == {64}
    assert length_of_texts(0, 16, 64, 0) == 64

    task = task_of(pretrained, first_block=16, growing_tokens=3000)
    task.load_dataset("train")
    batch = task.datasets["train"].collater([task.datasets["train"][place] for place in range(8)])
    seen: list[dict[str, Any]] = []

    def criterion(model: Any, sample: dict[str, Any]) -> Any:
        seen.append(sample)
        raise InterruptedError

    for step, length in ((0, 16), (2, 16), (3, 32), (6, 64)):  # of 512 tokens
        with pytest.raises(InterruptedError):
            task.train_step(batch, Mock(), criterion, None, step)
        tokens, target = seen[-1]["net_input"]["src_tokens"], seen[-1]["target"]
        assert tokens.shape == target.shape == (512 // length, length)
        assert torch.equal(tokens.flatten(), batch["net_input"]["src_tokens"].flatten())
        assert torch.equal(target.flatten(), batch["target"].flatten())
        assert seen[-1]["net_input"]["src_lengths"].tolist() == [length] * (512 // length)
        assert seen[-1]["nsentences"] == 512 // length
    assert batch["net_input"]["src_tokens"].shape == (8, 64)


def test_a_training_from_before_there_were_short_texts_is_still_the_same() -> None:
    words = ["corpus=eltec_fra", "tokens=8000"]
    drawn, sinusoids = (f"fairseq.model.position_init={kind}" for kind in ("normal", "sinusoidal"))
    whole = [*words, "pretraining.first_block_tokens=null"]
    now, short, begun_otherwise = (
        compose_config(own, "pretrain") for own in ([*whole, drawn], [*words, drawn], [*whole, sinusoids])
    )
    before = OmegaConf.create(OmegaConf.to_container(now, resolve=True))
    assert isinstance(before, DictConfig)
    for key in ("first_block_tokens", "growing_tokens"):
        del before.pretraining[key]
    del before.fairseq.model["position_init"]
    assert compared(before) == compared(now)
    assert identity(begun_otherwise, {}) != identity(now, {})
    assert identity(before, {}) == identity(now, {}) != identity(short, {})
    assert compared(short)["pretraining.first_block_tokens"] == 32


def test_the_loss_of_token_frequencies_is_that_of_counting_by_hand(pretrained: Workspace) -> None:
    from fairseq.data.indexed_dataset import MMapIndexedDataset

    task = task_of(pretrained, seed=internal_seed(0), mask_prob=0.3)  # as the training had them
    held_out = task.load_dataset("valid")
    held_out.set_epoch(1)
    rows = MMapIndexedDataset(str(pretrained.root / "data/bin/corpus.made.tiny/input0/train"))
    of_text = Counter(token for row in range(len(rows)) for token in rows[row].tolist())
    counts = {**of_text, task.dictionary.bos(): sum(of_text.values()) / 63}  # one before 63 tokens of text
    total = sum(counts.values()) + len(task.dictionary)
    targets = [token for row in range(len(held_out)) for token in held_out[row]["target"].tolist()]
    by_hand = [math.log(total / (counts.get(token, 0) + 1)) for token in targets if token != task.dictionary.pad()]
    assert task.frequency_loss == pytest.approx(sum(by_hand) / len(by_hand))
    folders = [pretrained.root / "data/models" / f"tiny@{dose}" for dose in DOSES]
    [stored] = {read_json(folder / "pretraining.json")["frequency_loss"] for folder in folders}
    assert stored == pytest.approx(task.frequency_loss)
    assert stored < loss_of(pretrained, "0M")
    assert f"(token frequencies alone: {stored:.3f})" in (folders[-1] / "card.md").read_text(encoding="utf-8")


def test_models_from_before_the_loss_of_frequencies_was_recorded_are_listed_and_checked(
    pretrained: Workspace, tmp_path: Path
) -> None:
    made = Workspace(Path(shutil.copytree(pretrained.root, tmp_path / "made")), pretrained.overrides)
    folders = [made.root / "data/models" / f"tiny@{dose}" for dose in DOSES]
    for folder in folders:
        about = read_json(folder / "pretraining.json")
        write_json(
            folder / "pretraining.json", {key: about[key] for key in about if key != "frequency_loss"} | {"checked": {}}
        )
    answer = made.python(*words_of(made.root / "made.txt", "8k"))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "token frequencies" not in answer.stdout
    assert all(read_json(folder / "pretraining.json")["checked"] for folder in folders)


@pytest.mark.parametrize(
    ("split", "settings", "said"),
    [
        ("train", {"batch_size": 100_000}, "train: .* less than a step takes; .*batch_tokens and pretraining.block_"),
        (
            "valid",
            {"tokens_per_sample": 4_096, "max_positions": 4_096},
            "the held-out paragraphs: .* less than a block; ",
        ),
    ],
)
def test_too_little_text_says_of_what_and_what_to_lower(
    pretrained: Workspace, split: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        task_of(pretrained, **settings).load_dataset(split)


def test_shares_of_masks_and_what_stands_there(pretrained: Workspace) -> None:
    task = task_of(pretrained)
    dataset = task.load_dataset("train")
    epochs = []
    for epoch in (1, 2):
        dataset.set_epoch(epoch)
        batch = dataset.collater([dataset[row] for row in range(len(dataset))])
        shown, target = batch["net_input"]["src_tokens"], batch["target"]
        masked = target.ne(task.dictionary.pad())
        assert masked.float().mean().item() == pytest.approx(0.3, abs=0.01)
        at_masks = shown[masked]
        hidden = at_masks == task.mask_idx
        kept = at_masks == target[masked]
        assert hidden.float().mean().item() == pytest.approx(0.8, abs=0.05)
        assert kept.float().mean().item() == pytest.approx(0.1, abs=0.04)
        epochs.append((shown, masked, torch.where(masked, target, shown)))
    (_, first, text), (_, second, again) = epochs
    assert not torch.equal(first, second)
    assert torch.equal(text, again)  # the same text under other masks


def test_a_damaged_configuration_is_one_sentence_and_force_begins_anew(pretrained: Workspace, tmp_path: Path) -> None:
    made = Workspace(Path(shutil.copytree(pretrained.root, tmp_path / "made")), pretrained.overrides)
    folder = made.root / "runs" / "pretraining" / "made.tiny"
    words = words_of(made.root / "made.txt", "8k")
    for damaged in ("{", "a", ""):
        (folder / "config.yaml").write_text(damaged)
        said = refused(made.python(*words))
        assert f"{folder / 'config.yaml'} cannot be read, and a training has begun there" in said
    assert list(folder.glob("resume/step=*"))
    answer = made.python(*by_force(words))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert same(weights_of(made, "8k"), weights_of(pretrained, "8k"))


FAULTS = """
import resource, torch
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16_000_000)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_a_training_on_a_cpu_keeps_its_memory(
    pretrained: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def start(folder: Path, environment: dict[str, str], digest: str) -> Any:
        given.append(environment)
        raise UsageError("started")

    given: list[dict[str, str]] = []
    monkeypatch.setattr("sweeps.pretrain.start", start)
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.perturb=0")
    folder = Path(shutil.copytree(pretrained.root / "runs" / "pretraining" / "made.tiny", tmp_path / "run"))
    config = stored_config(folder)
    assert config is not None
    with pytest.raises(UsageError, match="started"):
        _train_in_child(config, folder)
    assert given[0]["GLIBC_TUNABLES"].endswith(":glibc.malloc.perturb=0")
    command = [sys.executable, "-c", FAULTS]
    plain = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}

    def faults(environment: dict[str, str]) -> int:
        answer = subprocess.run(command, env=plain | environment, capture_output=True, text=True, check=True)
        return max(map(int, answer.stdout.split()[1:]))  # when the memory has been had once

    if faults({}) < 15_000:
        pytest.skip("here a block of 64 MB does not come page by page anyway")
    assert faults(given[0]) < 1_500


def test_another_training_is_not_replaced_unasked(pretrained: Workspace) -> None:
    before = weights_of(pretrained, "8k")
    answer = pretrained.python(*words_of(pretrained.root / "made.txt", "8k", "pretraining.learning_rate=0.01"))
    assert "pretraining.learning_rate: 0.001 -> 0.01" in refused(answer)
    assert "to go on, give them as they were, in ARGS: pretraining.learning_rate=0.001; FORCE=1 deletes it" in refused(
        answer
    )
    other = write_corpus(pretrained.root / "other.txt", 200)
    answer = pretrained.python(*words_of(other, "8k", "corpus.name=other"))
    assert "is of another training" in refused(answer)
    answer = pretrained.python(*by_force(words_of(other, "8k", "corpus.name=other")))
    assert "is of another training; move it away" in refused(answer)
    assert same(before, weights_of(pretrained, "8k"))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("fairseq.optimization.lr=[1e-4]", "fairseq.optimization.lr: pre-training takes fairseq.model.*, "),
        ("fairseq.task.mask_whole_words=true", "fairseq.task.mask_whole_words: pre-training takes "),
        ("precision=fp32", "precision cannot be given as an override: use PRECISION"),
        ("tokens=5", "tokens cannot be given as an override: use TOKENS"),
        ("pretraining.batch_tokens=100", "give a multiple of pretraining.block_tokens, 64"),
        (
            "pretraining.first_block_tokens=24",
            "first_block_tokens=24 does not go with pretraining.block_tokens=64: give a half, a quarter, an eighth",
        ),
        ("pretraining.first_block_tokens=128", "first_block_tokens=128 does not go with pretraining.block_tokens=64"),
        ("fairseq.model.encoder_learned_pos=false", "without them give fairseq.model.position_init=normal"),
        ("pretraining.first_block_tokens=null", "pretraining.growing_tokens=4000: it has an effect only with"),
        ("pretraining.growing_tokens=0", "pretraining.growing_tokens=0: it must be above 0"),
        ("pretraining.block_tokens=128", "pretraining.block_tokens=128: tiny takes at most 64 tokens"),
        ("pretraining.mask_share=1", "pretraining.mask_share=1.0: it is a share, above 0 and below 1"),
        ("seed=-1", "seed=-1: it is a number from 0 to 2000"),
        ("threads=0", "threads=0: it is a number from 1"),
    ],
)
def test_a_setting_without_effect_or_sense_is_refused(pretrained: Workspace, word: str, said: str) -> None:
    answer = pretrained.python(*words_of(pretrained.root / "made.txt", "8k", word))
    assert said in refused(answer)


def test_settings_that_were_refused_before_any_training_do_not_bind_the_folder(tmp_path: Path) -> None:
    made = make_workspace(tmp_path)
    words = words_of(write_corpus(made.root / "made.txt"), "1k")
    failed = made.python(*words, "fairseq.model.activation_fn=none")  # found out by the training's own process
    assert failed.returncode == 1, failed.stdout
    folder = made.root / "runs/pretraining/made.tiny"
    assert stored_config(folder) is not None
    fixed = ("fairseq.model.encoder_learned_pos=false", "fairseq.model.position_init=normal")
    answer = made.python(*words, *fixed)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "are not trained" not in answer.stdout
    about = read_json(made.root / "data/models/tiny@1k/pretraining.json")
    assert (about["positions"], about["untrained_from"]) == ("not learned", None)
    card = (made.root / "data/models/tiny@1k/card.md").read_text(encoding="utf-8")
    assert "positions: not learned; they are not trained" in card


def test_a_training_that_has_only_its_beginning_is_made_anew_with_other_settings(
    pretrained: Workspace, tmp_path: Path
) -> None:
    made = Workspace(Path(shutil.copytree(pretrained.root, tmp_path / "made")), pretrained.overrides)
    folder, models = made.root / "runs" / "pretraining" / "made.tiny", made.root / "data" / "models"
    shutil.rmtree(folder / "resume")
    longer = words_of(made.root / "made.txt", "16k")
    assert f"{folder / 'resume'} holds no checkpoint, so the training cannot go on" in refused(made.python(*longer))
    for dose in DOSES[1:]:
        shutil.rmtree(models / f"tiny@{dose}")
    set_status(folder, state="failed")
    other = write_corpus(made.root / "made.txt", 200)
    short_blocks = ("pretraining.block_tokens=32", "pretraining.growing_tokens=500")
    answer = made.python(*words_of(other, "1k", *short_blocks))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"made anew: {models / 'tiny@0M'}" in answer.stdout
    assert "tiny@1k: held-out loss" in answer.stdout
    assert read_json(models / "tiny@1k" / "pretraining.json")["untrained_from"] == 32  # of 64, which no block reaches


def test_a_trial_says_which_positions_are_not_trained(pretrained: Workspace) -> None:
    answer = pretrained.python(*words_of(pretrained.root / "made.txt", "8k"))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    said = [line for line in answer.stdout.splitlines() if "held-out loss" in line]
    assert [line.partition("; ")[2] for line in said] == [
        "",
        "positions from 16 on are not trained",
        "positions from 32 on are not trained",
        "",
    ]


def test_the_defaults_are_those_that_the_rule_chose_and_the_changelog_says_how_to_go_on_with_the_former_ones() -> None:
    """docs/pretraining.md has the losses and the rule."""

    def settings(*words: str) -> tuple[Any, ...]:
        config = compose_config(["corpus=eltec_fra", "tokens=8000", *words], "pretrain")
        own = config.pretraining
        names = ("first_block_tokens", "batch_tokens", "learning_rate", "warmup_tokens", "mask_share", "first_dose")
        return (config.fairseq.model.position_init, *(own[name] for name in names))

    assert settings() == ("sinusoidal", 32, 1024, 1e-3, 500_000, 0.3, 2_000_000)
    assert compose_config(["corpus=eltec_fra", "tokens=8000"], "pretrain").pretraining.growing_tokens == 1_500_000
    changelog = Path("CHANGELOG.md").read_text(encoding="utf-8")
    [words] = re.findall(r"`(pretraining\.first_block_tokens=null\s[^`]*)`", changelog)
    assert settings(*words.split()) == ("normal", None, 4096, 1e-3, 2_000_000, 0.15, 1_000_000)


def test_tokens_and_doses() -> None:
    assert [parse_tokens(text) for text in ("64M", "250k", "1000000", "1G")] == [64_000_000, 250_000, 10**6, 10**9]
    for text in ("0", "1.5M", "64m", "", "-1"):
        with pytest.raises(UsageError, match="give a number of tokens"):
            parse_tokens(text)
    assert doses_of(4_000_000, 10**6) == [0, 10**6, 2 * 10**6, 4 * 10**6]
    assert doses_of(5_000_000, 10**6) == [0, 10**6, 2 * 10**6, 4 * 10**6, 5 * 10**6]
    assert doses_of(500_000, 10**6) == [0, 500_000]
    assert [dose_name(tokens) for tokens in (0, 16_000_000, 250_000, 1234)] == ["0M", "16M", "250k", "1234"]
