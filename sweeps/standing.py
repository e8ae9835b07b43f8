"""Compares a run's folder with the requested run. Every part of a sweep decides by the state found here.

The plan looks up the state, and each start of a run looks it up again. The run's own process checks the digest of its
configuration. `python -m sweeps status` shows the state.

    absent   the folder holds nothing to go on from
    cut      the run was interrupted and has a checkpoint; it goes on from there
    owned    a living process trains the run, or a job for it waits in a cluster's queue
    done     the run is done
    failed   the run has failed; it goes on from its checkpoint if it has one
    other    the run was made from another configuration or other data, or another sweep is about to make it from them
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from filelock import Timeout
from omegaconf import DictConfig, OmegaConf

from foundation.errors import UsageError
from foundation.whole_files import sha256_of, write_json, write_text
from sweeps.device import ALLOWED
from sweeps.folders import (
    acquire,
    delete,
    find_runs,
    is_held,
    is_known,
    is_owned,
    lock_of,
    read_json,
    read_status,
    set_status,
    sweep_folder_of,
    texts_in,
)
from sweeps.grid import PlannedRun, resolved_yaml
from sweeps.provenance import comparable, differing_inputs, differing_keys

REDO = "FORCE=1 redoes it, another SWEEP keeps both"
ABSENT, CUT, OWNED, DONE, FAILED, OTHER = "absent", "cut", "owned", "done", "failed", "other"


@dataclass(frozen=True)
class Standing:
    """The state of a run's folder, compared with a requested run.

    `differs` names the keys and inputs in which an `other` run differs. `step` is the step of the last checkpoint.
    `holds` says what would be lost or disturbed if the folder were emptied. It is empty if nothing would be.
    `digest` is the SHA-256 of the configuration in the folder. The run's process must find the same configuration.
    """

    state: str
    differs: list[str]
    step: int | None
    holds: str
    digest: str | None

    @property
    def goes_on(self) -> bool:
        return self.state in (CUT, FAILED) and self.step is not None


def standing(folder: Path, asked: PlannedRun | None = None, is_queued: bool = False, ours: bool = False) -> Standing:
    """Compare `folder` with the run `asked`. Without `asked`, the state is never `other` and the digest is None.

    `is_queued`: a job for the run waits in a cluster's queue. `ours`: the caller holds the folder's lock.
    """
    status, step = read_status(folder), last_step(folder)
    idle = ABSENT if step is None else CUT
    state = {"done": DONE, "failed": FAILED, "running": OWNED}.get(status["state"], idle)
    if not ours and state != DONE and (is_queued or is_owned(folder)):
        state = OWNED
    elif ours and state == OWNED:  # its process was killed, or it would hold the lock
        state = idle
    differs = _differences(folder, asked, state, step) if asked else []
    holds = {DONE: "is done", OWNED: "is being trained, or about to be"}.get(state, "")
    if not holds and step is not None:
        holds = f"has a checkpoint of step {step}"
    elif not holds and (folder / "checkpoint_best.pt").is_file() and (differs or not is_known(folder)):
        holds = "has a checkpoint_best.pt"
        holds += "" if is_known(folder) else ", and its status.json does not say what became of the run"
    elif not holds and differs and is_claimed(folder):
        holds = "is about to be trained by another sweep"
    config = folder / "config.yaml"
    digest = sha256_of(config) if asked and config.is_file() else None
    return Standing(OTHER if differs else state, differs, step, holds, digest)


def last_step(folder: Path) -> int | None:
    """Return the step of a run's newest checkpoint to go on from, or None without a checkpoint."""
    steps = [path.name.removeprefix("step=") for path in folder.glob("resume/step=*")]
    return max((int(step) for step in steps if step.isdigit()), default=None)


def _differences(folder: Path, asked: PlannedRun, state: str, step: int | None) -> list[str]:
    """Return how the run in the folder differs: `key: stored -> asked` for each key, and the names of the inputs.

    A run that has not begun differs only where an earlier command asked for something else.
    """
    if not (folder / "config.yaml").is_file():
        return ["config.yaml: absent"] if state in (DONE, CUT, OWNED) else []
    stored = stored_config(folder)
    if stored is None:
        return ["config.yaml: it cannot be read"]
    differ = differing_keys(comparable(stored), comparable(asked.config))
    made_from = read_json(folder / "provenance.json").get("inputs")
    if made_from is not None or state == DONE or step is not None:
        differ += differing_inputs(made_from if isinstance(made_from, dict) else {}, asked.inputs)
    return differ


def stored_config(folder: Path) -> DictConfig | None:
    """Return the configuration in a run's folder, or None if it cannot be read."""
    try:
        stored = OmegaConf.load(folder / "config.yaml")
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return stored if isinstance(stored, DictConfig) and "data_dir" in stored else None  # a whole one has this key


def to_do(
    runs: list[PlannedRun], force: bool, queued: frozenset[Path] = frozenset(), redo: str = REDO
) -> list[PlannedRun]:
    """Return the runs that are not done yet, also those that another sweep is training. With `force`, return all runs.

    Raises `UsageError` in three cases: a run that is done, cut, in training or about to be trained has another
    configuration or other data; a run has a checkpoint_best.pt but no known state; or `force` asks to redo a run that
    is being trained. `redo` tells the user how a run can be redone.
    """
    left = []
    for run in runs:
        found = standing(run.folder, run, run.folder in queued)
        is_busy = run.folder in queued or is_owned(run.folder) or (found.state == OTHER and is_claimed(run.folder))
        _refuse(run, found, force, is_busy, redo)
        if force or found.state != DONE:
            left.append(run)
    return left


def _refuse(run: PlannedRun, found: Standing, force: bool, is_busy: bool, redo: str = REDO) -> None:
    """Raise `UsageError` if the requested run may not use the folder. `redo` tells the user how to redo the run."""
    if force and is_busy:
        raise UsageError(f"{run.key} is being trained, or about to be; wait for it, or stop it")
    is_lost = found.state == ABSENT and bool(found.holds)
    if force or not found.holds or (found.state != OTHER and not is_lost):
        return
    what_to_do = "wait for it, or give another SWEEP" if is_busy else redo
    why = "" if is_lost else f", with another configuration ({'; '.join(found.differs)})"
    raise UsageError(f"{run.key} {found.holds}{why}; {what_to_do}")


def prepare(run: PlannedRun, force: bool, claim: Path) -> str | None:
    """Prepare the folder of a run for training. If an earlier attempt is discarded, return a line that says why.

    Without `force`, a run that is done or goes on keeps its folder. A run that goes on keeps its number of threads
    unless the user asks for another number, and takes over all other launcher settings. If another sweep trains the run
    or is going to, the folder stays as it is. Any other folder is emptied, and gets the requested configuration and the
    hashes of the data. `claim` is the lock file that shows that this sweep is alive. Raises `UsageError` as in `to_do`.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    try:
        with lock_of(run.folder).acquire(timeout=0):
            found = standing(run.folder, run, ours=True)
            if is_claimed(run.folder):
                if force or found.state == OTHER:
                    raise UsageError(f"{run.key} is about to be trained by another sweep; wait for it, or stop it")
                _claim(run.folder, claim)  # this sweep trains the run if the other sweep dies
                return None
            if not force:
                if found.state == DONE:
                    return None  # another sweep was faster
                _refuse(run, found, force, is_busy=False)
                if found.goes_on:
                    _take_over(run)
                    _claim(run.folder, claim)
                    return None
            attempts = read_json(run.folder / "status.json").get("attempts", 0)
            has_weights = any(run.folder.rglob("*.pt"))
            delete(list(run.folder.iterdir()))
            write_text(run.folder / "config.yaml", resolved_yaml(run.config))
            write_json(run.folder / "provenance.json", {"inputs": run.inputs})
            set_status(run.folder, state="pending", attempts=attempts)
            _claim(run.folder, claim)
            return _why_anew(run, found, force) if attempts or has_weights else None
    except Timeout as error:
        if force:
            raise UsageError(f"{run.key} is being trained by another process; wait for it, or stop it") from error
        return None  # the start of the run checks again


def _take_over(run: PlannedRun) -> None:
    """Write the requested configuration. Only paths and launcher settings differ from the stored configuration."""
    stored = stored_config(run.folder)
    run.config.launcher.threads = run.typed_threads or (stored or run.config).launcher.threads
    write_text(run.folder / "config.yaml", resolved_yaml(run.config))


def _why_anew(run: PlannedRun, found: Standing, force: bool) -> str:
    if force:
        why = f"FORCE=1 (it {found.holds})" if found.holds else "FORCE=1"
    elif found.differs:
        why = f"it has no checkpoint to go on from, and is asked for otherwise ({'; '.join(found.differs)})"
    else:
        why = "it has no checkpoint to go on from"
    return f"{run.key} starts anew: {why}"


def to_start(run: PlannedRun, attempts: int) -> str | None:
    """Return the digest of the configuration that the run's process must find, or None if the run must not start.

    The run must not start if it is done, if its folder is `other`, or if it has failed in another process since its
    count of attempts was `attempts`.
    """
    found = standing(run.folder, run)
    tried = read_json(run.folder / "status.json").get("attempts", 0)
    failed_elsewhere = read_json(run.folder / "status.json").get("state") == "failed" and tried > attempts
    return None if found.state in (DONE, OTHER) or failed_elsewhere else found.digest


def outcome(run: PlannedRun) -> tuple[bool, str]:
    """Return whether the run is done as requested, and a text that says why not."""
    found = standing(run.folder, run)
    if found.state == OTHER:
        return False, f"another sweep has asked for it with another configuration ({'; '.join(found.differs)})"
    status = read_status(run.folder)
    begun = "it was asked to stop; the same command goes on" if status.get("attempts") else "it was not begun"
    return found.state == DONE, str(status.get("error") or begun)


@contextmanager
def claimed(root: Path) -> Iterator[Path]:
    """Hold a lock file in the sweep's folder. The sweep's pending runs are reserved as long as the file is held."""
    marker = root / f".sweep-{socket.gethostname()}-{os.getpid()}"
    root.mkdir(parents=True, exist_ok=True)
    with acquire(marker):
        yield marker


def is_claimed(folder: Path) -> bool:
    """Return whether a living sweep is going to train the run."""
    return bool(_living_claims(folder))


def _living_claims(folder: Path) -> list[str]:
    claims = read_json(folder / "status.json").get("claims", [])
    return [claim for claim in claims if is_held(sweep_folder_of(folder) / claim)]


def _claim(folder: Path, claim: Path) -> None:
    """Add this sweep to the sweeps that are going to train the run, in its status. The caller must hold its lock."""
    others = [name for name in _living_claims(folder) if name != claim.name]
    set_status(folder, claims=[*others, claim.name])


def chosen_in(root: Path) -> dict[str, str]:
    """Return the values of DEVICE=auto and PRECISION=auto from the start of the sweep, {} if it has not begun."""
    chosen = read_json(root / "sweep.json").get("auto")
    if isinstance(chosen, dict) and all(str(chosen[name]) in ALLOWED.get(name, ALLOWED) for name in chosen):
        return chosen
    for folder in find_runs(root).values():  # for a sweep whose sweep.json is lost, damaged or older
        if stored := stored_config(folder):
            return {"device": stored.device, stored.device: stored.precision.name}
    return {}


def keep_precision(run: PlannedRun) -> None:
    """Keep the precision of a run that has begun: PRECISION=auto asks for no other precision."""
    stored = stored_config(run.folder)
    if stored is not None and standing(run.folder).state != ABSENT and stored.device == run.config.device:
        run.config.precision.name = stored.precision.name


def is_wanted(folder: Path) -> bool:
    """Return whether a living process trains the run, or a living sweep is going to train it."""
    return is_owned(folder) or is_claimed(folder)


def list_runs(root: Path, runs: list[PlannedRun], commands: list[str], auto: dict[str, str]) -> None:
    """Write sweep.json: all runs of the sweep, the commands that asked for them, and the values of `auto`.

    Raises `UsageError` if another command has chosen other values since `auto` was looked up.
    """
    path = root / "sweep.json"
    root.mkdir(parents=True, exist_ok=True)
    with acquire(root / ".lock"):
        before = read_json(path)
        if {**auto, **chosen_in(root)} != auto:
            raise UsageError(f"another command has begun {root} at this moment, on other terms; call again")
        listed = {*texts_in(before, "runs"), *(str(run.key) for run in runs)}
        given = list(dict.fromkeys([*texts_in(before, "commands"), *commands]))
        write_json(path, {"runs": sorted(listed), "commands": given, "auto": auto})
