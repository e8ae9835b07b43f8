"""Extracts the wanted members of a zip or tar archive, and nothing else, into one folder.

Every member is checked before anything is written. The whole archive is refused when a member has a path outside the
folder, is a link or a device, or when the members have too many bytes in total. The check uses the sizes that the
archive states: zipfile and tarfile never return more bytes of a member.
"""

import fnmatch
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from foundation.errors import UsageError

BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)


@dataclass(frozen=True)
class Member:
    """One file or folder of an archive."""

    name: str
    size: int
    is_plain: bool  # False: a link or a device
    open: Callable[[], Any]

    @property
    def path(self) -> str:
        return self.name.replace("\\", "/")


def take_members(archive: Path, wanted: dict[str, str], folder: Path, limit: int) -> dict[str, str]:
    """Write the wanted members into `folder` and return {purpose: file name in `folder`}.

    `wanted` maps the purpose of a member to a pattern. A pattern with a slash is matched against the member's whole
    path, a pattern without a slash against its last part. A file is named `<purpose>` plus the member's suffix, unless
    the purpose already ends in the suffix. Raises `UsageError` when the archive is broken or unsafe, unpacks to more
    than `limit` bytes, or does not hold exactly one member for each pattern.
    """
    try:
        with opened(archive) as source:
            found = list(_safe(archive, members_of(source), limit))
            chosen = {purpose: _the_one(archive, found, pattern) for purpose, pattern in wanted.items()}
            names = {purpose: _named(purpose, member.name) for purpose, member in chosen.items()}
            for purpose, member in chosen.items():
                with member.open() as stream, (folder / names[purpose]).open("wb") as out:
                    shutil.copyfileobj(stream, out)
                    if out.tell() != member.size:
                        raise UsageError(f"{archive}: member {member.name!r} is shorter than the archive says")
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's fault, not the archive's
            raise
        held = "" if looks_like_archive(archive, archive.name) else f": it is {what_it_is(archive)}"
        raise UsageError(f"{archive} is not a whole archive{held or f' ({error})'}") from error
    return names


def looks_like_archive(path: Path, name: str) -> bool:
    """Return whether the file looks like the archive that `name` says: a zip (.zip, .whl) or a tar."""
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
    return name.lower().endswith((".zip", ".whl"))


def _named(purpose: str, member: str) -> str:
    suffix = PurePosixPath(member).suffix
    return purpose if purpose.endswith(suffix) else purpose + suffix


def opened(archive: Path) -> zipfile.ZipFile | tarfile.TarFile:
    return zipfile.ZipFile(archive) if _is_zip(archive.name) else tarfile.open(archive)


def members_of(archive: zipfile.ZipFile | tarfile.TarFile) -> Iterator[Member]:
    if isinstance(archive, zipfile.ZipFile):
        for info in archive.infolist():
            is_plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)  # 0: it does not say
            yield Member(info.filename, info.file_size, is_plain, partial(archive.open, info))
    else:
        for entry in archive:
            name = f"{entry.name}/" if entry.isdir() else entry.name
            yield Member(name, entry.size, entry.isreg() or entry.isdir(), partial(archive.extractfile, entry))


def _safe(archive: Path, members: Iterator[Member], limit: int) -> Iterator[Member]:
    """Yield the files among the members, without a Mac's additions. Raises `UsageError` for an unsafe member."""
    total = 0
    for member in members:
        path = member.path
        if not member.is_plain:
            raise UsageError(f"{archive}: member {member.name!r} is a link or a device; the archive is not unpacked")
        if path.startswith("/") or ".." in path.split("/") or ":" in path.split("/")[0] or "\0" in path:
            raise UsageError(f"{archive}: member {member.name!r} would leave its folder; the archive is not unpacked")
        total += member.size
        if total > limit:
            raise UsageError(
                f"{archive} unpacks to more than {limit:,} bytes (member {member.name!r}); it is not unpacked"
            )
        if not path.endswith("/") and not path.startswith("__MACOSX/") and not path.rpartition("/")[2].startswith("._"):
            yield member


def _the_one(archive: Path, members: list[Member], pattern: str) -> Member:
    found = [
        member
        for member in members
        if fnmatch.fnmatchcase(f"/{member.path}" if "/" in pattern else PurePosixPath(member.path).name, pattern)
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        held = ", ".join(member.name for member in members[:8]) + (", ..." if len(members) > 8 else "")
        raise UsageError(f"{archive} holds no file {pattern} (it holds {held or 'nothing'})")
    raise UsageError(
        f"{archive} holds {len(found)} files {pattern} ({', '.join(one.name for one in found[:8])}); "
        "which one is meant cannot be told"
    )
