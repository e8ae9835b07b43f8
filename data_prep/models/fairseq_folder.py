"""Takes other people's fairseq folders, fetched or brought by the user, and compares them with published sizes."""

import shutil
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from data_prep.binarise import read_dictionary, require_sentencepiece
from data_prep.models.checkpoints import count_matrices, read_checkpoint, read_shape
from foundation.whole_files import write_text

FILES = ("model.pt", "dict.txt", "sentencepiece.bpe.model")


def missing_files(folder: Path) -> list[str]:
    """Return which of a model's three files are not in the folder."""
    return [name for name in FILES if not (folder / name).is_file()]


def copy_folder(folder: Path, members: dict[str, Path], archives: dict[str, str], config: DictConfig) -> dict[str, Any]:
    """Copy the three files of a model into `folder`, write a card, and return the manifest's facts."""
    for name in FILES:
        shutil.copyfile(members[name], folder / name)
    facts = describe_folder(folder, config)
    sources = "".join(f"- {file.name} (sha256 {archives[file.name]}), {file.urls[0]}\n" for file in config.files)
    about = f"**Licence.** {config.licence}.\n\n**How to cite.** {config.citation}\n\n**Source.**\n\n{sources}"
    write_text(folder / "card.md", f"# {config.name}\n\n{facts['says']}.\n\n{about}")
    return {"model": config.name, "archives": archives, **facts}


def describe_folder(folder: Path, config: DictConfig) -> dict[str, Any]:
    """Return the model's shape, read from its checkpoint, its sizes, and a sentence on its sizes.

    Raises `UsageError` when a file is broken, or when the three files do not belong together.
    """
    symbols = read_dictionary(folder / "dict.txt")
    require_sentencepiece(folder / "sentencepiece.bpe.model")
    checkpoint = read_checkpoint(folder / "model.pt")
    shape = read_shape(folder / "model.pt", checkpoint, len(symbols))
    rows, matrices = len(symbols) + 5, count_matrices(checkpoint["model"])
    says = f"{matrices:,} weights in the encoder's matrices, {rows:,} embedding rows"
    if config.published_matrices is not None:
        says += f"; {compare_with_published(matrices, rows, shape, config)}"
    return {"shape": shape, "rows": rows, "matrices": matrices, "says": says}


def compare_with_published(matrices: int, rows: int, shape: dict[str, Any], config: DictConfig) -> str:
    """Return how matrices and embedding rows differ from the published ones, and how much of it the rows explain."""
    more, more_rows = matrices - config.published_matrices, rows - config.published_vocabulary
    if more == 0 and more_rows == 0:
        return f"exactly the published {config.published_matrices:,} and {config.published_vocabulary:,}"
    width = shape["encoder_embed_dim"]
    by_rows = more_rows * width
    sentence = f"{more:+,} against the published {config.published_matrices:,}"
    if more_rows:
        sentence += (
            f", of which {by_rows:+,} are {more_rows:+,} embedding rows of {width} against the published "
            f"{config.published_vocabulary:,} (fairseq adds <s>, <pad>, </s>, <unk> and <mask>)"
        )
    return sentence if more == by_rows else f"{sentence}; {more - by_rows:+,} are another shape: not the published one"
