"""Turns a sweep's logs into results/<sweep>/: report.html, report.md, figures/, tables/ and the numbers behind them.

scalars.parquet holds every scalar, summary.json the accuracies, tables/runs.csv a row of them for each run,
statistics.json the intervals and tests, verdicts.json what became of the published numbers. Nothing is done when
nothing has changed.
"""

import argparse
import hashlib
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

from analysis import THRESHOLD
from data_prep.stages import MANIFEST
from foundation.errors import UsageError, exit_code
from foundation.whole_files import replaced, require_no_dead_link, write_json, write_text
from sweeps.folders import RunKey, find_runs, read_json, require_name, texts_in

READ = ("status.json", "progress.json", "predictions.parquet", "provenance.json", "config.yaml")
MADE = (
    "report.html",
    "report.md",
    "scalars.parquet",
    "summary.json",
    "statistics.json",
    "verdicts.json",
    "tables/results.md",
    "tables/results.csv",
    "tables/results.tex",
    "tables/runs.csv",
)


def planned_runs(sweep_folder: Path) -> list[RunKey]:
    """Return the runs that sweep.json lists, including runs without a folder."""
    return [RunKey.parse(text) for text in texts_in(read_json(sweep_folder / "sweep.json"), "runs")]


def state_of(path: Path) -> list[int] | None:
    """Return a file's size (bytes) and modification time (ns), or None when there is no such file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]


def made_from(sweep_folder: Path, data_dir: Path, threshold: float) -> dict[str, Any]:
    """Return everything the results depend on: the runs' files, the data's manifests, this program, its settings."""
    program = hashlib.sha256()
    for path in sorted(Path(__file__).parent.iterdir()):
        if path.is_file():
            program.update(path.read_bytes())
    paths = [sweep_folder / "sweep.json"]
    for key, folder in find_runs(sweep_folder).items():
        paths += [*(folder / name for name in READ), *(folder / "tb").glob("*/*tfevents*")]
        paths += [data_dir / "splits" / key.dataset / MANIFEST, data_dir / "models" / key.model / "model.pt"]
        paths.append(data_dir / "models" / key.model / "pretraining.json")
        paths.append(data_dir / "bin" / f"{key.dataset}.{key.model}" / MANIFEST)
    found = {str(path): state_of(path) for path in paths}
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    return {"files": digest, "program": program.hexdigest(), "threshold": threshold}


def make_results(sweep: str, sweep_folder: Path, folder: Path, data_dir: Path, threshold: float) -> None:
    """Read the sweep's logs and write everything in `folder`. Raises `UsageError` when no run has a test accuracy."""
    # imported here, because a report that is up to date needs none of it
    from analysis.alike import keep_alike
    from analysis.best_steps import results_of, summary_of
    from analysis.bought import bought, dose_sentences, parts_of, tables_of
    from analysis.dose import dose_curves, held_out_losses
    from analysis.event_files import read_sweep
    from analysis.evidence import as_json, gather_evidence
    from analysis.figures import write_figures
    from analysis.labels import label_curves
    from analysis.ladder import ladders
    from analysis.longer import longer_trainings
    from analysis.notes import nothing_to_report, problems_of_logs, unrecorded
    from analysis.parameters import encoder_weights
    from analysis.probe import simple_fits
    from analysis.report import write_report
    from analysis.sections import Material
    from analysis.tables import foot, results_table, runs_table, write_tables
    from analysis.verdict import as_json as verdicts_as_json
    from analysis.verdict import claim_verdicts, number_verdicts, published, published_groups

    logs = read_sweep(sweep_folder)
    folders = {str(key): path for key, path in find_runs(sweep_folder).items()}
    results = keep_alike(results_of(logs, planned_runs(sweep_folder)), folders)
    evidence = gather_evidence(results, folders, threshold)
    if not evidence.groups:
        raise UsageError(nothing_to_report(sweep, sweep_folder, results))
    classes = {group.names["dataset"]: names for group in evidence.groups if (names := group.inputs.get("labels"))}
    doses, without_doses = dose_curves(evidence)
    labels, without_labels = label_curves(evidence)
    of_inits, without_ladders = ladders(evidence)
    longer, without_longer = longer_trainings(evidence)
    baselines, fits, without = simple_fits(evidence, doses, folders, data_dir, folder / "baselines.json")
    problems = [*problems_of_logs(logs, results), *unrecorded(evidence, folders), *without]
    weights = encoder_weights(published()["model"], data_dir) if published_groups(evidence) else None
    numbers, claims = number_verdicts(evidence, weights), claim_verdicts(evidence)
    with replaced(folder / "scalars.parquet") as temporary:
        logs.scalars.to_parquet(temporary, index=False)
    material = Material(
        sweep=sweep,
        sweep_folder=sweep_folder,
        data_dir=data_dir,
        folder=folder,
        results=results,
        evidence=evidence,
        baselines=baselines,
        fits=fits,
        losses=held_out_losses(doses, data_dir),
        doses=doses,
        without_doses=without_doses,
        labels=labels,
        without_labels=without_labels,
        longer=longer,
        without_longer=without_longer,
        ladders=of_inits,
        without_ladders=without_ladders,
        numbers=numbers,
        claims=claims,
        table=results_table(results, evidence, baselines, fits),
        problems=problems,
        folders=folders,
        scalars=logs.scalars,
    )
    pictures = write_figures(material)
    parts = parts_of(material)
    below = foot(results, evidence, classes, problems, dose_sentences(material), bought(material))
    write_tables(folder / "tables", material.table, below, tables_of(parts))
    of = {"sweep_folder": str(sweep_folder.resolve())}
    summary = summary_of(sweep, results, classes)
    write_json(folder / "summary.json", {**of, **summary})
    write_text(folder / "tables" / "runs.csv", runs_table(results, evidence).to_csv(index=False))
    write_json(folder / "statistics.json", as_json(evidence))
    write_json(folder / "verdicts.json", verdicts_as_json(numbers, claims))
    write_report(material, pictures, parts)


def percentage(text: str) -> float:
    """Return a threshold in percent. Raises `UsageError` unless it is above 0 and at most 100."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 100:
        raise UsageError(f"--threshold {text}: give a percentage above 0 and up to 100, such as 75")
    return value


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m analysis", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sweep", default="default", help="name of the sweep (default: %(default)s)")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--results-dir", type=Path, default=Path("results"))
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="for the baselines and the data card")
    parser.add_argument(
        "--threshold",
        type=percentage,
        default=THRESHOLD,
        metavar="PERCENT",
        help="test accuracy whose first step is compared (default: %(default)s)",
    )
    arguments = parser.parse_args()
    require_name(arguments.sweep)
    require_no_dead_link(arguments.results_dir.absolute(), "RESULTS_DIR")
    start = time.monotonic()
    sweep_folder, folder = arguments.runs_dir / arguments.sweep, arguments.results_dir / arguments.sweep
    source = made_from(sweep_folder, arguments.data_dir, arguments.threshold)
    is_current = read_json(folder / "made_from.json") == source and all((folder / name).is_file() for name in MADE)
    if not is_current:
        try:
            make_results(arguments.sweep, sweep_folder, folder, arguments.data_dir, arguments.threshold)
            write_json(folder / "made_from.json", source)
        except OSError as error:
            raise UsageError(f"{error.filename or folder}: {error.strerror}; give another RESULTS_DIR") from error
    print((folder / "tables" / "results.md").read_text(encoding="utf-8"))
    print(f"report  {folder / 'report.html'}\nfigures {folder / 'figures'}\ntables  {folder / 'tables'}")
    print(f"{'up to date' if is_current else 'made'} in {time.monotonic() - start:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
