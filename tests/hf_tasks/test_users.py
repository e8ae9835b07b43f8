"""What is made here, used as a transformers user would: by transformers and peft alone, without a network."""

import json
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("peft", reason="the extra hf is not installed: make setup EXTRAS=dev,hf")

import pandas as pd
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from hf_tasks.__main__ import main
from tests.conftest import SIZES, Refusals, Workspace, refused
from tests.warm import warm

LEARNING = ("--epochs", "8", "recipe.learning_rate=5e-3")  # enough for the tiny model, and its adapter, to learn
RUNS = [("fairseq", "full", "pretrained"), ("hf", "full", "random"), ("hf", "lora", "random")]
ALONE = """
import json, os, socket, sys

def no_network(*words, **named):
    raise AssertionError("asks the network")

socket.socket.connect = socket.getaddrinfo = no_network
answers, sys.stdout = sys.stdout, sys.stderr
import peft, torch, transformers

for line in sys.stdin:
    kind, folder, split = json.loads(line)
    os.chdir(folder)
    model = getattr(peft if "Peft" in kind else transformers, kind).from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    examples = [json.loads(line) for line in open(split, encoding="utf-8")]
    inputs = tokenizer([one["text"] for one in examples], truncation=True, padding=True, return_tensors="pt")
    with torch.no_grad():
        numbers = model(**inputs).logits.argmax(dim=-1).tolist()
    if "Peft" not in kind:  # the pipeline of the docs says the same
        classify = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, truncation=True)
        said = [one["label"] for one in classify([one["text"] for one in examples])]
        assert said == [model.config.id2label[number] for number in numbers]
    assert not any(name.split(".")[0] in ("hf_tasks", "fairseq_tasks", "fairseq", "data_prep") for name in sys.modules)
    labels = {one["id"]: model.config.id2label[number] for one, number in zip(examples, numbers, strict=True)}
    print(json.dumps(labels), file=answers, flush=True)
"""


@pytest.fixture(scope="module")
def learnt(workspace: Workspace) -> Workspace:
    """The workspace after a sweep `learnt` of both back ends and both methods, whose runs tell the classes apart."""
    words = ("--backend", "fairseq,hf", "--method", "full,lora", "--seeds", "0")
    answer = workspace.sweep("--sweep", "learnt", *words, *LEARNING)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return workspace


def folder_of(workspace: Workspace, backend: str, method: str, init: str) -> Path:
    return workspace.root / "runs/learnt/amazon_fr/tiny" / backend / method / init / "seed=0"


def written(folder: Path) -> dict[str, str]:
    """Return the labels that a run wrote of its test texts, by id."""
    table = pd.read_parquet(folder / "predictions.parquet")
    table = table[table["split"] == "test"]
    assert len(table) == SIZES["test"]
    return dict(zip(table["id"], table["predicted"], strict=True))


Alone = Callable[[str, Path], dict[str, str]]


@pytest.fixture(scope="module")
def alone(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    """Return what gives the labels of the test texts by a process that knows transformers and peft only.

    One process answers all tests of this module, as it imports for seconds.
    """
    split, said = workspace.root / "data/splits/amazon_fr/test.jsonl", tmp_path_factory.mktemp("alone") / "stderr"
    with said.open("w") as errors:
        words, pipe = [sys.executable, "-I", "-c", ALONE], subprocess.PIPE
        process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=errors, text=True)

    def ask(kind: str, folder: Path) -> dict[str, str]:
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps([kind, str(folder), str(split)]), file=process.stdin, flush=True)
        labels: dict[str, str] = json.loads(process.stdout.readline() or pytest.fail(said.read_text()))
        return labels

    yield ask
    process.communicate(timeout=60)


def private(folder: Path) -> list[Path]:
    """Return the files that only their owner can read."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.stat().st_mode & stat.S_IROTH]


def test_texts_are_cut_where_the_run_cut_them(workspace: Workspace, alone: Alone) -> None:
    words = ("--init", "random", "--seeds", "0", "--epochs", "8", "--sweep", "short", "--")
    assert workspace.sweep(*words, "fairseq.task.max_positions=12").returncode == 0
    folder = workspace.run_folder("random", 0, "short")
    answer = workspace.python("hf_tasks", "predict", str(folder), "data/splits/amazon_fr/test.jsonl")
    said = [json.loads(line) for line in answer.stdout.splitlines()]
    assert {one["id"]: one["predicted"] for one in said} == written(folder)
    here = warm("hf").run(["hf_tasks", "convert", "./"], folder, 300)
    assert here.returncode == 0, here.stdout + here.stderr
    assert alone("AutoModelForSequenceClassification", folder.with_name("seed=0.hf")) == written(folder)
    (folder / "checkpoint_best.pt").unlink()
    for command in (["convert", str(folder)], ["predict", str(folder), "data/splits/amazon_fr/test.jsonl"]):
        assert "`sweeps prune` has deleted it" in refused(workspace.python("hf_tasks", *command))


@pytest.mark.parametrize(("backend", "method", "init"), RUNS)
def test_a_converted_run_gives_its_own_labels_to_transformers_alone(
    learnt: Workspace, alone: Alone, backend: str, method: str, init: str
) -> None:
    folder = folder_of(learnt, backend, method, init)
    out = folder.with_name("seed=0.hf")
    answer = learnt.python("hf_tasks", "convert", str(folder))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stderr == ""
    for line in (
        "token ids      equal on 1030 of 1030 texts",
        "class logits   largest difference",
        "labels         the run's own on 30 of 30 test texts",
        "AutoModel adds a pooler",
    ):
        assert line in answer.stdout
    stages = [line.split()[0] for line in answer.stdout.splitlines()]
    assert stages.index("reads") < stages.index("compares") < stages.index("made")
    own = written(folder)
    assert set(own.values()) == {"negative", "positive"}
    assert alone("AutoModelForSequenceClassification", out) == own
    assert not private(out)
    model: Any = AutoModel.from_pretrained(out, add_pooling_layer=False)  # as the command advises: no pooler is drawn
    assert model.pooler is None


@pytest.mark.parametrize("init", ["pretrained", "random"])
def test_a_runs_adapter_gives_its_own_labels_to_peft_alone(learnt: Workspace, alone: Alone, init: str) -> None:
    folder = folder_of(learnt, "hf", "lora", init)
    own = written(folder)
    assert set(own.values()) == {"negative", "positive"}
    assert alone("AutoPeftModelForSequenceClassification", folder / "adapter") == own
    settings = json.loads((folder / "adapter/adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(folder / "base")
    assert json.loads((folder / "base/config.json").read_text())["id2label"] == {"0": "negative", "1": "positive"}
    card = (folder / "adapter/README.md").read_text()
    for words in (
        str(folder / "base"),
        "0 negative, 1 positive",
        "best step:",
        "AutoPeftModelForSequenceClassification",
    ):
        assert words in card
    assert "More Information Needed" not in card
    assert not private(folder / "adapter")
    assert not private(folder / "base")


def test_only_an_adapter_keeps_a_base_and_the_log_holds_no_raw_dictionary(learnt: Workspace) -> None:
    assert not (folder_of(learnt, "hf", "full", "random") / "base").exists()
    for method in ("full", "lora"):
        log = (folder_of(learnt, "hf", method, "random") / "train.log").read_text()
        assert not re.search(r"^\{", log, flags=re.MULTILINE)
        assert "valid, step 8: loss" in log


def test_the_converted_tokenizer_decodes_what_it_encodes(learnt: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "converted"
    assert learnt.python("hf_tasks", "convert", "tiny", "--out", str(out)).returncode == 0
    tokenizer = AutoTokenizer.from_pretrained(out)
    text = "Ce livre est raté, la fin est ennuyeux."
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_a_classifier_reads_the_name_of_a_special_token_as_text(learnt: Workspace) -> None:
    """As it did while it was trained: `<s>` in a review is three characters."""
    folder = folder_of(learnt, "hf", "lora", "random")
    tokenizer = AutoTokenizer.from_pretrained(folder / "adapter")
    for text in ("ce <s>livre</s> est raté", "<pad> la fin"):
        inner = tokenizer(text)["input_ids"][1:-1]
        assert not {0, 1, 2} & set(inner)


def test_a_run_whose_answers_are_not_the_models_is_not_converted(
    learnt: Workspace, tmp_path: Path, refusals: Refusals
) -> None:
    """Another checkpoint in the run's folder: the same function in either library, but not the run's."""
    run = Path(shutil.copytree(folder_of(learnt, "fairseq", "full", "pretrained"), tmp_path / "seed=0"))
    state = torch.load(run / "checkpoint_best.pt", weights_only=True)
    head = "classification_heads.sentence_classification_head.out_proj."
    for name in ("weight", "bias"):
        state["model"][head + name] = -state["model"][head + name]
    torch.save(state, run / "checkpoint_best.pt")
    said = refusals.of(main, ["convert", str(run), "--out", str(tmp_path / "new/out")], learnt.root)
    assert "is not the same function" in said
    assert "the run's own on 0 of 30 test texts" in said
    assert list((tmp_path / "new").iterdir()) == []


def test_a_run_without_its_test_texts_is_converted_and_says_so(
    learnt: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(folder_of(learnt, "fairseq", "full", "pretrained"), tmp_path / "seed=0"))
    monkeypatch.setattr(sys, "argv", ["hf_tasks", "convert", str(run)])
    (run / "predictions.parquet").write_text("cut")
    assert main() == 0
    assert f"not compared with the run's own: {run / 'predictions.parquet'} is not whole" in capsys.readouterr().out
    (run / "predictions.parquet").unlink()
    assert main() == 0
    assert f"not compared with the run's own: {run / 'predictions.parquet'} is not there" in capsys.readouterr().out
    assert (tmp_path / "seed=0.hf/model.safetensors").is_file()
    card = (tmp_path / "seed=0.hf/README.md").read_text()
    assert card.startswith("# pretrained tiny, fine-tuned on amazon_fr (fairseq, full, seed 0)\n")
    assert "token ids      equal on" in card


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1 is not JSON ("),
        ('{"texte": "beau"}', "line 1 has no 'text' (did you mean 'texte'?)"),
        ('"beau"', "line 1 is not a JSON object"),
        ('{"text": 3}', "line 1: column 'text' holds 3, which is not a text"),
        ('{"text": "a", "text_pair": 3}', "line 1: column 'text_pair' holds 3, which is not a text"),
        ("\xff", "line 1: byte 1 (0xff) is not UTF-8"),
        ("", "holds no row"),
        ('{"text": "a"}\n{"text": "a", "text_pair": "b"}', "some examples are pairs, some are not"),
    ],
)
def test_texts_that_cannot_be_read_are_one_sentence(
    learnt: Workspace, tmp_path: Path, refusals: Refusals, line: str, message: str
) -> None:
    (tmp_path / "own.jsonl").write_bytes(line.encode("latin-1"))
    words = ["predict", str(folder_of(learnt, "fairseq", "full", "pretrained")), str(tmp_path / "own.jsonl")]
    said = refusals.of(main, words, learnt.root)
    assert "own.jsonl" in said
    assert message in said
    words[1] = str(tmp_path / "nowhere")
    assert f"there is no folder {tmp_path / 'nowhere'}" in refusals.of(main, words, learnt.root)


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [
        ("own", '{"text": "ce livre est superbe"}\n{"text": "le style est raté"}\n', ["1", "2"]),
        ("own.jsonl", '{"text": "ce livre est superbe"}\n{"id": "b", "text": "le style est raté"}\n', ["1", "b"]),
        ("own.csv", 'note;text\n;"ce livre est superbe"\n;le style est raté\n', ["2", "3"]),
        ("own.tsv", "id\ttext\na\tce livre est superbe\nb\tle style est raté\n", ["a", "b"]),
    ],
)
def test_ones_own_texts_get_labels(
    learnt: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: str,
    ids: list[str],
) -> None:
    (tmp_path / name).write_text(content)
    run = folder_of(learnt, "fairseq", "full", "pretrained")
    monkeypatch.setattr(sys, "argv", ["hf_tasks", "predict", str(run), str(tmp_path / name)])
    assert main() == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["id"], one["label"], one["predicted"]) for one in said] == [
        (ids[0], None, "positive"),
        (ids[1], None, "negative"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("status.json", '{"state": "failed"}', "is not finished: its run is failed"),
        ("status.json", "", "is no whole run folder"),
        ("provenance.json", "{}", "is no whole run folder: KeyError"),
        ("config.yaml", "a: [b", "is no whole run folder"),
    ],
)
def test_a_run_folder_that_is_not_whole_is_not_converted(
    learnt: Workspace, tmp_path: Path, refusals: Refusals, name: str, content: str, message: str
) -> None:
    run = Path(shutil.copytree(folder_of(learnt, "fairseq", "full", "pretrained"), tmp_path / "seed=0"))
    (run / name).write_text(content)
    assert message in refusals.of(main, ["convert", str(run)], learnt.root)
    assert not (tmp_path / "seed=0.hf").exists()


def test_a_folder_of_something_else_is_never_replaced(learnt: Workspace, tmp_path: Path, refusals: Refusals) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    for words in (
        ["convert", "tiny", "--out", str(tmp_path)],
        ["convert", "tiny", "--out", str(tmp_path / "thesis.tex")],
    ):
        assert "it would be lost, give another --out" in refusals.of(main, words, learnt.root)
    assert (tmp_path / "thesis.tex").read_text() == "x"


def test_a_base_with_other_weights_gives_the_adapter_other_labels(
    learnt: Workspace, alone: Alone, tmp_path: Path
) -> None:
    """The adapter of a random run is nothing without its base's weights: a test that the base matters."""
    adapter = Path(shutil.copytree(folder_of(learnt, "hf", "lora", "random") / "adapter", tmp_path / "adapter"))
    base = Path(shutil.copytree(folder_of(learnt, "hf", "lora", "random") / "base", tmp_path / "base"))
    weights = load_file(base / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(tensor.shape, generator=generator) * tensor.std() if "word_embeddings" in name else tensor
        for name, tensor in weights.items()
    }
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": str(base)}))
    own = written(folder_of(learnt, "hf", "lora", "random"))
    assert alone("AutoPeftModelForSequenceClassification", adapter) != own
