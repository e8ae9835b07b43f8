"""A stage is a folder made from declared inputs. Its manifest.json records the inputs and the outputs.

A stage is rebuilt when an input differs from what its manifest records, or when an output is missing or changed.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foundation.whole_files import locked, replaced_folder, sha256_of, write_json

MANIFEST = "manifest.json"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the folder's manifest, or None when the folder has no readable manifest."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def is_fresh(folder: Path, inputs: dict[str, Any]) -> bool:
    """Return whether `folder` was made from exactly `inputs` and every recorded file is unchanged."""
    manifest = read_manifest(folder)
    if manifest is None or manifest.get("inputs") != inputs:
        return False
    outputs = manifest.get("outputs", {})
    return all((folder / name).is_file() and sha256_of(folder / name) == digest for name, digest in outputs.items())


def build_stage(folder: Path, inputs: dict[str, Any], build: Callable[[Path], dict[str, Any]]) -> bool:
    """Make `folder` by calling `build` on an empty folder, unless it is fresh. Return whether it was built.

    `inputs` is JSON data that identifies everything the stage is made from. `build` returns facts. The
    manifest records these facts, `inputs` and `outputs` (file name to sha256).
    """
    if is_fresh(folder, inputs):  # checked before the lock: a fresh folder may be one where the user cannot write
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


def make_stage(
    folder: Path,
    layout: int,
    inputs: dict[str, Any],
    build: Callable[[Path], dict[str, Any]],
    says: Callable[[Any], str],
) -> dict[str, Any]:
    """Make a stage unless it is up to date. Print which it is and what `says` tells of its manifest, and return it.

    `layout` is one more input: the number of what `build` writes.
    """
    built = build_stage(folder, {"layout": layout, **inputs}, build)
    manifest = read_manifest(folder) or {}
    print(f"{'made' if built else 'up to date'}  {folder}  ({says(manifest)})", flush=True)
    return manifest
