"""A fault put into the analysis turns a test red: put in, one at a time, by the list in `mutations.py`.

    make test ARGS="-m slow tests/test_mutations.py"          # all of them
    make test ARGS="-m slow -n 2 tests/test_mutations.py"     # two at a time
    make test ARGS="-m slow tests/test_mutations.py -k splits"

For each fault the project is copied to a temporary folder, the fault is put into the copy, and the tests that the list
names are run there. They must fail. Tests that cannot be collected prove nothing, and neither does a time-out. Controls
run many of the same tests on a copy without a fault; they must pass.
"""

import ast
import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutations import MUTATIONS, Mutation, report

ROOT = Path(__file__).parent.parent
SECONDS = 600  # for the tests of one fault
FAILED = 1  # pytest's exit code: tests were run, and some failed
CONTROL = [
    "tests/analysis/test_estimates.py tests/analysis/test_intervals.py tests/analysis/test_significance.py",
    "tests/analysis/test_crossings.py tests/analysis/test_event_files.py tests/analysis/test_best_steps.py",
    "tests/analysis/test_answers.py tests/analysis/test_groups.py tests/analysis/test_common_seeds.py",
    "tests/analysis/test_comparisons.py tests/analysis/test_evidence.py tests/analysis/test_verdict.py",
    "tests/analysis/test_findings.py tests/analysis/test_steps_words.py tests/analysis/test_figures.py",
    "tests/analysis/test_dose.py",
    "tests/data_prep/test_splits.py tests/data_prep/test_examples.py tests/data_prep/test_cleaning.py",
    "tests/data_prep/test_fetching.py tests/data_prep/test_archives.py",
    report("three_seeds", "skipped_steps", "unlike_runs", "published_setting"),
]
WHERE = '''"""Which files are imported, by a test and by a command that a test starts elsewhere."""

import subprocess
import sys
from pathlib import Path

import analysis
import data_prep

COPY = Path(__file__).parent.parent


def test_the_copy_is_what_is_tested(tmp_path: Path) -> None:
    for room in (analysis, data_prep):
        assert Path(room.__file__).parent.parent == COPY
    command = [sys.executable, "-c", "import analysis; print(analysis.__file__)"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).parent.parent == COPY
'''


def copy_of_the_project(folder: Path) -> Path:
    """Copy what git tracks, and what it neither tracks nor ignores, as it stands now, and return the copy."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():  # else it is deleted and not committed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def run_tests(copy: Path, words: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a copy, on the copy's own modules in place of the installed ones, also in what the tests start."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *shlex.split(words)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=SECONDS, env=environment)


def test_every_fault_is_one_change_of_a_file_that_stays_python() -> None:
    for fault in MUTATIONS:
        text = (ROOT / fault.file).read_text(encoding="utf-8")
        assert text.count(fault.old) == 1, f"{fault.name}: {fault.old!r} stands there {text.count(fault.old)} times"
        changed = ast.dump(ast.parse(text.replace(fault.old, fault.new)))
        assert changed != ast.dump(ast.parse(text)), f"{fault.name}: nothing changes"


def test_there_are_many_faults_in_both_rooms_and_the_tests_that_they_name_exist() -> None:
    rooms = Counter(fault.file.split("/")[0] for fault in MUTATIONS)
    assert rooms["analysis"] >= 35
    assert rooms["data_prep"] >= 12
    assert rooms.total() >= 50
    assert Counter(fault.name for fault in MUTATIONS).most_common(1)[0][1] == 1
    for words in [*CONTROL, *(fault.tests for fault in MUTATIONS)]:
        files = [word.split("::")[0] for word in shlex.split(words) if word.startswith("tests/")]
        assert files
        assert all((ROOT / file).is_file() for file in files), words


@pytest.mark.slow
@pytest.mark.parametrize("words", CONTROL)
def test_without_a_fault_the_copy_passes(tmp_path: Path, words: str) -> None:
    copy = copy_of_the_project(tmp_path / "copy")
    (copy / "tests/test_where.py").write_text(WHERE, encoding="utf-8")
    answer = run_tests(copy, f"tests/test_where.py {words}")
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("fault", MUTATIONS, ids=lambda fault: fault.name)
def test_a_fault_turns_a_test_red(tmp_path: Path, fault: Mutation) -> None:
    copy = copy_of_the_project(tmp_path / "copy")
    text = (copy / fault.file).read_text(encoding="utf-8")
    (copy / fault.file).write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    answer = run_tests(copy, fault.tests)
    assert answer.returncode == FAILED, f"exit code {answer.returncode}\n{answer.stdout[-3000:]}{answer.stderr[-3000:]}"
