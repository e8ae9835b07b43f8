"""The transformers back end: convert, check, predict, adapters.

convert MODEL                   a fairseq folder or a finished run, for transformers, with proof
back DIR --like FOLDER          and a fairseq checkpoint again
predict FOLDER TEXTS            labels, from a run folder or a converted one
lora --base DIR --corpus FILE   LoRA on a causal LM, perplexity before and after
merge ADAPTER                   an adapter's update added to its base's weights
"""

import argparse
import json
import os
import sys
from pathlib import Path

from foundation.errors import UsageError, exit_code
from hydra_conf.compose import compose_config

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is on this machine


def arguments_of(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m hf_tasks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("convert", help="a fairseq folder, or the best checkpoint of a run, for transformers")
    one.add_argument("model", nargs="?", help="a model's name, path/to/folder, or a run folder (default: e5_small_fr)")
    one.add_argument("--data-dir", type=Path, default=Path("data"))
    one.add_argument("--out", type=Path, help="default: the folder's own name with .hf")
    one = commands.add_parser("back", help="a converted folder to a fairseq checkpoint")
    one.add_argument("folder", type=Path)
    one.add_argument("--like", type=Path, required=True, help="the fairseq folder or run it was converted from")
    one.add_argument("--out", type=Path, required=True, help="the checkpoint to write")
    one = commands.add_parser("predict", help="the label a fine-tuned model gives to each text, as JSON lines")
    one.add_argument("folder", type=Path, help="a run folder, or a converted one")
    one.add_argument(
        "texts",
        type=Path,
        help='.jsonl, one text per line, as {"text": "..."}, like a split of data/splits; or .csv, .tsv with a "text"',
    )
    one = commands.add_parser("lora", help="an adapter for a causal LM on one's own text")
    one.add_argument("--base", type=Path, required=True, help="folder of a causal LM")
    one.add_argument(
        "--corpus",
        type=Path,
        required=True,
        help="UTF-8 text, one paragraph per line; or .jsonl, one question with its answer per line",
    )
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--length", type=int, default=128, help="tokens of a block (default: %(default)s)")
    one.add_argument("--quantise", choices=["4bit"], help="load the base in 4 bits, with bitsandbytes")
    one.add_argument("overrides", nargs="*", help="Hydra overrides, such as method.r=8 recipe.epochs=1")
    one = commands.add_parser("merge", help="an adapter's update added to its base's weights")
    one.add_argument("adapter", type=Path)
    one.add_argument("--out", type=Path, required=True)
    return parser.parse_args(words)


def say(line: str) -> None:
    """Print a line of progress at once, also into a pipe."""
    print(f"  {line}", flush=True)


def run(arguments: argparse.Namespace) -> None:
    """Do what was asked for. Imports are here, so that `--help` and mistakes answer at once."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if arguments.command == "convert":
        from hf_tasks.convert import convert
        from hf_tasks.parity import sentences
        from hf_tasks.source import source_of

        model = arguments.model or "e5_small_fr"
        is_folder = "/" in model or (Path(model) / "config.yaml").is_file()
        folder = Path(model).resolve() if is_folder else arguments.data_dir / "models" / model
        source, out = source_of(folder), arguments.out or folder.with_name(f"{folder.name}.hf")
        proof = convert(source, out, sentences(), say)
        print(f"made  {out}  (from {source.checkpoint})")
        print("\n".join(f"  {line}" for line in proof))
        print("  AutoModel adds a pooler that this model does not have: pass add_pooling_layer=False")
    elif arguments.command == "back":
        from fairseq_tasks.folders import open_checkpoint
        from hf_tasks.convert import convert_back
        from hf_tasks.source import source_of

        source = source_of(arguments.like)
        convert_back(arguments.folder, open_checkpoint(source.checkpoint, source.model_folder).shape, arguments.out)
        print(f"made  {arguments.out}")
    elif arguments.command == "predict":
        from hf_tasks.predict import predict

        for example, label in predict(arguments.folder, arguments.texts):
            print(json.dumps({"id": example.id, "label": example.label, "predicted": label}, ensure_ascii=False))
    elif arguments.command == "lora":
        from hf_tasks.causal import fine_tune, refuse_unheeded

        refuse_unheeded(arguments.overrides)
        config = compose_config(["method=lora", "recipe=causal_lora", *arguments.overrides])
        facts = fine_tune(
            arguments.base, arguments.corpus, arguments.out, config, arguments.length, say, arguments.quantise
        )
        print(f"made  {arguments.out}")
        for name, value in facts.items():
            print(f"  {name.replace('_', ' '):22} {format(value, ',' if isinstance(value, int) else ',.3f')}")
    else:
        from hf_tasks.adapters import merge

        merge(arguments.adapter, arguments.out)
        print(f"made  {arguments.out}")


def main() -> int:
    arguments = arguments_of(sys.argv[1:])
    try:
        run(arguments)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("transformers", "peft", "tokenizers", "safetensors", "accelerate"):
            raise
        raise UsageError(f"{error.name} is not installed; run `make setup EXTRAS=dev,hf`") from error
    except BrokenPipeError:
        raise
    except OSError as error:
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error).splitlines()[0]
        raise UsageError(said) from error
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
