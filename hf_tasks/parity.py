"""Checks that a converted model is the same function: token ids, decoded texts, outputs, logits, labels, weights.

The encoder's outputs are always compared. The class logits of a classifier are compared as well, and so are the
masked-LM logits of a model with a masked-LM head. A head that no file holds is never compared.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from data_prep.cleaning import clean
from data_prep.examples import Example
from fairseq_tasks.classification import HEAD
from fairseq_tasks.folders import Opened
from hf_tasks.predict import answers, fairseq_ids, transformers_inputs
from hf_tasks.source import Source
from hf_tasks.weights import read_weights

TOLERANCE = 1e-4  # largest difference of outputs and logits in float32
NEAR, NEAR_IN_HALF = 1e-3, 0.25  # largest lead of a logit that counts as a near tie: of an fp32 run, of another
BATCH = 32
SHARES = 5  # parts of the work; a line of progress follows each part
Check = tuple[bool, str]  # whether it holds, and its line of the proof
KINDS = {"class logits": AutoModelForSequenceClassification, "LM logits": AutoModelForMaskedLM, "": AutoModel}
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


@torch.no_grad()
def compare(
    opened: Opened, source: Source, converted: Path, texts: list[str], say: Callable[[str], None]
) -> list[Check]:
    """Compare the opened fairseq model with the folder that transformers loads, on these texts and a run's test texts.

    Both models compute in float32 on the same ids, so that any difference comes from the models. The labels come from
    transformers alone, with its own ids. A tie is a text whose two segmentations have the same pieces in another order.
    `say` gets a line for each stage.
    """
    own = f" and {len(source.tests)} test texts" if source.tests else ""
    say(f"compares token ids, {len(texts)} sentences{own}")
    tokenizer = AutoTokenizer.from_pretrained(converted)
    made_up = [Example(str(number), text, None, None) for number, text in enumerate(texts)]
    examples = made_up + source.tests
    ours = fairseq_ids(opened, source.model_folder, examples)
    parts = [part for part in (made_up, source.tests) if part]
    theirs = [ids for part in parts for ids in transformers_inputs(tokenizer, part)["input_ids"]]
    same = sum(one == other for one, other in zip(ours, theirs, strict=True))
    ties = [one != other and sorted(one) == sorted(other) for one, other in zip(ours, theirs, strict=True)]
    counts = f"token ids      equal on {same} of {len(examples)} texts, tied on {sum(ties)}"
    checks = [
        (same + sum(ties) == len(examples), counts),
        _decoded(opened, source, tokenizer, examples, theirs),
        *_outputs(opened, converted, ours, say),
        _weights(opened, converted),
    ]
    if opened.n_classes and source.tests:
        say(f"compares labels of {len(source.tests)} test texts")
        checks.append(_labels(source, converted, ties[len(made_up) :]))
    elif opened.n_classes and source.without_tests:
        checks.append((True, f"labels         not compared with the run's own: {source.without_tests}"))
    return checks


def _decoded(opened: Opened, source: Source, tokenizer: Any, examples: list[Example], rows: list[list[int]]) -> Check:
    """Check that transformers decodes as sentencepiece does. Pairs and texts with unknown characters are left out."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(source.model_folder / "sentencepiece.bpe.model"))
    unknown, room = opened.dictionary.unk(), opened.longest - 2
    readable = same = 0
    for example, row in zip(examples, rows, strict=True):
        if example.text_pair is None and unknown not in row:
            readable += 1
            expected = processor.decode(processor.encode(example.text, out_type=str)[:room])
            same += tokenizer.decode(row, skip_special_tokens=True) == expected
    return same == readable, f"decoded        equal on {same} of {readable} texts without unknown characters"


def _outputs(opened: Opened, converted: Path, rows: list[list[int]], say: Callable[[str], None]) -> tuple[Check, Check]:
    """Check the encoder's outputs at real tokens, and the head's logits."""
    head = "class logits" if opened.n_classes else "LM logits" if opened.has_lm_head else ""
    without_pooler = {} if head else {"add_pooling_layer": False}
    model = KINDS[head].from_pretrained(converted, **without_pooler).eval()
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
        if head == "class logits":
            logits = opened.model.classification_heads[HEAD](expected)
            furthest_logit = max(furthest_logit, _largest(logits - found.logits))
        elif head == "LM logits":
            logits = opened.model.encoder.output_layer(expected)
            furthest_logit = max(furthest_logit, _largest((logits - found.logits)[real]))
        done += sum(map(len, part))
        if done * SHARES // total > said:
            said = done * SHARES // total
            say(f"compares outputs, {100 * done / total:.0f} % of the tokens")
    no_head = (True, "head           none in the checkpoint, none in the folder")
    return _close("encoder output", furthest), _close(head, furthest_logit) if head else no_head


def _close(what: str, difference: float) -> Check:
    return difference <= TOLERANCE, f"{what:14} largest difference {difference:.1e} (at most {TOLERANCE:g})"


def _largest(difference: torch.Tensor) -> float:
    """Return the largest absolute difference. NaN counts as infinite."""
    return float(difference.abs().nan_to_num(nan=float("inf")).max())


def _labels(source: Source, converted: Path, ties: list[bool]) -> Check:
    """Check that the labels that transformers alone gives are the run's, near ties aside.

    Two labels are nearly tied where the run's own logits nearly tie, or where the ids of the text are a tie.
    """
    same = near = 0
    is_fp32 = source.precision == "fp32"
    found = answers(converted, source.tests)
    for (_, label), (own, margin), tied in zip(found, source.answers, ties, strict=True):
        same += label == own
        near += label != own and (tied or margin <= (NEAR if is_fp32 else NEAR_IN_HALF))
    nearly = f", the two nearly tied on {near}" if near else ""
    how = "" if is_fp32 else f" (the run computed in {source.precision}, this in fp32)"
    n = len(source.tests)
    return same + near == n, f"labels         the run's own on {same} of {n} test texts{nearly}{how}"


def _weights(opened: Opened, converted: Path) -> Check:
    """Check that the folder's weights equal the model's under fairseq's names, with no encoder weight missing."""
    back, held = read_weights(converted), opened.model.state_dict()
    encoder = {name for name in held if name.startswith("encoder.sentence_encoder.") and not name.endswith(".version")}
    same = encoder <= back.keys() and all(name in held and torch.equal(one, held[name]) for name, one in back.items())
    return same, f"back again     weights {'the same, bit for bit' if same else 'DIFFER'}"
