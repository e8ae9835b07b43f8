"""Runs a sweep on a SLURM cluster: one job for each run, in job arrays, through submitit's own Python interface.

Hydra's submitit launcher is not used. Its process must stay alive until the last job has ended, and a job that it
queues again begins with its first arguments. Here the run folder holds everything that a run needs to go on. So anyone
may start a job any number of times:

    time limit is near (SIGUSR2)         the run saves, and the job is queued again
    pre-emption, `scancel` (SIGTERM)     the run saves; SLURM queues a pre-empted job again, but not a cancelled job
    dead node                            SLURM queues the job again; the run goes on from its last checkpoint
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from foundation.errors import UsageError
from sweeps.child import Child, train_here, was_stopped
from sweeps.folders import is_owned, read_json, set_status
from sweeps.grid import PlannedRun
from sweeps.pool import Signals, SweepInterrupted
from sweeps.standing import standing

POLL_SECONDS = 5.0
ARRAY = 1000  # largest number of jobs in one array; SLURM's own limit is 1001 unless a site has raised it
TIME_LIMITS = 1000  # how often one run may reach its time limit
SIGNAL_SECONDS = 90  # from the signal to the time limit
SAVE_SECONDS = 60.0
KILL_SECONDS = 600.0  # SLURM ends a signalled job within this time


@dataclass
class Job:
    """A SLURM job, which trains one run in a fresh process."""

    folder: Path
    threads: int
    retries: int
    digest: str  # SHA-256 of the configuration that it trains
    child: Child | None = field(default=None, repr=False)

    def __call__(self) -> int:
        code = train_here(self.folder, self.threads, self.retries, self.digest, self._began)
        end = time.monotonic() + KILL_SECONDS
        while was_stopped(code) and _is_running(os.environ["SLURM_JOB_ID"]) and time.monotonic() < end:
            time.sleep(1)  # a job that ends by itself before its pre-emption counts as finished
        return code

    def _began(self, child: Child) -> None:
        self.child = child

    def checkpoint(self) -> object:
        """Let the run save and return the job to submit again. submitit calls this method on SIGUSR2."""
        from submitit.helpers import DelayedSubmission

        if self.child is not None:
            self.child.stop(SAVE_SECONDS)
        return DelayedSubmission(Job(self.folder, self.threads, self.retries, self.digest))


def submit(runs: list[PlannedRun], launcher: DictConfig, root: Path, name: str) -> list[str]:
    """Submit one job for each run and return the job ids. Each id is also written to the run's status.

    Raises `UsageError` if there is no SLURM here, or if SLURM refuses the jobs.
    """
    from submitit.core.utils import FailedJobError, FailedSubmissionError
    from submitit.slurm.slurm import SlurmExecutor

    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise UsageError("LAUNCHER=slurm: there is no sbatch here; call it on a machine that SLURM jobs are sent from")
    if not runs:
        return []
    executor = SlurmExecutor(folder=root / "slurm", max_num_timeout=TIME_LIMITS)
    options = OmegaConf.to_container(launcher.options)
    assert isinstance(options, dict)
    executor.update_parameters(
        job_name=f"warmstart-{name}",
        time=launcher.minutes,
        cpus_per_task=launcher.threads,
        wckey=None,
        mem=f"{launcher.memory_gb}GB" if launcher.memory_gb else None,
        partition=launcher.partition,
        gpus_per_node=int(launcher.gpus) or None,
        setup=list(launcher.setup) or None,
        signal_delay_s=SIGNAL_SECONDS,
        array_parallelism=launcher.jobs or len(runs),
        stderr_to_stdout=True,
        srun_args=[f"--cpus-per-task={launcher.threads}"],  # srun does not inherit this option from sbatch
        additional_parameters={"requeue": True, **options},
    )
    ids: list[str] = []
    try:
        for at in range(0, len(runs), ARRAY):
            part = runs[at : at + ARRAY]
            digests = [standing(run.folder, run).digest or "" for run in part]
            jobs = executor.submit_array(
                [
                    Job(run.folder, launcher.threads, launcher.retries, digest)
                    for run, digest in zip(part, digests, strict=True)
                ]
            )
            for run, job in zip(part, jobs, strict=True):
                set_status(run.folder, job=job.job_id)
                ids.append(job.job_id)
    except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError) as error:
        said = " ".join(str(error).split())[-300:]
        raise UsageError(f"SLURM refused the jobs ({said}); {len(ids)} of {len(runs)} were submitted") from error
    return ids


def _is_running(job: str) -> bool:
    """Return whether SLURM reports the job as RUNNING. A cancelled or pre-empted job gets another state at once."""
    command = ["squeue", "--noheader", "--format=%T", f"--jobs={job}"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() == "RUNNING"


def in_queue(ids: Iterable[str]) -> set[str] | None:
    """Return the jobs that SLURM still has, waiting or running. Return None when SLURM does not answer."""
    arrays = sorted({job.split("_")[0] for job in ids})
    if not arrays or shutil.which("squeue") is None:
        return set()
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--jobs={','.join(arrays)}"]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        return set() if "Invalid job id" in answer.stderr else None
    return set(answer.stdout.split())


def jobs_of(folders: Iterable[Path]) -> dict[Path, str]:
    """Return the last job of each run folder that was submitted, according to its status."""
    return {folder: job for folder in folders if (job := read_json(folder / "status.json").get("job"))}


def has_jobs(folders: Iterable[Path]) -> bool:
    """Return whether SLURM has a job for any of the run folders. True also when SLURM does not answer."""
    return in_queue(jobs_of(folders).values()) != set()


def queued(runs: Iterable[Path]) -> frozenset[Path]:
    """Return the run folders whose job waits or runs. Raises `UsageError` when SLURM does not answer."""
    jobs = jobs_of(runs)
    known = in_queue(jobs.values())
    if known is None:
        raise UsageError("SLURM does not answer, and some of these runs were submitted to it; call again when it does")
    return frozenset(folder for folder, job in jobs.items() if job in known)


def note_gone(folders: list[Path]) -> list[Path]:
    """Return the run folders whose job has left the queue. A run that has not ended is marked as failed."""
    jobs = jobs_of(folders)
    known = in_queue(jobs.values())
    if known is None:
        return []
    gone = [folder for folder, job in jobs.items() if job not in known and not is_owned(folder)]
    for folder in gone:
        if read_json(folder / "status.json").get("state") not in ("done", "failed"):
            set_status(
                folder,
                state="failed",
                error=f"its SLURM job {jobs[folder]} was cancelled or lost before the "
                "run had ended; called again it goes on",
            )
    return gone


def follow(folders: list[Path], on_poll: Callable[[], None]) -> None:
    """Wait until every job has left the queue.

    The first Ctrl-C or SIGTERM cancels the jobs, and each run saves. The second one stops the wait for the jobs. Then
    `SweepInterrupted` is raised.
    """
    left = list(folders)
    with Signals() as signals:
        while left and len(signals.got) < 2:
            gone = note_gone(left)
            left = [folder for folder in left if folder not in gone]
            on_poll()
            if signals.got and not signals.told:
                signals.told = True
                print("cancelling the jobs: each run saves; once more does not wait for them", flush=True)
                subprocess.run(["scancel", *jobs_of(left).values()], check=False)
            end = time.monotonic() + POLL_SECONDS
            while left and time.monotonic() < end and (signals.told or not signals.got):
                time.sleep(0.2)
    if signals.got:
        raise SweepInterrupted(signals.got[0])
