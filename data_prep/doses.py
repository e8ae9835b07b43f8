"""Names and finds the model folders that pre-training has written: `data/models/<model>@<dose>`.

A dose is the number of tokens that the model has been trained on.
"""

import json
import re
from pathlib import Path
from typing import Any

from data_prep.stages import read_manifest
from foundation.errors import UsageError
from hydra_conf.words import parse_list

ABOUT = "pretraining.json"
NOT_LEARNED = "not learned"  # in its "positions"
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


def dose_name(tokens: int) -> str:
    """Return a dose as the folders show it: 16M, 250k, 0M, or the plain number."""
    unit = next(unit for unit in ("M", "k", "") if tokens % UNITS[unit] == 0)
    return f"{tokens // UNITS[unit]}{unit}"


def steps_of(tokens: int, batch_tokens: int) -> int:
    """Return after how many steps of `batch_tokens` a model has been trained on at least `tokens` tokens."""
    return -(-tokens // batch_tokens)


def base_and_dose(model: str) -> tuple[str, int | None]:
    """Return `roberta_small_fr` and 16,000,000 for `roberta_small_fr@16M`, and None for a name without a dose."""
    found = re.fullmatch(r"(.+)@([0-9]+)([kMG]?)", model)
    return (found[1], int(found[2]) * UNITS[found[3]]) if found else (model, None)


def about_dose(folder: Path) -> dict[str, Any] | None:
    """Return what pre-training has written about a model's folder, or None for any other folder."""
    path = folder / ABOUT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def doses_of_model(models: Path, model: str) -> dict[Path, dict[str, Any]]:
    """Return what is written about each dose of a model, by its folder in `models`; the smallest dose first."""
    found = {folder: about_dose(folder) for folder in models.glob("*@*") if base_and_dose(folder.name)[0] == model}
    known = {folder: about for folder, about in found.items() if about is not None}
    return dict(sorted(known.items(), key=lambda one: one[1]["dose"]))


def models_of(model: str | None, axes: dict[str, str], data_dir: Path) -> list[str | None]:
    """Return the models that a command asks for: the words of MODEL, or every dose of it in `EXPERIMENT=dose`.

    A word that names a dose, such as data/models/roberta_small_fr@16M, stands for this dose alone.
    Raises `UsageError` when there is no dose of the model, or when its doses are of different trainings.
    """
    words = parse_list("MODEL", model) if model else [None]
    if "doses_of" not in axes:
        return words
    models = data_dir.absolute() / "models"
    found: list[str | None] = []
    trainings: dict[str, dict[str, list[str]]] = {}  # base model -> training -> its doses
    for word in words:
        path = Path(word or axes["doses_of"])
        folders, base = doses_of_model(models, path.name), path.name
        if not folders and base_and_dose(path.name)[1] is not None:
            base = base_and_dose(path.name)[0]
            named = path if path.parent.name else models / path
            about = about_dose(named)
            if about is None:
                there = ", ".join(folder.name for folder in doses_of_model(models, base)) or "none"
                raise UsageError(f"MODEL={word}: there is no such dose; in {data_dir / 'models'}: {there}")
            folders = {named: about}
        if not folders:
            said = f"MODEL={path}"
            raise UsageError(
                f"{said}: there is no dose of it in {data_dir / 'models'}; run `make pretrain {said}` first"
            )
        for folder, about in folders.items():
            trainings.setdefault(base, {}).setdefault(about["identity"], []).append(folder.name)
        found += map(str, folders)
    for of_base in trainings.values():
        if len(of_base) > 1:
            said = " and ".join(", ".join(sorted(names)) for names in of_base.values())
            raise UsageError(f"{said} are of different trainings; move those of one away from {data_dir / 'models'}")
    return found


def require_checked(checkpoint: Path, splits: Path) -> None:
    """Raise `UsageError` when a checkpoint was pre-trained on a corpus that may hold test texts of the dataset.

    `splits` is the dataset's folder in data/splits. Its test texts must be among those that were looked for.
    """
    about = about_dose(checkpoint.parent)
    test = (read_manifest(splits) or {}).get("outputs", {}).get("test.jsonl")
    if about is not None and test not in (of_test for _, of_test in about.get("checked", {}).values()):
        raise UsageError(
            f"{checkpoint.parent.name} was pre-trained on {about['corpus']}, in which nobody has looked for the test "
            f"texts of {splits.name}; run `make pretrain` with the same words again: it looks for them, and trains "
            "nothing anew if there is none"
        )
