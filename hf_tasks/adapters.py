"""LoRA with peft: trains small matrices that are added to chosen projections, and leaves the rest as it was."""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import peft
from omegaconf import DictConfig
from transformers import AutoTokenizer, PreTrainedModel

from foundation.errors import UsageError
from hf_tasks.folders import ADAPTER, MODEL, new_folder

KINDS = {  # peft's task type -> the end of the Auto classes' names, the hub's pipeline
    "SEQ_CLS": ("SequenceClassification", "text-classification"),
    "CAUSAL_LM": ("CausalLM", "text-generation"),
}


def with_adapter(model: PreTrainedModel, method: DictConfig, task_type: str = "SEQ_CLS") -> Any:
    """Return the model with a LoRA adapter. All weights of a classification head are trained.

    `method` holds r, alpha, dropout, bias, and the target_modules of each kind of model. Raises `UsageError` when the
    kind of model has no targets, or when the targets match nothing.
    """
    kind = model.config.model_type
    targets = method.target_modules.get(kind)
    if not targets:
        known = ", ".join(method.target_modules)
        raise UsageError(
            f"method.target_modules says nothing of {kind} (it knows {known}); give method.target_modules.{kind}=[...]"
        )
    config = peft.LoraConfig(
        task_type=task_type,
        r=method.r,
        lora_alpha=method.alpha,
        lora_dropout=method.dropout,
        bias=method.bias,
        target_modules=list(targets),
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # transformers warns about its own names
            return peft.get_peft_model(model, config)
    except ValueError as error:
        raise UsageError(f"method.target_modules.{kind}={list(targets)}: {str(error).splitlines()[0]}") from error


def count_parameters(model: Any) -> dict[str, int]:
    """Return the number of trained weights and of all weights, without peft's unused copy of a trained head."""
    weights = [weight for name, weight in model.named_parameters() if ".original_module." not in name]
    return {
        "trainable_parameters": sum(weight.numel() for weight in weights if weight.requires_grad),
        "parameters": sum(map(_count, weights)),
    }


def _count(weight: Any) -> int:
    """Return how many numbers a weight holds. A 4-bit matrix packs two in a byte; `quant_state` has its real shape."""
    state = getattr(weight, "quant_state", None)
    return weight.numel() if state is None else math.prod(state.shape)


def save_adapter(model: Any, tokenizer: Any, out: Path, title: str, facts: list[str]) -> None:
    """Write the whole folder of an adapter: weights, tokenizer, and a card that says what it is and how to load it.

    peft loads the folder without asking the hub. The folder names its base, a folder on this machine, and it holds the
    tokenizer that peft looks for, unless `tokenizer` is None. `facts` are lines of the card.
    """
    with new_folder(out, ADAPTER) as scratch:
        model.save_pretrained(scratch)
        if tokenizer is not None:
            tokenizer.save_pretrained(scratch)
        (scratch / "README.md").write_text(card_of(model.peft_config["default"], title, facts), encoding="utf-8")


def card_of(settings: peft.LoraConfig, title: str, facts: list[str]) -> str:
    """Return the card of an adapter in the hub's format. The card that peft writes is blank."""
    kind, pipeline = KINDS[str(settings.task_type)]
    base = settings.base_model_name_or_path
    lines = [
        f"base: `{base}`; the adapter fits no other weights",
        *facts,
        f"LoRA: r {settings.r}, alpha {settings.lora_alpha}, dropout {settings.lora_dropout}, bias {settings.bias}, on "
        f"{', '.join(sorted(settings.target_modules))}",
    ]
    return f"""---
library_name: peft
base_model: {json.dumps(base, ensure_ascii=False)}
pipeline_tag: {pipeline}
tags: [lora]
---

# {title}

{chr(10).join(f"- {line}" for line in lines)}

`adapter_config.json` names the base by its place on the machine that trained the adapter:

```python
from peft import AutoPeftModelFor{kind}
from transformers import AutoTokenizer

model = AutoPeftModelFor{kind}.from_pretrained("path/to/this/folder").eval()
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
```

Where the base has been moved, give its new place:

```python
from peft import PeftModel
from transformers import AutoModelFor{kind}

base = AutoModelFor{kind}.from_pretrained("path/to/the/base")
model = PeftModel.from_pretrained(base, "path/to/this/folder").eval()
```
"""


def merge(adapter: Path, out: Path) -> None:
    """Write the causal LM that an adapter belongs to, with the adapter's update in its weights, and its tokenizer.

    Raises `UsageError` when the adapter or the base that it names is missing, or when the adapter belongs to a run.
    """
    if (adapter.parent / "checkpoint_best.pt").is_file():
        raise UsageError(
            f"{adapter.parent} is a run: its checkpoint_best.pt holds the merged weights already; convert it"
        )
    if not (adapter / "adapter_config.json").is_file():
        raise UsageError(f"{adapter} holds no adapter_config.json; it is not an adapter")
    settings = peft.PeftConfig.from_pretrained(adapter)
    if settings.task_type != "CAUSAL_LM":
        raise UsageError(f"{adapter} is no adapter of a causal LM; peft loads it as it is, as docs/lora.md shows")
    base = Path(settings.base_model_name_or_path or "")
    if not (base / "config.json").is_file():
        raise UsageError(f"{adapter} was trained on {base}, which is not there any more; put its base back")
    if out.resolve() == base.resolve():
        raise UsageError(f"--out {out} is the base of {adapter}, which would be lost; give another --out")
    model = peft.AutoPeftModelForCausalLM.from_pretrained(adapter, local_files_only=True)
    with new_folder(out, MODEL) as scratch:
        model.merge_and_unload().save_pretrained(scratch)
        AutoTokenizer.from_pretrained(base, local_files_only=True).save_pretrained(scratch)
