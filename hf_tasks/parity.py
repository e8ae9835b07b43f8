"""Checks that a converted model is the same function: token ids, decoded texts, outputs, logits, labels, weights.

The encoder's outputs are always compared. The class logits of a classifier are compared as well, and so are the
masked-LM logits of a model with a masked-LM head. A head that no file holds is never compared.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from data_prep.splits import Example, clean
from fairseq_tasks.classification import HEAD
from fairseq_tasks.folders import Opened
from foundation.errors import UsageError
from hf_tasks.predict import answers, fairseq_ids, transformers_inputs
from hf_tasks.source import Source
from hf_tasks.weights import read_weights

TOLERANCE = 1e-4  # largest difference of outputs and logits in float32
NEAR = {"fp32": 1e-3}  # precision of the run -> largest lead of a logit that counts as a near tie
NEAR_IN_HALF = 0.25
BATCH = 32
SHARES = 5  # parts of the work; a line of progress follows each part
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
    """Return `count` French sentences: with accents, apostrophes, emoji; some very long, some empty once normalised."""
    generator = random.Random(0)
    made = [clean(text) for text in ODD]
    while len(made) < count:
        clauses = [f"{generator.choice(SUBJECTS)} {generator.choice(VERBS)}" for _ in range(generator.randint(1, 12))]
        made.append(clean(", ".join(clauses) + generator.choice(ENDS)))
    return made[:count]


@dataclass(frozen=True)
class Labels:
    """How the labels that transformers alone gives a run's test texts agree with the labels that the run wrote."""

    texts: int
    same: int
    near: int  # different labels, where the run's own logits nearly tie or the text's ids are a tie
    precision: str

    def line(self) -> str:
        near = f", the two nearly tied on {self.near}" if self.near else ""
        how = "" if self.precision == "fp32" else f" (the run computed in {self.precision}, this in fp32)"
        return f"the run's own on {self.same} of {self.texts} test texts{near}{how}"


@dataclass(frozen=True)
class Parity:
    """The result of a comparison. A tie is a text whose two segmentations have the same pieces in another order."""

    texts: int
    same_ids: int
    ties: int
    readable: int  # single texts without unknown characters: they can be decoded to the original text
    same_decoded: int
    largest_output_difference: float
    head: str  # "class logits", "LM logits", or "" where the checkpoint has no head
    largest_logit_difference: float
    same_weights: bool
    labels: Labels | None
    without_labels: str

    @property
    def holds(self) -> bool:
        near = max(self.largest_output_difference, self.largest_logit_difference) <= TOLERANCE
        same_labels = self.labels is None or self.labels.same + self.labels.near == self.labels.texts
        same_texts = self.same_ids + self.ties == self.texts and self.same_decoded == self.readable
        return same_texts and near and self.same_weights and same_labels

    def lines(self) -> list[str]:
        """Return the proof, one line per check."""
        lines = [
            f"token ids      equal on {self.same_ids} of {self.texts} texts, tied on {self.ties}",
            f"decoded        equal on {self.same_decoded} of {self.readable} texts without unknown characters",
            f"encoder output largest difference {self.largest_output_difference:.1e} (at most {TOLERANCE:g})",
            f"{self.head:14} largest difference {self.largest_logit_difference:.1e} (at most {TOLERANCE:g})"
            if self.head
            else "head           none in the checkpoint, none in the folder",
            f"back again     weights {'the same, bit for bit' if self.same_weights else 'DIFFER'}",
        ]
        if self.labels is not None:
            lines.append(f"labels         {self.labels.line()}")
        elif self.without_labels:
            lines.append(f"labels         not compared with the run's own: {self.without_labels}")
        return lines


@torch.no_grad()
def compare(opened: Opened, source: Source, converted: Path, texts: list[str], say: Callable[[str], None]) -> Parity:
    """Compare the opened fairseq model with the folder that transformers loads, on these texts and a run's test texts.

    Both models compute in float32 on the same ids, so that any difference comes from the models. The labels come from
    transformers alone, with its own ids. `say` gets a line for each stage.
    """
    own = f" and {len(source.tests)} test texts" if source.tests else ""
    say(f"compares token ids, {len(texts)} sentences{own}")
    tokenizer = AutoTokenizer.from_pretrained(converted)
    made_up = [Example(str(number), text, None, None) for number, text in enumerate(texts)]
    examples = made_up + source.tests
    ours = fairseq_ids(opened, source.model_folder, examples)
    theirs = [ids for part in (made_up, source.tests) for ids in _tokens(tokenizer, part)]
    different = [one != other for one, other in zip(ours, theirs, strict=True)]
    ties = [one != other and sorted(one) == sorted(other) for one, other in zip(ours, theirs, strict=True)]
    readable, same_decoded = _decoded(opened, source, tokenizer, examples, theirs)
    furthest, furthest_logit = _outputs(opened, converted, ours, say)
    labels = None
    if source.tests and opened.n_classes:
        say(f"compares labels of {len(source.tests)} test texts")
        labels = _labels(source, converted, ties[len(made_up) :])
    return Parity(
        texts=len(examples),
        same_ids=different.count(False),
        ties=ties.count(True),
        readable=readable,
        same_decoded=same_decoded,
        largest_output_difference=furthest,
        head="class logits" if opened.n_classes else "LM logits" if opened.has_lm_head else "",
        largest_logit_difference=furthest_logit,
        same_weights=_same_weights(opened, converted),
        labels=labels,
        without_labels=source.without_tests if opened.n_classes else "",
    )


def _tokens(tokenizer: Any, examples: list[Example]) -> list[list[int]]:
    return list(transformers_inputs(tokenizer, examples)["input_ids"]) if examples else []


def _decoded(
    opened: Opened, source: Source, tokenizer: Any, examples: list[Example], rows: list[list[int]]
) -> tuple[int, int]:
    """Return how many texts can be decoded, and how many of them transformers decodes as sentencepiece does."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(source.model_folder / "sentencepiece.bpe.model"))
    unknown, room = opened.dictionary.unk(), opened.longest - 2
    readable = same = 0
    for example, row in zip(examples, rows, strict=True):
        if example.text_pair is None and unknown not in row:
            readable += 1
            expected = processor.decode(processor.encode(example.text, out_type=str)[:room])
            same += tokenizer.decode(row, skip_special_tokens=True) == expected
    return readable, same


def _outputs(opened: Opened, converted: Path, rows: list[list[int]], say: Callable[[str], None]) -> tuple[float, float]:
    """Return the largest difference of the encoder's outputs at real tokens, and of the head's logits."""
    kind: Any = (
        AutoModelForSequenceClassification
        if opened.n_classes
        else AutoModelForMaskedLM
        if opened.has_lm_head
        else AutoModel
    )
    without_pooler = {} if opened.n_classes or opened.has_lm_head else {"add_pooling_layer": False}
    model = kind.from_pretrained(converted, **without_pooler).eval()
    pad = opened.dictionary.pad()
    furthest, furthest_logit = 0.0, 0.0
    by_length = sorted(rows, key=len)
    total, done, said = sum(map(len, rows)), 0, 0
    for start in range(0, len(rows), BATCH):
        part = by_length[start : start + BATCH]
        tokens = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row) for row in part], batch_first=True, padding_value=pad
        )
        real = tokens != pad
        expected, _ = opened.model(tokens, features_only=True)
        found = model(input_ids=tokens, attention_mask=real.long(), output_hidden_states=True)
        furthest = max(furthest, _largest((expected - found.hidden_states[-1])[real]))
        if opened.n_classes:
            logits = opened.model.classification_heads[HEAD](expected)
            furthest_logit = max(furthest_logit, _largest(logits - found.logits))
        elif opened.has_lm_head:
            logits = opened.model.encoder.output_layer(expected)
            furthest_logit = max(furthest_logit, _largest((logits - found.logits)[real]))
        done += sum(map(len, part))
        if done * SHARES // total > said:
            said = done * SHARES // total
            say(f"compares outputs, {100 * done / total:.0f} % of the tokens")
    return furthest, furthest_logit


def _largest(difference: torch.Tensor) -> float:
    """Return the largest absolute difference. NaN counts as infinite."""
    return float(difference.abs().nan_to_num(nan=float("inf")).max())


def _labels(source: Source, converted: Path, ties: list[bool]) -> Labels:
    same = near = 0
    slack = NEAR.get(source.precision, NEAR_IN_HALF)
    found = [label for _, label in answers(converted, source.tests)]
    for label, answer, tied in zip(found, source.answers, ties, strict=True):
        same += label == answer.label
        near += label != answer.label and (tied or answer.margin <= slack)
    return Labels(len(found), same, near, source.precision)


def _same_weights(opened: Opened, converted: Path) -> bool:
    """Return whether the folder's weights equal the model's under fairseq's names, with no encoder weight missing."""
    back, held = read_weights(converted), opened.model.state_dict()
    encoder = {name for name in held if name.startswith("encoder.sentence_encoder.") and not name.endswith(".version")}
    return encoder <= back.keys() and all(name in held and torch.equal(one, held[name]) for name, one in back.items())


def require(parity: Parity, checkpoint: Path) -> None:
    """Raise `UsageError` when the converted model is not the same function."""
    if not parity.holds:
        found = "; ".join(" ".join(line.split()) for line in parity.lines())
        raise UsageError(f"the converted model is not the same function as {checkpoint}, nothing is written: {found}")
