"""Extracts the wanted members of a zip or tar archive, and nothing else, into one folder.

The files get names of our own, so that no path in an archive can lead out of the folder. The whole archive is refused
before anything is written when its files have too many bytes in total, by the sizes that it states: zipfile and tarfile
never return more bytes of a member.
"""

import fnmatch
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from foundation.errors import UsageError

BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)


@dataclass(frozen=True)
class Member:
    """One file of an archive."""

    name: str  # its path
    size: int
    is_link: bool  # or a device
    open: Callable[[], Any]


def take_members(archive: Path, wanted: dict[str, str], folder: Path, limit: float) -> dict[str, str]:
    """Write the wanted members into `folder` and return {purpose: file name in `folder`}.

    `wanted` maps the purpose of a member to a pattern. A pattern with a slash is matched against the member's whole
    path, a pattern without a slash against its last part. A file is named `<purpose>` plus the member's suffix, unless
    the purpose already ends in the suffix. Raises `UsageError` when the archive is broken, unpacks to more than `limit`
    bytes, or does not hold exactly one file for each pattern.
    """
    try:
        with zipfile.ZipFile(archive) if _is_zip(archive.name) else tarfile.open(archive) as source:
            found = _files(archive, source, limit)
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


def _files(archive: Path, source: zipfile.ZipFile | tarfile.TarFile, limit: float) -> list[Member]:
    """Return the files of the archive, and its links and devices: no folders, and nothing that a Mac adds.

    Raises `UsageError` when the files have more than `limit` bytes in total.
    """
    every: Iterable[Member]
    if isinstance(source, zipfile.ZipFile):
        every = (
            Member(one.filename, one.file_size, stat.S_ISLNK(one.external_attr >> 16), partial(source.open, one))
            for one in source.infolist()
            if not one.is_dir()
        )
    else:
        every = (
            Member(one.name, one.size, not one.isreg(), partial(source.extractfile, one))
            for one in source
            if not one.isdir()
        )
    found, total = [], 0
    for member in every:
        total += member.size
        if total > limit:
            raise UsageError(
                f"{archive} unpacks to more than {limit:,} bytes (member {member.name!r}); it is not unpacked"
            )
        name = member.name.replace("\\", "/")
        if not name.startswith("__MACOSX/") and not name.rpartition("/")[2].startswith("._"):
            found.append(replace(member, name=name))
    return found


def _the_one(archive: Path, members: list[Member], pattern: str) -> Member:
    found = [
        member
        for member in members
        if fnmatch.fnmatchcase(f"/{member.name}" if "/" in pattern else PurePosixPath(member.name).name, pattern)
    ]
    if len(found) == 1 and found[0].is_link:
        raise UsageError(f"{archive}: {found[0].name} is a link or a device, not a file")
    if len(found) == 1:
        return found[0]
    if not found:
        held = ", ".join(member.name for member in members[:8]) + (", ..." if len(members) > 8 else "")
        raise UsageError(f"{archive} holds no file {pattern} (it holds {held or 'nothing'})")
    raise UsageError(
        f"{archive} holds {len(found)} files {pattern} ({', '.join(one.name for one in found[:8])}); "
        "which one is meant cannot be told"
    )
