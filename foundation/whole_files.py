"""Writes files that are either complete or absent: to a temporary name in the same folder, then renamed."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from foundation.errors import UsageError


def require_no_dead_link(folder: Path, variable: str) -> None:
    """Raise `UsageError` when `folder`, or a folder above it, is a broken symbolic link. `variable` sets `folder`."""
    for path in (folder, *folder.parents):
        if path.is_symlink() and not path.exists():
            raise UsageError(
                f"{path} is a link to {os.readlink(path)}, which is not there; make it, or give another {variable}"
            )


def locked(path: Path) -> FileLock:
    """Return a lock file on `path` for a `with` block. Every user of the folder may take it."""
    return FileLock(path, mode=0o666)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a temporary path in `path`'s folder. Rename it to `path` when the block succeeds, otherwise delete it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary folder next to `folder`. When the block succeeds, replace `folder` with it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        if folder.exists():
            os.replace(folder, temporary / ".replaced")
            shutil.rmtree(temporary / ".replaced")
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file completely or not at all."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as an indented JSON file, completely or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def sha256_of(path: Path) -> str:
    """Return the file's SHA-256 in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
