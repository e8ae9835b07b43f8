"""The parameter account of a model, counted on the model itself: python -m analysis.parameters --model roberta_small_fr

The published question 1 asks for it: embedding, positions, and in each layer queries, keys, values, output and
feed-forward; weights first, then biases, layer norms and heads. A formula must come to the same number.
"""

import argparse
import importlib.util
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from data_prep.models.fairseq_folder import compare_with_published
from data_prep.stages import read_manifest
from foundation.errors import UsageError, exit_code
from hydra_conf.compose import compose_config
from hydra_conf.words import choices, group_words, quoted

LAYER = r"encoder\.sentence_encoder\.layers\.\d+\."
NORM = r"(self_attn_layer_norm|final_layer_norm)\.(weight|bias)"
MATRICES = {
    "embedding": r"encoder\.sentence_encoder\.embed_tokens\.weight",
    "positions": r"encoder\.sentence_encoder\.embed_positions\.weight",
    "queries, Q": LAYER + r"self_attn\.q_proj\.weight",
    "keys, K": LAYER + r"self_attn\.k_proj\.weight",
    "values, V": LAYER + r"self_attn\.v_proj\.weight",
    "attention output": LAYER + r"self_attn\.out_proj\.weight",
    "feed-forward, in": LAYER + r"fc1\.weight",
    "feed-forward, out": LAYER + r"fc2\.weight",
}
THE_REST = {
    "biases": LAYER + r"(self_attn\.(q_proj|k_proj|v_proj|out_proj)|fc1|fc2)\.bias",
    "layer norms": rf"({LAYER}{NORM}|encoder\.sentence_encoder\.layernorm_embedding\.(weight|bias))",
    "masked-LM head (output tied to the embedding)": r"encoder\.lm_head\..*",
    "classification head": r"classification_heads\..*",
}


@dataclass(frozen=True)
class Described:
    """A model as it is trained: fairseq's model with a classification head, its dictionary and shape."""

    model: Any
    dictionary: Any
    shape: dict[str, Any]
    source: str  # where the shape and the vocabulary come from
    is_there: bool  # whether `source` is the model's own folder, and not the published shape in our configuration
    n_classes: int


def describe(config: DictConfig, n_classes: int) -> Described:
    """Build the model of a configuration, with random weights.

    Raises `UsageError` when the model's folder is missing and its shape or vocabulary must come from the folder.
    """
    from fairseq.data import Dictionary
    from fairseq.models import MODEL_DATACLASS_REGISTRY, MODEL_REGISTRY

    import fairseq_tasks.architectures  # noqa: F401  registers the architectures
    from data_prep.models.checkpoints import read_checkpoint, read_shape
    from fairseq_tasks.classification import HEAD

    model, folder = config.model, Path(config.model.folder)
    name, given = model.architecture, {}
    is_there = (folder / "dict.txt").is_file() and _tells_its_shape(folder, model)
    if (folder / "dict.txt").is_file():
        dictionary = Dictionary.load(str(folder / "dict.txt"))
        dictionary.add_symbol("<mask>")
        source = str(folder)
        if model.shape_from_checkpoint and not is_there:
            given = (read_manifest(folder) or {})["shape"]
            source += ", which has no checkpoint: the shape is that of hydra_conf"
        elif model.shape_from_checkpoint:
            checkpoint = Path(model.checkpoint)
            n_symbols = len(dictionary) - dictionary.nspecial - 1
            given = read_shape(checkpoint, read_checkpoint(checkpoint), n_symbols)
    elif model.published_architecture is not None:
        name = model.published_architecture
        dictionary = Dictionary()
        for number in range(model.published_vocabulary - len(dictionary)):
            dictionary.add_symbol(f"piece{number}")
        source = f"the published shape and vocabulary; {folder} is not there"
    else:
        raise UsageError(f"{folder} is not there, and holds the vocabulary; run `make prep MODEL={model.name}` first")

    class Task:
        source_dictionary = dictionary

    settings = OmegaConf.structured(MODEL_DATACLASS_REGISTRY[name](**given))
    shape = {str(key): value for key, value in settings.items() if not str(key).startswith("_")}
    built = MODEL_REGISTRY[name].build_model(settings, Task())
    built.register_classification_head(HEAD, num_classes=n_classes)
    return Described(built, dictionary, shape, source, is_there, n_classes)


def _tells_its_shape(folder: Path, model: DictConfig) -> bool:
    """Return whether the folder has the model's own shape.

    A folder that prep made only for random weights has the shape in our configuration instead.
    """
    return Path(model.checkpoint).is_file() or "shape" not in (read_manifest(folder) or {})


def account(model: Any) -> pd.DataFrame:
    """Return one row for each part: part, shape, each, times, parameters. Each parameter is in exactly one part.

    Raises `AssertionError` when a parameter is in no part or in two parts.
    """
    parts: dict[str, list[Any]] = {name: [] for name in (*MATRICES, *THE_REST)}
    for name, parameter in model.named_parameters():
        own = [part for part, pattern in (MATRICES | THE_REST).items() if re.fullmatch(pattern, name)]
        assert len(own) == 1, f"{name} is in {own}"
        parts[own[0]].append(parameter)
    rows = []
    for part, parameters in parts.items():
        shapes = {tuple(parameter.shape) for parameter in parameters}
        total = sum(parameter.numel() for parameter in parameters)
        is_uniform = part in MATRICES and len(shapes) == 1
        rows.append(
            {
                "part": part,
                "shape": " x ".join(map(str, next(iter(shapes)))) if is_uniform else "",
                "each": parameters[0].numel() if is_uniform else total,
                "times": len(parameters) if is_uniform else 1,
                "parameters": total,
            }
        )
    return pd.DataFrame(rows)


def matrices(table: pd.DataFrame) -> int:
    """Return the number of weights in the encoder's matrices. The published number counts the same weights."""
    return int(table[table["part"].isin(list(MATRICES))]["parameters"].sum())


def encoder_weights(model: str, data_dir: Path) -> int | None:
    """Return the number of weights in the encoder's matrices; None when the model's folder or its shape is missing."""
    config = compose_config([*group_words(model=model), f"data_dir={quoted(data_dir.absolute())}"])
    folder = Path(config.model.folder)
    if not (folder / "dict.txt").is_file() or not _tells_its_shape(folder, config.model):
        return None
    return matrices(account(describe(config, n_classes=2).model))


def formula(shape: dict[str, Any], n_rows: int) -> tuple[str, int]:
    """Return the published formula with this model's numbers, and its result: V d + P d + L (4 d^2 + 2 d f)."""
    d, f, layers = (shape[f"encoder_{name}"] for name in ("embed_dim", "ffn_embed_dim", "layers"))
    positions = shape["max_positions"] + 2  # fairseq's first two rows are not positions
    text = f"{n_rows} x {d} + {positions} x {d} + {layers} x (4 x {d} x {d} + 2 x {d} x {f})"
    return text, n_rows * d + positions * d + layers * (4 * d * d + 2 * d * f)


def lora_counts(described: Described, method: DictConfig) -> dict[str, int]:
    """Return the numbers of parameters: `adapter` and `head`, which LoRA trains, and `parameters`, which is the total.

    Raises `UsageError` without the extra hf.
    """
    if not all(importlib.util.find_spec(name) for name in ("transformers", "peft")):
        raise UsageError("METHOD=lora needs transformers and peft; run `make setup EXTRAS=dev,hf`")
    from fairseq_tasks.folders import Opened
    from hf_tasks.adapters import count_parameters, with_adapter
    from hf_tasks.convert import transformers_config, transformers_model

    longest = described.shape["max_positions"]
    opened = Opened(described.model, described.dictionary, described.shape, False, described.n_classes, longest)
    config = transformers_config(opened, [str(number) for number in range(described.n_classes)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # transformers warns about its own names
        adapted = with_adapter(transformers_model(opened, config), method)
    counts = count_parameters(adapted)
    of_adapter = sum(weight.numel() for name, weight in adapted.named_parameters() if "lora_" in name)
    return {
        "adapter": of_adapter,
        "head": counts["trainable_parameters"] - of_adapter,
        "parameters": counts["parameters"],
    }


def print_account(config: DictConfig, methods: list[str], n_classes: int, words: list[str]) -> None:
    """Print the account of one model. Raises `UsageError` as `describe` does, or when the formula does not agree."""
    described = describe(config, n_classes)
    table, n_rows = account(described.model), len(described.dictionary)
    total, counted = int(table["parameters"].sum()), matrices(table)
    text, computed = formula(described.shape, n_rows)
    print(f"{config.model.name}, from {described.source}\n")
    shown = table.assign(**{name: table[name].map("{:,}".format) for name in ("each", "parameters")})
    print(shown.to_markdown(index=False, colalign=("left", "left", "right", "right", "right")))
    print(f"\nweight matrices of the encoder: {counted:,}\nby the formula: {text} = {computed:,}")
    if counted != computed:
        raise UsageError(f"the formula gives {computed:,}, the model has {counted:,}")
    if config.model.published_matrices is not None and not described.is_there:
        print(
            f"published: {config.model.published_matrices:,}. This is the same shape, put together from our "
            "configuration: it confirms the arithmetic and says nothing of the published model"
        )
    elif config.model.published_matrices is not None:
        print(f"published: {compare_with_published(counted, n_rows, described.shape, config.model)}")
    print(f"all parameters, with a head of {n_classes} classes: {total:,}")
    for method in methods:
        if method == "full":
            idle = int(table[table["part"].str.startswith("masked-LM")]["parameters"].sum())
            print(f"full: {total - idle:,} trained; the masked-LM head ({idle:,}) has no part in classification")
        elif method == "frozen":
            head = int(table[table["part"] == "classification head"]["parameters"].sum())
            print(f"frozen: {head:,} trained, the classification head alone")
        else:
            own = compose_config([*words, f"method={method}"]).method
            found = lora_counts(described, own)
            trained = found["adapter"] + found["head"]
            print(
                f"{method} (r = {own.r}): {trained:,} trained of {found['parameters']:,}, "
                f"{100 * trained / found['parameters']:.2f} %: adapter {found['adapter']:,}, head {found['head']:,}"
            )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.parameters", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    models = f"one of: {', '.join(choices('model'))}; or path/to/folder (default: %(default)s)"
    parser.add_argument("--model", default="roberta_small_fr", help=models)
    parser.add_argument("--method", default="full", help=f"comma-separated, of: {', '.join(choices('method'))}")
    parser.add_argument("--classes", type=int, default=2, help="of the classification head (default: %(default)s)")
    parser.add_argument("--data-dir", default="data", help="where models stand (default: %(default)s)")
    arguments = parser.parse_args()
    methods = [word.strip() for word in arguments.method.split(",")]
    for method in methods:
        if method not in choices("method"):
            raise UsageError(f"METHOD={method}: choose from {', '.join(choices('method'))}")
    if arguments.classes < 1:
        raise UsageError(f"--classes {arguments.classes}: a head has at least one")
    words = [*group_words(model=arguments.model), f"data_dir={quoted(Path(arguments.data_dir).absolute())}"]
    print_account(compose_config(words), methods, arguments.classes, words)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
