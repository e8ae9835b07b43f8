"""LoRA: what each setting does, merged weights with the same outputs, and a causal LM made on the spot."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("peft", reason="the extra hf is not installed: make setup EXTRAS=dev,hf")

from omegaconf import DictConfig
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    BloomForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from hf_tasks.__main__ import arguments_of, run
from hf_tasks.adapters import count_parameters, with_adapter, without_adapter
from hf_tasks.causal import blocks_of, open_base, perplexity
from hydra_conf.compose import compose_config
from hydra_conf.errors import UsageError

LINES = ["le chat dort sur le lit", "le chien court dans le pré", "la pluie tombe sur la ville", "le chat boit du lait"]


def method(*words: str) -> DictConfig:
    chosen = compose_config(["method=lora", *words]).method
    assert isinstance(chosen, DictConfig)
    return chosen


def roberta() -> RobertaForSequenceClassification:
    torch.manual_seed(3)
    config = RobertaConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32,
        max_position_embeddings=40, type_vocab_size=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
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
        merged = without_adapter(model)
        assert torch.allclose(before, merged.eval()(TOKENS).logits, atol=1e-5)
    assert not [name for name, _ in merged.named_parameters() if "lora" in name]
    assert not torch.allclose(before, roberta()(TOKENS).logits, atol=1e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("method.r=0",), "method.r=0: the rank of the adapter must be at least 1"),
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
    said = dict(line.strip().rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:])
    assert float(said["perplexity after"]) < 0.95 * float(said["perplexity before"])
    settings = json.loads((adapter / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], settings["lora_dropout"], settings["bias"]) == (16, 32, 0.05, "none")
    assert (settings["task_type"], settings["target_modules"]) == ("CAUSAL_LM", ["query_key_value"])
    run(arguments_of(["merge", str(adapter), "--out", str(merged)]))
    model: Any = AutoModelForCausalLM.from_pretrained(merged)
    _, tokenizer = open_base(bloom)
    held_out = blocks_of(corpus, tokenizer, 16)[9::10]
    assert perplexity(model, held_out) == pytest.approx(float(said["perplexity after"]), rel=1e-4)


def test_an_adapter_whose_base_is_gone_is_one_sentence(bloom: Path, corpus: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(bloom, tmp_path / "base"))
    adapter = tmp_path / "adapter"
    run(arguments_of(["lora", "--base", str(base), "--corpus", str(corpus), "--out", str(adapter), "--length", "16",
                      "recipe.epochs=1"]))  # fmt: skip
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
        blocks_of(path, tokenizer, 16)
