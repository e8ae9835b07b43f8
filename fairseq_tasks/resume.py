"""Where a run that is cut goes on: `resume/step=<n>/` in the run folder, for both back ends.

    state.pt, or Trainer's files                what the back end needs to take its next step
    checkpoint_best.pt, predictions.parquet     as they were then (hard links where the disk has them)
    manifest.json                               SHA-256 of each file, progress.json, the length of each event file

A folder gets its name when it is whole, and the one before it is kept beside it: a checkpoint that was cut short, or
has a flipped byte, is noticed by its hashes and the one before it is taken. Saved at a step's end; at an epoch's last
step once the epoch's scalars are written. What was logged after the checkpoint is cut off the event files again,
so that no point is there twice.
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

SHARE = 0.02  # of a run's time at most goes into saving, however small `every`
KEPT = 2  # checkpoints at a time
AT_BEST = ("checkpoint_best.pt", "predictions.parquet")
LOG_BYTES = 5_000_000

stop_asked = threading.Event()  # set by a signal; each process trains one run


class Stopped(BaseException):
    """The run was asked to stop and has; what it had done since its last checkpoint is to be done again."""


def stop_if_asked() -> None:
    """Raise `Stopped` when a signal asked for it; called between two batches of an evaluation, which is done again."""
    if stop_asked.is_set():
        raise Stopped


class Saver:
    """Writes the checkpoints of one run: every `every` steps (0: never), but no more than SHARE of the time."""

    def __init__(self, folder: Path, every: int, saved: int = 0) -> None:
        self.folder, self.every, self.saved, self.not_before = folder, every, saved, 0.0

    def due(self, step: int) -> bool:
        """Whether to save at the end of `step`; always when the run was asked to stop."""
        if step == self.saved:
            return stop_asked.is_set()
        on_time = self.every > 0 and step % self.every == 0 and time.monotonic() >= self.not_before
        return stop_asked.is_set() or on_time

    def save(self, step: int, progress: dict[str, Any], write: Callable[[Path], object], **notes: Any) -> None:
        """Keep what `write` puts into a folder, with the run's other files; raise `Stopped` if that was asked for.

        `progress` is what progress.json says now; `notes` come back from `take_up`.
        """
        if step != self.saved:
            start = time.monotonic()
            with replaced_folder(self.folder / "resume" / f"step={step}") as temporary:
                write(temporary)
                for name in AT_BEST:
                    if (self.folder / name).is_file():
                        _link(self.folder / name, temporary / name)
                files = [path for path in temporary.rglob("*") if path.is_file()]
                write_json(
                    temporary / MANIFEST,
                    {
                        "step": step,
                        "progress": progress,
                        "notes": notes,
                        "files": {path.relative_to(temporary).as_posix(): sha256_of(path) for path in files},
                        "events": {
                            path.relative_to(self.folder).as_posix(): path.stat().st_size
                            for path in _event_files(self.folder)
                        },
                    },
                )
            for old in _checkpoints(self.folder)[KEPT:]:
                shutil.rmtree(old)
            self.saved = step
            self.not_before = time.monotonic() + (time.monotonic() - start) / SHARE
            _rotate(self.folder / "train.log")
        stop_if_asked()


def _link(source: Path, target: Path) -> None:
    """Make `target` the same file: `source` is only ever replaced, never written to."""
    try:
        os.link(source, target)
    except OSError:  # a disk without hard links
        shutil.copy2(source, target)


def _rotate(log: Path) -> None:
    """Keep a long log in two files; whoever writes it appends, so it goes on in the emptied one."""
    if log.is_file() and log.stat().st_size > LOG_BYTES:
        shutil.copy2(log, log.with_name("train.log.1"))
        os.truncate(log, 0)


def _event_files(folder: Path) -> list[Path]:
    return sorted((folder / "tb").glob("*/*tfevents*"))


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, the newest first."""
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
    """Bring a run folder back to where its newest sound checkpoint was made.

    Returns that checkpoint, or None where the run starts anew, its manifest, and a sentence on each that is damaged.
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
            put.unlink(missing_ok=True)  # it stays where both names are one file already
    for path in _event_files(folder):
        length = manifest["events"].get(path.relative_to(folder).as_posix())
        if length is None:
            path.unlink()
        else:
            os.truncate(path, length)
    write_json(folder / "progress.json", manifest["progress"])
    return checkpoint, manifest, damaged
