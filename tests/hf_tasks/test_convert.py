"""A converted model is the same function: ids, outputs, logits, weights; and back again, bit for bit."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.data import Dictionary
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("transformers", reason="the extra hf is not installed: make setup EXTRAS=dev,hf")

from data_prep.cleaning import clean
from data_prep.examples import Example, read_split
from fairseq_tasks.folders import Opened, open_checkpoint
from foundation.errors import UsageError
from hf_tasks.__main__ import arguments_of, run
from hf_tasks.convert import convert, convert_back, transformers_config
from hf_tasks.parity import Check, compare, sentences
from hf_tasks.predict import fairseq_ids, predict
from hf_tasks.source import source_of
from hf_tasks.tokenizer import make_tokenizer
from tests.conftest import Workspace, write_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that knows the pieces of the parity sentences, and has a masked-LM head."""
    made = tmp_path_factory.mktemp("hf") / "petit"
    write_tiny_model(made, sentences(400), vocabulary=100, lm_head=True)
    return made


@pytest.fixture(scope="module")
def converted(folder: Path) -> Path:
    out = folder.parent / "converted"
    convert(source_of(folder), out, sentences(40), quiet)
    return out


def quiet(line: str) -> None:
    """Take a line of progress and do nothing with it."""


def proof(folder: Path, converted: Path, texts: list[str]) -> list[Check]:
    """Return how a folder of a model, or a run, and a converted one compare on these texts."""
    source = source_of(folder)
    return compare(open_checkpoint(source.checkpoint, source.model_folder), source, converted, texts, quiet)


def test_a_thousand_sentences_give_the_same_ids_outputs_and_logits(folder: Path, converted: Path) -> None:
    texts = sentences()
    assert len(texts) == 1000
    assert "" in texts
    assert max(map(len, texts)) > 900
    assert any("😀" in text for text in texts)
    checks = proof(folder, converted, texts)
    assert [holds for holds, _ in checks] == [True] * 5
    ids, decoded, output, head, weights = (line for _, line in checks)
    assert ids == "token ids      equal on 1000 of 1000 texts, tied on 0"
    same, readable = map(int, re.findall("[0-9]+", decoded))
    assert same == readable > 100
    for line, what in ((output, "encoder output"), (head, "LM logits     ")):
        difference = re.fullmatch(rf"{what} largest difference (.+) \(at most 0.0001\)", line)
        assert difference
        assert float(difference[1]) <= 1e-4
    assert weights == "back again     weights the same, bit for bit"


def test_the_proof_fails_when_a_weight_differs(folder: Path, converted: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = Path(shutil.copytree(converted, tmp_path / "other"))
    weights = load_file(other / "model.safetensors")
    weights["roberta.encoder.layer.1.output.dense.weight"][0, 0] += 1.0
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    checks = proof(folder, other, sentences(40))
    failed = [line for holds, line in checks if not holds]
    assert [line[:15].rstrip() for line in failed] == ["encoder output", "LM logits", "back again"]
    assert failed[-1] == "back again     weights DIFFER"


def test_transformers_loads_it_offline_without_code_of_ours(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code = """
import sys, transformers
for kind in sys.argv[2:]:
    model = getattr(transformers, kind).from_pretrained(sys.argv[1])
    tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
    print(type(model).__name__, tokenizer("Ce livre", "est bon")["input_ids"][0])
    assert not any(name.startswith(("hf_tasks", "fairseq")) for name in sys.modules)
"""
    kinds = ("AutoModelForMaskedLM", "AutoModelForSequenceClassification", "AutoModel")
    said = subprocess.run([sys.executable, "-c", code, str(converted), *kinds], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    names = [line.split()[0] for line in said.stdout.splitlines()]
    assert [name.startswith("Roberta") for name in names] == [True] * len(kinds), names


def test_back_again_the_weights_are_the_same_bit_for_bit(folder: Path, converted: Path, tmp_path: Path) -> None:
    opened = open_checkpoint(folder / "model.pt", folder)
    convert_back(converted, opened.shape, tmp_path / "model.pt")
    before, after = (
        torch.load(path, weights_only=True)["model"] for path in (folder / "model.pt", tmp_path / "model.pt")
    )
    kept = {name: tensor for name, tensor in before.items() if not name.endswith(".version")}
    assert kept.keys() == after.keys()
    assert all(torch.equal(kept[name], after[name]) for name in kept)


@pytest.fixture(scope="module")
def both(folder: Path) -> tuple[Any, Any]:
    return open_checkpoint(folder / "model.pt", folder), make_tokenizer(folder, 64)


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_cleaned_text_gives_the_same_ids_up_to_ties(folder: Path, both: tuple[Any, Any], text: str) -> None:
    opened, tokenizer = both
    ours = fairseq_ids(opened, folder, [Example("", clean(text), None, None)])[0]
    theirs = tokenizer([clean(text)], truncation=True)["input_ids"][0]
    assert ours == theirs or sorted(ours) == sorted(theirs)


PAIR = st.lists(st.sampled_from(["livre", "fin", "auteur", "déçu"]), max_size=40).map(" ".join)


@given(PAIR, PAIR)
def test_pairs_are_cut_alike(folder: Path, both: tuple[Any, Any], first: str, second: str) -> None:
    opened, tokenizer = both
    expected = fairseq_ids(opened, folder, [Example("", first, second, None)])[0]
    assert tokenizer([first], [second], truncation="longest_first")["input_ids"][0] == expected


def test_the_special_tokens_have_fairseqs_ids(folder: Path) -> None:
    tokenizer = make_tokenizer(folder, 64)
    assert tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>"]) == [0, 1, 2, 3]
    assert tokenizer.mask_token_id == len(tokenizer) - 1
    single, pair = tokenizer("ce livre")["input_ids"], tokenizer("ce livre", "la fin")["input_ids"]
    assert (single[0], single[-1]) == (0, 2)
    assert pair.count(2) == 3


def test_a_dictionary_like_camemberts_keeps_its_own_ends(tmp_path: Path) -> None:
    first = ["<unk>NOTUSED 1", "<s> 1 #fairseq:overwrite", "</s> 1 #fairseq:overwrite"]
    write_tiny_model(tmp_path / "camembert", sentences(200), vocabulary=100, first_symbols=first)
    convert(source_of(tmp_path / "camembert"), tmp_path / "out", sentences(60), quiet)
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"]) == (5, 6)


def test_a_finished_run_predicts_the_same_from_either_back_end(swept: Workspace, tmp_path: Path) -> None:
    for init in ("pretrained", "random"):
        folder = swept.run_folder(init, 0)
        convert(source_of(folder), tmp_path / init, sentences(40), quiet)
        split = swept.root / "data/splits/amazon_fr/valid.jsonl"
        ours = [(example.id, label) for example, label in predict(folder, split)]
        assert ours == [(example.id, label) for example, label in predict(tmp_path / init, split)]
        best = json.loads((folder / "progress.json").read_text())["best_valid"]
        truth = {example.id: example.label for example in read_split(split)}
        assert sum(truth[name] == label for name, label in ours) == best["n_correct"]
        test = swept.root / "data/splits/amazon_fr/test.jsonl"
        on_test = [[label for _, label in predict(place, test)] for place in (folder, tmp_path / init)]
        assert on_test[0] == on_test[1]
        assert {label for _, label in ours} <= {"negative", "positive"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_normalize_before": True}, "encoder_normalize_before=True; transformers' RoBERTa is made for"),
        ({"activation_fn": "swish"}, "activation_fn=swish; choose from gelu, relu"),
    ],
)
def test_a_shape_that_transformers_has_not_is_refused(change: dict[str, Any], message: str) -> None:
    from data_prep.models.checkpoints import SHAPE

    with pytest.raises(UsageError, match=message):
        transformers_config(Opened(None, Dictionary(), {**SHAPE, **change}, False, 0, 10), [])


def test_an_old_checkpoint_keeps_its_masked_lm_head(folder: Path, tmp_path: Path) -> None:
    """CamemBERT's names begin with `decoder.`."""
    old = Path(shutil.copytree(folder, tmp_path / "old"))
    state = torch.load(old / "model.pt", weights_only=True)
    state["model"] = {name.replace("encoder.", "decoder.", 1): tensor for name, tensor in state["model"].items()}
    torch.save(state, old / "model.pt")
    lines = convert(source_of(old), tmp_path / "out", sentences(30), quiet)
    assert any(line.startswith("LM logits ") for line in lines)


@pytest.mark.parametrize("lost", ["encoder.lm_head.bias", "encoder.lm_head.dense.weight"])
def test_half_a_head_is_refused_and_never_drawn(folder: Path, tmp_path: Path, lost: str) -> None:
    half = Path(shutil.copytree(folder, tmp_path / "half"))
    state = torch.load(half / "model.pt", weights_only=True)
    del state["model"][lost]
    torch.save(state, half / "model.pt")
    with pytest.raises(UsageError, match=f"weights of encoder.lm_head; {lost} is missing"):
        convert(source_of(half), tmp_path / "out", sentences(30), quiet)
    assert not (tmp_path / "out").exists()


def test_the_command_converts_with_proof_and_back(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "out", tmp_path / "again.pt"
    answer = workspace.python("hf_tasks", "convert", str(folder), "--out", str(out))
    assert answer.returncode == 0, answer.stderr
    assert "token ids      equal on 1000 of 1000 texts" in answer.stdout
    assert "weights the same, bit for bit" in answer.stdout
    answer = workspace.python("hf_tasks", "back", str(out), "--like", str(folder), "--out", str(back))
    assert answer.returncode == 0, answer.stderr
    assert back.is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("convert", "./nowhere", "--out", "x"), "there is no folder .*nowhere"),
        (("convert", "petit", "--data-dir", "x"), "there is no folder x/models/petit"),
        (("back", "nowhere", "--like", "nowhere", "--out", "x"), "there is no folder .*nowhere"),
        (("predict", "nowhere", "nowhere.jsonl"), "there is no file nowhere.jsonl"),
        (("merge", "nowhere", "--out", "x"), "nowhere holds no adapter_config.json"),
        (("lora", "--base", "nowhere", "--corpus", "x", "--out", "y"), "nowhere holds no config.json"),
    ],
)
def test_a_mistake_is_one_sentence(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(arguments_of(list(words)))


def test_a_checkpoint_without_a_masked_lm_head_gets_none_drawn(tmp_path: Path) -> None:
    folder, out = tmp_path / "headless", tmp_path / "converted"
    write_tiny_model(folder, sentences(400), vocabulary=100)
    lines = convert(source_of(folder), out, sentences(20), quiet)
    assert "head           none in the checkpoint, none in the folder" in lines
    assert json.loads((out / "config.json").read_text())["architectures"] == ["RobertaModel"]
