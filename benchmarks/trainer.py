"""Trains with transformers' Trainer as a user's own script would. `benchmarks.sweep` starts it, and gives it JSON."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.task import Task
from foundation.errors import exit_code


def trainer_command(task: Task, init: str, seed: int, folder: Path, precision: str) -> list[str]:
    """Return the command that calls this module for one run."""
    told = {
        "init": init,
        "seed": seed,
        "out": str(folder),
        "model": str(folder.parent / "trainer.hf"),
        "splits": str(task.data.parent.parent / "splits" / task.data.name.partition(".")[0]),
        "epochs": task.epochs,
        "batch_size": task.batch_size,
        "rate": task.rates[init],
        "precision": precision,
    }
    return [sys.executable, "-m", "benchmarks.trainer", json.dumps(told)]


def train_with_trainer(told: dict[str, Any]) -> None:
    """Train as a user's own script would: Trainer, its defaults, padded batches. `told` is from `trainer_command`."""
    import transformers
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    from data_prep.examples import read_split

    transformers.set_seed(told["seed"])
    tokenizer = AutoTokenizer.from_pretrained(told["model"])
    config = AutoConfig.from_pretrained(told["model"], num_labels=2)
    if told["init"] == "pretrained":
        model = AutoModelForSequenceClassification.from_pretrained(told["model"], config=config)
    else:
        model = AutoModelForSequenceClassification.from_config(config)
    labels = sorted({str(example.label) for example in read_split(Path(told["splits"]) / "train.jsonl")})
    data = {}
    for split in ("train", "valid", "test"):
        examples = list(read_split(Path(told["splits"]) / f"{split}.jsonl"))
        rows = tokenizer([example.text for example in examples], truncation=True)["input_ids"]
        data[split] = [
            {"input_ids": ids, "labels": labels.index(str(example.label))}
            for ids, example in zip(rows, examples, strict=True)
        ]
    settings = TrainingArguments(
        output_dir=told["out"],
        seed=told["seed"],
        num_train_epochs=told["epochs"],
        learning_rate=told["rate"],
        per_device_train_batch_size=told["batch_size"],
        weight_decay=0.01,
        save_strategy="best",
        eval_strategy="epoch",
        metric_for_best_model="eval_valid_accuracy",
        save_total_limit=1,
        disable_tqdm=True,
        report_to="none",
        fp16=told["precision"] == "fp16",
        bf16=told["precision"] == "bf16",
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
    )
    trainer = Trainer(
        model=model,
        args=settings,
        train_dataset=data["train"],
        eval_dataset={split: data[split] for split in ("valid", "test")},
        processing_class=tokenizer,
        compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())},
    )
    print(f"{datetime.now():%Y-%m-%d %H:%M:%S} | begin training epoch 1", flush=True)
    trainer.train()
    print(f"test accuracy {100 * trainer.state.log_history[-2]['eval_test_accuracy']:.2f}")


def main() -> int:
    train_with_trainer(json.loads(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
