"""The RoBERTa architectures. Each is a model with a dataclass, so a misspelt key is an error, unlike in stock fairseq.

The models are registered: `--arch roberta_small` also works in stock fairseq-train with `--user-dir fairseq_tasks`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.models import register_model
from fairseq.models.roberta import RobertaModel
from fairseq.models.roberta.model import RobertaClassificationHead, RobertaEncoder, base_architecture
from fairseq.models.transformer import TransformerEncoder
from fairseq.modules import SinusoidalPositionalEmbedding
from fairseq.modules.transformer_sentence_encoder import init_bert_params
from omegaconf import DictConfig, open_dict

from fairseq_tasks.dropout import use_quick_dropout
from fairseq_tasks.unpadded import UnpaddedTransformerEncoder
from foundation.errors import UsageError

BERT_STD = 0.02  # of the weights that `init_bert_params` draws
POSITION_INITS = ("normal", "sinusoidal")


@dataclass
class RobertaConfig(FairseqDataclass):
    """All settings of fairseq's RoBERTa, with fairseq's own defaults unless a shape sets them."""

    encoder_layers: int = field(default=12, metadata={"help": "encoder layers"})
    encoder_embed_dim: int = field(default=768, metadata={"help": "width"})
    encoder_ffn_embed_dim: int = field(default=3072, metadata={"help": "feed-forward width"})
    encoder_attention_heads: int = field(default=12, metadata={"help": "attention heads"})
    max_positions: int = field(default=512, metadata={"help": "tokens a text may have, <s> and </s> included"})
    dropout: float = field(default=0.1, metadata={"help": "dropout probability"})
    attention_dropout: float = field(default=0.1, metadata={"help": "dropout probability of attention weights"})
    activation_dropout: float = field(default=0.0, metadata={"help": "dropout probability after the activation"})
    pooler_dropout: float = field(default=0.0, metadata={"help": "dropout probability in the classification head"})
    activation_fn: str = field(default="gelu", metadata={"help": "activation of the feed-forward layers"})
    pooler_activation_fn: str = field(default="tanh", metadata={"help": "activation of the classification head"})
    encoder_normalize_before: bool = field(default=False, metadata={"help": "pre-norm layers"})
    layernorm_embedding: bool = field(default=True, metadata={"help": "layer norm after the embedding"})
    encoder_learned_pos: bool = field(default=True, metadata={"help": "learned positions"})
    position_init: str = field(default="normal", metadata={"help": "normal | sinusoidal: first weights of positions"})
    no_token_positional_embeddings: bool = field(default=False, metadata={"help": "no positions at all"})
    no_scale_embedding: bool = field(default=True, metadata={"help": "do not scale embeddings"})
    untie_weights_roberta: bool = field(default=False, metadata={"help": "LM head with weights of its own"})
    unpadded: bool = field(default=True, metadata={"help": "no arithmetic on padding; False: fairseq's own encoder"})
    first_token_only: bool = field(default=True, metadata={"help": "last layer at <s> only, which the head reads"})
    quick_dropout: bool = field(default=True, metadata={"help": "16 random bits a dropout decision (CPU)"})


def matrix_weights(shape: Any, vocabulary: int) -> int:
    """Return the number of weights in an encoder's matrices, for a `RobertaConfig` and the size of the dictionary.

    It counts embeddings of pieces and positions, and per layer four attention and two feed-forward projections.
    """
    width, inner = shape.encoder_embed_dim, shape.encoder_ffn_embed_dim
    in_layer = 4 * width**2 + 2 * width * inner
    return width * (vocabulary + shape.max_positions + 2) + shape.encoder_layers * in_layer


@dataclass
class RobertaSmallConfig(RobertaConfig):
    """The published model's shape."""

    encoder_layers: int = 4
    encoder_embed_dim: int = 512
    encoder_ffn_embed_dim: int = 512
    encoder_attention_heads: int = 8
    max_positions: int = 256


@dataclass
class RobertaE5SmallConfig(RobertaConfig):
    """multilingual-e5-small's shape."""

    encoder_layers: int = 12
    encoder_embed_dim: int = 384
    encoder_ffn_embed_dim: int = 1536
    encoder_attention_heads: int = 12
    max_positions: int = 256


@dataclass
class RobertaTinyConfig(RobertaConfig):
    """For tests: trains in seconds."""

    encoder_layers: int = 2
    encoder_embed_dim: int = 64
    encoder_ffn_embed_dim: int = 64
    encoder_attention_heads: int = 4
    max_positions: int = 64


class Float32Head(RobertaClassificationHead):
    """fairseq's head with weights and logits in float32: 16-bit logits can tie, and a tie would count for class 0.

    The head runs without autocast. It stays in float32 when fairseq converts the model to float16.
    """

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> "Float32Head":
        """Move or convert the module as torch does, but convert to float32 instead of 16 bits."""

        def kept(tensor: torch.Tensor) -> torch.Tensor:
            made = fn(tensor)
            return tensor.to(made.device, torch.float32) if made.dtype in (torch.float16, torch.bfloat16) else made

        super()._apply(kept, recurse)
        return self

    def forward(self, features: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Return (batch, classes) logits of (batch, tokens, width) features."""
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.to(self.dense.weight.dtype), **kwargs)


def begin_sinusoidal(positions: torch.nn.Embedding) -> None:
    """Give learned positions the sinusoids of Vaswani et al. (2017) to begin with, at the std of BERT's initialisation.

    The way from a sinusoid to that of the next position is one rotation, the same for all positions. Between random
    vectors it has to be learned pair by pair.
    """
    with torch.no_grad():
        weight, padding = positions.weight, positions.padding_idx
        assert padding is not None
        table = SinusoidalPositionalEmbedding.get_embedding(*weight.shape, padding_idx=padding)
        weight.copy_(table * (BERT_STD / table[padding + 1 :].std()))


class Encoder(RobertaEncoder):
    """fairseq's RoBERTa encoder, with the quick parts that its settings turn on."""

    def build_encoder(self, args: Any, dictionary: Any, embed_tokens: torch.nn.Embedding) -> TransformerEncoder:
        """Return the encoder with BERT's initialisation."""
        kind = UnpaddedTransformerEncoder if args.unpadded else TransformerEncoder
        encoder = kind(args, dictionary, embed_tokens)
        encoder.apply(init_bert_params)
        if args.quick_dropout:
            use_quick_dropout(encoder)
        return encoder


class Roberta(RobertaModel):
    """fairseq's RoBERTa with the encoder and the head above."""

    @classmethod
    def build_model(cls, args: DictConfig, task: Any) -> "Roberta":
        """Build the model. `args` is a RobertaConfig; fairseq adds the settings that it lacks."""
        if args.first_token_only and not args.unpadded:
            raise UsageError("speed.first_token_only needs speed.unpadded; give speed.first_token_only=false, too")
        if args.position_init not in POSITION_INITS:
            raise UsageError(f"position_init={args.position_init}: choose from {', '.join(POSITION_INITS)}")
        with open_dict(args):
            base_architecture(args)
        has_learned = args.encoder_learned_pos and not args.no_token_positional_embeddings
        if args.position_init == "sinusoidal" and not (has_learned and args.encoder_embed_dim >= 4):
            raise UsageError(
                "position_init=sinusoidal needs learned positions and a width of at least 4; give "
                "fairseq.model.position_init=normal"
            )
        model = cls(args, Encoder(args, task.source_dictionary))
        if args.position_init == "sinusoidal":
            begin_sinusoidal(model.encoder.sentence_encoder.embed_positions)
        return model

    def forward(
        self,
        src_tokens: torch.Tensor,
        features_only: bool = False,
        return_all_hiddens: bool = False,
        classification_head_name: str | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, Any]:
        """Do as fairseq does. With `first_token_only`, the last layer below a classification head runs at `<s>`."""
        only_first = self.args.first_token_only and not return_all_hiddens
        if classification_head_name is None or not only_first:
            answer: tuple[torch.Tensor, Any] = super().forward(
                src_tokens, features_only, return_all_hiddens, classification_head_name, **kwargs
            )
            return answer
        features = self.encoder.sentence_encoder.first_tokens(src_tokens)
        return self.classification_heads[classification_head_name](features[:, None]), {"inner_states": None}

    def register_classification_head(
        self, name: str, num_classes: int | None = None, inner_dim: int | None = None, **kwargs: Any
    ) -> None:
        """Add a head with `num_classes` outputs. Its weights are drawn from the current random state."""
        self.classification_heads[name] = Float32Head(
            input_dim=self.args.encoder_embed_dim,
            inner_dim=inner_dim or self.args.encoder_embed_dim,
            num_classes=num_classes,
            activation_fn=self.args.pooler_activation_fn,
            pooler_dropout=self.args.pooler_dropout,
        )


@register_model("roberta_of_checkpoint", dataclass=RobertaConfig)
class RobertaOfCheckpoint(Roberta):
    """Any shape. Every setting is read from a checkpoint's own arguments."""


@register_model("roberta_small", dataclass=RobertaSmallConfig)
class RobertaSmall(Roberta):
    """4 layers, width 512, feed-forward 512, 8 heads, 256 positions."""


@register_model("roberta_e5_small", dataclass=RobertaE5SmallConfig)
class RobertaE5Small(Roberta):
    """12 layers, width 384, feed-forward 1,536, 12 heads, 256 positions."""


@register_model("roberta_tiny", dataclass=RobertaTinyConfig)
class RobertaTiny(Roberta):
    """2 layers, width 64, feed-forward 64, 4 heads, 64 positions."""
