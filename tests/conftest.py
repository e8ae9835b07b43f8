"""A workspace in which the real pipeline runs small: a CSV of made-up reviews, a tiny model, real fairseq."""

import csv
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import pytest
import torch

from data_prep import binarise
from foundation.errors import exit_code
from foundation.whole_files import sha256_of
from tests.warm import Forked, Warm, environment, warm

# Tests say what is true, not how fast, and the same commit gets the same examples on every machine.
# `make test ARGS="--hypothesis-profile=fresh"` draws new ones.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.register_profile("fresh", deadline=None)
hypothesis.settings.load_profile("same")

SLOW_SECONDS = 3600  # in place of the `timeout` of setup.cfg: a test that hangs fails, and says where


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: "tests/faults/" not in item.nodeid)  # first what takes longest, so that it ends in time
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))


GOOD = ["superbe", "magnifique", "passionnant", "émouvant", "drôle", "excellent", "brillant", "captivant"]
BAD = ["ennuyeux", "décevant", "médiocre", "pénible", "raté", "banal", "plat", "interminable"]
THINGS = ["ce roman", "cette histoire", "ce récit", "l'intrigue", "le style", "la fin", "ce livre", "l'écriture"]
SIZES = {"train": 60, "valid": 20, "test": 30}
REPEATS = 7
EPOCHS = 6


def reviews(count: int, seed: int = 5) -> list[tuple[str, int]]:
    """Return `count` distinct made-up reviews with labels 1 and -1 in turn."""
    generator = random.Random(seed)
    made: dict[str, int] = {}
    while len(made) < count:
        label = 1 if len(made) % 2 else -1
        words = GOOD if label == 1 else BAD
        clauses = [f"{generator.choice(THINGS)} est {generator.choice(words)}" for _ in range(generator.randint(2, 9))]
        made.setdefault(", ".join(clauses).capitalize() + ".", label)
    return list(made.items())


def write_reviews(path: Path, rows: list[tuple[str, int]]) -> None:
    """Write reviews as the dataset's own CSV: byte-order mark, everything quoted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows(rows)


def write_tiny_model(
    folder: Path,
    texts: list[str],
    seed: int = 1,
    width: int = 64,
    first_symbols: Sequence[str] = (),
    vocabulary: int = 60,
    lm_head: bool = False,
) -> None:
    """Write a fairseq folder of architecture roberta_tiny: a sentencepiece model of the texts and drawn weights.

    `first_symbols` are lines that stand before the pieces in its dictionary; `lm_head` keeps the masked-LM head.
    """
    import sentencepiece
    from fairseq.data import Dictionary
    from omegaconf import OmegaConf

    from fairseq_tasks.architectures import RobertaTiny, RobertaTinyConfig

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "texts.txt"), model_prefix=str(folder / "spm"), vocab_size=vocabulary, minloglevel=2
    )
    (folder / "spm.model").rename(folder / "sentencepiece.bpe.model")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
    pieces = [processor.id_to_piece(index) for index in range(3, processor.get_piece_size())]
    lines = [*first_symbols, *(f"{piece} 1" for piece in pieces)]
    (folder / "dict.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    dictionary = Dictionary.load(str(folder / "dict.txt"))
    dictionary.add_symbol("<mask>")

    class Task:
        source_dictionary = dictionary

    torch.manual_seed(seed)
    config = OmegaConf.structured(RobertaTinyConfig(encoder_embed_dim=width))
    model = RobertaTiny.build_model(config, Task())
    weights = {name: tensor for name, tensor in model.state_dict().items() if lm_head or "lm_head" not in name}
    cfg = {"model": {"_name": "roberta_tiny", **OmegaConf.to_container(config)}}  # type: ignore[dict-item]
    torch.save({"args": None, "cfg": cfg, "model": weights, "extra_state": {}}, folder / "model.pt")


@dataclass(frozen=True)
class Workspace:
    """A folder with data, runs and results of its own, and the overrides that make amazon_fr read its small CSV."""

    root: Path
    overrides: tuple[str, ...]

    @property
    def model(self) -> Path:
        return self.root / "data" / "models" / "tiny"

    @property
    def binarised(self) -> Path:
        return self.root / "data" / "bin" / "amazon_fr.tiny"

    def python(self, *words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run `python -m <words>` here, and return what it printed and its exit code.

        It runs as a user's would where a test has changed more of the environment than PYTHONPATH, else in a process
        that is forked.
        """
        server = server_of(words)
        if server.environment == environment():
            return server.run(words, self.root, timeout)
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "COLUMNS": "200"},
        )

    def begin(self, *words: str) -> Forked:
        """Begin a sweep in a process that is forked. Its runs are no children of it, but end when it ends."""
        server, streams = server_of(words), Path(tempfile.mkdtemp(dir=self.root))
        assert server.environment == environment()
        return Forked(server, self.sweep_words(*words), self.root, streams / "out", streams / "out")

    def prep(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.python("data_prep", "--model", "tiny", *self.overrides, *words)

    def sweep_words(self, *words: str) -> list[str]:
        return [
            "sweeps",
            "--model",
            "tiny",
            "--device",
            "cpu",
            "--precision",
            "fp32",
            *words,
            *self.overrides,
            "launcher.threads=1",
        ]

    def sweep(self, *words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return self.python(*self.sweep_words(*words), timeout=timeout)

    def analyse(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m analysis`, with figures that are not drawn."""
        return self.python("tests.analysis.undrawn", *words)

    def run_folder(self, init: str, seed: int, sweep: str = "default") -> Path:
        return self.root / "runs" / sweep / "amazon_fr/tiny/fairseq/full" / init / f"seed={seed}"


def server_of(words: Sequence[str]) -> Warm:
    return warm("hf" if any("hf" in word for word in words) else "fairseq")


def make_workspace(root: Path) -> Workspace:
    rows = reviews(sum(SIZES.values()))
    raw = root / "data" / "raw" / "amazon_fr" / "polarity-fr-amazon.csv"
    write_reviews(raw, rows + rows[:REPEATS])
    write_tiny_model(root / "data" / "models" / "tiny", [text for text, _ in rows])
    sizes = [f"dataset.n_{split}={SIZES[split]}" for split in ("valid", "test")]
    sizes.append(f"dataset.expected.all={sum(SIZES.values()) + REPEATS}")
    return Workspace(root, (f"dataset.package.member_sha256={sha256_of(raw)}", *sizes))


@pytest.fixture(scope="session", autouse=True)
def binarise_in_a_fork() -> None:
    """Let tests that prepare data in their own process binarise it in a process that is forked."""
    run = SimpleNamespace(run=lambda command, **_: warm("fairseq").run(command[2:], Path.cwd(), 300))
    vars(binarise)["subprocess"] = run


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A prepared workspace, shared by all tests that do not change its data."""
    made = make_workspace(tmp_path_factory.mktemp("workspace"))
    answer = made.prep()
    assert answer.returncode == 0, answer.stderr
    return made


@pytest.fixture(scope="session")
def swept(workspace: Workspace) -> Workspace:
    """The workspace after a sweep of two seeds and both inits, long enough for the tiny model to learn."""
    answer = workspace.sweep("--seeds", "0,1", "--epochs", str(EPOCHS))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return workspace


FLOAT16_ON_A_CPU = """
import sys
if {"sweeps", "sweeps.run"} & set(sys.orig_argv):
    import torch
    from sweeps import device
    torch.cuda.current_device = lambda: None  # as the index of the CPU
    torch.Tensor.cuda = lambda self: self
    device.ALLOWED["cpu"] += ("fp16",)
"""


@pytest.fixture
def float16_on_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Let sweeps train in float16 on a CPU, by all that fairseq does for it on a GPU; return words that ask for it.

    The words go last in `Workspace.sweep`. Real are fairseq's FP16Optimizer, its loss scaler and its flat float32
    weights; what is not there is where the data is.
    """
    (tmp_path / "sitecustomize.py").write_text(FLOAT16_ON_A_CPU)
    given = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *([given] if given else [])]))
    return ("--precision", "fp16", "--init", "random", "--seeds", "0", "--")


@dataclass(frozen=True)
class Refusals:
    """Runs a command in this process, through the same door as a user's, and expects one sentence."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def of(self, main: Callable[[], int], words: Sequence[str], folder: Path) -> str:
        """Return the sentence with which `main` refuses these words in this folder: exit code 2, no more than it."""
        self.monkeypatch.setattr(sys, "argv", ["command", *words])
        self.monkeypatch.chdir(folder)
        code = exit_code(main)
        said = self.capsys.readouterr()
        assert code == 2, said.out
        lines = said.err.splitlines()
        assert [line.startswith("error: ") for line in lines] == [True], said.err
        return lines[0]


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refusals:
    return Refusals(monkeypatch, capsys)


def refused(answer: subprocess.CompletedProcess[str]) -> str:
    """Return the one sentence of a refusal, after checking that it is one: non-zero exit, one line, no traceback."""
    assert answer.returncode not in (0, 1), answer.stdout
    assert "Traceback" not in answer.stderr + answer.stdout
    lines = [line for line in answer.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, answer.stderr
    return lines[0]
