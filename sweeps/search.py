"""Chooses each init's learning rate on texts that are not test texts: `python -m sweeps search`.

Both inits get the same budget: every learning rate, on the same repeated splits, with the same seed. The test split is
the default test split and is never read. Each repeated split draws new training and validation texts from the rest.
The validation split is larger than usual, because 100 examples give a standard error of 3.8 points. The score of a rate
is the validation accuracy at the best step, pooled over the splits. The best step is one of the recipe's evaluation
steps (`recipe.evaluate_every`), as in the runs that the rates are chosen for.
"""

import argparse
import math
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from data_prep.__main__ import prepare
from data_prep.stages import read_manifest
from foundation.counts import counted
from foundation.errors import UsageError
from foundation.whole_files import require_no_dead_link, write_json
from hydra_conf.compose import compose_config
from hydra_conf.words import group_words, parse_list, parse_words, quoted
from sweeps.device import Machine, require_device, resolve_machine, share_machine
from sweeps.folders import read_status
from sweeps.grid import Axes, PlannedRun, compose_runs, parse_train, refuse_axes
from sweeps.planning import prepared_folders
from sweeps.pool import run_all
from sweeps.preflight import preflight
from sweeps.screen import Screen
from sweeps.standing import chosen_in, outcome, to_do

SEED = 1000  # differs from every reported seed


def arguments_of_search(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sweeps search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset")
    add("--model")
    add("--init", default="pretrained,random")
    add("--train", default="all", help="number of training texts, or all (default: %(default)s)")
    add("--learning-rates", default="5e-5,1e-4,2e-4", help="comma-separated (default: %(default)s)")
    add("--splits", type=int, default=2, help="repeated splits (default: %(default)s)")
    add("--valid-size", type=int, default=250, help="validation texts in each (default: %(default)s)")
    add("--device", default="auto")
    add("--precision", default="auto")
    add("--data-dir", type=Path, default=Path("data"))
    add("--runs-dir", type=Path, default=Path("runs"))
    add("overrides", nargs="*", help="Hydra overrides, the same for every run, such as recipe.epochs=4")
    return parse_words(parser, words)


def search(arguments: argparse.Namespace) -> tuple[list[tuple[str, PlannedRun]], Machine]:
    """Prepare the splits and compose the runs. Return (pairs of learning rate and run, the machine)."""
    rates = parse_list("learning rates", arguments.learning_rates)
    inits = parse_list("INIT", arguments.init)
    trains = parse_train(arguments.train)
    if len(trains) > 1 or trains[0] == "halves" or "x" in trains[0]:
        raise UsageError(f"--train {arguments.train}: give one number of training texts, or all, for each search")
    refuse_axes(arguments.overrides, ["fairseq"], ["full"], trains)
    if arguments.splits < 1:
        raise UsageError(f"--splits {arguments.splits}: it must be at least 1")
    roots = {rate: arguments.runs_dir.absolute() / f"search-{rate}" for rate in rates}
    chosen: dict[str, str] = {}
    require_no_dead_link(arguments.runs_dir.absolute(), "RUNS_DIR")
    for root in roots.values():  # one choice for all rates: that of the first rate that has one
        chosen = {**chosen_in(root), **chosen}
    machine = resolve_machine(arguments.device, arguments.precision, chosen)
    words = group_words(dataset=arguments.dataset, model=arguments.model)
    words.append(f"data_dir={quoted(arguments.data_dir.absolute())}")
    asked = [*words, *arguments.overrides]
    default = compose_config(asked).dataset
    runs: list[tuple[str, PlannedRun]] = []
    for split in range(1, arguments.splits + 1):
        drawn = [f"dataset.name={default.name}-split{split}", f"dataset.valid_seed={split}"]
        drawn.append(f"dataset.n_valid={arguments.valid_size}")
        prepare(compose_config([*asked, *drawn]))
        for rate in rates:
            own = [*arguments.overrides, *drawn, f"recipe.learning_rate={rate}", "fairseq.dataset.valid_subset=valid"]
            axes = Axes(["fairseq"], ["full"], inits, [SEED], trains)
            runs += [(rate, run) for run in compose_runs(words, axes, own, machine, roots[rate])]
    for _, run in runs:
        launcher = run.config.launcher
        launcher.jobs, launcher.threads = share_machine(machine, len(runs), launcher.jobs, launcher.threads)
    return runs, machine


def scores(runs: list[tuple[str, PlannedRun]]) -> list[dict[str, Any]]:
    """Return one row for each init and learning rate: pooled validation accuracy (percent), its standard error, n."""
    rows = []
    for init in dict.fromkeys(run.key.init for _, run in runs):
        for rate in dict.fromkeys(rate for rate, _ in runs):
            tried = [run for own_rate, run in runs if own_rate == rate and run.key.init == init]
            folders = [run.folder for run in tried]
            best = [read_status(folder)["progress"]["best_valid"] for folder in folders]
            n, n_correct = sum(one["n"] for one in best), sum(one["n_correct"] for one in best)
            share = n_correct / n
            error = 100 * math.sqrt(share * (1 - share) / n)
            commonest = sum(_of_commonest(run) for run in tried)
            rows.append(
                {
                    "init": init,
                    "train": tried[0].key.train or "all",
                    "learning_rate": rate,
                    "splits": len(best),
                    "n": n,
                    "valid": 100 * share,
                    "commonest": 100 * commonest / n,
                    "standard_error": error,
                    "each": [100 * one["n_correct"] / one["n"] for one in best],
                    "best_steps": [one["step"] for one in best],
                }
            )
    return rows


def _of_commonest(run: PlannedRun) -> int:
    """Return how many validation texts of a run are of the commonest class."""
    manifest = read_manifest(Path(run.config.data_dir) / "splits" / run.config.dataset.name)
    assert manifest is not None  # `search` has prepared it
    return max(manifest["per_class"]["valid"])


def report(rows: list[dict[str, Any]], folder: Path) -> None:
    """Print the scores and write them to `search.json`."""
    table = Table(box=None, header_style="bold")
    for heading in ("init", "learning rate", "valid %", "standard error", "n", "each split", "best steps"):
        table.add_column(heading)
    for row in rows:
        each = ", ".join(f"{value:.1f}" for value in row["each"])
        steps = ", ".join(map(str, row["best_steps"]))
        shown = (f"{row['valid']:.1f}", f"{row['standard_error']:.1f}", str(row["n"]), each, steps)
        table.add_row(row["init"], row["learning_rate"], *shown)
    Console(highlight=False, markup=False).print(table)
    for init in dict.fromkeys(row["init"] for row in rows):
        tried = [row for row in rows if row["init"] == init]
        best = max(tried, key=lambda row: row["valid"])
        print(f"{init}: learning rate {best['learning_rate']}{_at_the_edge(best, tried)}{_if_none_learns(best)}")
    write_json(folder / "search.json", rows)


def _at_the_edge(best: dict[str, Any], tried: list[dict[str, Any]]) -> str:
    """Return a warning if the best rate is the lowest or highest tried: a better rate may lie beyond it."""
    rates = [float(row["learning_rate"]) for row in tried]
    rate = float(best["learning_rate"])
    sides = [side for side, last in (("lower", min(rates)), ("higher", max(rates))) if rate == last]
    if not sides:
        return ""
    what = "the only rate" if len(sides) == 2 else "the lowest rate" if sides == ["lower"] else "the highest rate"
    return f", {what} tried: a {' or '.join(sides)} one may be better; add it to --learning-rates"


def _if_none_learns(best: dict[str, Any]) -> str:
    """Return a warning if the best rate does no better than the commonest class of the validation texts."""
    if best["valid"] > best["commonest"]:
        return ""
    return f"; but no rate does better than the commonest class ({best['commonest']:.1f} %): try others"


def run_search(words: list[str]) -> int:
    """Train every learning rate on every split, and print the scores."""
    arguments = arguments_of_search(words)
    pairs, machine = search(arguments)
    runs = [run for _, run in pairs]
    launcher = runs[0].config.launcher
    left = to_do(runs, force=False, redo="delete its folder to search again")
    if left:
        require_device(machine, "search")
        preflight(left, machine, arguments.overrides)
        with prepared_folders(left, runs, machine, [], False), Screen({run.folder: run.key for run in left}) as screen:
            run_all(left, launcher.jobs, machine.gpus, screen.update, launcher.retries)
    failed = [run for run in runs if not outcome(run)[0]]
    if failed:
        raise UsageError(
            f"{len(failed)} of {counted(len(runs), 'run')} failed, the first {failed[0].folder / 'train.log'}"
        )
    report(scores(pairs), arguments.runs_dir)
    return 0
