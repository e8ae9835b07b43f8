"""Prepares texts without labels for pre-training: `data/bin/corpus.<corpus>.<model>`, made by fairseq-preprocess.

One line of the file is one paragraph (.txt, .txt.xz or .txt.gz, UTF-8, read line by line). Every hundredth paragraph is
held out, up to 10,000; their loss is the held-out loss. `corpus.add=[cls_books]` adds the training texts of a prepared
dataset. A paragraph that equals a validation or test text of any dataset in `data/splits` is dropped, and the manifest
lists the datasets under `checked`: a model is judged only on datasets that its corpus was checked against. The splits
of `sweeps search` are left out: their validation texts are training texts of a dataset, and their test texts are its
own.
"""

import gzip
import lzma
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from data_prep.binarise import read_dictionary, require_known_pieces, require_sentencepiece, run_preprocess
from data_prep.cleaning import clean, digest_of_near_copies, is_empty
from data_prep.examples import read_split
from data_prep.stages import make_stage, read_manifest
from foundation.counts import counted
from foundation.errors import UsageError
from foundation.whole_files import sha256_of

LAYOUT = 2  # raise it when what is written changes: older folders are then rebuilt
HELD_OUT = 100  # one paragraph in this many,
MOST_HELD_OUT = 10_000  # until there are this many: the loss of a corpus of gigabytes takes no longer then
OPENERS: dict[str, Any] = {".txt": open, ".xz": lzma.open, ".gz": gzip.open}
OF_SEARCH = re.compile(r".+-split[0-9]+")  # names of datasets that `sweeps search` makes
JUDGED = ("valid", "test")  # splits whose texts may not be in a corpus


def corpus_folder(config: DictConfig) -> Path:
    return Path(config.data_dir).absolute() / "bin" / f"corpus.{config.corpus.name}.{config.model.name}"


def corpus_file(config: DictConfig) -> Path:
    """Return the file of the corpus. Raises `UsageError` when it is missing or is not the file of the configuration."""
    corpus = config.corpus
    path = Path(corpus.file)
    if not path.is_file():
        raise UsageError(f"there is no file {path} (corpus.file): {corpus.how_to_get}")
    if path.suffix not in OPENERS:
        raise UsageError(f"{path}: a corpus is a file .txt, .txt.xz or .txt.gz, with one paragraph per line")
    if corpus.sha256 is not None and sha256_of(path) != corpus.sha256:
        raise UsageError(
            f"{path} is not the file of CORPUS={corpus.name}: its sha256 is another one; put the right file there, or "
            "use it as your own with CORPUS=text"
        )
    return path


def paragraphs(path: Path) -> Iterator[str]:
    """Yield the cleaned paragraphs of a file that are not empty. Raises `UsageError` when it is no UTF-8 text."""
    n_read = 0
    try:
        with OPENERS[path.suffix](path, "rt", encoding="utf-8") as lines:
            for line in lines:
                n_read += 1
                if not is_empty(line):
                    yield clean(line)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError) as error:
        said = str(error).split("\n")[0]
        raise UsageError(f"{path} cannot be read after line {n_read:,} ({said}); save it as UTF-8, whole") from error


def prepare_corpus(config: DictConfig, model_folder: Path) -> dict[str, Any]:
    """Encode the corpus for the model, unless this is done already. Return the manifest."""
    splits = Path(config.data_dir) / "splits"
    path, added = corpus_file(config), list(dict.fromkeys(config.corpus.add))
    for name in added:
        if read_manifest(splits / name) is None:
            raise UsageError(f"corpus.add={name}: {splits / name} is not there; run `make prep DATASET={name}` first")
    folders = [folder for folder in sorted(splits.glob("[!.]*")) if not OF_SEARCH.fullmatch(folder.name)]
    outputs = {folder.name: made["outputs"] for folder in folders if (made := read_manifest(folder))}
    inputs = {
        "file": sha256_of(path),
        "added": {name: outputs[name]["train.jsonl"] for name in added},
        "checked": {name: [files[f"{split}.jsonl"] for split in JUDGED] for name, files in outputs.items()},
        "dictionary": sha256_of(model_folder / "dict.txt"),
        "sentencepiece": sha256_of(model_folder / "sentencepiece.bpe.model"),
        "max_unknown_share": config.model.max_unknown_share,
    }

    def build(scratch: Path) -> dict[str, Any]:
        judged = {
            digest_of_near_copies([text]): name
            for name in outputs
            for split in JUDGED
            for example in read_split(splits / name / f"{split}.jsonl")
            for text in (example.text, example.text_pair)
            if text is not None
        }
        facts = _write_paragraphs(scratch / "text", path, [splits / name / "train.jsonl" for name in added], judged)
        return facts | _encode(scratch, model_folder, config.model.max_unknown_share)

    def says(made: dict[str, Any]) -> str:
        n, tokens = counted(made["paragraphs"]["train"], "paragraph"), made["tokens"]
        return f"{n}, {tokens['train']:,} tokens; {tokens['valid']:,} tokens held out"

    manifest = make_stage(corpus_folder(config), LAYOUT, inputs, build, says)
    for name, n in manifest["dropped"].items():
        print(f"  {counted(n, 'paragraph')} dropped: validation or test texts of {name}", flush=True)
    return manifest


def _write_paragraphs(folder: Path, path: Path, added: list[Path], judged: dict[int, str]) -> dict[str, Any]:
    """Write `train.input0` and `valid.input0`, one paragraph per line. Return how many were written and dropped."""
    folder.mkdir()
    counts, dropped = {"train": 0, "valid": 0}, dict[str, int]()

    def all_paragraphs() -> Iterator[str]:
        yield from paragraphs(path)
        for split in added:
            for example in read_split(split):
                yield example.text
                if example.text_pair is not None:
                    yield example.text_pair

    with (
        (folder / "train.input0").open("w", encoding="utf-8") as train,
        (folder / "valid.input0").open("w", encoding="utf-8") as valid,
    ):
        for number, text in enumerate(all_paragraphs(), start=1):
            if found_in := judged.get(digest_of_near_copies([text])):
                dropped[found_in] = dropped.get(found_in, 0) + 1
                continue
            is_held_out = number % HELD_OUT == 0 and counts["valid"] < MOST_HELD_OUT
            (valid if is_held_out else train).write(text + "\n")
            counts["valid" if is_held_out else "train"] += 1
    if not counts["valid"]:
        n = sum(counts.values())
        raise UsageError(
            f"{path} has {counted(n, 'paragraph')} that can be used; every hundredth is held out: give at "
            "least 100, one per line"
        )
    return {"paragraphs": counts, "dropped": dropped}


def _encode(folder: Path, model_folder: Path, max_unknown_share: float) -> dict[str, Any]:
    """Run fairseq-preprocess on the paragraphs. Return the counts of tokens."""
    read_dictionary(model_folder / "dict.txt")
    require_sentencepiece(model_folder / "sentencepiece.bpe.model")
    found = run_preprocess(folder, model_folder, 2**31, ["input0"])["columns"]
    shutil.rmtree(folder / "text")
    facts = found["input0"]
    tokens = {split: facts[split]["tokens"] for split in ("train", "valid")}
    unknown = {split: facts[split]["unknown"] / tokens[split] for split in tokens}
    require_known_pieces(found, unknown["train"], model_folder, max_unknown_share)
    return {"tokens": tokens, "unknown_share": unknown}
