"""fairseq's Transformer encoder without arithmetic on padding: the same function, on real tokens only.

A random batch of 8 reviews is padded to its longest text, and some 45 % of the positions are padding. Everything that
works token by token (projections, feed-forward, layer norms, dropout) runs here on the real tokens, packed into one
matrix; attention alone is computed on the padded batch, with the padding masked.
"""

from typing import Any

import torch
import torch.nn.functional as F
from fairseq.models.roberta.model import RobertaEncoder
from fairseq.models.transformer import TransformerEncoder
from fairseq.modules.transformer_sentence_encoder import init_bert_params


class UnpaddedTransformerEncoder(TransformerEncoder):
    """Drop-in for fairseq's encoder: same parameters, same outputs at real positions, zeros at padding."""

    def forward_scriptable(
        self,
        src_tokens: torch.Tensor,
        src_lengths: torch.Tensor | None = None,
        return_all_hiddens: bool = False,
        token_embeddings: torch.Tensor | None = None,
    ) -> dict[str, list[torch.Tensor]]:
        """Encode `src_tokens` (batch, tokens); `encoder_out` is one tensor (tokens, batch, width), as fairseq's."""
        real = src_tokens.ne(self.padding_idx)
        embedded, embedding = self.forward_embedding(src_tokens, token_embeddings)
        x = embedded[real]
        states = [_padded(x, real)] if return_all_hiddens else []
        for layer in self.layers:
            x = _layer(layer, x, real)
            if return_all_hiddens:
                states.append(_padded(x, real))
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        return {
            "encoder_out": [_padded(x, real)],
            "encoder_padding_mask": [~real],
            "encoder_embedding": [embedding],
            "encoder_states": states,
            "fc_results": [],
            "src_tokens": [],
            "src_lengths": [real.sum(dim=1, dtype=torch.int32).reshape(-1, 1)],
        }


def _padded(x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Put packed tokens (real tokens, width) back into (tokens, batch, width), zeros elsewhere."""
    out = x.new_zeros(*real.shape, x.shape[-1])
    out[real] = x
    return out.transpose(0, 1)


def _layer(layer: Any, x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """One of fairseq's encoder layers on packed tokens (real tokens, width)."""
    residual = x
    if layer.normalize_before:
        x = layer.self_attn_layer_norm(x)
    x = residual + layer.dropout_module(_attention(layer.self_attn, x, real))
    if not layer.normalize_before:
        x = layer.self_attn_layer_norm(x)
    residual = x
    if layer.normalize_before:
        x = layer.final_layer_norm(x)
    x = layer.activation_dropout_module(layer.activation_fn(layer.fc1(x)))
    x = residual + layer.dropout_module(layer.fc2(x))
    return x if layer.normalize_before else layer.final_layer_norm(x)


def _attention(attention: Any, x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    batch, longest = real.shape

    def heads(projection: torch.nn.Linear) -> torch.Tensor:
        packed = projection(x)
        padded = packed.new_zeros(batch, longest, packed.shape[-1])
        padded[real] = packed
        return padded.view(batch, longest, attention.num_heads, -1).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(
        heads(attention.q_proj),
        heads(attention.k_proj),
        heads(attention.v_proj),
        attn_mask=None if bool(real.all()) else real[:, None, None, :],
        dropout_p=attention.dropout_module.p if attention.training else 0.0,
    )
    packed: torch.Tensor = attention.out_proj(mixed.transpose(1, 2).reshape(batch, longest, -1)[real])
    return packed


class UnpaddedRobertaEncoder(RobertaEncoder):
    """fairseq's RoBERTa encoder around the above."""

    def build_encoder(self, args: Any, dictionary: Any, embed_tokens: torch.nn.Embedding) -> TransformerEncoder:
        """Return the encoder with BERT's initialisation."""
        encoder = UnpaddedTransformerEncoder(args, dictionary, embed_tokens)
        encoder.apply(init_bert_params)
        return encoder
