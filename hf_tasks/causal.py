"""LoRA on a causal language model (BLOOM, GPT-NeoX...): perplexity before and after, and the adapter."""

import math
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)

from data_prep.table import text_lines
from hf_tasks.adapters import count_parameters, with_adapter
from hydra_conf.errors import UsageError

HELD_OUT = 10  # each tenth block is for measuring, and not trained on


def open_base(folder: Path) -> tuple[Any, Any]:
    """Return a local causal LM and its tokenizer. Raises `UsageError` when they are not there or not of each other."""
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} holds no config.json; give the folder of a causal LM that is on this machine")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{folder} is not a causal LM with a tokenizer: {str(error).splitlines()[0]}") from error
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise UsageError(f"{folder}: its tokenizer has {len(tokenizer)} tokens, its model {rows}; they do not belong "
                         "together")  # fmt: skip
    return model, tokenizer


def blocks_of(corpus: Path, tokenizer: Any, length: int) -> list[dict[str, list[int]]]:
    """Return the corpus as blocks of `length` tokens, texts one after the other, each closed by the end-of-text token.

    Raises `UsageError` for a file that is missing, not UTF-8, or too short for a block to train on and one to measure.
    """
    if not corpus.is_file():
        raise UsageError(f"there is no corpus {corpus}; give a UTF-8 text file, one paragraph a line")
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    tokens: list[int] = []
    for line in text_lines(corpus):
        if line.strip():
            tokens += tokenizer(line.strip(), add_special_tokens=False)["input_ids"] + end
    whole = [tokens[start : start + length] for start in range(0, len(tokens) - length + 1, length)]
    if len(whole) < 2:
        raise UsageError(f"{corpus} has {len(tokens)} tokens; at least {2 * length} are needed")
    return [{"input_ids": block} for block in whole]


@torch.inference_mode()
def perplexity(model: Any, blocks: list[dict[str, list[int]]]) -> float:
    """Return exp of the mean loss (nats) a predicted token over the blocks."""
    model.eval()
    losses = []
    for block in blocks:
        tokens = torch.tensor([block["input_ids"]], device=next(model.parameters()).device)
        losses.append(float(model(input_ids=tokens, labels=tokens).loss))
    return math.exp(sum(losses) / len(losses))


def fine_tune(
    base: Path, corpus: Path, out: Path, method: DictConfig, recipe: DictConfig, length: int
) -> dict[str, Any]:
    """Train an adapter on the corpus, save it to `out`, and return what was measured."""
    model, tokenizer = open_base(base)
    blocks = blocks_of(corpus, tokenizer, length)
    held_out = blocks[HELD_OUT - 1 :: HELD_OUT] or blocks[-1:]
    training = [block for block in blocks if block not in held_out]
    before = perplexity(model, held_out)
    torch.manual_seed(0)
    adapted = with_adapter(model, method, task_type="CAUSAL_LM")
    beta1, beta2 = (float(word) for word in str(recipe.adam_betas).strip("()").split(","))
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    arguments = TrainingArguments(
        output_dir=str(out), seed=0, num_train_epochs=recipe.epochs, per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay, adam_beta1=beta1, adam_beta2=beta2,
        adam_epsilon=recipe.adam_eps, max_grad_norm=recipe.clip_norm, warmup_steps=recipe.warmup_share,
        report_to="none", save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
    Trainer(model=adapted, args=arguments, train_dataset=training, data_collator=collator).train()
    after = perplexity(adapted, held_out)
    adapted.save_pretrained(out)
    return {"blocks": len(blocks), "held_out": len(held_out), "perplexity_before": before, "perplexity_after": after,
            **count_parameters(adapted)}  # fmt: skip
