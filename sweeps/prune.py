"""Deletes checkpoints that are no longer needed: `python -m sweeps prune`."""

import argparse
import shutil
from pathlib import Path

from foundation.counts import counted
from foundation.errors import UsageError
from sweeps.folders import RunKey, find_runs, read_json


def prune_sweep(words: list[str]) -> int:
    """Delete the checkpoints of the runs that are done and in the report.

    Event files, predictions, adapters and everything else that a report needs stay.
    """
    parser = argparse.ArgumentParser(prog="python -m sweeps prune", description=prune_sweep.__doc__)
    parser.add_argument("--sweep", default="default")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--results-dir", type=Path, default=Path("results"))
    arguments = parser.parse_args(words)
    root = arguments.runs_dir / arguments.sweep
    found = find_runs(root)
    path = arguments.results_dir / arguments.sweep / "summary.json"
    if not found:
        raise UsageError(f"{root} holds no run; give --sweep a name of a folder in {arguments.runs_dir}")
    if not path.is_file():
        raise UsageError(f"{path} is not there: the sweep was not analysed; run `make figures` first")
    summary = read_json(path)
    if summary.get("sweep_folder") != str(root.resolve()):
        raise UsageError(f"{path} is of {summary.get('sweep_folder', 'other runs')}; run `make figures` first")
    names = RunKey.__dataclass_fields__
    in_report = {
        RunKey(**{name: run[name] for name in names if name in run})
        for run in summary["runs"]
        if run["test"] is not None
    }
    pruned, freed = prune([found[key] for key in found if key in in_report], path.stat().st_mtime)
    print(f"{pruned} of {counted(len(found), 'run')} pruned, {freed / 1e6:.1f} MB freed")
    return 0


def prune(runs: list[Path], analysed: float) -> tuple[int, int]:
    """Delete the checkpoints of the runs that were done before `analysed` (seconds since the epoch).

    Everything that a report needs stays, and so does the adapter of a LoRA run. Returns (runs pruned, bytes freed).
    """
    n_pruned = freed = 0
    for folder in runs:
        status = folder / "status.json"
        if read_json(status).get("state") != "done" or status.stat().st_mtime > analysed:
            continue
        left = [*folder.glob("checkpoint*.pt"), *folder.glob("resume/**/*"), *folder.glob(".*.put")]
        checkpoints = [path for path in left if path.is_file()]
        freed += sum(path.stat().st_size for path in checkpoints if path.stat().st_nlink == 1)
        for path in checkpoints:
            path.unlink()
        shutil.rmtree(folder / "resume", ignore_errors=True)
        n_pruned += bool(checkpoints)
    return n_pruned, freed
