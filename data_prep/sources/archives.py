"""Extracts the wanted members of a zip or tar archive, and nothing else, into one folder.

Every member is checked before anything is written. The whole archive is refused when a member has a path outside the
folder, when a member is a link or a device, or when the members have too many bytes in total. The error names the
member. The check uses the sizes that the archive states: zipfile and tarfile never return more bytes of a member.
"""

import fnmatch
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from foundation.errors import UsageError

BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)


@dataclass(frozen=True)
class Member:
    """One file of an archive; `handle` is zipfile's or tarfile's own record of it."""

    name: str
    size: int
    handle: Any


def take_members(archive: Path, wanted: dict[str, str], folder: Path, limit: int) -> dict[str, str]:
    """Write the wanted members into `folder` and return {purpose: file name in `folder`}.

    `wanted` maps the purpose of a member to a pattern. A pattern with a slash is matched against the member's whole
    path, a pattern without a slash against its last part. A file is named `<purpose>` plus the member's suffix, unless
    the purpose already ends in the suffix. Raises `UsageError` when the archive is broken or unsafe, unpacks to more
    than `limit` bytes, or does not hold exactly one member for each pattern.
    """
    try:
        with _opened(archive) as (members, read):
            found = list(_safe(archive, members, limit))
            chosen = {purpose: _the_one(archive, found, pattern) for purpose, pattern in wanted.items()}
            names = {purpose: _named(purpose, member.name) for purpose, member in chosen.items()}
            for purpose, member in chosen.items():
                with read(member.handle) as source, (folder / names[purpose]).open("wb") as out:
                    shutil.copyfileobj(source, out)
                    if out.tell() != member.size:
                        raise UsageError(f"{archive}: member {member.name!r} is shorter than the archive says")
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's fault, not the archive's
            raise
        held = "" if looks_like_archive(archive, archive.name) else f": it is {what_it_is(archive)}"
        raise UsageError(f"{archive} is not a whole archive{held or f' ({error})'}") from error
    return names


def looks_like_archive(path: Path, name: str) -> bool:
    """Return whether the file looks like the archive that `name` says: a zip if `name` ends in .zip, else a tar."""
    try:
        return zipfile.is_zipfile(path) if _is_zip(name) else tarfile.is_tarfile(path)
    except BROKEN:
        return False


def what_it_is(path: Path) -> str:
    """Return a few words that describe an unexpected file."""
    with path.open("rb") as stream:
        begins = stream.read(1000)
    if not begins:
        return "an empty file"
    if begins.lstrip(b"\xef\xbb\xbf \t\r\n")[:9].lower().startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "a web page"
    return f"a file of {path.stat().st_size:,} bytes"


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def _named(purpose: str, member: str) -> str:
    suffix = PurePosixPath(member).suffix
    return purpose if purpose.endswith(suffix) else purpose + suffix


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[Iterator[Member], Any]]:
    """Yield the archive's members and a function that opens a member. A link or a device raises `UsageError`."""
    if _is_zip(archive.name):
        with zipfile.ZipFile(archive) as zipped:
            yield _zip_members(archive, zipped), zipped.open
    else:
        with tarfile.open(archive) as tar:
            yield _tar_members(archive, tar), tar.extractfile


def _zip_members(archive: Path, zipped: zipfile.ZipFile) -> Iterator[Member]:
    for info in zipped.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UsageError(f"{archive}: member {info.filename!r} is a link or a device; the archive is not unpacked")
        yield Member(info.filename, info.file_size, info)


def _tar_members(archive: Path, tar: tarfile.TarFile) -> Iterator[Member]:
    for info in tar:
        if not (info.isreg() or info.isdir()):
            raise UsageError(f"{archive}: member {info.name!r} is a link or a device; the archive is not unpacked")
        yield Member(f"{info.name}/" if info.isdir() else info.name, info.size, info)


def _safe(archive: Path, members: Iterator[Member], limit: int) -> Iterator[Member]:
    total = 0
    for member in members:
        path = member.name.replace("\\", "/")
        if path.startswith("/") or ".." in path.split("/") or ":" in path.split("/")[0] or "\0" in path:
            raise UsageError(f"{archive}: member {member.name!r} would leave its folder; the archive is not unpacked")
        total += member.size
        if total > limit:
            raise UsageError(
                f"{archive} unpacks to more than {limit:,} bytes (member {member.name!r}); it is not unpacked"
            )
        if (
            not path.endswith("/")
            and not path.startswith("__MACOSX/")
            and not PurePosixPath(path).name.startswith("._")
        ):
            yield member


def _the_one(archive: Path, members: list[Member], pattern: str) -> Member:
    def matches(member: Member) -> bool:
        path = member.name.replace("\\", "/")
        return fnmatch.fnmatchcase(f"/{path}" if "/" in pattern else PurePosixPath(path).name, pattern)

    found = [member for member in members if matches(member)]
    if len(found) == 1:
        return found[0]
    if not found:
        held = ", ".join(member.name for member in members[:8]) + (", ..." if len(members) > 8 else "")
        raise UsageError(f"{archive} holds no file {pattern} (it holds {held or 'nothing'})")
    raise UsageError(
        f"{archive} holds {len(found)} files {pattern} ({', '.join(one.name for one in found[:8])}); "
        "which one is meant cannot be told"
    )
