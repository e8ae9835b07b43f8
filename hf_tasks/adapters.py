"""LoRA by peft: small matrices beside chosen projections are trained, the rest stays as it was."""

from pathlib import Path
from typing import Any

import peft
from omegaconf import DictConfig
from transformers import AutoTokenizer, PreTrainedModel

from hydra_conf.errors import UsageError


def with_adapter(model: PreTrainedModel, method: DictConfig, task_type: str = "SEQ_CLS") -> Any:
    """Return the model with a LoRA adapter; a classification head is trained whole.

    `method` holds r, alpha, dropout, bias and, by kind of model, target_modules. Raises `UsageError` for r below 1, a
    kind of model without targets, or targets that match nothing.
    """
    kind = model.config.model_type
    if method.r < 1:
        raise UsageError(f"method.r={method.r}: the rank of the adapter must be at least 1")
    targets = method.target_modules.get(kind)
    if not targets:
        known = ", ".join(method.target_modules)
        raise UsageError(
            f"method.target_modules says nothing of {kind} (it knows {known}); give method.target_modules.{kind}"
        )
    config = peft.LoraConfig(
        task_type=task_type, r=method.r, lora_alpha=method.alpha, lora_dropout=method.dropout, bias=method.bias,
        target_modules=list(targets),
    )  # fmt: skip
    try:
        return peft.get_peft_model(model, config)
    except ValueError as error:
        raise UsageError(f"method.target_modules.{kind}={list(targets)}: {str(error).splitlines()[0]}") from error


def without_adapter(model: Any) -> PreTrainedModel:
    """Return the plain model with the adapter's update added to its weights; `model` is used up."""
    merged: PreTrainedModel = model.merge_and_unload()
    return merged


def count_parameters(model: Any) -> dict[str, int]:
    """Return how many weights are trained, and how many there are, peft's idle copy of a trained head not counted."""
    weights = [weight for name, weight in model.named_parameters() if ".original_module." not in name]
    return {
        "trainable_parameters": sum(weight.numel() for weight in weights if weight.requires_grad),
        "parameters": sum(weight.numel() for weight in weights),
    }


def merge(adapter: Path, out: Path) -> None:
    """Write the causal LM of an adapter's base with the adapter's update in its weights, and its tokenizer.

    Raises `UsageError` when the adapter or the base it names is not there, or it is the adapter of a run.
    """
    if (adapter.parent / "checkpoint_best.pt").is_file():
        raise UsageError(
            f"{adapter.parent} is a run: its checkpoint_best.pt holds the merged weights already; convert it"
        )
    if not (adapter / "adapter_config.json").is_file():
        raise UsageError(f"{adapter} holds no adapter_config.json; it is not an adapter")
    base = Path(peft.PeftConfig.from_pretrained(adapter).base_model_name_or_path or "")
    if not (base / "config.json").is_file():
        raise UsageError(f"{adapter} was trained on {base}, which is not there any more; put its base back")
    model = peft.AutoPeftModelForCausalLM.from_pretrained(adapter, local_files_only=True)
    without_adapter(model).save_pretrained(out)
    AutoTokenizer.from_pretrained(base, local_files_only=True).save_pretrained(out)
