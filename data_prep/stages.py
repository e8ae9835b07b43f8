"""A stage is a folder made from declared inputs; its manifest.json says from which, and what came out.

A stage is rebuilt when an input differs from what its manifest records, or when an output is missing or changed.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foundation.whole_files import locked, replaced_folder, sha256_of, write_json

MANIFEST = "manifest.json"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the folder's manifest, or None when there is none that can be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def is_fresh(folder: Path, inputs: dict[str, Any]) -> bool:
    """Whether `folder` was made from exactly `inputs` and every file it recorded is unchanged."""
    manifest = read_manifest(folder)
    if manifest is None or manifest.get("inputs") != inputs:
        return False
    outputs = manifest.get("outputs", {})
    return all((folder / name).is_file() and sha256_of(folder / name) == digest for name, digest in outputs.items())


def build_stage(folder: Path, inputs: dict[str, Any], build: Callable[[Path], dict[str, Any]]) -> bool:
    """Make `folder` by calling `build` on an empty folder, unless it is fresh; return whether it was built.

    `inputs` is JSON data that identifies everything the stage is made from. `build` returns the facts to record in
    the manifest beside `inputs` and `outputs` (file name to sha256).
    """
    if is_fresh(folder, inputs):  # looked at before the lock: one may not be allowed to write where nothing is to do
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / f".{folder.name}.lock"):
        if is_fresh(folder, inputs):
            return False
        with replaced_folder(folder) as scratch:
            facts = build(scratch)
            files = sorted(path for path in scratch.rglob("*") if path.is_file())
            outputs = {path.relative_to(scratch).as_posix(): sha256_of(path) for path in files}
            write_json(scratch / MANIFEST, {**facts, "inputs": inputs, "outputs": outputs})
    return True
