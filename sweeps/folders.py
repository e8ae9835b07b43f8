"""The run folder: where it is, what state it is in, what it was made from."""

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, LeaseCompromise, SoftFileLease, Timeout

from foundation.whole_files import write_json

LEASE = 60.0  # seconds
_claims: dict[Path, tuple[int, float]] = {}  # lock file: its time (ns), and when it was first seen so (monotonic)
STATES = ("pending", "running", "done", "failed")
DONE, FAILED, NOT_OURS, STOPPED = 0, 1, 3, 75  # exit codes of a run's process


@dataclass(frozen=True, order=True)
class RunKey:
    """What tells one run of a sweep from another."""

    dataset: str
    model: str
    backend: str
    method: str
    init: str
    seed: int

    @classmethod
    def parse(cls, text: str) -> "RunKey":
        """Return the key that `str` gives as `dataset/model/backend/method/init/seed=n`."""
        dataset, model, backend, method, init, seed = text.split("/")
        return cls(dataset, model, backend, method, init, int(seed.removeprefix("seed=")))

    def folder(self, runs_dir: Path, sweep: str) -> Path:
        return (
            runs_dir / sweep / self.dataset / self.model / self.backend / self.method / self.init / f"seed={self.seed}"
        )

    def __str__(self) -> str:
        return f"{self.dataset}/{self.model}/{self.backend}/{self.method}/{self.init}/seed={self.seed}"


def find_runs(sweep_folder: Path) -> dict[RunKey, Path]:
    """Return every run folder below `runs/<sweep>`, by key, in the order of the keys."""
    found = {}
    for path in sweep_folder.glob("*/*/*/*/*/seed=*"):
        if path.is_dir() and path.name.removeprefix("seed=").isdigit():
            found[RunKey.parse(path.relative_to(sweep_folder).as_posix())] = path
    return dict(sorted(found.items()))


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object, or an empty one when the file is missing or not whole."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def texts_in(record: dict[str, Any], name: str) -> list[str]:
    """Return the texts of a list in a record that was read; none where it holds no such list."""
    found = record.get(name)
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def lease(marker: Path, on_loss: Callable[[LeaseCompromise], None] | None = None) -> SoftFileLease:
    """Return a lock that one process at a time may hold, also among hosts that share a disk.

    Its holder renews it every LEASE / 3 seconds. It is taken over at once from a process of this host that is dead, and
    from another host's when the taker has seen no renewal for LEASE seconds by its own clock. A process that is killed
    before it has written its name into the lock leaves it empty, and filelock would wait for it forever: an empty lock
    that is LEASE seconds old is deleted here.
    """
    with suppress(OSError):
        found = marker.stat()
        if not found.st_size and abs(time.time() - found.st_mtime) > LEASE:
            marker.unlink()
    return SoftFileLease(marker, lease_duration=LEASE, on_compromise=on_loss)


@contextmanager
def holding(marker: Path) -> Iterator[None]:
    """Hold the lock, however long its holder keeps it."""
    while True:
        try:
            lock = lease(marker).acquire(timeout=LEASE)  # again and again: it may have been left empty just now
        except Timeout:
            continue
        with lock:
            yield
        return


def lock_of(folder: Path) -> SoftFileLease:
    """Return the lock of a run folder. A holder that finds its lock taken over ends at once."""
    return lease(folder / ".lock", _lost)


def take(folder: Path) -> AcquireReturnProxy[SoftFileLease]:
    """Return the lock of a run folder, taken, when its holder has ended or not renewed it.

    Raises `Timeout` where another process keeps it, `OSError` where the folder cannot be written.
    """
    try:
        return lock_of(folder).acquire(timeout=LEASE + 5)
    except Timeout:
        return lock_of(folder).acquire(timeout=30)  # it may have been left empty, and is deleted by now


def _lost(loss: LeaseCompromise) -> None:
    print(f"error: {loss.lock_file} was lost ({loss.reason}); another process trains this run", flush=True)
    os._exit(NOT_OURS)


def is_owned(folder: Path) -> bool:
    """Whether a living process holds the run folder, or seems to: see `is_held`."""
    return is_held(folder / ".lock")


def is_held(marker: Path) -> bool:
    """Whether a living process holds the lock, or seems to.

    Another host's claim counts until this process has seen it unrenewed for LEASE seconds; one that is already ten
    LEASEs old, or as far in the future, which a clock that was set back leaves, does not count at all. This only says
    who to wait for: whoever trains takes the lock itself, which goes by no clock but its own.
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
    except OSError:  # a folder that cannot be written has no holder that writes
        return False


def read_status(folder: Path) -> dict[str, Any]:
    """Return status.json joined with the live progress; a run said to be running that nobody owns was killed."""
    status = read_json(folder / "status.json")
    status["state"] = status["state"] if is_known(folder) else "pending"
    if status["state"] == "running" and not is_owned(folder):
        status.update(state="failed", error="killed: no process owns the run any more")
    return {**status, "progress": read_json(folder / "progress.json")}


def is_known(folder: Path) -> bool:
    """Whether the run's status.json says what state it is in."""
    return str(read_json(folder / "status.json").get("state")) in STATES


def set_status(folder: Path, **news: Any) -> None:
    """Replace status.json with itself and `news`."""
    write_json(folder / "status.json", {**read_json(folder / "status.json"), **news, "updated": now()})


def drop_leftovers(folder: Path) -> None:
    """Delete the half-written files of a process that was killed; the caller holds the lock."""
    for path in [*folder.glob(".*"), *(folder / "resume").glob(".*"), *folder.glob("checkpoint-*")]:
        if path.is_dir():
            shutil.rmtree(path)
        elif not path.name.startswith(".lock"):
            path.unlink()


def this_process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid()}
