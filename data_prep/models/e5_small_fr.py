"""Makes `e5_small_fr`: multilingual-e5-small, trimmed to French, as a fairseq folder of architecture roberta_e5_small.

Writes model.pt, dict.txt, sentencepiece.bpe.model and card.md. The rows of the trimmed embedding are the four special
tokens, the kept pieces in the order of the full vocabulary, and <mask>. fairseq numbers a dictionary in this order.
"""

import lzma
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
from numpy.typing import NDArray
from omegaconf import DictConfig
from sentencepiece import sentencepiece_model_pb2

from data_prep.binarise import N_SPECIAL
from data_prep.models.checkpoints import optimizer_history
from data_prep.models.e5_file import E5File, read_e5_file

NORMALISATION = "nmt_nfkc"  # XLM-RoBERTa's normalisation, which sentencepiece ships
AND_ONE_RULE = ("\u200d", " ")  # also XLM-RoBERTa's, but dropped by later releases; the 4-bit file's map has it
PROJECTIONS = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "ao": "self_attn.out_proj",
    "aln": "self_attn_layer_norm",
    "fi": "fc1",
    "fo": "fc2",
    "oln": "final_layer_norm",
}


def text_pieces(e5: E5File) -> list[str]:
    """Return the pieces that text can produce, in id order: no special tokens, no pieces with white space."""
    return [piece for piece in e5.pieces[N_SPECIAL:-1] if not any(character.isspace() for character in piece)]


def read_kept_pieces(path: Path) -> list[str]:
    """Return the kept pieces, in the order of the full vocabulary, from their compressed list with one per line."""
    return [line for line in lzma.decompress(path.read_bytes()).decode("utf-8").split("\n") if line]


def sentencepiece_model(e5: E5File, pieces: list[str]) -> bytes:
    """Return a serialised unigram sentencepiece model of these pieces with their scores in the full vocabulary.

    If the best segmentation with the full vocabulary uses only kept pieces, it is also the best segmentation here: the
    scores are the same and there are fewer candidates.
    """
    model = sentencepiece_model_pb2.ModelProto()
    kinds = sentencepiece_model_pb2.ModelProto.SentencePiece
    for symbol, kind in (("<unk>", kinds.UNKNOWN), ("<s>", kinds.CONTROL), ("</s>", kinds.CONTROL)):
        model.pieces.add(piece=symbol, score=0.0, type=kind)
    score = dict(zip(e5.pieces, e5.scores.tolist(), strict=True))
    for piece in pieces:
        model.pieces.add(piece=piece, score=score[piece], type=kinds.NORMAL)
    model.trainer_spec.model_type = sentencepiece_model_pb2.TrainerSpec.UNIGRAM
    model.trainer_spec.vocab_size = len(model.pieces)
    model.trainer_spec.unk_id, model.trainer_spec.bos_id, model.trainer_spec.eos_id = 0, 1, 2
    model.trainer_spec.pad_id = -1
    sentencepiece.set_min_log_level(1)  # do not print that rules are compiled
    shipped = sentencepiece.SentencePieceNormalizer(rule_name=NORMALISATION)
    normaliser = sentencepiece.SentencePieceNormalizer(norm_map=[*shipped.Decompile(), AND_ONE_RULE])
    model.normalizer_spec.ParseFromString(normaliser.serialized_normalizer_spec())
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = True
    model.normalizer_spec.escape_whitespaces = True
    return bytes(model.SerializeToString())


def fairseq_weights(e5: E5File, pieces: list[str], n_positions: int) -> dict[str, NDArray[np.float32]]:
    """Return the encoder's weights under fairseq's names, for a vocabulary of these pieces and `n_positions` positions.

    Position p of the file is row p + 2 of fairseq's table (rows 0 and 1 belong to padding). Every token has type 0, so
    the token-type row 0 is added to the positions.
    """
    index = {piece: number for number, piece in enumerate(e5.pieces)}
    rows = [*range(N_SPECIAL), *(index[piece] for piece in pieces), len(e5.pieces) - 1]
    embedding = e5.tensors["emb.word"][rows].copy()
    embedding[1] = 0.0  # <pad>: fairseq's padding row is zero and masked
    positions = np.zeros((n_positions + 2, e5.width), dtype=np.float32)
    positions[2:] = e5.tensors["emb.pos"][:n_positions] + e5.tensors["emb.type"][0]
    prefix = "encoder.sentence_encoder"
    weights = {
        f"{prefix}.embed_tokens.weight": embedding,
        f"{prefix}.embed_positions.weight": positions,
        f"{prefix}.layernorm_embedding.weight": e5.tensors["emb.ln.w"],
        f"{prefix}.layernorm_embedding.bias": e5.tensors["emb.ln.b"],
    }
    for layer in range(e5.layers):
        for short, module in PROJECTIONS.items():
            for suffix, parameter in (("w", "weight"), ("b", "bias")):
                weights[f"{prefix}.layers.{layer}.{module}.{parameter}"] = e5.tensors[f"l{layer}.{short}.{suffix}"]
    return weights


def make_folder(folder: Path, file: Path, kept: Path, config: DictConfig) -> dict[str, Any]:
    """Write the fairseq folder and return the manifest's facts."""
    import torch

    e5, pieces = read_e5_file(file), read_kept_pieces(kept)
    (folder / "dict.txt").write_text("".join(f"{piece} 1\n" for piece in pieces), encoding="utf-8")
    (folder / "sentencepiece.bpe.model").write_bytes(sentencepiece_model(e5, pieces))
    weights = {
        name: torch.from_numpy(np.array(value)).half()  # the file's rounding to 4 bits lost far more
        for name, value in fairseq_weights(e5, pieces, config.max_positions).items()
    }
    shape = {
        "encoder_layers": e5.layers,
        "encoder_embed_dim": e5.width,
        "encoder_ffn_embed_dim": e5.feed_forward,
        "encoder_attention_heads": e5.heads,
        "max_positions": config.max_positions,
    }
    checkpoint: dict[str, Any] = {
        "args": None,
        "cfg": {"model": {"_name": config.architecture, **shape}, "task": {"_name": "masked_lm"}},
        "model": weights,
        "optimizer_history": [optimizer_history(0)],
        "extra_state": {},
    }
    torch.save(checkpoint, folder / "model.pt")
    count = sum(weight.numel() for weight in weights.values())
    (folder / "card.md").write_text(_card(e5, pieces, count, config), encoding="utf-8")
    return {"model": config.name, "pieces": len(pieces), "weights": count}


def _card(e5: E5File, pieces: list[str], count: int, config: DictConfig) -> str:
    source = config.package
    return f"""# e5_small_fr

A French text encoder in fairseq's RoBERTa layout: {e5.layers} layers, width {e5.width}, feed-forward \
{e5.feed_forward}, {e5.heads} heads, {config.max_positions} positions, {len(pieces):,} pieces, {count:,} weights.

**What it is.** intfloat/multilingual-e5-small (Wang et al. 2024): a multilingual MiniLM distilled from XLM-RoBERTa, \
then trained contrastively on pairs of texts in many languages. Its weight matrices were rounded to 4 bits by the \
package that carries it; here they are expanded to float16, and the vocabulary of {len(e5.pieces):,} pieces is trimmed \
to {len(pieces):,} that French text uses.

**What it is not.** It is not the report's RoBERTa_small^fr: not pre-trained on French alone, not by masked language \
modelling alone, not of that shape, not in full precision. Contrastive training makes sentence-level tasks easier than \
masked language modelling does. It holds no masked-LM head.

**Source.** {source.member} of {source.package} {source.version} (wheel sha256 {source.sha256}; file sha256 \
{source.member_sha256}).

**Licence.** {config.licence}, as the original model and the package.

**How to cite.** {config.citation}.
"""
