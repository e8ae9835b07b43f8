"""Measures what each of LoRA's six published settings does, on a new BLOOM model with two layers.

    python -m benchmarks.lora_settings

The script downloads nothing and writes no file. docs/lora.md shows its output and explains it.
"""

import argparse
from typing import Any

import peft
import torch
from transformers import BloomConfig, BloomForCausalLM

WIDTH, LAYERS, VOCABULARY = 64, 2, 200
RATE = 1e-3  # learning rate of Adam
STEPS = (1, 100)


def base() -> BloomForCausalLM:
    """Return the same untrained causal LM every time."""
    torch.manual_seed(0)
    return BloomForCausalLM(BloomConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, n_layer=LAYERS, n_head=4))


def adapted(**changed: Any) -> Any:
    """Return the base with an adapter of the published settings, except those in `changed`."""
    published = {
        "r": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.05,
        "bias": "none",
        "task_type": "CAUSAL_LM",
        "target_modules": ["query_key_value"],
    }
    model = base()
    torch.manual_seed(1)
    return peft.get_peft_model(model, peft.LoraConfig(**{**published, **changed}))


def layer_of(model: Any) -> Any:
    return model.base_model.model.transformer.h[0].self_attention.query_key_value


def trained(model: Any) -> int:
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def updates(steps: int, rate: float = RATE, **changed: Any) -> torch.Tensor:
    """Return the update of the first layer's matrix, (3 x width, width), after some steps of Adam on random tokens."""
    model = adapted(lora_dropout=0.0, **changed).train()
    adam = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=rate)
    tokens = torch.randint(0, VOCABULARY, (8, 32), generator=torch.Generator().manual_seed(2))
    for _ in range(steps):
        adam.zero_grad()
        model(input_ids=tokens, labels=tokens).loss.backward()
        adam.step()
    update: torch.Tensor = layer_of(model).get_delta_weight("default").detach()
    return update


def rank(matrix: torch.Tensor) -> int:
    return int(torch.linalg.matrix_rank(matrix, rtol=1e-4))


def measure_r() -> list[str]:
    rows = []
    for r in (4, 8, 16):
        update = updates(20, r=r, lora_alpha=2 * r)
        rows.append(f"r={r}: {trained(adapted(r=r)):,} trained weights, an update of rank {rank(update)} of {WIDTH}")
    return rows


def measure_alpha() -> list[str]:
    rows = []
    for steps in STEPS:
        norm = updates(steps).norm()
        alpha, rate = updates(steps, lora_alpha=64).norm() / norm, updates(steps, rate=2 * RATE).norm() / norm
        rows.append(
            f"after {steps} steps of Adam: twice alpha, {alpha:.2f} times the update; twice the rate, {rate:.2f}"
        )
    return rows


def measure_dropout() -> list[str]:
    model = adapted()
    torch.nn.init.normal_(layer_of(model).lora_B["default"].weight)
    tokens = torch.arange(32)[None]
    with torch.no_grad():
        outputs = {}
        for training in (True, False):
            model.train(training)
            outputs[training] = torch.stack([layer_of(model)(model.get_input_embeddings()(tokens)) for _ in range(50)])
    spread, still = (float(outputs[training].std(dim=0).mean()) for training in (True, False))
    return [f"the layer's output varies by {spread:.3f} while training and by {still:.3f} in evaluation"]


def measure_bias() -> list[str]:
    rows = []
    for bias in ("none", "lora_only", "all"):
        model = adapted(bias=bias)
        n = sum(weight.numel() for name, weight in model.named_parameters() if weight.requires_grad and "bias" in name)
        rows.append(f"bias={bias}: {n:,} biases are trained")
    return rows


def measure_targets() -> list[str]:
    rows = []
    for targets in (["query_key_value"], ["query_key_value", "dense"]):
        model = adapted(target_modules=targets)
        n = sum("lora_A" in name for name, _ in model.named_parameters())
        rows.append(f"target_modules={targets}: {n} matrices of {LAYERS} layers, {trained(model):,} trained weights")
    try:
        adapted(target_modules=["query", "key", "value"])
    except ValueError as error:
        rows.append(f"target_modules=['query', 'key', 'value']: {str(error).split('.')[0][:60]}...")
    return rows


def measure_task() -> list[str]:
    from transformers import BloomForSequenceClassification

    classifier = BloomForSequenceClassification(base().config)
    head = peft.get_peft_model(
        classifier, peft.LoraConfig(r=16, task_type="SEQ_CLS", target_modules=["query_key_value"])
    )
    names = {
        name.split(".modules_to_save")[0].split(".")[-1]
        for name, weight in head.named_parameters()
        if weight.requires_grad and "lora" not in name
    }
    return [
        f"task_type=CAUSAL_LM: {type(adapted()).__name__}, {trained(adapted()):,} trained weights, all of the adapter",
        f"task_type=SEQ_CLS: {type(head).__name__}, which also trains the head ({', '.join(sorted(names))})",
    ]


MEASURES = {
    "r": measure_r,
    "lora_alpha": measure_alpha,
    "lora_dropout": measure_dropout,
    "bias": measure_bias,
    "target_modules": measure_targets,
    "task_type": measure_task,
}


def lines() -> list[str]:
    """Return the results: the name of each setting, followed by its rows."""
    return [line for name, measure in MEASURES.items() for line in (name, *(f"  {row}" for row in measure()))]


if __name__ == "__main__":
    argparse.ArgumentParser(
        prog="python -m benchmarks.lora_settings",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    print("\n".join(lines()))
