"""The run folder: its path, its status, its lock."""

import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, LeaseCompromise, SoftFileLease, Timeout

from foundation.errors import UsageError
from foundation.whole_files import write_json

LEASE = 60.0  # seconds
_claims: dict[Path, tuple[int, float]] = {}  # lock file: its mtime (ns), when this mtime was first seen (monotonic)
PRETRAINING = "pretraining"  # the folder of RUNS_DIR that `make pretrain` writes
ALL = 0  # as a number of training texts: all of the split
STATES = ("pending", "running", "done", "failed")
EXIT_DONE, EXIT_FAILED, EXIT_NOT_OURS, EXIT_STOPPED = 0, 1, 3, 75  # exit codes of a run's process


@dataclass(frozen=True, order=True)
class RunKey:
    """The parts that identify a run within a sweep."""

    dataset: str
    model: str
    backend: str
    method: str
    init: str
    seed: int
    train: int = ALL  # training texts, a nested subset; ALL: all of them
    length: int = 1  # times the recipe's steps

    @classmethod
    def parse(cls, text: str) -> "RunKey":
        """Return the key whose `str` is `text`: `dataset/model/backend/method/init[/train=...]/seed=n`.

        Raises `ValueError` for another text.
        """
        dataset, model, backend, method, init, *train, seed = text.split("/")
        training = parse_training(train[0].removeprefix("train=")) if train else (ALL, 1)
        if training is None or not re.fullmatch("seed=[0-9]+", seed):
            raise ValueError(f"{text} names no run")
        return cls(dataset, model, backend, method, init, int(seed.removeprefix("seed=")), *training)

    @property
    def kind(self) -> "RunKey":
        """The key with all training texts, the usual length and seed 0: equal for runs that share the rest."""
        return replace(self, seed=0, train=ALL, length=1)

    def folder(self, runs_dir: Path, sweep: str) -> Path:
        return runs_dir / sweep / str(self)

    @property
    def training(self) -> str:
        """The word of TRAIN for this run: `all`, `100`, `allx3`, `100x3`."""
        return f"{self.train or 'all'}{f'x{self.length}' if self.length > 1 else ''}"

    def __str__(self) -> str:
        train = f"/train={self.training}" if self.training != "all" else ""
        return f"{self.dataset}/{self.model}/{self.backend}/{self.method}/{self.init}{train}/seed={self.seed}"


def parse_training(word: str) -> tuple[int, int] | None:
    """Return (training texts, length) of a word such as `all`, `100` or `allx3`, or None for another word."""
    found = re.fullmatch(r"(all|0*[1-9][0-9]{0,11})(?:x([1-9][0-9]{0,5}))?", word)
    return found and (ALL if found[1] == "all" else int(found[1]), int(found[2] or 1))


def require_name(sweep: str) -> None:
    """Raise `UsageError` unless the name of a sweep is the name of one folder."""
    if sweep in ("", "..") or Path(sweep).name != sweep:
        raise UsageError(f"SWEEP={sweep}: it names one folder, without a slash")


def find_runs(sweep_folder: Path) -> dict[RunKey, Path]:
    """Return every run folder below `runs/<sweep>` by its key, sorted by key."""
    found = {}
    for path in [*sweep_folder.glob("*/*/*/*/*/seed=*"), *sweep_folder.glob("*/*/*/*/*/train=*/seed=*")]:
        with suppress(ValueError):  # a folder of another name
            key = RunKey.parse(name := path.relative_to(sweep_folder).as_posix())
            found.update({key: path} if path.is_dir() and str(key) == name else {})
    return dict(sorted(found.items()))


def sweep_folder_of(folder: Path) -> Path:
    """Return the folder of the sweep that a run folder belongs to."""
    return folder.parents[6 if folder.parent.name.startswith("train=") else 5]


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, or an empty one when the file is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def texts_in(record: dict[str, Any], name: str) -> list[str]:
    """Return the strings of the list `record[name]`. Return an empty list when there is no list of this name."""
    found = record.get(name)
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def lease(marker: Path, on_loss: Callable[[LeaseCompromise], None] | None = None) -> SoftFileLease:
    """Return a lock that one process at a time may hold, also among hosts that share a disk.

    The holder renews the lock every LEASE / 3 seconds. If the holder is a dead process of this host, another process
    takes the lock over at once. If the holder is on another host, the taker must see no renewal for LEASE seconds by
    its own clock. A process that is killed before it has written its name into the lock file leaves the file empty, and
    filelock would wait for it forever. So an empty lock file older than LEASE seconds is deleted here.
    """
    with suppress(OSError):
        found = marker.stat()
        if not found.st_size and abs(time.time() - found.st_mtime) > LEASE:
            marker.unlink()
    return SoftFileLease(marker, lease_duration=LEASE, on_compromise=on_loss)


def acquire(
    marker: Path, patience: float = math.inf, on_loss: Callable[[LeaseCompromise], None] | None = None
) -> AcquireReturnProxy[SoftFileLease]:
    """Take the lock and return it. Raises `Timeout` if other processes keep it for `patience` seconds.

    It is asked for anew after a little more than LEASE seconds: an empty lock file is then old enough to be deleted.
    """
    end = time.monotonic() + patience
    while True:
        try:
            return lease(marker, on_loss).acquire(timeout=min(LEASE + 5, max(0, end - time.monotonic())))
        except Timeout:
            if time.monotonic() >= end:
                raise


def lock_of(folder: Path) -> SoftFileLease:
    """Return the lock of a run folder. A holder whose lock was taken over ends its process at once."""
    return lease(folder / ".lock", _lost)


def take(folder: Path) -> AcquireReturnProxy[SoftFileLease]:
    """Take the lock of a run folder and return it. Wait until its holder has ended or has stopped renewing it.

    Raises `Timeout` if another process keeps the lock, `OSError` if the folder cannot be written.
    """
    return acquire(folder / ".lock", LEASE + 35, _lost)


def _lost(loss: LeaseCompromise) -> None:
    print(f"error: {loss.lock_file} was lost ({loss.reason}); another process trains this run", flush=True)
    os._exit(EXIT_NOT_OURS)


def is_owned(folder: Path) -> bool:
    """Return whether a living process holds the run folder, as far as this process can tell: see `is_held`."""
    return is_held(folder / ".lock")


def is_held(marker: Path) -> bool:
    """Return whether a living process holds the lock, as far as this process can tell.

    A lock of another host counts as held until this process has seen no renewal for LEASE seconds. A lock that is more
    than 10 * LEASE seconds old does not count as held. A lock as far in the future does not count either: it appears
    when a clock is set back. The answer only says whether to wait. A process that trains must take the lock itself, and
    the lock relies on the taker's own clock only.
    """
    try:
        stat = marker.stat()
    except OSError:
        return False
    try:
        with lease(marker).acquire(timeout=0):
            return False
    except Timeout:
        renewed, since = _claims.get(marker, (0, 0.0))
        if renewed != stat.st_mtime_ns:
            _claims[marker] = (stat.st_mtime_ns, since := time.monotonic())
        return abs(time.time() - stat.st_mtime) < 10 * LEASE and time.monotonic() - since < LEASE
    except OSError:  # no process can hold a lock in a folder that cannot be written
        return False


def read_status(folder: Path) -> dict[str, Any]:
    """Return status.json with progress.json added. A run marked as running that no process owns counts as killed."""
    status = read_json(folder / "status.json")
    if status.get("state") == "running" and not is_owned(folder):
        status = read_json(folder / "status.json")  # it may have ended between the two looks
        if status.get("state") == "running":
            status.update(state="failed", error="killed: no process owns the run any more")
    if str(status.get("state")) not in STATES:
        status["state"] = "pending"
    return {**status, "progress": read_json(folder / "progress.json")}


def is_known(folder: Path) -> bool:
    """Return whether the run's status.json gives a known state."""
    return str(read_json(folder / "status.json").get("state")) in STATES


def set_status(folder: Path, **news: Any) -> None:
    """Update status.json with `news`."""
    write_json(folder / "status.json", {**read_json(folder / "status.json"), **news, "updated": now()})


def drop_leftovers(folder: Path) -> None:
    """Delete the incomplete files of a killed process. The caller must hold the lock."""
    delete([*folder.glob(".*"), *(folder / "resume").glob(".*"), *folder.glob("checkpoint-*")])


def delete(paths: list[Path]) -> None:
    """Delete files and folders of a run, but not its lock."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        elif not path.name.startswith(".lock"):
            path.unlink()
