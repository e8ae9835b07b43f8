"""Turns the arguments of a command into planned runs, and prepares the run folders for training."""

import argparse
import importlib.util
import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from omegaconf import DictConfig

from data_prep.doses import models_of
from data_prep.splits import settings_of
from foundation.errors import UsageError
from foundation.whole_files import require_no_dead_link
from hydra_conf.compose import compose_config
from hydra_conf.words import choices, group_words, parse_list, quoted
from sweeps.commands import commands_of
from sweeps.device import Machine, choice_of, cluster_machine, resolve_machine, share_machine
from sweeps.folders import PRETRAINING, require_name, sweep_folder_of
from sweeps.grid import Axes, PlannedRun, compose_runs, number_words, parse_seeds, parse_train, refuse_axes
from sweeps.provenance import own_tables
from sweeps.standing import chosen_in, claimed, keep_precision, list_runs, prepare

INITS = "pretrained,random"
ABOUT = (
    "Runs a sweep: every init with every seed, on prepared data. `python -m sweeps status` shows where it stands; "
    "`python -m sweeps prune` deletes checkpoints that nobody needs any more; `python -m sweeps search` chooses "
    "learning rates on texts that are not test texts."
)


def arguments_of_run() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sweeps", description=ABOUT)
    add = parser.add_argument
    add("--dataset", help=f"comma-separated, of: {', '.join(choices('dataset'))} (default: amazon_fr)")
    add("--model", help=f"comma-separated, of: {', '.join(choices('model'))}; or path/to/folder (default: e5_small_fr)")
    add("--init", help=f"comma-separated, of: {', '.join(choices('init'))} (default: {INITS}, or the experiment's)")
    add("--train", help="numbers of training texts, as in 50,all; halves; allx3: 3 times the steps (default: all)")
    add("--seeds", default="0,1,2", help="comma-separated whole numbers (default: %(default)s)")
    add("--method", default="full", help=f"comma-separated, of: {', '.join(choices('method'))}")
    add("--backend", default="fairseq", help=f"comma-separated, of: {', '.join(choices('backend'))}")
    add("--experiment", default="none", help=f"one of: {', '.join(choices('experiment'))}")
    add("--epochs", help="passes over the training split (default: the recipe's)")
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--precision", help=f"one of: {', '.join(choices('precision'))} (default: auto, or what the experiment says)")
    add("--launcher", default="local", help=f"one of: {', '.join(choices('launcher'))}")
    add("--jobs", help="runs at a time (default: one per GPU, or one per core and 4 GB of memory)")
    add("--no-wait", action="store_true", help="slurm: return when all jobs are submitted")
    add("--sweep", default="default", help="name of the sweep: runs/<sweep>, results/<sweep> (default: %(default)s)")
    add("--check", action="store_true", help="only check the words, before the data is there")
    add("--force", action="store_true", help="redo every run asked for, done ones too")
    add("--data-dir", type=Path, default=Path("data"))
    add("--runs-dir", type=Path, default=Path("runs"))
    add("overrides", nargs="*", help="Hydra overrides, such as fairseq.optimization.lr=[2e-5]")
    return parser


def axes_of(arguments: argparse.Namespace) -> Axes:
    """Return what the arguments vary. The experiment says it where the user does not."""
    experiment = compose_config(group_words(experiment=arguments.experiment)).axes
    return Axes(
        backends=parse_list("BACKEND", arguments.backend),
        methods=parse_list("METHOD", arguments.method),
        inits=parse_list("INIT", arguments.init or experiment.get("init", INITS)),
        seeds=parse_seeds(arguments.seeds),
        trains=parse_train(arguments.train or experiment.get("train", "all")),
        datasets=parse_list("DATASET", arguments.dataset) if arguments.dataset else [None],
        models=models_of(arguments.model, experiment, arguments.data_dir),
    )


def words_of(arguments: argparse.Namespace) -> tuple[Axes, list[str], list[DictConfig]]:
    """Return the axes, the overrides that choose groups and keys, and a configuration for each kind of run.

    Nothing but the words is looked at: no data, no machine. Raises `UsageError` for a word that no sweep takes.
    """
    axes = axes_of(arguments)
    require_transformers(axes)
    refuse_axes(arguments.overrides, axes.backends, axes.methods, axes.trains)
    numbers = number_words(arguments.overrides, epochs=arguments.epochs, jobs=arguments.jobs)
    require_name(arguments.sweep)
    if arguments.sweep == PRETRAINING:
        raise UsageError(f"SWEEP={arguments.sweep}: `make pretrain` writes there; give another name")
    names = ("launcher", "experiment", "precision", "device")
    words = group_words(**{name: getattr(arguments, name) for name in names})
    words += [f"data_dir={quoted(arguments.data_dir.absolute())}", *numbers]
    if arguments.precision and arguments.precision not in choices("precision"):
        raise UsageError(f"PRECISION={arguments.precision}: choose from {', '.join(choices('precision'))}")
    return axes, words, [compose_config([*words, *kind, *arguments.overrides]) for kind in axes.kinds()]


def plan(arguments: argparse.Namespace) -> tuple[list[PlannedRun], Machine, list[str]]:
    """Return the runs that the arguments ask for, the machine, and the commands that repeat the sweep.

    The runs' jobs and threads are set, too.
    """
    axes, words, composed = words_of(arguments)
    first = composed[0]
    launcher, precision = first.launcher, first.precision.name
    root = arguments.runs_dir.absolute() / arguments.sweep
    require_no_dead_link(root, "RUNS_DIR")
    if launcher.name == "local":
        machine = resolve_machine(arguments.device, precision, chosen_in(root))
    else:
        require_launcher(launcher)
        machine = cluster_machine(arguments.device, precision, launcher.gpus, chosen_in(root))
    if arguments.no_wait and launcher.name != "slurm":
        raise UsageError(
            f"WAIT=0 needs LAUNCHER=slurm: runs of LAUNCHER={launcher.name} end with the command that started them"
        )
    commands = commands_of(arguments, arguments_of_run(), own_tables(first))
    runs = compose_runs(words, axes, arguments.overrides, machine, root, commands[0])
    usual = {config.dataset.name: settings_of(config.dataset) for config in composed}
    for name, config in {run.key.dataset: run.config for run in runs}.items():
        for key, value in settings_of(config.dataset).items() if name in choices("dataset") else []:
            if value != usual[name][key]:
                print(f"  dataset.{key}={value}, as the data was prepared ({usual[name][key]} is usual)", flush=True)
    for run in runs if precision == "auto" else []:
        keep_precision(run)
    if launcher.name == "local":
        jobs, threads = share_machine(machine, len(runs), launcher.jobs, launcher.threads)
        for run in runs:
            run.config.launcher.jobs, run.config.launcher.threads = jobs, threads
    return runs, machine, commands


def require_launcher(launcher: DictConfig) -> None:
    """Raise `UsageError` when the launcher's package is not installed or launcher.threads is not set."""
    package = {"slurm": "submitit", "ray": "ray"}[launcher.name]
    if importlib.util.find_spec(package) is None:
        raise UsageError(
            f"LAUNCHER={launcher.name} needs {package}, which is not installed; run `make setup EXTRAS=dev,cluster`"
        )
    if launcher.threads is None:
        raise UsageError(f"launcher.threads: say how many CPU threads a run of LAUNCHER={launcher.name} gets")


def require_transformers(axes: Axes) -> None:
    """Raise `UsageError` if no requested (backend, method) exists, or BACKEND=hf lacks its packages."""
    if not axes.pairs():
        raise UsageError("METHOD=lora needs BACKEND=hf: adapters are trained with transformers and peft")
    if "hf" in axes.backends and not all(importlib.util.find_spec(name) for name in ("transformers", "peft")):
        raise UsageError(
            "BACKEND=hf needs transformers and peft, which are not installed; run `make setup EXTRAS=dev,hf`"
        )
    for backend, method in itertools.product(axes.backends, axes.methods):
        if (backend, method) not in axes.pairs():
            print(f"  there is no METHOD={method} with BACKEND={backend}; these runs are left out", flush=True)


@contextmanager
def prepared_folders(
    left: list[PlannedRun],
    runs: list[PlannedRun],
    machine: Machine,
    commands: list[str],
    force: bool,
    queued: frozenset[Path] = frozenset(),
) -> Iterator[None]:
    """Write sweep.json, prepare the folders of the runs in `left`, and hold a claim on these runs.

    `runs` are all runs that are asked for, of one sweep or of several. Runs whose jobs wait in a cluster's queue stay
    as they are. Prints a line for each run whose earlier attempt is discarded.
    """
    with ExitStack() as held:
        for root in dict.fromkeys(sweep_folder_of(run.folder) for run in left):
            auto = choice_of(machine, chosen_in(root))
            try:
                list_runs(root, [], [], auto)
                claim = held.enter_context(claimed(root))
                for run in [run for run in left if root in run.folder.parents and run.folder not in queued]:
                    if emptied := prepare(run, force, claim):
                        print(f"  {emptied}", flush=True)
                asked = [run for run in runs if root in run.folder.parents]
                list_runs(root, asked, commands, auto)  # a command that is refused has made nothing
            except OSError as error:
                raise UsageError(
                    f"{error.filename or root} cannot be written ({error.strerror}); give another RUNS_DIR"
                ) from error
        yield
