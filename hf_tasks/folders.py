"""Writes folders for transformers and peft: whole or not at all, readable by every user who can reach the folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foundation.errors import UsageError
from foundation.whole_files import replaced_folder

MODEL, ADAPTER = "config.json", "adapter_config.json"  # the file that marks a folder of transformers, of peft


def require_free(out: Path, kind: str) -> None:
    """Raise `UsageError` when `out` holds anything other than a folder of its kind, because it would be lost.

    `kind` is `MODEL` or `ADAPTER`. A folder of the same kind is replaced.
    """
    if out.exists() and not (out.is_dir() and ((out / kind).is_file() or not any(out.iterdir()))):
        raise UsageError(f"{out} is there already and holds no {kind}; it would be lost, give another --out")


@contextmanager
def new_folder(out: Path, kind: str) -> Iterator[Path]:
    """Yield an empty temporary folder. It replaces `out` when the block ends well, and is deleted otherwise.

    Raises `UsageError` as `require_free` does. safetensors writes files that only their owner can read. Here other
    users can read them, too.
    """
    require_free(out, kind)
    with replaced_folder(out) as scratch:
        yield scratch
        for path in scratch.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
