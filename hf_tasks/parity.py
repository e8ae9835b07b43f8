"""Whether a converted model is the same function: token ids, encoder outputs, masked-LM logits, weights."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from data_prep.splits import clean
from fairseq_tasks.folders import Opened
from hf_tasks.convert import fairseq_weights
from hydra_conf.errors import UsageError

TOLERANCE = 1e-4  # of outputs and logits in float32
BATCH = 32
SUBJECTS = [
    "Ce livre",
    "L'intrigue",
    "Le héros",
    "La fin",
    "Cette œuvre",
    "Aujourd’hui, l’auteur",
    "Élise",
    "ÇA",
    "2 001 pages",
]
VERBS = [
    "m'a déçu",
    "est géniale",
    "n'est qu'un prétexte",
    "s’essouffle",
    "vaut bien 19,99 €",
    "naît à l'été",
    "a plu à mes sœurs",
]
ENDS = [
    " !",
    "…",
    "?!",
    " 😀",
    " 👩‍👩‍👧 🇫🇷",
    " « bref » ;",
    "\u00a0: 10/10.",
    "\n\tÀ lire.",
    " <3",
    " (ﬁn)",
    " №5 ½",
    "",
]
ODD = [
    "",
    " ",
    "\u200b",
    "\x07",
    "日本語の本",
    "a" * 300,
    "naïf " * 200,
    "ÉÈÊ" * 50,
    "e\u0301te\u0301",
    "1 000 000",
    "http://exemple.fr/?q=1",
]


def sentences(count: int = 1000) -> list[str]:
    """Return `count` French sentences: accents, apostrophes, emoji, very long, empty once normalised."""
    generator = random.Random(0)
    made = [clean(text) for text in ODD]
    while len(made) < count:
        clauses = [f"{generator.choice(SUBJECTS)} {generator.choice(VERBS)}" for _ in range(generator.randint(1, 12))]
        made.append(clean(", ".join(clauses) + generator.choice(ENDS)))
    return made[:count]


@dataclass(frozen=True)
class Parity:
    """What was compared. A tie is a text whose two segmentations have the same pieces in another order."""

    texts: int
    same_ids: int
    ties: int
    largest_output_difference: float
    largest_logit_difference: float | None  # None: the checkpoint has no masked-LM head
    same_weights: bool

    @property
    def holds(self) -> bool:
        near = max(self.largest_output_difference, self.largest_logit_difference or 0.0) <= TOLERANCE
        return self.same_ids + self.ties == self.texts and near and self.same_weights

    def lines(self) -> list[str]:
        """Return the proof, a line each."""
        logits = (
            "no masked-LM head" if self.largest_logit_difference is None else f"{self.largest_logit_difference:.1e}"
        )
        return [
            f"token ids      equal on {self.same_ids} of {self.texts} texts, tied on {self.ties}",
            f"encoder output largest difference {self.largest_output_difference:.1e} (at most {TOLERANCE:g})",
            f"LM logits      {'largest difference ' if self.largest_logit_difference is not None else ''}{logits}",
            f"back again     weights {'the same, bit for bit' if self.same_weights else 'DIFFER'}",
        ]


def fairseq_ids(opened: Opened, model_folder: Path, texts: list[str], cut: bool = True) -> list[list[int]]:
    """Return the tokens of each text with `<s>` and `</s>`, as data_prep and the task make them, and cut them."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model_folder / "sentencepiece.bpe.model"))
    index, room = opened.dictionary.index, opened.shape["max_positions"] - 2 if cut else None
    rows = processor.encode(texts, out_type=str)
    return [[index("<s>"), *(index(piece) for piece in row[:room]), index("</s>")] for row in rows]


def _batches(rows: list[list[int]], pad: int) -> Iterator[torch.Tensor]:
    by_length = sorted(rows, key=len)
    for start in range(0, len(rows), BATCH):
        part = [torch.tensor(row) for row in by_length[start : start + BATCH]]
        yield torch.nn.utils.rnn.pad_sequence(part, batch_first=True, padding_value=pad)


def _largest(difference: torch.Tensor, real: torch.Tensor) -> float:
    """Return the largest absolute difference at real tokens; what is not a number counts as infinite."""
    return float(difference[real].abs().nan_to_num(nan=float("inf")).max())


@torch.no_grad()
def compare(opened: Opened, model_folder: Path, converted: Path, texts: list[str]) -> Parity:
    """Compare the opened fairseq model with the folder that transformers loads, on these texts."""
    tokenizer = AutoTokenizer.from_pretrained(converted)
    ours = fairseq_ids(opened, model_folder, texts)
    limit = opened.shape["max_positions"]
    theirs: list[list[int]] = tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
    different = [(one, other) for one, other in zip(ours, theirs, strict=True) if one != other]
    ties = sum(sorted(one) == sorted(other) for one, other in different)
    encoder: Any = AutoModel.from_pretrained(converted, add_pooling_layer=False).eval()
    lm: Any = AutoModelForMaskedLM.from_pretrained(converted).eval() if opened.has_lm_head else None
    pad = opened.dictionary.pad()
    furthest, furthest_logit = 0.0, 0.0
    for tokens in _batches(ours, pad):
        real = tokens != pad
        expected, _ = opened.model(tokens, features_only=True)
        found = encoder(input_ids=tokens, attention_mask=real.long()).last_hidden_state
        furthest = max(furthest, _largest(expected - found, real))
        if lm is not None:
            logits, _ = opened.model(tokens)
            found = lm(input_ids=tokens, attention_mask=real.long()).logits
            furthest_logit = max(furthest_logit, _largest(logits - found, real))
    back, held = fairseq_weights(converted), opened.model.state_dict()
    same = all(name in held and torch.equal(tensor, held[name]) for name, tensor in back.items())
    encoder_names = {
        name for name in held if name.startswith("encoder.sentence_encoder.") and not name.endswith(".version")
    }
    return Parity(
        texts=len(texts),
        same_ids=len(texts) - len(different),
        ties=ties,
        largest_output_difference=furthest,
        largest_logit_difference=furthest_logit if lm is not None else None,
        same_weights=same and encoder_names <= back.keys(),
    )


def require(parity: Parity, converted: Path) -> None:
    """Raise `UsageError` when the converted model is not the same function."""
    if not parity.holds:
        raise UsageError(f"{converted} is not the same function as its source: {'; '.join(parity.lines())}")
