"""Files that are either whole or not there: written to a temporary name beside their place, then renamed."""

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
    """Raise `UsageError` when the folder that `variable` gives, or one above it, is a link to nowhere."""
    for path in (folder, *folder.parents):
        if path.is_symlink() and not path.exists():
            raise UsageError(
                f"{path} is a link to {os.readlink(path)}, which is not there; make it, or give another {variable}"
            )


def locked(path: Path) -> FileLock:
    """Return the lock on `path`, which every user of the folder may take, for a `with` block."""
    return FileLock(path, mode=0o666)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a temporary path in `path`'s folder; rename it to `path` when the block ends well, else delete it."""
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
    """Yield an empty temporary folder beside `folder`; put it in `folder`'s place when the block ends well."""
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
    """Write a whole UTF-8 text file, or nothing."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as a whole, indented JSON file, or nothing."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def sha256_of(path: Path) -> str:
    """Return the file's SHA-256 in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
