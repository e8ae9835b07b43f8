"""Fetches, verifies and unpacks the raw files of a dataset or a model, below data/raw/."""

import hashlib
import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from data_prep.sources.archives import take_members
from data_prep.sources.fetching import fetch_file, record_first_use, record_of, shown
from data_prep.stages import build_stage, read_manifest
from foundation.errors import UsageError


def unpacked(files: ListConfig, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Fetch the files into `folder` and unpack the wanted members of archives into a subfolder.

    Returns {purpose: path} and {file: sha256}. Members that are already unpacked are not unpacked again.
    """
    fetched = {}
    for file in files:
        try:
            fetched[file.name] = fetch_file(file, folder)
        except UsageError as error:
            later = [other.name for other in files if other.name not in fetched and not (folder / other.name).is_file()]
            also = f". The same holds for {', '.join(later[1:])}, which are not there either" if len(later) > 1 else ""
            raise UsageError(f"{error}{also}") from error
    digests = {name: digest for name, (_, digest) in fetched.items()}
    plain = {file.what: fetched[file.name][0] for file in files if file.what}
    if len(plain) == len(files):
        return plain, digests
    wanted = {file.name: OmegaConf.to_container(file.members) for file in files}
    inputs: dict[str, Any] = {"archives": digests, "members": wanted}
    own = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]

    def unpack(scratch: Path) -> dict[str, Any]:
        names: dict[str, str] = {}
        for file in files:
            archive, _ = fetched[file.name]
            print(f"unpacking {', '.join(file.members.values())} of {archive}", flush=True)
            try:
                names |= take_members(archive, dict(file.members), scratch, file.unpacked_limit)
            except UsageError as error:
                raise UsageError(f"{error}; {what_to_do(file, archive)}") from error
        return {"names": names}

    place = folder / f"unpacked-{own}"
    build_stage(place, inputs, unpack)
    for path, digest in fetched.values():
        record_first_use(path, digest)
    names: dict[str, str] = (read_manifest(place) or {})["names"]
    return {purpose: place / name for purpose, name in names.items()}, digests


def what_to_do(file: DictConfig, archive: Path) -> str:
    """Return advice for a wrong archive: fetch it again, or check the configuration if its sha256 is the pinned one."""
    if file.sha256 is not None:
        return "its sha256 is the pinned one, so look at its members and unpacked_limit in hydra_conf"
    record = record_of(archive)
    both = f"{archive} and {record}" if record.is_file() else str(archive)
    return f"delete {both} to fetch it again from {', '.join(map(shown, file.urls))}, or put the right file there"
