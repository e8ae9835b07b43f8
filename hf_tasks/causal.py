"""LoRA on a causal language model (BLOOM, GPT-NeoX...): perplexity before and after, and the adapter.

The corpus is a text, which is cut into blocks, or a .jsonl file of questions and answers. Each question with its answer
is one block, in the format of the published exercise. Only the answer's tokens are trained on and measured.
"""

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import peft
import torch
from omegaconf import DictConfig
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from data_prep.readers.table import read_rows, text_lines, text_of
from foundation.counts import counted
from foundation.errors import UsageError
from hf_tasks.adapters import count_parameters, save_adapter, with_adapter
from hf_tasks.folders import ADAPTER, require_free
from hydra_conf.checks import betas_of

HEEDED = (
    "method.",
    "recipe.epochs",
    "recipe.batch_size",
    "recipe.learning_rate",
    "recipe.warmup_share",
    "recipe.weight_decay",
    "recipe.adam_betas",
    "recipe.adam_eps",
    "recipe.clip_norm",
)
QUESTION = "<human>: {question}\n<assistant>: "  # the format of the published exercise; the answer follows
UNTRAINED = -100  # the label of a token whose loss does not count
HELD_OUT = 10  # every tenth block is measured and not trained on


def refuse_unheeded(overrides: list[str]) -> None:
    """Raise `UsageError` for an override that has no effect here."""
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if not key.startswith(HEEDED) or key == "method.name":
            known = ", ".join(word.removesuffix(".") for word in HEEDED)
            raise UsageError(f"{key} cannot be given: it does nothing here; what is heeded is {known}")


Block = dict[str, list[int]]  # input_ids and labels; a label is the same id or UNTRAINED


def in_four_bits(folder: Path) -> Any:
    """Return the causal LM of a folder with its matrices in 4 bits (NF4), as in the published exercise.

    Raises `UsageError` when bitsandbytes is not installed, or cannot load the model in 4 bits on this machine.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError(
            "--quantise 4bit needs bitsandbytes, which is not installed: .venv/bin/python -m pip install bitsandbytes"
        )
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    try:
        return AutoModelForCausalLM.from_pretrained(
            folder.resolve(), local_files_only=True, quantization_config=settings
        )
    except (ImportError, RuntimeError, ValueError) as error:
        raise UsageError(f"bitsandbytes cannot load {folder} in 4 bits here: {str(error).splitlines()[0]}") from error


def open_base(folder: Path) -> tuple[Any, Any]:
    """Return a local causal LM and its tokenizer.

    Raises `UsageError` when the model or the tokenizer is missing, when they do not belong together, or when the model
    is not a causal LM. transformers would initialise a missing head at random, and the perplexity of a random head
    says nothing.
    """
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} holds no config.json; give the folder of a causal LM that is on this machine")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model, loaded = AutoModelForCausalLM.from_pretrained(
            folder.resolve(), local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{folder} is not a causal LM with a tokenizer: {str(error).splitlines()[0]}") from error
    _require_causal(folder, model, loaded)
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise UsageError(
            f"{folder}: its tokenizer has {len(tokenizer)} tokens, its model {rows}; they do not belong together"
        )
    return model, tokenizer


def _require_causal(folder: Path, model: Any, loaded: dict[str, Any]) -> None:
    """Raise `UsageError` when the model was saved as another kind of model, is not a causal LM, or lacks weights."""
    saved_as = model.config.architectures or []
    if saved_as and not set(saved_as) & set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
        raise UsageError(f"{folder} holds a {', '.join(saved_as)}, which is no causal LM; give the folder of one")
    missing = sorted(loaded["missing_keys"]) + sorted(name for name, *_ in loaded["mismatched_keys"])
    if missing:
        raise UsageError(
            f"{folder} lacks {len(missing)} of the model's weights, the first {missing[0]}; they would "
            "be drawn at random"
        )
    if not _is_causal(model):
        raise UsageError(
            f"{folder} holds a {type(model).__name__} whose tokens see those after them, so it is no "
            "causal LM; a RoBERTa needs is_decoder=true in its config.json"
        )


@torch.inference_mode()
def _is_causal(model: Any) -> bool:
    """Return whether the outputs at all tokens but the last stay the same when the last token changes."""
    tokens = torch.arange(8).remainder(model.get_input_embeddings().weight.shape[0])[None]
    other = tokens.clone()
    other[0, -1] = tokens[0, 0]
    model.eval()
    one, two = (model(input_ids=ids).logits[0, :-1].float() for ids in (tokens, other))
    return float((one - two).abs().max()) <= 1e-3 * float(one.std())


def blocks_of(corpus: Path, tokenizer: Any, length: int, say: Callable[[str], None]) -> list[Block]:
    """Return the corpus as blocks of `length` tokens. The end-of-text token follows each line of a text.

    In a .jsonl file, each question with its answer is one block of at most `length` tokens. Raises `UsageError` for a
    file that is missing, is not UTF-8, or is too short for one block to train on and one block to measure.
    """
    if not corpus.is_file():
        raise UsageError(f"there is no corpus {corpus}; give a UTF-8 text file, one paragraph per line")
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    if corpus.suffix.lower() == ".jsonl":
        return _dialogues(corpus, tokenizer, length, end, say)
    tokens: list[int] = []
    for line in text_lines(corpus):
        if line.strip():
            tokens += tokenizer(line.strip(), add_special_tokens=False)["input_ids"] + end
    whole = [tokens[start : start + length] for start in range(0, len(tokens) - length + 1, length)]
    if len(whole) < 2:
        raise UsageError(f"{corpus} has {len(tokens)} tokens; at least {2 * length} are needed")
    return [{"input_ids": block, "labels": block} for block in whole]


def _dialogues(corpus: Path, tokenizer: Any, length: int, end: list[int], say: Callable[[str], None]) -> list[Block]:
    """Return a block for each line with a `question` and an `answer`; `say` gets a line on what is skipped or cut.

    A question that leaves no room for an answer is skipped, an answer that is too long is cut. The tokens are those of
    the whole text; a token counts as the answer's when it ends in it. Raises `UsageError` for a line without a question
    and an answer, and for fewer than two blocks.
    """
    if not tokenizer.is_fast:
        raise UsageError("the tokenizer does not tell where a token stands; give a base with a tokenizer.json")
    blocks, skipped, cut = [], 0, 0
    for line, row in read_rows(corpus, ["question", "answer"]):
        place = f"{corpus}, line {line}"
        question, answer = (text_of(row[name], name, place) for name in ("question", "answer"))
        if not (question.strip() and answer.strip()):
            raise UsageError(f"{place}: the question or the answer is empty; mend it, or remove the line")
        asked = QUESTION.format(question=question)
        encoded = tokenizer(asked + answer, add_special_tokens=False, return_offsets_mapping=True)
        tokens = encoded["input_ids"] + end
        is_answer = [stop > len(asked) for _, stop in encoded["offset_mapping"]] + [True] * len(end)
        labels = [token if own else UNTRAINED for token, own in zip(tokens, is_answer, strict=True)]
        if all(label == UNTRAINED for label in labels[:length]):
            skipped += 1
            continue
        cut += len(tokens) > length
        blocks.append({"input_ids": tokens[:length], "labels": labels[:length]})
    left_out = f"{counted(skipped, 'question')} of {length} tokens or more, which leave no room for an answer"
    if len(blocks) < 2:
        more = f"; without {left_out}: give a larger --length" if skipped else ""
        raise UsageError(f"{corpus} has {counted(len(blocks), 'question')} with answers; at least 2 are needed{more}")
    if skipped:
        say(f"skips {left_out} (--length)")
    if cut:
        say(f"cuts {counted(cut, 'answer')} at {length} tokens (--length)")
    return blocks


def batch_of(blocks: list[Block], pad: int) -> dict[str, torch.Tensor]:
    """Return blocks as a batch: input_ids, attention_mask and labels, each of shape (blocks, longest block)."""
    filled = {"input_ids": pad, "attention_mask": 0, "labels": UNTRAINED}
    rows = [{**block, "attention_mask": [1] * len(block["input_ids"])} for block in blocks]
    return {
        name: torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row[name]) for row in rows], batch_first=True, padding_value=value
        )
        for name, value in filled.items()
    }


@torch.inference_mode()
def perplexity(model: Any, blocks: list[Block]) -> float:
    """Return exp of the mean loss (nats per predicted token) over the blocks, or infinity when it is too large."""
    model.eval()
    loss, n = 0.0, 0
    for block in blocks:
        one = {name: tensor.to(next(model.parameters()).device) for name, tensor in batch_of([block], 0).items()}
        predicted = sum(label != UNTRAINED for label in block["labels"][1:])
        loss += float(model(**one).loss) * predicted
        n += predicted
    return torch.tensor(loss / n, dtype=torch.float64).exp().item()


class Lines(TrainerCallback):
    """Reports a line after each tenth of the steps, instead of the Trainer's raw dictionaries."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        if "loss" in logs:
            self.say(f"step {state.global_step} of {state.max_steps}, loss {float(logs['loss']):.3f}")


def fine_tune(
    base: Path,
    corpus: Path,
    out: Path,
    config: DictConfig,
    length: int,
    say: Callable[[str], None],
    quantise: str | None = None,
) -> dict[str, int | float]:
    """Train an adapter on the corpus, save it to `out`, and return the measurements. `say` gets lines of progress.

    `config` holds the settings `method` and `recipe`. Raises `UsageError`, and writes nothing, when the perplexity
    before or after training is not a finite number.
    """
    recipe = config.recipe
    require_free(out, ADAPTER)
    beta1, beta2 = betas_of(str(recipe.adam_betas), "recipe.adam_betas")
    if length < 2:
        raise UsageError(f"--length {length}: a block has at least 2 tokens, one to predict from and one to predict")
    say(f"reads {base} and {corpus}")
    model, tokenizer = open_base(base)
    model = in_four_bits(base) if quantise else model
    blocks = blocks_of(corpus, tokenizer, length, say)
    chosen = range(HELD_OUT - 1, len(blocks), HELD_OUT) or [len(blocks) - 1]
    held_out = [blocks[number] for number in chosen]
    training = [block for number, block in enumerate(blocks) if number not in chosen]
    say(f"measures the perplexity of {len(held_out)} of {len(blocks)} blocks")
    before = perplexity(model, held_out)
    if not math.isfinite(before):
        raise UsageError(f"{base}: its perplexity on {corpus} is {before}; its weights or its tokenizer are not whole")
    torch.manual_seed(0)
    if quantise:  # load it again: on a CPU, bitsandbytes converts weights after use to a form for inference only
        model = peft.prepare_model_for_kbit_training(in_four_bits(base), use_gradient_checkpointing=False)
    adapted = with_adapter(model, config.method, task_type="CAUSAL_LM")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    pad = tokenizer.pad_token_id or 0
    with TemporaryDirectory() as scratch:  # the Trainer makes its folder, but saves nothing there
        arguments = TrainingArguments(
            output_dir=scratch,
            seed=0,
            num_train_epochs=recipe.epochs,
            per_device_train_batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            adam_beta1=beta1,
            adam_beta2=beta2,
            adam_epsilon=recipe.adam_eps,
            max_grad_norm=recipe.clip_norm,
            warmup_steps=recipe.warmup_share,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            logging_steps=0.1,
            dataloader_pin_memory=False,
        )
        trainer = Trainer(
            model=adapted,
            args=arguments,
            train_dataset=training,
            callbacks=[Lines(say)],
            data_collator=lambda blocks: batch_of(blocks, pad),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    after = perplexity(adapted, held_out)
    if not math.isfinite(after):
        raise UsageError(
            f"the perplexity after training is {after}: the weights grew too large; lower "
            "recipe.learning_rate. No adapter was written"
        )
    facts = [
        f"text: `{corpus.name}`, {len(blocks)} blocks of at most {length} tokens, {len(held_out)} of them held out",
        f"training: epochs {recipe.epochs}, batch size {recipe.batch_size}, learning rate {recipe.learning_rate:g}",
        f"perplexity of the held-out blocks: {before:.3f} before, {after:.3f} after",
    ]
    save_adapter(adapted, tokenizer, out, f"LoRA adapter of {base.name} for {corpus.stem}", facts)
    return {
        "blocks": len(blocks),
        "held_out": len(held_out),
        "perplexity_before": before,
        "perplexity_after": after,
        **count_parameters(adapted),
    }
