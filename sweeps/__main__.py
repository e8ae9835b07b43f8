"""Runs a sweep: every init with every seed, on prepared data.

`python -m sweeps status` shows where it stands; `python -m sweeps prune` deletes checkpoints that nobody needs any
more; `python -m sweeps search` chooses learning rates on texts that are not test texts.
"""

import argparse
import contextlib
import importlib.util
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.text import Text

from data_prep.whole_files import write_json, write_text
from hydra_conf.compose import choices, compose_config, group_words, quoted
from hydra_conf.errors import UsageError, exit_code
from sweeps import slurm
from sweeps.device import Machine, cluster_machine, resolve_machine, share_machine
from sweeps.folders import STATES, RunKey, empty_folder, find_runs, is_owned, prune, read_json, read_status
from sweeps.grid import Axes, PlannedRun, compose_runs, parse_list, parse_seeds, resolved_yaml
from sweeps.pool import SweepInterrupted, run_all, start_server
from sweeps.provenance import binarised_folder, comparable, differing_keys
from sweeps.screen import Progress, duration, short_names, status_table
from sweeps.search import arguments_of_search, report, scores, search

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
    add("--precision", default="auto", help=f"one of: {', '.join(choices('precision'))}")
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
    if not arguments.sweep or Path(arguments.sweep).name != arguments.sweep:
        raise UsageError(f"SWEEP={arguments.sweep}: it names one folder, without a slash")
    names = ("dataset", "model", "launcher", "experiment", "precision", "device")
    words = group_words(**{name: getattr(arguments, name) for name in names})
    words.append(f"data_dir={quoted(arguments.data_dir.absolute())}")
    words += [f"recipe.epochs={arguments.epochs}"] if arguments.epochs else []
    words += [f"launcher.jobs={arguments.jobs}"] if arguments.jobs else []
    if arguments.precision not in choices("precision"):
        raise UsageError(f"PRECISION={arguments.precision}: choose from {', '.join(choices('precision'))}")
    root = arguments.runs_dir.absolute() / arguments.sweep
    (backend, method), init = axes.pairs()[0], axes.inits[0]
    first = [f"backend={backend}", f"method={method}", f"init={init}"]
    launcher = compose_config([*words, *first, *arguments.overrides]).launcher
    if launcher.name == "local":
        machine = resolve_machine(arguments.device, arguments.precision)
    else:
        require_launcher(launcher)
        machine = cluster_machine(arguments.device, arguments.precision, launcher.gpus)
    if arguments.no_wait and launcher.name != "slurm":
        raise UsageError(f"WAIT=0 needs LAUNCHER=slurm: runs of LAUNCHER={launcher.name} end with the command that "
                         "started them")  # fmt: skip
    runs = compose_runs(words, axes, arguments.overrides, machine, root)
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


def to_do(runs: list[PlannedRun], force: bool, queued: frozenset[Path] = frozenset()) -> list[PlannedRun]:
    """Return the runs that are not done yet, all of them with `force`; those that another sweep is training, too.

    `queued` are the folders of those that wait in a cluster's queue.

    Raises `UsageError` when a run that is done or being trained was made from another configuration or other data, or
    when a run that is being trained is to be redone.
    """
    left = []
    for run in runs:
        owned = run.folder in queued or is_owned(run.folder)
        if owned and force:
            raise UsageError(f"{run.key} is being trained, or about to be; wait for it, or stop it")
        done = read_status(run.folder)["state"] == "done"
        if not done or force:
            left.append(run)
        if force or not (done or owned):
            continue
        if differ := differences(run):
            how = "is done" if done else "is being trained"
            raise UsageError(f"{run.key} {how} with another configuration ({'; '.join(differ)}); "
                             "FORCE=1 redoes it, another SWEEP keeps both")  # fmt: skip
    return left


def differences(run: PlannedRun) -> list[str]:
    """Return what the run in the folder was made from otherwise than is asked now: keys and inputs."""
    if not (run.folder / "config.yaml").is_file():
        return ["config.yaml: absent"]
    stored = OmegaConf.load(run.folder / "config.yaml")
    assert isinstance(stored, DictConfig)
    differ = differing_keys(comparable(stored), comparable(run.config))
    made_from = read_json(run.folder / "provenance.json").get("inputs")
    if made_from is not None or read_status(run.folder)["state"] == "done":
        differ += [f"{name} (input)" for name in run.inputs if (made_from or {}).get(name) != run.inputs[name]]
    return differ


def preflight(runs: list[PlannedRun], machine: Machine) -> None:
    """Build each kind of model once, as its runs will, so that what would stop them all stops here, in one sentence."""
    from fairseq import tasks, utils

    from sweeps.fairseq_config import fairseq_config, resolved

    for run in {(run.key.backend, run.key.method, run.key.init): run for run in runs}.values():
        with tempfile.TemporaryDirectory() as scratch:
            folder, data = Path(scratch), binarised_folder(run.config)
            settings = resolved(fairseq_config(run.config, data, folder, machine.device, machine.precision))
            utils.import_user_module(settings.common)
            task = tasks.setup_task(settings.task)
            if run.key.backend == "hf":
                from hf_tasks.train import converted, draw_model, training_arguments

                training_arguments(folder, run.config, settings, steps=1)
                converted(draw_model(settings)[-1], list(run.inputs["labels"]), settings, run.config.method)
            else:
                task.build_model(settings.model)
            task.get_batch_iterator(
                task.load_dataset("train"),
                max_tokens=settings.dataset.max_tokens,
                max_sentences=settings.dataset.batch_size,
                required_batch_size_multiple=settings.dataset.required_batch_size_multiple,
            )


def commands_of(arguments: argparse.Namespace) -> list[str]:
    """Return the commands that make the same runs again: prep and sweep, with what was not left to the defaults."""
    named = ("dataset", "model", "init", "seeds", "method", "backend", "experiment", "epochs", "device", "precision",
             "sweep")  # fmt: skip
    usual = arguments_of_run()
    given = {name.upper(): getattr(arguments, name) for name in named if getattr(arguments, name)
             and getattr(arguments, name) != usual.get_default(name)}  # fmt: skip
    if arguments.overrides:
        given["ARGS"] = " ".join(arguments.overrides)
    words = {name: f"{name}={shlex.quote(value)}" for name, value in given.items()}
    of_prep = [words[name] for name in ("DATASET", "MODEL", "EXPERIMENT", "ARGS") if name in words]
    return [" ".join(["make prep", *of_prep]), " ".join(["make sweep", *words.values()])]


def write_folders(
    runs: list[PlannedRun], all_runs: list[PlannedRun], root: Path, commands: list[str], force: bool,
    queued: frozenset[Path] = frozenset(),
) -> None:  # fmt: skip
    """Make the folders of the runs to do ready, and list the whole sweep in sweep.json.

    A run that was cut and is asked for again keeps its folder, its number of threads included, and goes on from its
    last checkpoint; any other folder is emptied. One that another sweep is training is left alone.
    """
    try:
        for run in runs:
            goes_on = not force and (run.folder / "resume").is_dir() and not differences(run)
            if not goes_on and run.folder not in queued and not is_owned(run.folder):
                empty_folder(run.folder)
                write_text(run.folder / "config.yaml", resolved_yaml(run.config))
        before = read_json(root / "sweep.json")
        listed = set(before.get("runs", [])) | {str(run.key) for run in all_runs}
        given = list(dict.fromkeys([*before.get("commands", []), *commands]))
        write_json(root / "sweep.json", {"runs": sorted(listed), "commands": given})
    except OSError as error:
        raise UsageError(f"{error.filename or root} cannot be written ({error.strerror}); "
                         "give another RUNS_DIR") from error  # fmt: skip


def sweep(arguments: argparse.Namespace) -> int:
    """Run what is left of the sweep; return 0 when all its runs are done, 1 when one failed."""
    start = time.monotonic()
    console = Console(highlight=False, markup=False)
    runs, machine = plan(arguments)
    root = arguments.runs_dir.absolute() / arguments.sweep
    queued = slurm.queued(run.folder for run in runs)
    left = to_do(runs, arguments.force, queued)
    launcher = runs[0].config.launcher
    console.print(f"sweep {arguments.sweep}: {len(runs)} runs, {len(runs) - len(left)} done already, {len(left)} to do")
    if left:
        first = runs[0].config
        console.print(
            f"  {first.dataset.name}, {first.model.name}; "
            f"{machine.device} {machine.precision}, {launcher.jobs or 'as many as the cluster gives'} at a time, "
            f"{launcher.threads} threads each"
        )
        for kind in dict.fromkeys((run.key.backend, run.key.method, run.key.init) for run in runs):
            of_kind = [run for run in runs if (run.key.backend, run.key.method, run.key.init) == kind]
            config = of_kind[0].config
            seeds = ", ".join(str(run.key.seed) for run in of_kind)
            console.print(
                f"  {' '.join(kind)}: seeds {seeds}; {config.recipe.epochs} epochs, learning rate "
                f"{', '.join(f'{float(rate):g}' for rate in config.fairseq.optimization.lr)}"
            )
        if launcher.name == "local":
            start_server(left[0], machine.gpus)
        preflight(left, machine)
        write_folders(left, runs, root, commands_of(arguments), arguments.force, queued)
        if launcher.name == "slurm":
            jobs = slurm.submit([run for run in left if run.folder not in queued], launcher, root, arguments.sweep)
            which = f": {jobs[0]} to {jobs[-1]}" if jobs else ""
            console.print(f"  {len(queued)} jobs were in SLURM's queue already, {len(jobs)} submitted{which}")
        if arguments.no_wait:
            console.print(f"`python -m sweeps status --sweep {arguments.sweep} --watch` follows them")
            return 0
        with Progress({run.folder: run.key for run in left}) as progress:
            launch(left, launcher, machine, progress.update)
    ended = [(run, read_status(run.folder)) for run in runs]
    for run, status in ended:
        for note in status.get("notes", []):
            console.print(Text("note", "yellow"), f"{run.key}: {note}")
    failed = [(run, status) for run, status in ended if status["state"] != "done"]
    for run, status in failed:
        console.print(Text("failed", "bold red"), f"{run.key}: {status.get('error')}")
        console.print(f"  log: {run.folder / 'train.log'}")
    console.print(f"{len(runs) - len(failed)} of {len(runs)} runs done in {duration(time.monotonic() - start)}")
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
        rows = [(name, read_status(folder), "-") for name, folder in zip(names, found.values(), strict=True)]
        Console(highlight=False, markup=False).print(status_table(rows))
        states = Counter(status["state"] for _, status, _ in rows)
        print(", ".join(f"{states[state]} {state}" for state in STATES if states[state]))
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
    print(f"{pruned} of {len(found)} runs pruned, {freed / 1e6:.1f} MB freed")
    return 0


def watch(runs: dict[RunKey, Path]) -> None:
    """Show the runs until every one is done or has failed, or Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt), Progress({folder: key for key, folder in runs.items()}) as progress:
        left = list(runs.values())
        while left:
            slurm.note_gone(left)
            progress.update()
            left = [folder for folder in left if read_status(folder)["state"] not in ("done", "failed")]
            time.sleep(WATCH_SECONDS if left else 0)


def run_search(words: list[str]) -> int:
    """`python -m sweeps search`: train every learning rate on every split, and print the scores."""
    arguments = arguments_of_search(words)
    pairs, jobs = search(arguments)
    runs = [run for _, run in pairs]
    machine = resolve_machine(arguments.device, arguments.precision)
    left = to_do(runs, force=False)
    if left:
        preflight(left, machine)
        for root in dict.fromkeys(run.folder.parents[5] for run in left):
            write_folders([run for run in left if root in run.folder.parents], [], root, [], force=False)
        with Progress({run.folder: run.key for run in left}) as progress:
            run_all(left, jobs, machine.gpus, progress.update)
    failed = [run for run in runs if read_status(run.folder)["state"] != "done"]
    if failed:
        raise UsageError(f"{len(failed)} of {len(runs)} runs failed, the first {failed[0].folder / 'train.log'}")
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
    """Run a command; return 130 after Ctrl-C and 143 after SIGTERM, when its runs have ended."""
    try:
        return command()
    except SweepInterrupted as stop:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return stop.exit_code


if __name__ == "__main__":
    sys.exit(exit_code(main))
