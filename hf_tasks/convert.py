"""Converts a fairseq folder, or a run's best checkpoint, to a folder that transformers loads offline, and back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaModel,
)

from data_prep.models.checkpoints import optimizer_history
from fairseq_tasks.folders import Opened, open_checkpoint
from foundation.errors import UsageError
from foundation.whole_files import replaced, write_text
from hf_tasks.folders import MODEL, new_folder
from hf_tasks.parity import compare
from hf_tasks.source import Source
from hf_tasks.tokenizer import make_tokenizer
from hf_tasks.weights import read_weights, to_transformers

ACTIVATIONS = ("gelu", "relu")
PLAIN = {  # the only values that transformers' RoBERTa supports
    "encoder_normalize_before": False,
    "layernorm_embedding": True,
    "encoder_learned_pos": True,
    "no_token_positional_embeddings": False,
    "no_scale_embedding": True,
    "pooler_activation_fn": "tanh",
}
EPS = 1e-5  # of fairseq's layer norms; transformers' default is 1e-12


def transformers_config(opened: Opened, labels: list[str]) -> RobertaConfig:
    """Return transformers' configuration of the same model. Raises `UsageError` when its RoBERTa cannot be the same."""
    shape = opened.shape
    for name, value in PLAIN.items():
        if shape[name] != value:
            raise UsageError(f"the model has {name}={shape[name]}; transformers' RoBERTa is made for {name}={value}")
    if shape["activation_fn"] not in ACTIVATIONS:
        raise UsageError(f"the model has activation_fn={shape['activation_fn']}; choose from {', '.join(ACTIVATIONS)}")
    return RobertaConfig(
        vocab_size=len(opened.dictionary),
        hidden_size=shape["encoder_embed_dim"],
        num_hidden_layers=shape["encoder_layers"],
        num_attention_heads=shape["encoder_attention_heads"],
        intermediate_size=shape["encoder_ffn_embed_dim"],
        hidden_act=shape["activation_fn"],
        max_position_embeddings=shape["max_positions"] + 2,
        type_vocab_size=1,
        layer_norm_eps=EPS,
        classifier_dropout=0.0,
        pad_token_id=opened.dictionary.index("<pad>"),
        bos_token_id=opened.dictionary.index("<s>"),
        eos_token_id=opened.dictionary.index("</s>"),
        tie_word_embeddings=not shape["untie_weights_roberta"],
        id2label=dict(enumerate(labels)) or None,
        label2id={label: number for number, label in enumerate(labels)} or None,
    )


def transformers_model(opened: Opened, config: RobertaConfig) -> PreTrainedModel:
    """Return the transformers model in evaluation mode, with all its weights from `opened` and none left random."""
    weights = dict(opened.model.state_dict())
    if not opened.has_lm_head:
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith("encoder.lm_head.")}
    renamed = to_transformers(weights)
    if opened.n_classes:
        renamed = {name: tensor for name, tensor in renamed.items() if not name.startswith("lm_head.")}
        model: PreTrainedModel = RobertaForSequenceClassification(config)
    elif opened.has_lm_head:
        model = RobertaForMaskedLM(config)
    else:
        model = RobertaModel(config, add_pooling_layer=False)
        renamed = {name.removeprefix("roberta."): tensor for name, tensor in renamed.items()}
    model.load_state_dict(renamed)  # strict: each weight has its counterpart on the other side
    return model.eval()


def convert(source: Source, out: Path, texts: list[str], say: Callable[[str], None]) -> list[str]:
    """Write `out` for transformers after a proof that it is the same function, and return the proof's lines.

    The proof compares both models on `texts` and on the test texts of a run. `say` gets a line for each stage. Raises
    `UsageError`, and writes nothing, when `out` holds something else or the proof fails.
    """
    with new_folder(out, MODEL) as scratch:
        say(f"reads {source.checkpoint}")
        opened = open_checkpoint(source.checkpoint, source.model_folder)
        tokenizer = make_tokenizer(source.model_folder, opened.longest, has_mask=not opened.n_classes)
        config = transformers_config(opened, source.labels if opened.n_classes else [])
        transformers_model(opened, config).save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        checks = compare(opened, source, scratch, texts, say)
        proof = [line for _, line in checks]
        if not all(holds for holds, _ in checks):
            found = "; ".join(" ".join(line.split()) for line in proof)
            raise UsageError(
                f"the converted model is not the same function as {source.checkpoint}, nothing is written: {found}"
            )
        write_text(scratch / "README.md", card_of(source, proof))
    return proof


def card_of(source: Source, proof: list[str]) -> str:
    """Return the card of a converted folder: its source, its classes, and the proof that it is the same function."""
    labels = f"- labels: {', '.join(source.labels)}\n" if source.labels else ""
    told = f"{labels}- weights and tokenizer were converted from fairseq's, and compared with them:"
    shown = "\n".join(proof)
    return f"# {source.title}\n\n{told}\n\n```\n{shown}\n```\n"


def convert_back(folder: Path, shape: dict[str, Any], out: Path) -> None:
    """Write a fairseq checkpoint from a folder that `convert` wrote."""
    model = {"_name": "roberta_of_checkpoint", **shape}
    state = {
        "args": None,
        "cfg": {"model": model, "task": {"_name": "masked_lm"}},
        "model": read_weights(folder),
        "optimizer_history": [optimizer_history(0)],
        "extra_state": {},
    }
    with replaced(out) as temporary:
        torch.save(state, temporary)
