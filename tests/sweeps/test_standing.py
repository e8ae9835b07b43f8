"""How a run's folder stands to what is asked: two sweeps, one folder; cut runs asked for otherwise; timings that flip.

The property at the end draws whole histories of commands. Folders, locks, statuses, plans and the code of a run's
process are the real ones there; only the training is made up: it writes down which configuration it was given.
"""

import contextlib
import functools
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

import sweeps.__main__ as commands
from fairseq_tasks.resume import Stopped
from foundation.errors import UsageError
from hydra_conf.compose import compose_config
from sweeps import grid, planning, pool, run, standing
from sweeps.device import Machine
from sweeps.folders import EXIT_FAILED, EXIT_NOT_OURS, find_runs, lease, read_json, read_status, set_status
from sweeps.grid import PlannedRun
from sweeps.planning import arguments_of_run, prepared_folders
from sweeps.pool import SweepInterrupted
from sweeps.provenance import differing_inputs, input_hashes
from sweeps.standing import claimed, prepare, to_do
from tests.conftest import Refusals, Workspace, refused
from tests.sweeps.test_processes import step_of, until

WORDS = ("--init", "random", "--epochs", "15")
OFTEN = ("--", "launcher.save_every=1", "recipe.evaluate_every=3")


def terminate_run(folder: Path) -> None:
    os.kill(json.loads((folder / "status.json").read_text())["pid"], signal.SIGTERM)


def cut(workspace: Workspace, sweep: str, *more: str, after: int = 5) -> Path:
    """Start a sweep of one run, let the run save and end after some steps, and return its folder."""
    folder = workspace.run_folder("random", 0, sweep)
    process = workspace.begin(*WORDS, "--seeds", "0", "--sweep", sweep, *more, *OFTEN)
    until(lambda: step_of(folder) > after or process.poll() is not None)
    terminate_run(folder)
    process.communicate(timeout=120)
    assert process.returncode == 1
    assert standing.standing(folder).state == standing.CUT
    return folder


def test_a_cut_run_asked_for_otherwise_is_refused_and_kept_and_force_says_what_it_empties(workspace: Workspace) -> None:
    folder = cut(workspace, "otherwise")
    step = standing.last_step(folder)
    asked = ("--seeds", "0", "--sweep", "otherwise", *OFTEN, "recipe.learning_rate=1e-3")
    said = refused(workspace.sweep(*WORDS, *asked))
    assert f"has a checkpoint of step {step}, with another configuration" in said
    assert "recipe.learning_rate" in said
    assert standing.last_step(folder) == step
    answer = workspace.sweep("--force", *WORDS, *asked)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    line = f"random/seed=0 starts anew: FORCE=1 (it has a checkpoint of step {step})"
    assert line in " ".join(answer.stdout.split())
    assert "resumed" not in read_json(folder / "provenance.json")


def test_what_auto_came_to_is_kept_by_the_sweep_when_the_timing_flips(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    words = ("sweeps", "--model", "tiny", "--device", "cpu", "--init", "random", "--epochs", "1", "--sweep", "flips")
    for pays, seeds in ((True, "0"), (False, "0,1")):
        meddled = f"import sweeps.device\nsweeps.device.bf16_pays = lambda: {pays}\n"
        (tmp_path / "sitecustomize.py").write_text(meddled)
        answer = workspace.python(*words, "--seeds", seeds, "--", *workspace.overrides, "launcher.threads=1")
        assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "2 runs, 1 done already, 1 to do" in answer.stdout
    records = [read_json(workspace.run_folder("random", seed, "flips") / "provenance.json") for seed in (0, 1)]
    assert [record["precision"] for record in records] == ["bf16", "bf16"]
    status = read_status(workspace.run_folder("random", 0, "flips"))
    assert status["attempts"] == 1
    assert read_json(workspace.root / "runs/flips/sweep.json")["auto"] == {"device": "cpu", "cpu": "bf16"}


def test_a_sweep_neither_takes_nor_reports_what_another_one_is_training_otherwise(workspace: Workspace) -> None:
    """While A trains seed 0 and seed 1 waits for it, B asks for either with fewer epochs."""
    words = ("--sweep", "two", "--seeds", "0,1", "--jobs", "1")
    folders = [workspace.run_folder("random", seed, "two") for seed in (0, 1)]
    first = workspace.begin(*WORDS, *words, *OFTEN)
    until(lambda: step_of(folders[0]) > 0 or first.poll() is not None)
    training = json.loads((folders[0] / "status.json").read_text())["pid"]
    os.kill(training, signal.SIGSTOP)  # it waits for the second sweep to be answered
    before = (folders[1] / "config.yaml").read_bytes()
    second = ("--init", "random", "--epochs", "2", "--sweep", "two")
    try:
        running = refused(workspace.sweep(*second, "--seeds", "0", *OFTEN))
        pending = refused(workspace.sweep(*second, "--seeds", "1", *OFTEN))
    finally:
        os.kill(training, signal.SIGCONT)
    assert "seed=0 is being trained, or about to be, with another configuration (" in running
    assert "recipe.epochs: 15 -> 2" in running
    assert "seed=1 is about to be trained by another sweep, with another configuration" in pending
    assert "wait for it, or give another SWEEP" in pending
    assert (folders[1] / "config.yaml").read_bytes() == before
    output, _ = first.communicate(timeout=300)
    assert first.returncode == 0, output
    assert [OmegaConf.load(folder / "config.yaml").recipe.epochs for folder in folders] == [15, 15]


@pytest.mark.parametrize(
    ("looks", "state"),
    [
        ([{"state": "running"}, {"state": "done"}], "done"),  # it ends after the first look, and lets its lock go
        ([{"state": "running"}, {"state": "running"}], "failed"),
        ([{}, {"state": "running"}], "pending"),  # its status appears after the first look
    ],
)
def test_a_status_may_change_while_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: list[dict[str, Any]], state: str
) -> None:
    left = iter(looks)
    monkeypatch.setattr("sweeps.folders.read_json", lambda path: next(left) if path.name == "status.json" else {})
    assert read_status(tmp_path)["state"] == state


def test_a_run_whose_configuration_was_changed_before_its_start_is_left_alone_and_told(workspace: Workspace) -> None:
    """As another sweep would, that no mark of life tells of: seed 1's configuration changes while it waits."""
    words = ("--sweep", "robbed", "--seeds", "0,1", "--jobs", "1")
    folders = [workspace.run_folder("random", seed, "robbed") for seed in (0, 1)]
    process = workspace.begin(*WORDS, *words, *OFTEN)
    until(lambda: step_of(folders[0]) > 0 or process.poll() is not None)
    config = OmegaConf.load(folders[1] / "config.yaml")
    config.recipe.epochs = 2
    OmegaConf.save(config, folders[1] / "config.yaml")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    said = " ".join(output.split())
    assert "1 of 2 runs done" in said
    assert "seed=1: another sweep has asked for it with another configuration (recipe.epochs: 2 -> 15)" in said
    assert read_json(folders[1] / "status.json").get("attempts") == 0


def test_a_runs_process_touches_no_configuration_but_the_one_it_was_given(swept: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "seed=0"
    folder.mkdir()
    shutil.copy(swept.run_folder("random", 0) / "config.yaml", folder)
    set_status(folder, state="pending")
    before = (folder / "status.json").read_bytes()
    assert run.run(folder, "another digest") == EXIT_NOT_OURS
    assert (folder / "status.json").read_bytes() == before


def test_data_that_changed_since_a_run_was_planned_fails_it_with_a_sentence(swept: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "seed=0"
    folder.mkdir()
    shutil.copy(swept.run_folder("random", 0) / "config.yaml", folder)
    inputs = input_hashes(OmegaConf.load(folder / "config.yaml"))  # type: ignore[arg-type]
    (folder / "provenance.json").write_text(json.dumps({"inputs": {**inputs, "data": {}}}))
    answer = swept.python("sweeps.run", str(folder))
    assert answer.returncode == EXIT_FAILED
    assert "error: data (input): not the one that the run was planned or begun with" in answer.stdout
    assert not (folder / "checkpoint_best.pt").exists()


def test_what_is_asked_of_the_launcher_holds_for_a_run_that_goes_on(workspace: Workspace) -> None:
    """`launcher.save_every=0` is the advice where a disk is full."""
    folder = cut(workspace, "saves-less")
    words = (*WORDS, "--seeds", "0", "--sweep", "saves-less", "--", "recipe.evaluate_every=3", "launcher.save_every=0")
    assert workspace.sweep(*words).returncode == 0
    assert OmegaConf.load(folder / "config.yaml").launcher.save_every == 0
    assert len(read_json(folder / "provenance.json")["resumed"]) == 1


def test_watching_ends_when_nobody_is_going_to_train_what_is_left(workspace: Workspace) -> None:
    cut(workspace, "left")
    answer = workspace.python("sweeps", "status", "--sweep", "left", "--watch", timeout=60)
    assert answer.returncode == 0
    assert "nobody is training 1 of the runs, and no sweep is going to" in answer.stdout
    table = workspace.python("sweeps", "status", "--sweep", "left").stdout
    assert "1 cut" in table


@pytest.fixture
def planned(swept: Workspace, tmp_path: Path) -> PlannedRun:
    """A run that is asked for, in a folder that is not there."""
    done = swept.run_folder("random", 0)
    config = OmegaConf.load(done / "config.yaml")
    assert isinstance(config, DictConfig)
    key = next(iter(find_runs(swept.root / "runs" / "default")))
    return PlannedRun(key, config, input_hashes(config), key.folder(tmp_path, "s"), None)


def test_a_run_being_trained_is_not_touched(planned: PlannedRun) -> None:
    planned.folder.mkdir(parents=True)
    (planned.folder / "checkpoint_best.pt").write_text("whole")
    holder = (
        "import sys, time; from pathlib import Path; from sweeps.folders import lock_of\n"
        "with lock_of(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", holder, str(planned.folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="is being trained"):
            to_do([planned], force=True)
        with pytest.raises(UsageError, match="is being trained by another process"):
            prepare(planned, True, Path("claim"))
        assert prepare(planned, False, Path("claim")) is None
        assert (planned.folder / "checkpoint_best.pt").exists()
    finally:
        process.kill()
        process.wait()
    said = prepare(planned, True, Path("claim"))
    assert said is not None
    assert "starts anew: FORCE=1" in said
    assert not (planned.folder / "checkpoint_best.pt").exists()


def test_the_runs_of_a_sweep_that_died_are_free(planned: PlannedRun) -> None:
    root = planned.folder.parents[5]
    with claimed(root) as claim:
        prepare(planned, False, claim)
        assert standing.is_claimed(planned.folder)
    assert not standing.is_claimed(planned.folder)
    planned.config.recipe.epochs += 1
    assert to_do([planned], force=False) == [planned]
    assert prepare(planned, False, claim) is None  # nothing was lost, and nothing is said
    assert OmegaConf.load(planned.folder / "config.yaml").recipe.epochs == planned.config.recipe.epochs


# --- whole histories

Command = dict[str, Any]
SEEDS = ("0", "1", "0,1")
EVENTS = ("finish", "finish", "cut", "cut unsaved", "fail", "fail unsaved", "killed", "second")


def command_of(depth: int = 1) -> st.SearchStrategy[Command]:
    """Return commands; `events` are what befalls the runs that they start, one after the other, then all finish."""
    second = command_of(depth - 1) if depth else st.none()
    event = st.sampled_from(EVENTS if depth else EVENTS[:-1])
    return st.fixed_dictionaries(
        {
            "epochs": st.sampled_from((2, 3)),
            "precision": st.sampled_from(("auto", "auto", "fp32", "bf16")),
            "seeds": st.sampled_from(SEEDS),
            "force": st.sampled_from((False, False, False, True)),
            "pays": st.booleans(),
            "retries": st.sampled_from((0, 1)),
            "events": st.lists(st.tuples(event, second), max_size=3),
        }
    )


class SweepKilled(BaseException):
    """Stands for SIGKILL to the sweep and every process below it."""


class Ended:
    """A run's process that has ended already."""

    def __init__(self, code: int) -> None:
        self.exitcode = code

    def kill(self) -> None:
        pass

    terminate = join = kill


class World:
    """Runs commands on one runs folder with a training that is made up, and holds what must always be true."""

    def __init__(self, workspace: Workspace, root: Path) -> None:
        self.workspace, self.root, self.numbers = workspace, root, itertools.count()
        self.stack: list[tuple[Command, list[Any]]] = []
        self.killed: tuple[Path, str] | None = None  # a run's folder, and the status that it had when it was killed

    def train(self, folder: Path, config: DictConfig) -> None:
        """In the place of `sweeps.run.train`: go on from the newest checkpoint, and note what is being trained."""
        _, events = self.stack[-1]
        event, second = events.pop(0) if events else ("finish", None)
        step = standing.last_step(folder)
        trained = lineage(folder) if step is not None else []
        told = {"epochs": config.recipe.epochs, "precision": config.precision.name, "seed": config.seed}
        trained = [*trained, {**told, "number": next(self.numbers)}]
        if second and event == "second":
            self.call(second)
        if event in ("cut", "fail", "killed"):
            checkpoint = folder / "resume" / f"step={(step or 0) + 1}"
            checkpoint.mkdir(parents=True)
            (checkpoint / "state.pt").write_text(json.dumps(trained))
        if event.startswith("cut"):
            raise Stopped
        if event.startswith("fail"):
            raise UsageError("it failed")
        if event == "killed":
            self.killed = (folder, (folder / "status.json").read_text())
            raise SweepKilled
        (folder / "checkpoint_best.pt").write_text(json.dumps(trained))

    def start(self, planned: PlannedRun, slot: int, gpus: tuple[str, ...], digest: str) -> pool._Child:
        self.killed = None
        code = run.run(planned.folder, digest)
        if self.killed:
            folder, status = self.killed
            (folder / "status.json").write_text(status)  # a process that is killed writes nothing any more
            raise SweepKilled
        return pool._Child(planned, Ended(code), slot)  # type: ignore[arg-type]

    def answer(self, signals: pool.Signals, children: list[Any], *_: Any) -> None:
        """Press Ctrl-C in a second sweep: the runs it waits for are the first one's, which waits for its end here."""
        if len(self.stack) > 1 and not children:
            signals.got.append(signal.SIGINT)

    def call(self, command: Command) -> None:
        words = [
            "--model",
            "tiny",
            "--device",
            "cpu",
            "--init",
            "random",
            "--epochs",
            str(command["epochs"]),
            "--precision",
            command["precision"],
            "--seeds",
            command["seeds"],
            "--jobs",
            "1",
            "--sweep",
            "s",
            "--runs-dir",
            str(self.root),
            *(["--force"] if command["force"] else []),
            "--",
            *self.workspace.overrides,
            "launcher.threads=1",
            f"launcher.retries={command['retries']}",
        ]
        before = {key: lineage(folder) for key, folder in self.folders().items()}
        self.stack.append((command, list(command["events"])))
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                code = commands.sweep(arguments_of_run().parse_args(words))
        except UsageError as error:
            code = 2
            print(error, file=out)
        except SweepInterrupted as stop:
            code = stop.exit_code
        except SweepKilled:
            code = -9
        finally:
            self.stack.pop()
        print(out.getvalue())  # into what the first sweep says, where this is a second one
        self.hold(command, code, before, " ".join(out.getvalue().split()))

    def folders(self) -> dict[str, Path]:
        return {str(key): folder for key, folder in find_runs(self.root / "s").items()}

    def hold(self, command: Command, code: int, before: dict[str, Any], said: str) -> None:
        now = {key: lineage(folder) for key, folder in self.folders().items()}
        for key, lost in before.items():
            goes_on = now[key][: len(lost)] == lost
            assert goes_on or f"{key} starts anew: FORCE=1" in said, f"{key} was emptied: {said}"
        for key, folder in self.folders().items():
            config = yaml.load((folder / "config.yaml").read_text(), yaml.CSafeLoader)
            told = {
                "epochs": config["recipe"]["epochs"],
                "precision": config["precision"]["name"],
                "seed": config["seed"],
            }
            if not is_being_trained(folder):
                for part in now[key]:
                    assert {name: part[name] for name in told} == told, f"{key}: {part} under {told}"
        if code == 0:
            for seed in command["seeds"].split(","):
                folder = self.root / "s/amazon_fr/tiny/fairseq/full/random" / f"seed={seed}"
                assert read_status(folder)["state"] == "done", said
                trained = lineage(folder)
                assert {part["epochs"] for part in trained} == {command["epochs"]}
                assert len({part["precision"] for part in trained}) == 1
                assert command["precision"] in ("auto", trained[0]["precision"])


def is_being_trained(folder: Path) -> bool:
    return standing.standing(folder).state == standing.OWNED


def lineage(folder: Path) -> list[dict[str, Any]]:
    """Return every part of a run's training that its weights come from."""
    step = standing.last_step(folder)
    newest = folder / "checkpoint_best.pt" if step is None else folder / "resume" / f"step={step}" / "state.pt"
    return json.loads(newest.read_text()) if newest.is_file() else []


@pytest.fixture
def stubbed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[World], None]]:
    """Return what puts a world's training in the place of the real one; composing is remembered, as it is slow."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)}
    composed = functools.lru_cache(maxsize=None)(lambda words: compose_config(list(words)))
    hashes: dict[str, Any] = {}

    def remembered(config: DictConfig, _: str) -> dict[str, Any]:
        return hashes or hashes.update(input_hashes(config)) or hashes

    for module in (planning, grid):
        monkeypatch.setattr(module, "compose_config", lambda words: composed(tuple(words)).copy())
    monkeypatch.setattr(grid, "input_hashes", remembered)
    monkeypatch.setattr(commands, "preflight", lambda *_: None)
    monkeypatch.setattr(commands, "start_server", lambda *_: None)
    monkeypatch.setattr(pool, "POLL_SECONDS", 0.0)
    monkeypatch.chdir(workspace.root)

    def put(world: World) -> None:
        monkeypatch.setattr(run, "train", world.train)
        monkeypatch.setattr(pool, "_start", world.start)
        monkeypatch.setattr(pool.Signals, "answer", lambda *words: world.answer(*words))
        monkeypatch.setattr("sweeps.device.bf16_pays", lambda: world.stack[-1][0]["pays"] if world.stack else True)

    yield put
    for number, handler in handlers.items():
        signal.signal(number, handler)


NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)  # a history takes too long for it


@settings(max_examples=25, phases=NO_SHRINKING, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(command_of(), min_size=1, max_size=5))
def test_whatever_is_called_no_checkpoint_is_lost_without_a_word_and_no_run_is_reported_as_another(
    workspace: Workspace, stubbed: Callable[[World], None], history: list[Command]
) -> None:
    with tempfile.TemporaryDirectory() as root:
        world = World(workspace, Path(root))
        stubbed(world)
        for command in history:
            world.call(command)


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("seed=7", "SEEDS"),
        ("precision=bf16", "PRECISION"),
        ("precision.name=bf16", "PRECISION"),
        ("device=cuda", "DEVICE"),
        ("init=random", "INIT"),
        ("backend=hf", "BACKEND"),
        ("method.name=lora", "METHOD"),
        ("data_dir=x", "DATA_DIR"),
    ],
)
def test_what_has_a_word_of_its_own_is_no_override(
    workspace: Workspace, refusals: Refusals, override: str, word: str
) -> None:
    said = refusals.of(
        commands.main, ["--model", "tiny", "--sweep", "own", *workspace.overrides, override], workspace.root
    )
    assert said == f"error: {override.partition('=')[0]} cannot be given as an override: use {word}"


def test_a_setting_of_transformers_is_refused_where_no_run_has_it(workspace: Workspace, refusals: Refusals) -> None:
    words = ["--model", "tiny", "--sweep", "own", *workspace.overrides, "hf.optim=sgd"]
    assert "hf.optim is a setting of BACKEND=hf" in refusals.of(commands.main, words, workspace.root)


@pytest.fixture
def done(swept: Workspace, planned: PlannedRun) -> PlannedRun:
    """A copy of a done run, and what it is asked for as."""
    shutil.copytree(swept.run_folder("random", 0), planned.folder)
    assert standing.standing(planned.folder, planned).state == standing.DONE
    return planned


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", "a: [b\n"),
        ("config.yaml", ""),
        ("config.yaml", "- a\n"),
        ("config.yaml", "a: b\n"),
        ("provenance.json", ""),
        ("provenance.json", "{}"),
    ],
)
def test_a_done_run_whose_files_are_damaged_is_refused(done: PlannedRun, name: str, content: str) -> None:
    (done.folder / name).write_text(content)
    assert standing.standing(done.folder, done).state == standing.OTHER
    with pytest.raises(
        UsageError, match=r"is done, with another configuration \((config.yaml: it cannot be read|data)"
    ):
        to_do([done], force=False)


def test_a_done_run_whose_status_is_lost_is_not_emptied_for_another_configuration(done: PlannedRun) -> None:
    (done.folder / "status.json").write_text("")
    done.config.recipe.epochs += 1
    with pytest.raises(UsageError, match="has a checkpoint_best.pt, and its status.json does not say"):
        to_do([done], force=False)
    with pytest.raises(UsageError, match="FORCE=1 redoes it"):
        prepare(done, False, Path("claim"))
    assert (done.folder / "checkpoint_best.pt").exists()


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"state": ["done"]}', '{"state": "finished"}'])
def test_a_done_run_whose_status_is_lost_is_not_redone_unasked(done: PlannedRun, content: str | None) -> None:
    path = done.folder / "status.json"
    path.unlink() if content is None else path.write_text(content)
    for ask in (lambda: to_do([done], force=False), lambda: prepare(done, False, Path("claim"))):
        with pytest.raises(UsageError, match="its status.json does not say what became of the run; FORCE=1 redoes it"):
            ask()
    assert (done.folder / "checkpoint_best.pt").exists()
    assert "starts anew: FORCE=1 (it has a checkpoint_best.pt" in (prepare(done, True, Path("claim")) or "")


def test_a_failed_run_asked_for_otherwise_keeps_its_best_step(done: PlannedRun) -> None:
    set_status(done.folder, state="failed")
    done.config.recipe.epochs += 1
    with pytest.raises(UsageError, match="has a checkpoint_best.pt, with another configuration"):
        to_do([done], force=False)
    done.config.recipe.epochs -= 1
    assert to_do([done], force=False) == [done]
    assert "starts anew: it has no checkpoint to go on from" in (prepare(done, False, Path("claim")) or "")


def test_a_run_of_a_version_without_a_setting_is_the_run_it_was(done: PlannedRun) -> None:
    path = done.folder / "config.yaml"
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.strip().startswith(("leaks:", "published_tokens:", "vocabulary_of:"))]
    assert len(kept) == len(lines) - 3
    path.write_text("".join(kept))
    assert standing.standing(done.folder, done).state == standing.DONE
    done.config.dataset.leaks = "keep"
    assert standing.standing(done.folder, done).differs == ["dataset.leaks: drop -> keep"]


def test_a_run_that_has_begun_keeps_its_precision_where_auto_is_asked_for(done: PlannedRun) -> None:
    done.config.precision.name = "bf16"
    assert standing.standing(done.folder, done).state == standing.OTHER
    standing.keep_precision(done)
    assert done.config.precision.name == "fp32"
    assert to_do([done], force=False) == []


def test_state_files_of_other_types_are_told_as_lost_or_ignored(done: PlannedRun) -> None:
    root = done.folder.parents[5]
    (done.folder / "provenance.json").write_text('{"inputs": 3}')
    assert standing.standing(done.folder, done).differs[0] == "data (input)"
    (root / "sweep.json").write_text('{"runs": 3, "commands": {}, "auto": {"device": 3, "cpu": "fp64"}}')
    assert standing.chosen_in(root) == {"device": "cpu", "cpu": "fp32"}
    standing.list_runs(root, [done], ["make sweep"], {"device": "cpu", "cpu": "fp32"})
    assert read_json(root / "sweep.json")["runs"] == [str(done.key)]


def test_a_cut_run_that_does_not_say_what_it_was_made_from_is_refused(done: PlannedRun) -> None:
    set_status(done.folder, state="pending")
    (done.folder / "resume" / "step=7").mkdir(parents=True)
    (done.folder / "resume" / "step=abc").mkdir()
    assert standing.standing(done.folder, done).state == standing.CUT
    (done.folder / "provenance.json").write_text("")
    with pytest.raises(UsageError, match=r"has a checkpoint of step 7, .*\(data \(input\)"):
        to_do([done], force=False)


def test_a_status_that_nobody_wrote_counts_as_none(done: PlannedRun) -> None:
    set_status(done.folder, state="weird")
    assert standing.standing(done.folder).state == standing.ABSENT


def test_the_pending_run_of_a_living_sweep_stays_that_sweeps(planned: PlannedRun) -> None:
    """A second sweep that asks for the same run leaves it, and one that would redo it, or change it, is refused."""
    root = planned.folder.parents[5]
    with claimed(root) as claim:
        prepare(planned, False, claim)
        assert prepare(planned, False, Path("another")) is None
        assert read_json(planned.folder / "status.json")["claims"] == [claim.name, "another"]
        with pytest.raises(UsageError, match="is about to be trained by another sweep"):
            prepare(planned, True, Path("another"))


def test_a_run_that_two_sweeps_are_to_train_stays_the_seconds_when_the_first_dies(planned: PlannedRun) -> None:
    root = planned.folder.parents[5]
    second = root / "second"
    with claimed(root) as claim:
        prepare(planned, False, claim)
        with lease(second):
            prepare(planned, False, second)
    with lease(second):
        assert standing.is_claimed(planned.folder)
        planned.config.recipe.epochs += 1
        with pytest.raises(UsageError, match="is about to be trained by another sweep"):
            prepare(planned, False, Path("third"))
    assert not standing.is_claimed(planned.folder)


def test_a_sweep_without_its_list_keeps_the_precision_of_its_runs(done: PlannedRun) -> None:
    root = done.folder.parents[5]
    assert standing.chosen_in(root) == {"device": "cpu", "cpu": "fp32"}
    (root / "sweep.json").write_text('{"runs": [], "auto": null}')
    assert standing.chosen_in(root) == {"device": "cpu", "cpu": "fp32"}


def test_a_refused_command_is_not_listed_among_those_that_made_the_sweep(planned: PlannedRun) -> None:
    root = planned.folder.parents[5]
    with lease(root / "another"):
        prepare(planned, False, root / "another")
        other = replace(planned, config=planned.config.copy())
        other.config.recipe.epochs += 1
        with (
            pytest.raises(UsageError, match="is about to be trained by another sweep"),
            prepared_folders([other], [other], Machine("cpu", "fp32", ()), ["make sweep EPOCHS=9"], False),
        ):
            pass
    assert read_json(root / "sweep.json")["commands"] == read_json(root / "sweep.json")["runs"] == []


def test_a_lora_run_that_does_not_say_that_its_head_was_trained_is_another_run(workspace: Workspace) -> None:
    words = ["model=tiny", "backend=hf", f"data_dir={workspace.root / 'data'}", *workspace.overrides]
    full, lora = (input_hashes(compose_config([*words, f"method={method}"])) for method in ("full", "lora"))
    assert differing_inputs(full, lora) == ["trained (input)"]
