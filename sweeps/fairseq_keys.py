"""The keys of fairseq's configuration that a run uses. The plan refuses all others, so no key is silently ignored."""

import math

from omegaconf import DictConfig, OmegaConf

from foundation.counts import counted
from foundation.errors import UsageError
from hydra_conf.words import CONF_DIR

OF_FLOAT16 = (
    "fp16_init_scale",
    "fp16_no_flatten_grads",
    "fp16_scale_window",
    "fp16_scale_tolerance",
    "min_loss_scale",
    "threshold_loss_scale",
)
HEEDED_BY_BOTH = {  # BACKEND=fairseq and BACKEND=hf
    "common": ("log_interval",),
    "dataset": ("batch_size", "batch_size_valid", "max_tokens", "required_batch_size_multiple", "valid_subset"),
    "optimization": ("clip_norm", "lr", "max_update"),
    "model": (
        "encoder_layers",
        "encoder_embed_dim",
        "encoder_ffn_embed_dim",
        "encoder_attention_heads",
        "dropout",
        "attention_dropout",
        "pooler_dropout",
        "activation_fn",
        "untie_weights_roberta",
    ),
    "task": ("max_positions",),
    "optimizer": ("adam_betas", "adam_eps", "weight_decay"),
    "lr_scheduler": ("_name", "warmup_updates", "total_num_update", "end_learning_rate", "power"),
}
HEEDED_BY_FAIRSEQ = {  # and not by BACKEND=hf
    "common": ("log_format", "no_progress_bar", "empty_cache_freq", *OF_FLOAT16),
    "optimization": ("update_freq",),
    "checkpoint": ("no_save", "checkpoint_suffix"),  # fairseq's own checkpoints, in addition to checkpoint_best.pt
    "model": (
        "activation_dropout",
        "pooler_activation_fn",
        "encoder_normalize_before",
        "layernorm_embedding",
        "encoder_learned_pos",
        "no_scale_embedding",
        "unpadded",
        "first_token_only",
        "quick_dropout",
    ),
    "lr_scheduler": ("warmup_init_lr",),
}
HEEDED = {
    group: (*HEEDED_BY_BOTH.get(group, ()), *HEEDED_BY_FAIRSEQ.get(group, ()))
    for group in (*HEEDED_BY_BOTH, "checkpoint")
}
SPEED_ALONE = ("unpadded", "first_token_only", "quick_dropout")  # of fairseq's encoder; they do not change its function
PLANNED = "every planned step is trained; EPOCHS says how many"
BEST = "the best step has the highest validation accuracy"
KEPT = "a run keeps checkpoint_best.pt, and its last state until it is done"
ALL_SCORED = "every example is scored at every evaluation"
ONE_DEVICE = "a run is one process on one device; JOBS says how many run at a time"
EVALUATED = "use recipe.evaluate_every"
WHY_NOT = {  # why a key or a whole node is refused, and what the user sets instead
    "checkpoint": KEPT,
    "checkpoint.best_checkpoint_metric": BEST,
    "checkpoint.finetune_from_model": "use model.checkpoint",
    "checkpoint.maximize_best_checkpoint_metric": BEST,
    "checkpoint.patience": PLANNED,
    "checkpoint.restore_file": "use model.checkpoint",
    "checkpoint.save_dir": "use RUNS_DIR",
    "checkpoint.save_interval": "use launcher.save_every",
    "checkpoint.save_interval_updates": "use launcher.save_every",
    "common.amp": "use PRECISION",
    "common.bf16": "use PRECISION",
    "common.cpu": "use DEVICE",
    "common.fp16": "use PRECISION",
    "common.memory_efficient_bf16": "use PRECISION",
    "common.memory_efficient_fp16": "use PRECISION",
    "common.seed": "use SEEDS",
    "common.tensorboard_logdir": "use RUNS_DIR",
    "common.tpu": "use DEVICE",
    "common.user_dir": "it is this project's plug-in",
    "criterion": "the loss is cross-entropy",
    "dataset.disable_validation": EVALUATED,
    "dataset.max_tokens_valid": "use fairseq.dataset.batch_size_valid",
    "dataset.max_valid_steps": ALL_SCORED,
    "dataset.num_shards": ONE_DEVICE,
    "dataset.num_workers": "the texts fit into memory, and are read in the run's own process",
    "dataset.shard_id": ONE_DEVICE,
    "dataset.train_subset": "runs train on train",
    "dataset.validate_after_updates": EVALUATED,
    "dataset.validate_interval": EVALUATED,
    "dataset.validate_interval_updates": EVALUATED,
    "distributed_training": ONE_DEVICE,
    "lr_scheduler.lr": "use fairseq.optimization.lr",
    "model._name": "use model.architecture",
    "model.max_positions": "use model.max_positions",
    "model.no_token_positional_embeddings": "a RoBERTa has position embeddings",
    "optimization.max_epoch": "use EPOCHS",
    "optimization.skip_remainder_batch": "every example is trained on in every epoch",
    "optimization.stop_min_lr": PLANNED,
    "optimization.stop_time_hours": PLANNED,
    "optimizer._name": "use speed.adam",
    "optimizer.lr": "use fairseq.optimization.lr",
    "task._name": "runs classify texts",
    "task.autocast": "use PRECISION",
    "task.checkpoint": "use model.checkpoint",
    "task.data": "use DATASET, MODEL and DATA_DIR",
    "task.fp16": "use PRECISION",
    "task.frozen": "use METHOD",
    "task.init": "use INIT",
    "task.n_train": "use TRAIN",
    "task.reshuffle": "use recipe.reshuffle",
}
NAMES = {  # choices for a node that is chosen by name
    "lr_scheduler": ("polynomial_decay", "inverse_sqrt", "fixed"),
    "optimizer": ("warmstart_adam", "adam"),
}
SMALLEST = {
    "common.empty_cache_freq": 0,
    "common.fp16_init_scale": 1,
    "common.fp16_scale_tolerance": 0,
    "common.fp16_scale_window": 1,
    "common.log_interval": 1,
    "common.min_loss_scale": 0,
    "common.threshold_loss_scale": 0,
    "dataset.batch_size": 1,
    "dataset.batch_size_valid": 1,
    "dataset.max_tokens": 1,
    "dataset.required_batch_size_multiple": 1,
    "lr_scheduler.end_learning_rate": 0,
    "lr_scheduler.power": 0,
    "lr_scheduler.warmup_updates": 0,
    "model.encoder_attention_heads": 1,
    "model.encoder_embed_dim": 1,
    "model.encoder_ffn_embed_dim": 1,
    "model.encoder_layers": 1,
    "optimization.clip_norm": 0,
    "optimization.max_epoch": 1,
    "optimization.max_update": 0,
    "optimizer.weight_decay": 0,
}
OF_A_RUN = ("common.seed", "task.n_train")  # runs of one kind differ in them
SHARES = ("dropout", "attention_dropout", "activation_dropout", "pooler_dropout")


def refuse_unheeded(config: DictConfig, settings: DictConfig, usual: DictConfig) -> None:
    """Raise `UsageError` for a given key that would have no effect, or a value that the back end does not support.

    `settings` is fairseq's whole resolved configuration of a run. `usual` is the configuration of the same run when the
    user gives nothing.
    """
    on_hf = config.backend.name == "hf"
    for group, given in config.fairseq.items():
        for key, value in given.items():
            name = f"{group}.{key}"
            is_usual = key in usual[group] and value == usual[group][key]  # of some keys `settings` has another value
            if is_usual and name not in OF_A_RUN:
                continue
            if key not in HEEDED.get(str(group), ()):
                why = WHY_NOT.get(name, WHY_NOT.get(str(group), "runs do not heed it"))
                raise UsageError(f"fairseq.{name} cannot be given: {why}")
            if on_hf and key not in (*HEEDED_BY_BOTH.get(str(group), ()), *SPEED_ALONE):
                why = "it takes one batch per step" if key == "update_freq" else "its runs do not heed it"
                raise UsageError(f"fairseq.{name} cannot be given with BACKEND=hf: {why}")
            if key in OF_FLOAT16 and not settings.common.fp16:
                raise UsageError(f"fairseq.{name} cannot be given: it is a setting of PRECISION=fp16, and no other")
    for group, names in NAMES.items():
        if settings[group]._name not in names:
            raise UsageError(f"fairseq.{group}._name={settings[group]._name}: choose from {', '.join(names)}")
    if on_hf and settings.lr_scheduler._name != "polynomial_decay":
        raise UsageError(
            f"fairseq.lr_scheduler._name={settings.lr_scheduler._name}: BACKEND=hf has polynomial_decay only"
        )
    if settings.checkpoint.no_save and settings.checkpoint.checkpoint_suffix:
        raise UsageError(
            f"fairseq.checkpoint.checkpoint_suffix={settings.checkpoint.checkpoint_suffix}: it names "
            "fairseq's own checkpoints, which fairseq.checkpoint.no_save=false asks for"
        )
    if not settings.checkpoint.no_save and not settings.checkpoint.checkpoint_suffix:
        raise UsageError(
            "fairseq.checkpoint.no_save=false: fairseq's checkpoint_best.pt would replace the run's own; "
            "give fairseq.checkpoint.checkpoint_suffix=-stock, too"
        )


def with_nothing_given(config: DictConfig) -> DictConfig:
    """Return the configuration with the node `fairseq` from hydra_conf/backend/fairseq.yaml."""
    plain = config.copy()
    plain.fairseq = OmegaConf.load(CONF_DIR / "backend" / "fairseq.yaml").fairseq
    return plain


def check_values(settings: DictConfig) -> None:
    """Raise `UsageError` for a value that would make a run fail, or that would not do what it seems to say."""
    for key, smallest in SMALLEST.items():
        value = OmegaConf.select(settings, key)
        if value is not None and not smallest <= value < math.inf:
            raise UsageError(f"fairseq.{key}={value}: it is a number from {smallest}")
    if not 0 < settings.optimizer.adam_eps < math.inf:
        raise UsageError(f"fairseq.optimizer.adam_eps={settings.optimizer.adam_eps}: it is a number above 0")
    for key in SHARES:
        if not 0 <= settings.model[key] < 1:
            raise UsageError(f"fairseq.model.{key}={settings.model[key]}: it is a share, from 0 to below 1")
    rate, end = settings.optimization.lr[0], settings.lr_scheduler.get("end_learning_rate", 0)
    if end > rate:
        raise UsageError(
            f"fairseq.lr_scheduler.end_learning_rate={end:g}: the learning rate falls to it from "
            f"{rate:g}, so it is at most that"
        )
    frequencies = list(settings.optimization.update_freq)
    if not frequencies or min(frequencies) < 1:
        raise UsageError(
            f"fairseq.optimization.update_freq={frequencies}: give how many batches a step takes, from 1, as in [1]"
        )
    if settings.dataset.batch_size is None and settings.dataset.max_tokens is None:
        raise UsageError("fairseq.dataset.batch_size=null: give recipe.batch_size, or fairseq.dataset.max_tokens")
    cut, longest = settings.task.max_positions, settings.model.max_positions
    if not 4 < cut <= longest:  # <s> </s> </s> </s> of a pair, and one piece
        raise UsageError(
            f"fairseq.task.max_positions={cut}: a text has from 5 to {longest} tokens, those of model.max_positions"
        )


def check_schedule(settings: DictConfig, steps: int) -> None:
    """Raise `UsageError` when the learning rate would not reach its peak, or would not fall after the peak.

    `total_num_update` may be larger than the number of steps. The learning rate then stops falling when the run ends,
    as in the runs of the published exercise.
    """
    schedule, trained = settings.lr_scheduler, f"the run has {counted(steps, 'step')}"
    if schedule._name == "inverse_sqrt" and schedule.warmup_updates < 1:
        raise UsageError("fairseq.lr_scheduler.warmup_updates=0 (recipe.warmup_share): inverse_sqrt needs at least 1")
    if schedule.warmup_updates >= steps:
        raise UsageError(
            f"fairseq.lr_scheduler.warmup_updates={schedule.warmup_updates} (recipe.warmup_share): "
            f"{trained}, so the learning rate would never get to its peak; give fewer"
        )
    end = schedule.get("total_num_update", steps)
    if end <= schedule.warmup_updates:
        raise UsageError(
            f"fairseq.lr_scheduler.total_num_update={end:g}: {trained}, {schedule.warmup_updates} of them "
            "warm-up, and the learning rate falls after those; leave it out, and it falls to the last "
            "step"
        )
