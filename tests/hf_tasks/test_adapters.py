"""LoRA: what each setting does, merged weights with the same outputs, and a causal LM made on the spot."""

import json
import math
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("peft", reason="the extra hf is not installed: make setup EXTRAS=dev,hf")

from omegaconf import DictConfig
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BloomConfig,
    BloomForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForCausalLM,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
)

from foundation.errors import UsageError
from hf_tasks.__main__ import arguments_of, main, run
from hf_tasks.adapters import count_parameters, with_adapter
from hf_tasks.causal import UNTRAINED, batch_of, blocks_of, open_base, perplexity
from hf_tasks.first_weights import keep_head_in_float32
from hydra_conf.compose import compose_config
from tests.conftest import Refusals

LINES = ["le chat dort sur le lit", "le chien court dans le pré", "la pluie tombe sur la ville", "le chat boit du lait"]


def method(*words: str) -> DictConfig:
    chosen = compose_config(["method=lora", *words]).method
    assert isinstance(chosen, DictConfig)
    return chosen


def roberta() -> RobertaForSequenceClassification:
    torch.manual_seed(3)
    config = RobertaConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=40,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return RobertaForSequenceClassification(config).eval()


TOKENS = torch.arange(4, 24).reshape(2, 10)


def drawn(model: Any) -> Any:
    """Give the adapter's second matrix, which starts at zero, some values."""
    generator = torch.Generator().manual_seed(5)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape, generator=generator)
    return model.eval()


def test_an_adapter_changes_nothing_before_it_is_trained() -> None:
    with torch.no_grad():
        assert torch.equal(roberta()(TOKENS).logits, with_adapter(roberta(), method()).eval()(TOKENS).logits)


def test_only_the_adapter_and_the_head_are_trained() -> None:
    model = with_adapter(roberta(), method())
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert all("lora_" in name or "classifier" in name for name in trained)
    assert count_parameters(model)["trainable_parameters"] == 2 * 3 * 16 * (32 + 32) + (32 * 32 + 32) + (32 * 2 + 2)


def test_the_head_beside_an_adapter_gets_gradients_and_gives_float32_logits() -> None:
    """peft trains a copy of the head: the copy must be the head that computes the logits."""
    plain = roberta()
    keep_head_in_float32(plain.classifier)
    model = with_adapter(plain, method())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(input_ids=TOKENS, labels=torch.tensor([0, 1]))
    assert out.logits.dtype == torch.float32
    out.loss.backward()
    head = [weight for name, weight in model.named_parameters() if "classifier" in name and weight.requires_grad]
    assert len(head) == 4
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in head)


def test_the_update_is_alpha_over_r_times_b_a() -> None:
    for r, alpha in ((16, 32), (16, 64), (4, 32)):
        model = drawn(with_adapter(roberta(), method(f"method.r={r}", f"method.alpha={alpha}")))
        layer = model.base_model.model.roberta.encoder.layer[0].attention.self.query
        expected = (alpha / r) * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
        assert torch.allclose(layer.get_delta_weight("default"), expected, atol=1e-6)


def test_merged_weights_give_the_same_outputs() -> None:
    model = drawn(with_adapter(roberta(), method()))
    with torch.no_grad():
        before = model(TOKENS).logits
        merged: Any = model.merge_and_unload()
        assert torch.allclose(before, merged.eval()(TOKENS).logits, atol=1e-5)
    assert not [name for name, _ in merged.named_parameters() if "lora" in name]
    assert not torch.allclose(before, roberta()(TOKENS).logits, atol=1e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("method.r=0",), "method.r=0: it is a number from 1"),
        (("method.target_modules.roberta=[nope]",), r"target_modules.roberta=\['nope'\]"),
        (("method.target_modules.roberta=[]",), "says nothing of roberta"),
    ],
)
def test_settings_that_make_no_adapter_are_one_sentence(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        with_adapter(roberta(), method(*words))


@pytest.fixture(scope="module")
def bloom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BLOOM of two layers with a tokenizer of words, as one would have it in a folder."""
    folder = tmp_path_factory.mktemp("bloom") / "base"
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(LINES, trainers.WordLevelTrainer(special_tokens=["<unk>", "</s>"]))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>").save_pretrained(folder)
    torch.manual_seed(0)
    BloomForCausalLM(
        BloomConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=32, n_layer=2, n_head=4)
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(LINES * 40) + "\n", encoding="utf-8")
    return path


def test_a_causal_lm_learns_the_text_and_merges(
    bloom: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    words = ["--length", "16", "recipe.epochs=6", "recipe.learning_rate=1e-2"]
    run(arguments_of(["lora", "--base", str(bloom), "--corpus", str(corpus), "--out", str(adapter), *words]))
    out = capsys.readouterr().out
    said = dict(line.strip().rsplit(maxsplit=1) for line in out.splitlines())
    assert float(said["perplexity after"]) < 0.95 * float(said["perplexity before"])
    assert re.search(r"^  step \d+ of \d+, loss ", out, flags=re.MULTILINE)
    assert "{" not in out
    assert not re.search(r"\de[+-]\d", out)
    settings = json.loads((adapter / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], settings["lora_dropout"], settings["bias"]) == (16, 32, 0.05, "none")
    assert (settings["task_type"], settings["target_modules"]) == ("CAUSAL_LM", ["query_key_value"])
    run(arguments_of(["merge", str(adapter), "--out", str(merged)]))
    model: Any = AutoModelForCausalLM.from_pretrained(merged)
    _, tokenizer = open_base(bloom)
    held_out = blocks_of(corpus, tokenizer, 16, print)[9::10]
    assert perplexity(model, held_out) == pytest.approx(float(said["perplexity after"]), abs=1e-3)
    assert not [path for made in (adapter, merged) for path in made.iterdir() if not path.stat().st_mode & stat.S_IROTH]
    card = (adapter / "README.md").read_text()
    assert str(bloom) in card
    assert "More Information Needed" not in card


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--length", "1"], "--length 1: a block has at least 2 tokens"),
        (["--length", "-3"], "a block has at least 2"),
        (["recipe.adam_betas=x"], "recipe.adam_betas=x: it is a pair"),
        (["method.bias=foo"], "method.bias=foo: choose from none, all, lora_only"),
        (["method.dropout=2"], "method.dropout=2.0: it is a share"),
        (["method.r=0"], "method.r=0: it is a number from 1"),
        (["fairseq.optimization.lr=[1e-9]"], "fairseq.optimization.lr cannot be given: it does nothing here"),
        (["hf.optim=sgd"], "hf.optim cannot be given"),
        (["precision=bf16"], "precision cannot be given"),
        (["recipe.evaluate_every=1"], "recipe.evaluate_every cannot be given"),
        (["recipe.learning_rate=1e6", "recipe.epochs=3"], "lower recipe.learning_rate. No adapter was written"),
        (["method.target_modules.bloom=[nope]"], "method.target_modules.bloom=['nope']"),
    ],
)
def test_a_mistake_in_the_settings_of_lora_is_one_sentence_and_leaves_nothing(
    bloom: Path, corpus: Path, tmp_path: Path, refusals: Refusals, words: list[str], message: str
) -> None:
    given = ["lora", "--base", str(bloom), "--corpus", str(corpus), "--out", str(tmp_path / "adapter")]
    given += words if "--length" in words else ["--length", "16", *words]
    assert message in refusals.of(main, given, tmp_path)
    assert not (tmp_path / "adapter").exists()


def test_a_corpus_that_repeats_itself_is_trained_on(
    bloom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A block like one that is held out is another block."""
    (tmp_path / "same.txt").write_text(f"{LINES[0]}\n" * 60)
    words = ["--base", str(bloom), "--corpus", str(tmp_path / "same.txt"), "--out", str(tmp_path / "adapter")]
    run(arguments_of(["lora", *words, "--length", "7", "recipe.epochs=1"]))
    assert re.search(r"held out +6\n", capsys.readouterr().out)


@pytest.fixture
def dialogues(tmp_path: Path) -> Path:
    """Forty questions whose answer is always the same, so that it can be learnt."""
    lines = [{"question": LINES[number % 4], "answer": "le chat boit du lait"} for number in range(40)]
    path = tmp_path / "qa.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_of_questions_and_answers_the_answers_tokens_alone_are_trained_on(bloom: Path, dialogues: Path) -> None:
    _, tokenizer = open_base(bloom)
    said: list[str] = []
    block = blocks_of(dialogues, tokenizer, 64, said.append)[0]
    asked = len(tokenizer(f"<human>: {LINES[0]}\n<assistant>: ")["input_ids"])
    answer = [*tokenizer("le chat boit du lait")["input_ids"], tokenizer.eos_token_id]
    assert block["labels"] == [UNTRAINED] * asked + answer
    assert block["input_ids"][asked:] == answer
    assert said == []
    assert len(blocks_of(dialogues, tokenizer, asked + 2, said.append)[0]["labels"]) == asked + 2
    assert said == [f"cuts 40 answers at {asked + 2} tokens (--length)"]
    with pytest.raises(UsageError, match="without 40 questions of 3 tokens or more, .*: give a larger --length"):
        blocks_of(dialogues, tokenizer, 3, said.append)


def test_a_question_that_leaves_no_room_for_an_answer_is_skipped_and_counted(bloom: Path, dialogues: Path) -> None:
    _, tokenizer = open_base(bloom)
    long = json.dumps({"question": " ".join(LINES * 20), "answer": "le chat"})
    dialogues.write_text(dialogues.read_text() + f"{long}\n" * 3)
    said: list[str] = []
    assert len(blocks_of(dialogues, tokenizer, 64, said.append)) == 40
    assert said == ["skips 3 questions of 64 tokens or more, which leave no room for an answer (--length)"]


def test_the_tokens_of_a_dialogue_are_those_of_its_text(dialogues: Path) -> None:
    """Of a tokenizer that joins a word and the blank before it, as BLOOM's does."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["</s>"], initial_alphabet=alphabet)
    made.train_from_iterator([f"<human>: {line}\n<assistant>: le chat boit du lait" for line in LINES], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>")
    block = blocks_of(dialogues, tokenizer, 64, print)[0]
    text = f"<human>: {LINES[0]}\n<assistant>: le chat boit du lait"
    assert block["input_ids"] == [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    trained = [token for token in block["labels"] if token != UNTRAINED]
    assert tokenizer.decode(trained) == " le chat boit du lait</s>"


def test_a_batch_of_blocks_of_unequal_length_has_the_losses_of_each(bloom: Path, dialogues: Path) -> None:
    model, _ = open_base(bloom)
    short, long = ({"input_ids": list(range(n)), "labels": [UNTRAINED, *range(1, n)]} for n in (3, 6))
    model.eval()
    with torch.no_grad():
        apart = [float(model(**batch_of([block], 0)).loss) * (len(block["labels"]) - 1) for block in (short, long)]
        together = float(model(**batch_of([short, long], 0)).loss)
    assert together == pytest.approx(sum(apart) / 7, rel=1e-4)
    assert perplexity(model, [short, long]) == pytest.approx(math.exp(sum(apart) / 7), rel=1e-4)


def test_a_causal_lm_learns_to_answer(
    bloom: Path, dialogues: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--length", "64", "recipe.epochs=10", "recipe.learning_rate=1e-2"]
    given = ["lora", "--base", str(bloom), "--corpus", str(dialogues), "--out", str(tmp_path / "adapter"), *words]
    run(arguments_of(given))
    said = dict(line.strip().rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert float(said["perplexity after"]) < 0.9 * float(said["perplexity before"])
    assert int(said["trainable parameters"].replace(",", "")) < int(said["parameters"].replace(",", ""))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", " is not JSON ("),
        ("[]", " is not a JSON object"),
        ('{"question": "a"}', " has no 'answer'"),
        ('"a"', " is not a JSON object"),
        ('{"question": null, "answer": null}', ": column 'question' holds None, which is not a text"),
        ('{"question": ["a"], "answer": "b"}', ": column 'question' holds ['a'], which is not a text"),
        ('{"question": "a", "answer": " "}', ": the question or the answer is empty"),
    ],
)
def test_a_line_that_is_no_question_with_an_answer_is_named(
    bloom: Path, dialogues: Path, tmp_path: Path, refusals: Refusals, line: str, message: str
) -> None:
    dialogues.write_text(f"{dialogues.read_text()}{line}\n")
    words = ["lora", "--base", str(bloom), "--corpus", str(dialogues), "--out", str(tmp_path / "adapter")]
    assert f"qa.jsonl, line 41{message}" in refusals.of(main, words, tmp_path)


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_four_bits_without_bitsandbytes_are_one_sentence(
    bloom: Path, corpus: Path, tmp_path: Path, refusals: Refusals
) -> None:
    words = ["lora", "--base", str(bloom), "--corpus", str(corpus), "--out", str(tmp_path / "a"), "--quantise", "4bit"]
    assert "--quantise 4bit needs bitsandbytes, which is not installed" in refusals.of(main, words, tmp_path)


def test_another_kind_of_causal_lm_takes_the_targets_it_is_given(corpus: Path, bloom: Path, tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    AutoTokenizer.from_pretrained(bloom).save_pretrained(tmp_path / "base")
    GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=32, n_layer=1, n_head=4)).save_pretrained(tmp_path / "base")
    words = [
        "lora",
        "--base",
        str(tmp_path / "base"),
        "--corpus",
        str(corpus),
        "--out",
        str(tmp_path / "adapter"),
        "--length",
        "16",
        "recipe.epochs=1",
    ]
    with pytest.raises(UsageError, match=r"says nothing of gpt2 .*; give method.target_modules.gpt2=\[\.\.\.\]"):
        run(arguments_of(words))
    run(arguments_of([*words, "method.target_modules.gpt2=[c_attn]"]))
    assert json.loads((tmp_path / "adapter/adapter_config.json").read_text())["target_modules"] == ["c_attn"]


def one_epoch(base: object, corpus: Path, out: Path) -> list[str]:
    """Return the words that train an adapter for one epoch."""
    words = ["lora", "--base", str(base), "--corpus", str(corpus), "--out", str(out)]
    return [*words, "--length", "16", "recipe.epochs=1"]


def test_an_adapter_of_a_causal_lm_is_loaded_by_peft_alone(
    bloom: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another folder, without the network: the base's place is written whole, the tokenizer is in the folder."""
    monkeypatch.chdir(bloom.parent)
    adapter = tmp_path / "adapter"
    run(arguments_of(one_epoch(bloom.name, corpus, adapter)))
    code = """
import socket, sys

def no_network(*words, **named):
    raise AssertionError("asks the network")

socket.socket.connect = socket.getaddrinfo = no_network
import peft, transformers

model = peft.AutoPeftModelForCausalLM.from_pretrained(sys.argv[1])
tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
print(model(**tokenizer("le chat dort", return_tensors="pt")).logits.shape[-1])
"""
    words = [sys.executable, "-I", "-c", code, str(adapter)]
    said = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert said.returncode == 0, said.stderr


def _masked(config: RobertaConfig) -> Any:
    return RobertaForMaskedLM(config)


def _classifier(config: RobertaConfig) -> Any:
    return RobertaForSequenceClassification(config)


def _looks_both_ways(config: RobertaConfig) -> Any:
    """A head for causal LMs on an encoder that is none, as a wrong config.json makes it."""
    return RobertaForCausalLM(config)


def _headless(config: RobertaConfig) -> Any:
    """The body of a GPT-NeoX, saved under the name of the whole: its head is in no file."""
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32)
    ).gpt_neox


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_masked, "holds a RobertaForMaskedLM, which is no causal LM"),
        (_classifier, "holds a RobertaForSequenceClassification, which is no causal LM"),
        (_looks_both_ways, "whose tokens see those after them"),
        (_headless, "they would be drawn at random"),
    ],
)
def test_a_base_that_is_no_causal_lm_is_refused_before_anything_is_measured(
    bloom: Path, corpus: Path, tmp_path: Path, make: Callable[[RobertaConfig], Any], message: str
) -> None:
    """transformers would draw a head, and the perplexity of a drawn head would be printed."""
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    AutoTokenizer.from_pretrained(bloom).save_pretrained(base)
    torch.manual_seed(0)
    model = make(
        RobertaConfig(
            vocab_size=50,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=32,
            max_position_embeddings=40,
        )
    )
    model.save_pretrained(base)
    if make is _headless:
        config = json.loads((base / "config.json").read_text())
        (base / "config.json").write_text(json.dumps({**config, "architectures": ["GPTNeoXForCausalLM"]}))
    with pytest.raises(UsageError, match=message):
        run(arguments_of(["lora", "--base", str(base), "--corpus", str(corpus), "--out", str(adapter)]))
    assert not adapter.exists()


def test_a_merged_model_never_replaces_the_base(bloom: Path, corpus: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    run(arguments_of(one_epoch(bloom, corpus, adapter)))
    weights = (bloom / "model.safetensors").read_bytes()
    with pytest.raises(UsageError, match="is the base of .*, which would be lost"):
        run(arguments_of(["merge", str(adapter), "--out", str(bloom)]))
    assert (bloom / "model.safetensors").read_bytes() == weights


def test_the_adapter_of_a_classifier_is_not_merged_as_a_causal_lm(tmp_path: Path) -> None:
    """The adapter of a run whose checkpoints were pruned."""
    with_adapter(roberta(), method()).save_pretrained(tmp_path / "adapter")
    with pytest.raises(UsageError, match="is no adapter of a causal LM; peft loads it as it is"):
        run(arguments_of(["merge", str(tmp_path / "adapter"), "--out", str(tmp_path / "x")]))


def test_an_adapter_never_replaces_its_base(bloom: Path, corpus: Path) -> None:
    with pytest.raises(UsageError, match="is there already and holds no adapter_config.json"):
        run(arguments_of(["lora", "--base", str(bloom), "--corpus", str(corpus), "--out", str(bloom)]))
    assert (bloom / "model.safetensors").is_file()


def test_an_adapter_whose_base_is_gone_is_one_sentence(bloom: Path, corpus: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(bloom, tmp_path / "base"))
    adapter = tmp_path / "adapter"
    run(arguments_of(one_epoch(base, corpus, adapter)))
    shutil.rmtree(base)
    with pytest.raises(UsageError, match=f"was trained on {base}, which is not there any more"):
        run(arguments_of(["merge", str(adapter), "--out", str(tmp_path / "x")]))


def test_the_adapter_of_a_run_is_merged_already(tmp_path: Path) -> None:
    (tmp_path / "checkpoint_best.pt").touch()
    with pytest.raises(UsageError, match="holds the merged weights already; convert it"):
        run(arguments_of(["merge", str(tmp_path / "adapter"), "--out", str(tmp_path / "x")]))


def test_a_tokenizer_of_another_model_is_one_sentence(bloom: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(bloom, tmp_path / "base"))
    BloomForCausalLM(BloomConfig(vocab_size=5, hidden_size=32, n_layer=1, n_head=4)).save_pretrained(base)
    with pytest.raises(UsageError, match="its tokenizer has .* tokens, its model 5; they do not belong together"):
        open_base(base)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"trop court\n", "at least 32 are needed"),
        ("é".encode("latin-1"), "line 1: byte 1"),
        (None, "there is no corpus"),
    ],
)
def test_a_corpus_that_cannot_be_used_is_one_sentence(
    bloom: Path, tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "corpus.txt"
    if content is not None:
        path.write_bytes(content)
    _, tokenizer = open_base(bloom)
    with pytest.raises(UsageError, match=message):
        blocks_of(path, tokenizer, 16, print)
