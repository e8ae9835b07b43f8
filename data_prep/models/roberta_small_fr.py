"""Makes `roberta_small_fr` without a checkpoint: a sentencepiece model, a dictionary and a shape, for random weights.

The texts of the published encoder were split by XLM-R's whole sentencepiece model. Pieces outside a dictionary of
31,995 French pieces became <unk>. The dictionary was not published; `benchmarks/pieces.py` rebuilt it.
"""

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from data_prep.binarise import N_SPECIAL, read_dictionary
from data_prep.models.checkpoints import SHAPE
from data_prep.models.e5_file import read_e5_file
from data_prep.models.e5_small_fr import read_kept_pieces, sentencepiece_model, text_pieces
from foundation.errors import UsageError

CARD = """# {name}, without its weights

XLM-RoBERTa's sentencepiece model, and a dictionary of {pieces:,} of its pieces. The original dictionary was not
published; {agrees}

**Licence of the sentencepiece model.** MIT, as XLM-RoBERTa.
"""


def make_folder(folder: Path, file: Path, kept: Path, config: DictConfig, known: Path | None) -> dict[str, Any]:
    """Write dict.txt, sentencepiece.bpe.model and card.md, but no model.pt, and return the manifest's facts.

    Raises `UsageError` as `require_known_ids` does, unless `known` is None.
    """
    e5, pieces = read_e5_file(file), read_kept_pieces(kept)
    (folder / "dict.txt").write_text("".join(f"{piece} 1\n" for piece in pieces), encoding="utf-8")
    (folder / "sentencepiece.bpe.model").write_bytes(sentencepiece_model(e5, text_pieces(e5)))
    shape = {**{name: value for name, value in SHAPE.items() if value is not None}, **config.shape}
    rows = len(pieces) + N_SPECIAL + 1
    says = f"no checkpoint, for random weights only; {rows:,} embedding rows"
    agrees = "nobody has compared this one with it."
    if known is not None:
        require_known_ids(folder, known)
        agrees = "this one agrees with every id that is known of it."
    card = CARD.format(name=config.name, pieces=len(pieces), agrees=agrees)
    (folder / "card.md").write_text(card, encoding="utf-8")
    return {"model": config.name, "shape": shape, "rows": rows, "says": says}


def require_known_ids(folder: Path, known: Path) -> None:
    """Raise `UsageError` unless the dictionary in `folder` gives each token its id in the file `known`, {token: id}."""
    symbols = read_dictionary(folder / "dict.txt")
    ids = {symbol: number for number, symbol in enumerate(symbols, start=N_SPECIAL)}
    for token, number in json.loads(known.read_text(encoding="utf-8")).items():
        if ids.get(token) != number:
            raise UsageError(
                f"{folder / 'dict.txt'} is not the published dictionary: {token!r} has the id {ids.get(token)}, and "
                f"{number} in the published one; model.known_ids=null takes it all the same"
            )
