"""Names and finds the model folders that pre-training has written: `data/models/<model>@<dose>`.

A dose is the number of tokens that the model has been trained on.
"""

import json
import re
from pathlib import Path
from typing import Any

from foundation.errors import UsageError
from hydra_conf.compose import parse_list

ABOUT = "pretraining.json"
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


def dose_name(tokens: int) -> str:
    """Return a dose as the folders show it: 16M, 250k, 0M, or the plain number."""
    unit = next(unit for unit in ("M", "k", "") if tokens % UNITS[unit] == 0)
    return f"{tokens // UNITS[unit]}{unit}"


def base_and_dose(model: str) -> tuple[str, int | None]:
    """Return `roberta_small_fr` and 16,000,000 for `roberta_small_fr@16M`, and None for a name without a dose."""
    found = re.fullmatch(r"(.+)@([0-9]+)([kMG]?)", model)
    return (found[1], int(found[2]) * UNITS[found[3]]) if found else (model, None)


def about_dose(folder: Path) -> dict[str, Any] | None:
    """Return what pre-training has written about a model's folder, or None for any other folder."""
    path = folder / ABOUT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def models_of(model: str | None, axes: dict[str, str], data_dir: Path) -> list[str | None]:
    """Return the models that a command asks for: the words of MODEL, or every dose of it in `EXPERIMENT=dose`.

    Raises `UsageError` when there is no dose of the model.
    """
    words = parse_list("MODEL", model) if model else [None]
    if "doses_of" not in axes:
        return words
    found: list[str | None] = []
    for base in [word or axes["doses_of"] for word in words]:
        folders = [path.parent for path in (data_dir.absolute() / "models").glob(f"{base}@*/{ABOUT}")]
        if not folders:
            place = data_dir / "models"
            raise UsageError(f"there is no dose of {base} in {place}; run `make pretrain MODEL={base}` first")
        found += map(str, sorted(folders, key=lambda folder: (about_dose(folder) or {})["dose"]))
    return found


def require_checked(folder: Path, dataset: str) -> None:
    """Raise `UsageError` when a model was pre-trained on a corpus that may hold test texts of the dataset."""
    about = about_dose(folder)
    if about is not None and dataset not in about.get("checked", []):
        raise UsageError(
            f"{folder.name} was pre-trained on {about['corpus']}, in which nobody has looked for texts of {dataset}; "
            "run `make pretrain` with the same words again: it looks for them, and trains nothing anew if there is none"
        )
