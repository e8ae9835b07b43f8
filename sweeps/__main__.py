"""Runs a sweep: every init with every seed, on prepared data. Also starts `status`, `prune`, `search`, `pretrain`."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TextIO, cast

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from foundation.counts import counted
from foundation.errors import LastingOutput, UsageError, exit_code
from hydra_conf.words import parse_words
from sweeps import slurm
from sweeps.device import Machine, memory_warning, require_device
from sweeps.folders import RunKey, read_status
from sweeps.grid import PlannedRun
from sweeps.planning import arguments_of_run, plan, prepared_folders, words_of
from sweeps.pool import SweepInterrupted, run_all, start_server
from sweeps.preflight import preflight
from sweeps.pretrain import run_pretrain
from sweeps.prune import prune_sweep
from sweeps.screen import Screen, duration
from sweeps.search import run_search
from sweeps.standing import outcome, standing, to_do
from sweeps.status import show_status


def sweep(arguments: argparse.Namespace) -> int:
    """Train the runs of the sweep that are not done. Return 0 when all runs are done, 1 when a run is not."""
    start = time.monotonic()
    console = Console(highlight=False, markup=False)
    runs, machine, commands = plan(arguments)
    root = arguments.runs_dir.absolute() / arguments.sweep
    queued = slurm.queued(run.folder for run in runs)
    left = to_do(runs, arguments.force, queued)
    launcher = runs[0].config.launcher
    if left and launcher.name == "local":
        require_device(machine, arguments.sweep)
    done = len(runs) - len(left)
    console.print(f"sweep {arguments.sweep}: {counted(len(runs), 'run')}, {done} done already, {len(left)} to do")
    if left:
        names = [dict.fromkeys(getattr(run.key, name) for run in runs) for name in ("dataset", "model")]
        console.print(
            f"  {', '.join(names[0])}, {', '.join(names[1])}; "
            f"{machine.device} {machine.precision}, {launcher.jobs or 'as many as the cluster gives'} at a time, "
            f"{counted(launcher.threads, 'thread')} each"
        )
        if (
            launcher.name == "local"
            and machine.device == "cpu"
            and (warning := memory_warning(min(launcher.jobs, len(left))))
        ):
            console.print(Text("warning", "yellow"), warning)
        kinds: dict[RunKey, list[PlannedRun]] = {}
        for run in runs:
            kinds.setdefault(run.key.kind, []).append(run)
        for kind, of_kind in kinds.items():
            config = of_kind[0].config
            where = [name for name, found in zip((kind.dataset, kind.model), names, strict=True) if len(found) > 1]
            seeds = list(dict.fromkeys(str(run.key.seed) for run in of_kind))
            sizes = list(dict.fromkeys(run.key.training for run in of_kind))
            epochs = counted(config.recipe.epochs, "epoch")
            if sizes != ["all"]:
                steps = ", as many steps as on all texts" if config.recipe.updates == "full" else ""
                steps = steps if any(run.config.n_train for run in of_kind) else ""
                epochs = f"on {', '.join(sizes)} training texts; {epochs}{steps}"
                lengths = dict.fromkeys(run.key.length for run in of_kind if run.key.length > 1)
                epochs += "".join(f"; x{length}: {length} times the steps" for length in lengths)
            console.print(
                f"  {' '.join([*where, kind.backend, kind.method, kind.init])}: seed{'s' if len(seeds) > 1 else ''} "
                f"{', '.join(seeds)}; {epochs}, learning rate "
                f"{', '.join(f'{float(rate):g}' for rate in config.fairseq.optimization.lr)}"
            )
        if launcher.name == "local":
            forked = start_server(left[0], machine.gpus)
            if launcher.fork_server and not forked and not machine.gpus:
                why = f"TMPDIR={tempfile.gettempdir()} has a long name"
                console.print(f"  each run starts a new interpreter: {why}", soft_wrap=True)
        preflight(left, machine, arguments.overrides)
        for run in left:
            found = standing(run.folder, run)
            if found.goes_on and not arguments.force:
                console.print(f"  {run.key} goes on from step {found.step}")
        with prepared_folders(left, runs, machine, commands, arguments.force, queued):
            if launcher.name == "slurm":
                jobs = slurm.submit([run for run in left if run.folder not in queued], launcher, root, arguments.sweep)
                which = f": {jobs[0]} to {jobs[-1]}" if jobs else ""
                console.print(f"  {counted(len(queued), 'job')} in SLURM's queue already, {len(jobs)} submitted{which}")
            if arguments.no_wait:
                console.print(f"`python -m sweeps status --sweep {arguments.sweep} --watch` follows them")
                return 0
            with Screen({run.folder: run.key for run in left}) as screen:
                launch(left, launcher, machine, screen.update)
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
    """Train the runs, or wait for SLURM to train them."""
    if launcher.name == "slurm":
        slurm.follow([run.folder for run in runs], on_poll)
    elif launcher.name == "ray":
        from sweeps.ray_tasks import run_on_ray

        run_on_ray(runs, launcher, on_poll)
    else:
        run_all(runs, launcher.jobs, machine.gpus, on_poll, launcher.retries)


def main() -> int:
    commands = {"status": show_status, "prune": prune_sweep}
    commands["search"] = lambda words: interruptible(lambda: run_search(words))
    commands["pretrain"] = lambda words: interruptible(lambda: run_pretrain(words))
    for word in sys.argv[1:2]:
        if word in commands:
            return commands[word](sys.argv[2:])
        if word[:1] != "-" and "=" not in word:
            raise UsageError(f"{word!r} is no command of a sweep; give options, or status, prune, search or pretrain")
    arguments = parse_words(arguments_of_run(), sys.argv[1:])
    if arguments.check:
        words_of(arguments)
        return 0
    return interruptible(lambda: sweep(arguments))


def interruptible(command: Callable[[], int]) -> int:
    """Run a command and return its exit code: 130 after Ctrl-C, 143 after SIGTERM, once its runs have ended.

    A closed standard output does not stop any run.
    """
    sys.stdout = cast(TextIO, LastingOutput(sys.stdout))
    try:
        return command()
    except SweepInterrupted as stop:
        forced = "" if "--force" not in sys.argv else " without FORCE=1"
        print(f"interrupted; the same command{forced} goes on from here", file=sys.stderr)
        return stop.exit_code


if __name__ == "__main__":
    sys.exit(exit_code(main))
