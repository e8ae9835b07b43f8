"""fairseq's Transformer encoder without arithmetic on padding: the same function, on real tokens only.

A random batch of 8 reviews is padded to its longest text, and about 45 % of the positions are padding. Operations
that work token by token (projections, feed-forward, layer norms, dropout) run here on the real tokens, packed into one
matrix. On a CPU attention runs text by text, each at its own length. On CUDA attention is one call on the padded batch,
with the padding masked. Queries, keys and values are computed by one matrix product.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.models.transformer import TransformerEncoder
from fairseq.modules import gelu as fairseq_gelu


@dataclass(frozen=True)
class Packing:
    """The places of a batch's texts in a packed matrix: text after text, with `lengths[i]` real tokens each.

    Made once per batch. Each use of a mask as an index would search for its true elements, and wait for the GPU.
    """

    real: torch.Tensor  # (batch, longest), True at real tokens
    lengths: list[int]
    index: torch.Tensor  # (real tokens,), their places among all batch * longest positions
    first: torch.Tensor  # (batch,), the row of each text's first token in the packed matrix

    @classmethod
    def of(cls, real: torch.Tensor) -> "Packing":
        """Return the packing of a (batch, longest) mask of real tokens."""
        lengths = real.sum(dim=1)
        return cls(real, lengths.tolist(), real.flatten().nonzero().flatten(), lengths.cumsum(0) - lengths)

    def pack(self, padded: torch.Tensor) -> torch.Tensor:
        """Return the real tokens (real tokens, width) of (batch, longest, width)."""
        return padded.flatten(0, 1).index_select(0, self.index)

    def unpack(self, packed: torch.Tensor) -> torch.Tensor:
        """Return packed tokens (real tokens, width) as (batch, longest, width), zeros elsewhere."""
        out = packed.new_zeros(self.real.numel(), packed.shape[-1]).index_copy(0, self.index, packed)
        return out.view(*self.real.shape, -1)

    def firsts(self, packed: torch.Tensor) -> torch.Tensor:
        """Return each text's first token (batch, width) of packed tokens (real tokens, width)."""
        return packed.index_select(0, self.first)


class UnpaddedTransformerEncoder(TransformerEncoder):
    """Drop-in for fairseq's encoder: same parameters, same outputs at real positions, zeros at padding."""

    def forward_scriptable(
        self,
        src_tokens: torch.Tensor,
        src_lengths: torch.Tensor | None = None,
        return_all_hiddens: bool = False,
        token_embeddings: torch.Tensor | None = None,
    ) -> dict[str, list[torch.Tensor]]:
        """Encode `src_tokens` (batch, tokens); `encoder_out` is one tensor (tokens, batch, width), as in fairseq."""
        x, embedding, packing = self._embed(src_tokens, token_embeddings)
        states = [packing.unpack(x).transpose(0, 1)] if return_all_hiddens else []
        for layer in self.layers:
            x = _layer(layer, x, packing)
            if return_all_hiddens:
                states.append(packing.unpack(x).transpose(0, 1))
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        return {
            "encoder_out": [packing.unpack(x).transpose(0, 1)],
            "encoder_padding_mask": [~packing.real],
            "encoder_embedding": [embedding],
            "encoder_states": states,
            "fc_results": [],
            "src_tokens": [],
            "src_lengths": [packing.real.sum(dim=1, dtype=torch.int32).reshape(-1, 1)],
        }

    def first_tokens(self, src_tokens: torch.Tensor) -> torch.Tensor:
        """Return the outputs at the first token of each text, (batch, width), for `src_tokens` (batch, tokens).

        The outputs are the same as in `forward`. The last layer computes no other outputs, because a classification
        head reads no others. At the other tokens it computes only keys and values.
        """
        x, _, packing = self._embed(src_tokens, None)
        *layers, last = self.layers
        for layer in layers:
            x = _layer(layer, x, packing)
        x = _layer(last, x, packing, first_only=True)
        return x if self.layer_norm is None else self.layer_norm(x)

    def _embed(
        self, src_tokens: torch.Tensor, token_embeddings: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, Packing]:
        packing = Packing.of(src_tokens.ne(self.padding_idx))
        embedded, embedding = self.forward_embedding(src_tokens, token_embeddings)
        return packing.pack(embedded), embedding, packing


def _layer(layer: Any, x: torch.Tensor, packing: Packing, first_only: bool = False) -> torch.Tensor:
    """Apply one of fairseq's layers to packed tokens (real tokens, width). `first_only` returns (batch, width)."""
    residual = packing.firsts(x) if first_only else x
    if layer.normalize_before:
        x = layer.self_attn_layer_norm(x)
    attended = _attention(layer.self_attn, packing.firsts(x) if first_only else x, x, packing)
    x = residual + layer.dropout_module(attended)
    if not layer.normalize_before:
        x = layer.self_attn_layer_norm(x)
    residual = x
    if layer.normalize_before:
        x = layer.final_layer_norm(x)
    x = layer.activation_dropout_module(_activate(layer.activation_fn, layer.fc1(x)))
    x = residual + layer.dropout_module(layer.fc2(x))
    return x if layer.normalize_before else layer.final_layer_norm(x)


def _activate(activation: Any, x: torch.Tensor) -> torch.Tensor:
    """fairseq's GELU copies bfloat16 to float32 and back. torch's kernel gives the same values without the copies.

    Where a CPU has AVX512 the gradients have the same bits, too; with AVX2 they differ by 1.2e-7 at most.
    """
    return F.gelu(x) if activation is fairseq_gelu and x.dtype is torch.bfloat16 else activation(x)


def _attention(attention: Any, asking: torch.Tensor, x: torch.Tensor, packing: Packing) -> torch.Tensor:
    """Attend from the tokens `asking` (the first of each text, or all of `x`) to the packed tokens `x`."""
    heads, drop = attention.num_heads, attention.dropout_module
    dropout = drop.p if attention.training else 0.0
    layers = [attention.q_proj, attention.k_proj, attention.v_proj]
    q, k, v = _project(layers, x) if asking is x else [*_project(layers[:1], asking), *_project(layers[1:], x)]
    if x.is_cuda:
        out = _attend_padded(q, k, v, heads, dropout, packing)
    elif dropout or q.dtype is torch.bfloat16:
        out = _attend_by_products(q, k, v, heads, drop, packing)
    else:
        out = _attend_text_by_text(q, k, v, heads, packing)
    mixed: torch.Tensor = attention.out_proj(out)
    return mixed


def _project(layers: list[Any], x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the outputs of linear layers that read the same `x`, computed by one matrix product."""
    weight, bias = (torch.cat([getattr(layer, name) for layer in layers]) for name in ("weight", "bias"))
    return F.linear(x, weight, bias).chunk(len(layers), dim=-1)


def _attend_by_products(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, drop: Any, packing: Packing
) -> torch.Tensor:
    """Attend text by text with matrix products: in bfloat16 a fifth of the fused kernel's time (docs/log.md).

    The module `drop` is applied to the attention weights, which torch's fused kernel cannot do on a CPU.
    """
    size = q.shape[-1] // heads
    q, k, v = (part.view(len(part), heads, size).transpose(0, 1).contiguous() for part in (q * size**-0.5, k, v))
    rows = packing.lengths if q.shape == k.shape else [1] * len(packing.lengths)
    texts = zip(q.split(rows, 1), k.split(packing.lengths, 1), v.split(packing.lengths, 1), strict=True)
    with torch.autocast("cpu", enabled=False):  # autocast would give softmax float32; it sums in float32 anyway
        mixed = [drop((asked @ key.transpose(1, 2)).softmax(dim=-1)) @ value for asked, key, value in texts]
    return torch.cat(mixed, dim=1).transpose(0, 1).flatten(1)


def _attend_text_by_text(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, packing: Packing
) -> torch.Tensor:
    lengths = packing.lengths
    rows = lengths if len(q) == len(k) else [1] * len(lengths)
    texts = zip(torch.split(q, rows), torch.split(k, lengths), torch.split(v, lengths), strict=True)
    return torch.cat([_attend([part[None] for part in text], heads, 0.0, None)[0] for text in texts])


def _attend_padded(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, dropout: float, packing: Packing
) -> torch.Tensor:
    whole = len(q) == len(k)
    padded = [packing.unpack(q) if whole else q[:, None], packing.unpack(k), packing.unpack(v)]
    mask = None if min(packing.lengths) == packing.real.shape[1] else packing.real[:, None, None, :]
    out = _attend(padded, heads, dropout, mask)
    return packing.pack(out) if whole else out[:, 0]


def _attend(parts: list[torch.Tensor], heads: int, dropout: float, mask: torch.Tensor | None) -> torch.Tensor:
    """Return attention of queries, keys and values, each (batch, tokens, width), in the shape of the queries."""
    q, k, v = (part.view(*part.shape[:2], heads, -1).transpose(1, 2) for part in parts)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout).transpose(1, 2).flatten(2)
