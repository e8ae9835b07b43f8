"""What a dataset or a model is made from: files fetched, verified and unpacked below data/raw/."""

import hashlib
import json
from pathlib import Path
from typing import Any

from omegaconf import ListConfig, OmegaConf

from data_prep.archives import take_members
from data_prep.fetching import fetch_file
from data_prep.stages import build_stage, read_manifest


def unpacked(files: ListConfig, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Fetch the archives into `folder` and unpack the wanted members beside them.

    Returns {what for: path} and {archive: sha256}. What is unpacked already is not unpacked again.
    """
    fetched = {file.name: fetch_file(file, folder) for file in files}
    digests = {name: digest for name, (_, digest) in fetched.items()}
    wanted = {file.name: OmegaConf.to_container(file.members) for file in files}
    inputs: dict[str, Any] = {"archives": digests, "members": wanted}
    own = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]

    def unpack(scratch: Path) -> dict[str, Any]:
        names: dict[str, str] = {}
        for file in files:
            archive, _ = fetched[file.name]
            print(f"unpacking {', '.join(file.members.values())} of {archive}", flush=True)
            names |= take_members(archive, dict(file.members), scratch, file.unpacked_limit)
        return {"names": names}

    place = folder / f"unpacked-{own}"
    build_stage(place, inputs, unpack)
    names: dict[str, str] = (read_manifest(place) or {})["names"]
    return {purpose: place / name for purpose, name in names.items()}, digests
