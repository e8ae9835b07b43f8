"""Checkpoints from which an interrupted run continues: `resume/step=<n>/` in the run folder, for both back ends.

    state.pt, or Trainer's files                what the back end needs to take its next step
    checkpoint_best.pt, predictions.parquet     as they were at this step (hard links if the disk supports them)
    manifest.json                               SHA-256 of each file, progress.json, the length of each event file

A folder gets its name when it is complete, and the previous folder is kept. The hashes show whether a checkpoint was
cut short or has a flipped byte. If so, the previous checkpoint is used. A checkpoint is saved at the end of a step; for
the last step of an epoch, after the epoch's scalars are written (the last checkpoint of a pre-training: before). When a
run continues, points logged after the checkpoint are cut off the event files, so that no point occurs twice.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.stages import MANIFEST, read_manifest
from foundation.whole_files import replaced_folder, sha256_of, write_json

SHARE = 0.02  # the largest share of a run's time that saving may take, however small `every` is
KEPT = 2  # number of checkpoints to keep
AT_BEST = ("checkpoint_best.pt", "predictions.parquet")
LOG_BYTES = 5_000_000

stop_asked = threading.Event()  # set by a signal; each process trains one run


class Stopped(BaseException):
    """The run was asked to stop and has stopped. The work since its last checkpoint must be repeated."""


def stop_if_asked() -> None:
    """Raise `Stopped` if a signal asked for it. Called between batches of an evaluation, which is repeated later."""
    if stop_asked.is_set():
        raise Stopped


class Saver:
    """Writes the checkpoints of one run every `every` steps (0: only at a stop), in at most SHARE of the time."""

    def __init__(self, folder: Path, every: int, saved: int = 0) -> None:
        self.folder, self.every, self.saved, self.not_before = folder, every, saved, 0.0

    def due(self, step: int) -> bool:
        """Return whether to save at the end of `step`. Always true when the run was asked to stop."""
        if step == self.saved:
            return stop_asked.is_set()
        on_time = self.every > 0 and step % self.every == 0 and time.monotonic() >= self.not_before
        return stop_asked.is_set() or on_time

    def save(self, step: int, progress: dict[str, Any], write: Callable[[Path], object], **notes: Any) -> None:
        """Save the files that `write` puts into a folder, with the run's other files. Raise `Stopped` if asked for.

        `progress` is the current content of progress.json. `take_up` returns `notes` in the manifest.
        """
        if step != self.saved:
            start = time.monotonic()
            with replaced_folder(self.folder / "resume" / f"step={step}") as temporary:
                write(temporary)
                for name in AT_BEST:
                    if (self.folder / name).is_file():
                        _link(self.folder / name, temporary / name)
                files = [path for path in temporary.rglob("*") if path.is_file()]
                digests = {path.relative_to(temporary).as_posix(): sha256_of(path) for path in files}
                lengths = {name: path.stat().st_size for name, path in _event_files(self.folder).items()}
                manifest = {"step": step, "progress": progress, "notes": notes, "files": digests, "events": lengths}
                write_json(temporary / MANIFEST, manifest)
            for old in _checkpoints(self.folder)[KEPT:]:
                shutil.rmtree(old)
            self.saved = step
            self.not_before = time.monotonic() + (time.monotonic() - start) / SHARE
            _rotate(self.folder / "train.log")
        stop_if_asked()


def _link(source: Path, target: Path) -> None:
    """Make `target` the same file. This is safe because `source` is only replaced, never written to."""
    try:
        os.link(source, target)
    except OSError:  # a disk without hard links
        shutil.copy2(source, target)


def _rotate(log: Path) -> None:
    """Copy a long log to a second file and empty the first. The writer appends, so it continues in the first."""
    if log.is_file() and log.stat().st_size > LOG_BYTES:
        shutil.copy2(log, log.with_name("train.log.1"))
        os.truncate(log, 0)


def _event_files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted((folder / "tb").glob("*/*tfevents*"))}


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, newest first."""
    steps = {path: path.name.removeprefix("step=") for path in (folder / "resume").glob("step=*")}
    return sorted((path for path in steps if steps[path].isdigit()), key=lambda path: -int(steps[path]))


def _problem(folder: Path, checkpoint: Path) -> str | None:
    """Return why a checkpoint cannot be used, or None."""
    manifest = read_manifest(checkpoint)
    if manifest is None or "files" not in manifest:
        return "its manifest cannot be read"
    for name, digest in manifest["files"].items():
        path = checkpoint / name
        if not path.is_file() or sha256_of(path) != digest:
            return f"{name} is not what was written: cut short or damaged"
    for name, length in manifest["events"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size < length:
            return f"{name} has lost what was logged before it"
    return None


def take_up(folder: Path) -> tuple[Path | None, dict[str, Any], list[str]]:
    """Restore a run folder to the state of its newest intact checkpoint.

    Returns the checkpoint (None if the run starts anew), its manifest, and a sentence for each damaged checkpoint.
    """
    damaged = []
    for checkpoint in _checkpoints(folder):
        problem = _problem(folder, checkpoint)
        if problem is None:
            break
        damaged.append(f"the checkpoint of {checkpoint.name} was not used: {problem}")
        shutil.rmtree(checkpoint)
    else:
        for path in (folder / "resume", folder / "tb"):
            shutil.rmtree(path, ignore_errors=True)
        return None, {}, damaged
    manifest = read_manifest(checkpoint)
    assert manifest is not None
    for name in AT_BEST:
        if name in manifest["files"]:
            put = folder / f".{name}.put"
            put.unlink(missing_ok=True)
            _link(checkpoint / name, put)
            os.replace(put, folder / name)
            put.unlink(missing_ok=True)  # os.replace leaves it if both names are already one file
    for name, path in _event_files(folder).items():
        if name in manifest["events"]:
            os.truncate(path, manifest["events"][name])
        else:
            path.unlink()
    write_json(folder / "progress.json", manifest["progress"])
    return checkpoint, manifest, damaged
