"""Runs a sweep: every init with every seed, on prepared data.

`python -m sweeps status` shows where it stands; `python -m sweeps prune` deletes checkpoints that nobody needs any
more; `python -m sweeps search` chooses learning rates on texts that are not test texts.
"""

import argparse
import contextlib
import importlib.util
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO, cast

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from data_prep.whole_files import require_no_dead_link
from hydra_conf.compose import choices, compose_config, group_words, quoted
from hydra_conf.counts import counted
from hydra_conf.errors import LastingOutput, UsageError, exit_code
from sweeps import slurm
from sweeps.commands import commands_of
from sweeps.device import Machine, choice_of, cluster_machine, require_device, resolve_machine, share_machine
from sweeps.folders import RunKey, find_runs, prune, read_status
from sweeps.grid import Axes, PlannedRun, compose_runs, parse_list, parse_seeds, refuse_axes
from sweeps.pool import SweepInterrupted, run_all, start_server
from sweeps.preflight import preflight
from sweeps.screen import COLOURS, Progress, duration, short_names, shown_status, status_table
from sweeps.search import arguments_of_search, report, scores, search
from sweeps.standing import (
    DONE,
    FAILED,
    chosen_in,
    claimed,
    is_wanted,
    keep_precision,
    list_runs,
    outcome,
    prepare,
    standing,
    to_do,
)

WATCH_SECONDS = 5.0


def arguments_of_run() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sweeps", description=__doc__)
    add = parser.add_argument
    add("--dataset", help=f"one of: {', '.join(choices('dataset'))} (default: amazon_fr)")
    add("--model", help=f"one of: {', '.join(choices('model'))}; or path/to/folder (default: e5_small_fr)")
    add("--init", default="pretrained,random", help=f"comma-separated, of: {', '.join(choices('init'))}")
    add("--seeds", default="0,1,2", help="comma-separated whole numbers (default: %(default)s)")
    add("--method", default="full", help=f"comma-separated, of: {', '.join(choices('method'))}")
    add("--backend", default="fairseq", help=f"comma-separated, of: {', '.join(choices('backend'))}")
    add("--experiment", default="none", help=f"one of: {', '.join(choices('experiment'))}")
    add("--epochs", help="passes over the training split (default: the recipe's)")
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--precision", help=f"one of: {', '.join(choices('precision'))} (default: auto, or what the experiment says)")
    add("--launcher", default="local", help=f"one of: {', '.join(choices('launcher'))}")
    add("--jobs", help="runs at a time (default: one a GPU, or one a CPU core)")
    add("--no-wait", action="store_true", help="slurm: return when all jobs are submitted")
    add("--sweep", default="default", help="name of the sweep: runs/<sweep>, results/<sweep> (default: %(default)s)")
    add("--force", action="store_true", help="redo every run asked for, done ones too")
    add("--data-dir", type=Path, default=Path("data"))
    add("--runs-dir", type=Path, default=Path("runs"))
    add("overrides", nargs="*", help="Hydra overrides, such as fairseq.optimization.lr=[2e-5]")
    return parser


def plan(arguments: argparse.Namespace) -> tuple[list[PlannedRun], Machine]:
    """Return the runs that the arguments ask for, configured down to jobs and threads, and the machine."""
    axes = Axes(
        backends=parse_list("BACKEND", arguments.backend), methods=parse_list("METHOD", arguments.method),
        inits=parse_list("INIT", arguments.init), seeds=parse_seeds(arguments.seeds),
    )  # fmt: skip
    require_transformers(axes)
    refuse_axes(arguments.overrides, axes.backends, axes.methods)
    if arguments.sweep in ("", "..") or Path(arguments.sweep).name != arguments.sweep:
        raise UsageError(f"SWEEP={arguments.sweep}: it names one folder, without a slash")
    names = ("dataset", "model", "launcher", "experiment", "precision", "device")
    words = group_words(**{name: getattr(arguments, name) for name in names})
    words.append(f"data_dir={quoted(arguments.data_dir.absolute())}")
    words += [f"recipe.epochs={arguments.epochs}"] if arguments.epochs else []
    words += [f"launcher.jobs={arguments.jobs}"] if arguments.jobs else []
    if arguments.precision and arguments.precision not in choices("precision"):
        raise UsageError(f"PRECISION={arguments.precision}: choose from {', '.join(choices('precision'))}")
    root = arguments.runs_dir.absolute() / arguments.sweep
    require_no_dead_link(root, "RUNS_DIR")
    (backend, method), init = axes.pairs()[0], axes.inits[0]
    first = [f"backend={backend}", f"method={method}", f"init={init}"]
    composed = compose_config([*words, *first, *arguments.overrides])
    launcher, precision = composed.launcher, composed.precision.name
    if launcher.name == "local":
        machine = resolve_machine(arguments.device, precision, chosen_in(root))
    else:
        require_launcher(launcher)
        machine = cluster_machine(arguments.device, precision, launcher.gpus, chosen_in(root))
    if arguments.no_wait and launcher.name != "slurm":
        raise UsageError(f"WAIT=0 needs LAUNCHER=slurm: runs of LAUNCHER={launcher.name} end with the command that "
                         "started them")  # fmt: skip
    runs = compose_runs(words, axes, arguments.overrides, machine, root)
    for run in runs if precision == "auto" else []:
        keep_precision(run)
    if launcher.name == "local":
        jobs, threads = share_machine(machine, len(runs), launcher.jobs, launcher.threads)
        for run in runs:
            run.config.launcher.jobs, run.config.launcher.threads = jobs, threads
    return runs, machine


def require_launcher(launcher: DictConfig) -> None:
    """Raise `UsageError` when what the launcher needs is not installed."""
    package = {"slurm": "submitit", "ray": "ray"}[launcher.name]
    if importlib.util.find_spec(package) is None:
        raise UsageError(f"LAUNCHER={launcher.name} needs {package}, which is not installed; "
                         "run `make setup EXTRAS=dev,cluster`")  # fmt: skip
    if launcher.threads is None:
        raise UsageError(f"launcher.threads: say how many CPU threads a run of LAUNCHER={launcher.name} gets")


def require_transformers(axes: Axes) -> None:
    """Raise `UsageError` when BACKEND=hf is asked for without its extra, or nothing that is asked for exists."""
    if not axes.pairs():
        raise UsageError("METHOD=lora needs BACKEND=hf: adapters are trained with transformers and peft")
    if "hf" in axes.backends and not all(importlib.util.find_spec(name) for name in ("transformers", "peft")):
        raise UsageError(
            "BACKEND=hf needs transformers and peft, which are not installed; run `make setup EXTRAS=dev,hf`"
        )
    for backend, method in axes.left_out():
        print(f"  there is no METHOD={method} with BACKEND={backend}; these runs are left out", flush=True)


@contextmanager
def prepared_folders(
    left: list[PlannedRun], runs: list[PlannedRun], root: Path, commands: list[str], force: bool, auto: dict[str, str],
    queued: frozenset[Path] = frozenset(),
) -> Iterator[None]:  # fmt: skip
    """List the whole sweep, make the folders of the runs that are left ready, and hold this sweep's claim on them.

    Runs whose jobs wait in a cluster's queue are left as they are. A line is printed for each folder that is emptied.
    """
    with ExitStack() as held:
        try:
            list_runs(root, runs, commands, auto)
            claim = held.enter_context(claimed(root))
            for run in left:
                if run.folder not in queued and (emptied := prepare(run, force, claim)):
                    print(f"  {emptied}", flush=True)
        except OSError as error:
            raise UsageError(f"{error.filename or root} cannot be written ({error.strerror}); "
                             "give another RUNS_DIR") from error  # fmt: skip
        yield


def sweep(arguments: argparse.Namespace) -> int:
    """Run what is left of the sweep; return 0 when all its runs are done, 1 when one failed."""
    start = time.monotonic()
    console = Console(highlight=False, markup=False)
    runs, machine = plan(arguments)
    root = arguments.runs_dir.absolute() / arguments.sweep
    queued = slurm.queued(run.folder for run in runs)
    left = to_do(runs, arguments.force, queued)
    launcher = runs[0].config.launcher
    if left and launcher.name == "local":
        require_device(machine, arguments.sweep)
    done = len(runs) - len(left)
    console.print(f"sweep {arguments.sweep}: {counted(len(runs), 'run')}, {done} done already, {len(left)} to do")
    if left:
        first = runs[0].config
        console.print(
            f"  {first.dataset.name}, {first.model.name}; "
            f"{machine.device} {machine.precision}, {launcher.jobs or 'as many as the cluster gives'} at a time, "
            f"{counted(launcher.threads, 'thread')} each"
        )
        for kind in dict.fromkeys((run.key.backend, run.key.method, run.key.init) for run in runs):
            of_kind = [run for run in runs if (run.key.backend, run.key.method, run.key.init) == kind]
            config = of_kind[0].config
            seeds = ", ".join(str(run.key.seed) for run in of_kind)
            console.print(
                f"  {' '.join(kind)}: seed{'s' if len(of_kind) > 1 else ''} {seeds}; "
                f"{counted(config.recipe.epochs, 'epoch')}, learning rate "
                f"{', '.join(f'{float(rate):g}' for rate in config.fairseq.optimization.lr)}"
            )
        if launcher.name == "local":
            start_server(left[0], machine.gpus)
        preflight(left, machine, arguments.overrides)
        for run in left:
            found = standing(run.folder, run)
            if found.goes_on and not arguments.force:
                console.print(f"  {run.key} goes on from step {found.step}")
        auto = choice_of(machine, chosen_in(root))
        with prepared_folders(
            left, runs, root, commands_of(arguments, arguments_of_run()), arguments.force, auto, queued
        ):
            if launcher.name == "slurm":
                jobs = slurm.submit([run for run in left if run.folder not in queued], launcher, root, arguments.sweep)
                which = f": {jobs[0]} to {jobs[-1]}" if jobs else ""
                console.print(f"  {counted(len(queued), 'job')} in SLURM's queue already, {len(jobs)} submitted{which}")
            if arguments.no_wait:
                console.print(f"`python -m sweeps status --sweep {arguments.sweep} --watch` follows them")
                return 0
            with Progress({run.folder: run.key for run in left}) as progress:
                launch(left, launcher, machine, progress.update)
    for run in runs:
        for note in read_status(run.folder).get("notes", []):
            console.print(Text("note", "yellow"), f"{run.key}: {note}")
    failed = [(run, said) for run, (is_done, said) in ((run, outcome(run)) for run in runs) if not is_done]
    for run, said in failed:
        console.print(Text("failed", "bold red"), f"{run.key}: {said}")
        console.print(f"  log: {run.folder / 'train.log'}")
    took = f" in {duration(time.monotonic() - start)}" if left else " already"
    console.print(f"{len(runs) - len(failed)} of {counted(len(runs), 'run')} done{took}")
    return 1 if failed else 0


def launch(runs: list[PlannedRun], launcher: DictConfig, machine: Machine, on_poll: Callable[[], None]) -> None:
    """Train the runs, or wait for those that SLURM trains."""
    if launcher.name == "slurm":
        slurm.follow([run.folder for run in runs], on_poll)
    elif launcher.name == "ray":
        from sweeps.ray_tasks import run_on_ray

        run_on_ray(runs, launcher, on_poll)
    else:
        run_all(runs, launcher.jobs, machine.gpus, on_poll, launcher.retries)


def show_status(words: list[str]) -> int:
    """`python -m sweeps status`: the state of every run of a sweep."""
    parser = argparse.ArgumentParser(prog="python -m sweeps status", description=show_status.__doc__)
    parser.add_argument("--sweep", default="default")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--watch", action="store_true", help="go on until every run has ended")
    arguments = parser.parse_args(words)
    found = find_runs(arguments.runs_dir / arguments.sweep)
    if not found:
        raise UsageError(f"{arguments.runs_dir / arguments.sweep} holds no run; `make sweep` makes some")
    if arguments.watch:
        watch(found)
    else:
        names = short_names({folder: key for key, folder in found.items()})
        rows = [(name, shown_status(folder), "-") for name, folder in zip(names, found.values(), strict=True)]
        Console(highlight=False, markup=False).print(status_table(rows))
        states = Counter(status["state"] for _, status, _ in rows)
        print(", ".join(f"{states[state]} {state}" for state in COLOURS if states[state]))
    return 0


def prune_sweep(words: list[str]) -> int:
    """`python -m sweeps prune`: delete the checkpoints of the runs that are done and in the report.

    Event files, predictions, adapters and all that a report is made from stay.
    """
    parser = argparse.ArgumentParser(prog="python -m sweeps prune", description=prune_sweep.__doc__)
    parser.add_argument("--sweep", default="default")
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--results-dir", type=Path, default=Path("results"))
    arguments = parser.parse_args(words)
    found = find_runs(arguments.runs_dir / arguments.sweep)
    summary = arguments.results_dir / arguments.sweep / "summary.json"
    if not found:
        raise UsageError(f"{arguments.runs_dir / arguments.sweep} holds no run")
    if not summary.is_file():
        raise UsageError(f"{summary} is not there: the sweep was not analysed; run `make figures` first")
    pruned, freed = prune(list(found.values()), summary.stat().st_mtime)
    print(f"{pruned} of {counted(len(found), 'run')} pruned, {freed / 1e6:.1f} MB freed")
    return 0


def watch(runs: dict[RunKey, Path]) -> None:
    """Show the runs until every one is done or has failed, nobody is going to train those that are left, or Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt), Progress({folder: key for key, folder in runs.items()}) as progress:
        left = list(runs.values())
        while left:
            slurm.note_gone(left)
            progress.update()
            states = {folder: standing(folder).state for folder in left}
            left = [folder for folder in left if states[folder] != DONE
                    and (states[folder] != FAILED or is_wanted(folder))]  # fmt: skip
            if left and not slurm.has_jobs(left) and not any(is_wanted(folder) for folder in left):
                print(f"nobody is training {len(left)} of the runs, and no sweep is going to; `make sweep` goes on")
                break
            time.sleep(WATCH_SECONDS if left else 0)


def run_search(words: list[str]) -> int:
    """`python -m sweeps search`: train every learning rate on every split, and print the scores."""
    arguments = arguments_of_search(words)
    pairs, machine = search(arguments)
    runs = [run for _, run in pairs]
    launcher = runs[0].config.launcher
    left = to_do(runs, force=False, redo="delete its folder to search again")
    if left:
        require_device(machine, "search")
        preflight(left, machine, arguments.overrides)
        with ExitStack() as held, Progress({run.folder: run.key for run in left}) as progress:
            for root in dict.fromkeys(run.folder.parents[5] for run in left):
                of_root = [run for run in left if root in run.folder.parents]
                auto = choice_of(machine, chosen_in(root))
                held.enter_context(prepared_folders(of_root, of_root, root, [], False, auto))
            run_all(left, launcher.jobs, machine.gpus, progress.update, launcher.retries)
    failed = [run for run in runs if not outcome(run)[0]]
    if failed:
        raise UsageError(
            f"{len(failed)} of {counted(len(runs), 'run')} failed, the first {failed[0].folder / 'train.log'}"
        )
    report(scores(pairs), arguments.runs_dir)
    return 0


def main() -> int:
    if sys.argv[1:2] == ["status"]:
        return show_status(sys.argv[2:])
    if sys.argv[1:2] == ["prune"]:
        return prune_sweep(sys.argv[2:])
    if sys.argv[1:2] == ["search"]:
        return interruptible(lambda: run_search(sys.argv[2:]))
    return interruptible(lambda: sweep(arguments_of_run().parse_args()))


def interruptible(command: Callable[[], int]) -> int:
    """Run a command; return 130 after Ctrl-C and 143 after SIGTERM, when its runs have ended.

    Closing standard output stops no run.
    """
    sys.stdout = cast(TextIO, LastingOutput(sys.stdout))
    try:
        return command()
    except SweepInterrupted as stop:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return stop.exit_code


if __name__ == "__main__":
    sys.exit(exit_code(main))
