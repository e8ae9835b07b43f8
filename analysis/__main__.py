"""Turns a sweep's logs into results/<sweep>/: scalars.parquet, figures/, tables/ and summary.json."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from analysis.best_steps import results_of, summary_of
from analysis.event_files import read_sweep
from analysis.figures import write_figures
from analysis.tables import write_tables
from data_prep.whole_files import replaced, write_json
from hydra_conf.errors import UsageError, exit_code
from sweeps.folders import RunKey, find_runs, read_json


def planned_runs(sweep_folder: Path) -> list[RunKey]:
    """Return the runs that sweep.json lists, those that have no folder among them."""
    keys = []
    for text in read_json(sweep_folder / "sweep.json").get("runs", []):
        dataset, model, backend, method, init, seed = text.split("/")
        keys.append(RunKey(dataset, model, backend, method, init, int(seed.removeprefix("seed="))))
    return keys


def classes_of(sweep_folder: Path) -> dict[str, list[str]]:
    """Return the names of each dataset's classes, as its runs recorded them."""
    found = {}
    for key, folder in find_runs(sweep_folder).items():
        labels = read_json(folder / "provenance.json").get("inputs", {}).get("labels")
        if labels:
            found[key.dataset] = labels
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis", description=__doc__)
    parser.add_argument("--sweep", default="default", help="name of the sweep (default: %(default)s)")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--results-dir", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    sweep_folder = arguments.runs_dir / arguments.sweep
    scalars, states = read_sweep(sweep_folder)
    results, classes = results_of(scalars, states, planned_runs(sweep_folder)), classes_of(sweep_folder)
    if scalars.empty:
        raise UsageError(f"{sweep_folder} holds no run that is done; `make sweep SWEEP={arguments.sweep}` makes some")
    folder = arguments.results_dir / arguments.sweep
    try:
        with replaced(folder / "scalars.parquet") as temporary:
            scalars.to_parquet(temporary, index=False)
        figures = write_figures(folder / "figures", scalars)
        write_tables(folder / "tables", results, classes)
        write_json(folder / "summary.json", summary_of(arguments.sweep, results, classes))
    except OSError as error:
        raise UsageError(f"{error.filename or folder}: {error.strerror}; give another RESULTS_DIR") from error
    Console(highlight=False).print((folder / "tables" / "results.md").read_text(encoding="utf-8"), soft_wrap=True)
    print("\n".join(f"figure  {path}" for path in figures))
    print(f"tables  {folder / 'tables'}\nsummary {folder / 'summary.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
