"""Draws the first weights of a run as fairseq does, and makes them a model of transformers."""

import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq import tasks, utils
from omegaconf import DictConfig
from transformers import PreTrainedModel

from fairseq_tasks.folders import Opened
from hf_tasks.adapters import with_adapter
from hf_tasks.convert import transformers_config, transformers_model
from hf_tasks.folders import MODEL, new_folder


def draw_model(settings: DictConfig) -> tuple[Any, Opened]:
    """Return fairseq's task, and its model with the first weights of this run.

    The calls and their order are those of fairseq's own training, so that the random weights and the head are the same.
    """
    np.random.seed(settings.common.seed)
    utils.set_torch_seed(settings.common.seed)
    task = tasks.setup_task(settings.task)
    model = task.build_model(settings.model)
    n_classes = len(task.label_dictionary) - task.label_dictionary.nspecial
    return task, Opened(model, task.dictionary, dict(settings.model), False, n_classes, settings.task.max_positions)


def converted(
    opened: Opened, labels: list[str], settings: DictConfig, method: DictConfig, base: Path | None = None
) -> PreTrainedModel:
    """Return the transformers model to train, with an adapter when the method has one.

    If `base` is given, the first weights that an adapter belongs to are written there: no other folder holds them.
    """
    config = transformers_config(opened, labels)
    config.hidden_dropout_prob = settings.model.dropout
    config.attention_probs_dropout_prob = settings.model.attention_dropout
    config.classifier_dropout = settings.model.pooler_dropout
    model = transformers_model(opened, config)
    model.roberta.embeddings.token_type_embeddings.weight.requires_grad_(False)
    keep_head_in_float32(model.classifier)
    if method.name == "frozen":
        for name, weight in model.named_parameters():
            weight.requires_grad_(name.startswith("classifier."))
    if method.name != "lora":
        return model
    if base is not None:
        with new_folder(base, MODEL) as scratch:
            model.save_pretrained(scratch)
        model.name_or_path = str(base.resolve())  # peft writes this path into adapter_config.json
    return with_adapter(model, method)


def keep_head_in_float32(head: torch.nn.Module) -> None:
    """Keep a classification head out of autocast: bfloat16 logits can tie, and a tie would count as class 0.

    peft trains a copy of the head. So `forward` computes with the head that it is called on.
    """
    plain = type(head).forward

    def forward(self: torch.nn.Module, features: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        with torch.autocast(features.device.type, enabled=False):
            out: torch.Tensor = plain(self, features.float(), **kwargs)
        return out

    head.forward = types.MethodType(forward, head)
