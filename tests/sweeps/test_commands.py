"""The commands that a sweep leaves run when they are pasted, and `make` hands on what it is given."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hydra_conf.words import choices
from sweeps.commands import commands_of
from sweeps.planning import arguments_of_run
from tests.sweeps.test_processes import until

ROOT = Path(__file__).parents[2]
TOLD = "import json, sys; print(json.dumps(sys.argv[1:]))"
ODD = [
    "dataset.train=mes données/a b.csv",
    "dataset.test='l\\'été (2024) $HOME.csv'",
    'dataset.text="avis"',
    "fairseq.optimization.lr=[2e-5]",
    "launcher.options={qos:long,account:nlp}",
    "a=`id`;b&c|d>e#f*?!~\\",
]

# Not what was given to the make that runs the tests: with `make -e` its EXTRAS would count.
ALONE = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs a command line in a folder whose `.venv/bin/python` only says what it was given."""
    for name in ("Makefile", "setup.cfg", "install.sh"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(TOLD)} "$@"\n')
    python.chmod(0o755)
    (tmp_path / ".venv" / ".installed-dev").touch()

    def run(line: str) -> str:
        return subprocess.run(
            line, shell=True, cwd=tmp_path, env=ALONE, check=True, capture_output=True, text=True
        ).stdout

    return run


@pytest.mark.parametrize("line", ["make sweep SEED=0", "make -n reproduce EPOCH=1 SEEDS=0"])
def test_a_misspelt_variable_is_named_and_nothing_runs(make: Callable[..., str], line: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refusal:
        make(line)
    name = "SEED" if "SEED=" in line else "EPOCH"
    assert f"{name}: no variable of this Makefile; `make help` lists them" in refusal.value.stderr
    assert not refusal.value.stdout


@pytest.mark.parametrize("line", ["CHECK=1 make sweep", "CHECK=1 make -e sweep"])
def test_a_variable_of_the_environment_does_not_keep_a_sweep_from_training(make: Callable[..., str], line: str) -> None:
    assert "--check" not in make(line)
    checks, *others, _ = make("make -s reproduce").splitlines()
    assert "--check" in checks
    assert "--check" not in " ".join(others)
    assert len(others) == 3


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("make pretrain SEEDS=0 TOKENS=1M", "SEEDS: make pretrain"),
        ("make sweep TOKENS=1M", "TOKENS: make sweep"),
    ],
)
def test_a_variable_that_the_target_does_not_use_is_named(make: Callable[..., str], line: str, name: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refusal:
        make(line)
    assert f"{name} does not use it; make pretrain uses MODEL CORPUS TOKENS" in refusal.value.stderr
    assert not refusal.value.stdout
    make("make -n prep pretrain sweep SEEDS=0 TOKENS=1M")


def test_help_lists_every_choice() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    for group in ("dataset", "model", "init", "method", "backend", "experiment"):
        known = ["bottom_<layers>" if name == "bottom" else name for name in choices(group)]
        assert f"  every {group}: {' '.join(known)}\n" in said


def given_to(said: str) -> tuple[list[str], list[str]]:
    """Return the options and the overrides of a call."""
    words = json.loads(said)
    return words[: words.index("--")], words[words.index("--") + 1 :]


@example(overrides=[], model=" ")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    overrides=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), min_size=1), max_size=3),
    model=st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), min_size=1),
)
def test_whatever_a_sweep_was_given_its_printed_commands_give_again(
    make: Callable[..., str], overrides: list[str], model: str
) -> None:
    usual = arguments_of_run()
    words = usual.parse_args([f"--model={model}/", "--seeds=0", "--", *overrides, *ODD])
    for line in commands_of(words, usual):
        options, given = given_to(make(line))
        assert given == [*overrides, *ODD]
        assert options[options.index("--model") + 1] == f"{model}/"


def test_plain_overrides_are_printed_as_one_writes_them() -> None:
    usual = arguments_of_run()
    words = ["dataset.name=mine", "fairseq.optimization.lr=[2e-5]"]
    assert commands_of(usual.parse_args(words), usual)[1] == (
        "make sweep ARGS='dataset.name=mine fairseq.optimization.lr=[2e-5]'"
    )
    assert commands_of(usual.parse_args(["dataset.text=mon avis"]), usual)[1] == (
        "make sweep ARGS=\"'dataset.text=mon avis'\""
    )


def test_variables_of_make_may_hold_any_character(make: Callable[..., str]) -> None:
    options, _ = given_to(make("make sweep DATA_DIR='l'\\''été (1) $$x \"y\"' RUNS_DIR='a`b\\c'"))
    assert options[options.index("--data-dir") + 1] == 'l\'été (1) $x "y"'
    assert options[options.index("--runs-dir") + 1] == "a`b\\c"


def installs(make: Callable[..., str], words: str) -> list[str]:
    return [" ".join(line.split()) for line in make(f"make -n {words}").splitlines() if "install.sh" in line]


def test_what_is_installed_already_is_not_installed_again(make: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / ".venv" / ".installed-dev").unlink()
    (tmp_path / ".venv" / ".installed-dev-cluster").touch()
    assert installs(make, "sweep") == installs(make, "setup") == installs(make, "setup EXTRAS=cluster,dev") == []
    assert installs(make, "setup EXTRAS=dev,hf TORCH=cuda") == ["./install.sh 'dev,hf' 'cuda' 'python3'"]


def test_another_torch_than_the_one_that_is_there_is_refused(make: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / ".venv" / ".torch").write_text("cpu\n")
    for words in ("help", "-n sweep TORCH=cpu", "-n sweep TORCH=auto"):
        assert make(f"make {words}")
    answer = subprocess.run(["make", "sweep", "TORCH=cuda"], cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 2
    assert "TORCH=cuda: .venv was made with TORCH=cpu; rm -rf .venv, and call again" in answer.stderr


def test_a_changed_setup_cfg_installs_all_that_was_there(make: Callable[..., str], tmp_path: Path) -> None:
    stamps = [tmp_path / ".venv" / name for name in (".installed-dev", ".installed-dev-cluster")]
    for age, stamp in zip((200, 100), stamps, strict=True):
        stamp.touch()
        changed = (tmp_path / "setup.cfg").stat().st_mtime - age
        os.utime(stamp, (changed, changed))
    assert installs(make, "sweep") == ["./install.sh 'dev,cluster' 'auto' 'python3'"]
    stamps[1].touch()
    assert installs(make, "sweep") == []


def test_folders_that_are_not_the_usual_ones_are_printed() -> None:
    usual = arguments_of_run()
    words = ["--data-dir", "mes données", "--runs-dir", "/scratch/$me"]
    assert commands_of(usual.parse_args(words), usual) == [
        "make prep DATA_DIR='mes données'",
        "make sweep DATA_DIR='mes données' RUNS_DIR='/scratch/$$me'",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dev,foo", "auto"), "error: EXTRAS=dev,foo: choose from dev, hf, cluster"),
        (("dev", "gpu"), "error: TORCH=gpu: choose from auto, cpu, cuda"),
    ],
)
def test_a_wrong_word_of_setup_is_one_sentence_before_anything_is_made(
    tmp_path: Path, words: tuple[str, str], said: str
) -> None:
    shutil.copy(ROOT / "install.sh", tmp_path)
    shutil.copytree(ROOT / "lock", tmp_path / "lock")
    command = [str(tmp_path / "install.sh"), *words, sys.executable]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (answer.returncode, answer.stderr.strip()) == (2, said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["install.sh", "lock"]


def test_packages_of_the_system_that_are_missing_are_named_at_once(tmp_path: Path) -> None:
    """Python 3.13 without venv, compiler and headers: the interpreter here is made up."""
    shutil.copy(ROOT / "install.sh", tmp_path)
    shutil.copytree(ROOT / "lock", tmp_path / "lock")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "tr").symlink_to(str(shutil.which("tr")))
    (tools / "python").write_text(
        '#!/bin/sh\ncase "$*" in *ensurepip* | *Python.h*) exit 1 ;; --version) echo Python 3.13.5 ;; esac\n'
    )
    (tools / "python").chmod(0o755)
    command = [str(tmp_path / "install.sh"), "dev", "cpu", str(tools / "python")]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"PATH": str(tools)})
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: Python 3.13.5 needs more packages here, ")
    assert "apt install python3-venv g++ python3-dev. " in answer.stderr
    assert not (tmp_path / ".venv").exists()


def test_why_an_environment_cannot_be_made_is_told_in_its_own_words(tmp_path: Path) -> None:
    shutil.copy(ROOT / "install.sh", tmp_path)
    shutil.copytree(ROOT / "lock", tmp_path / "lock")
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\ncase "$*" in *venv*) echo; echo "Error: disk full" >&2; exit 1 ;; *"< (3, 13)"*) exit 1 ;; esac\n'
    )
    python.chmod(0o755)
    command = [str(tmp_path / "install.sh"), "dev", "cpu", str(python)]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    said = "error: .venv cannot be made (Error: disk full); mend what it names, and call again\n"
    assert (answer.returncode, answer.stdout, answer.stderr) == (2, "", said)


@pytest.mark.parametrize("part", ["--check", "data_prep", "--force"])
def test_a_sigterm_to_make_reproduce_reaches_what_runs(make: Callable[..., str], tmp_path: Path, part: str) -> None:
    """A stub stands for all parts, and waits in one: the check of the words, prep, or the sweep (which has FORCE)."""
    stub = tmp_path / ".venv" / "bin" / "python"
    wait = "echo > begun\nwhile [ -f begun ]; do sleep 0.05; done"
    own = '*--check*) [ "$part" = --check ] || exit 0;;' if part != "--check" else ""
    own = f'case "$*" in {own} *{part}*) ;; *) exit 0;; esac'
    stub.write_text(f"#!/bin/sh\npart={part}\n{own}\ntrap 'echo got it > told; exit 143' TERM\n{wait}\n")
    process = subprocess.Popen(["make", "reproduce", "FORCE=1"], cwd=tmp_path, env=ALONE, stderr=subprocess.DEVNULL)
    until(lambda: (tmp_path / "begun").is_file())
    process.terminate()
    process.wait(timeout=60)
    until(lambda: (tmp_path / "told").is_file())


def test_reproduce_checks_its_words_before_it_fetches_anything(make: Callable[..., str]) -> None:
    called = [json.loads(line) for line in make("make reproduce SEEDS=0").splitlines() if line.startswith("[")]
    assert [words[1] for words in called] == ["sweeps", "data_prep", "sweeps", "analysis"]
    assert ["--check" in words for words in called] == [True, False, False, False]
