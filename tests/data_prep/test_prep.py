"""`python -m data_prep`, run as a user runs it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.examples import read_split
from tests.conftest import BAD, GOOD, REPEATS, SIZES, Workspace, make_workspace, refused


@pytest.fixture
def own(tmp_path: Path) -> Workspace:
    """A workspace that the test may change."""
    made = make_workspace(tmp_path)
    assert made.prep().returncode == 0
    return made


def test_the_manifest_says_what_is_there_and_what_was_dropped(workspace: Workspace) -> None:
    manifest = json.loads((workspace.root / "data/splits/amazon_fr/manifest.json").read_text())
    assert manifest["examples"] == SIZES
    assert manifest["dropped"] == {"the same text again, before anything was drawn": REPEATS}
    assert manifest["read"] == {"all": sum(SIZES.values()) + REPEATS}
    assert manifest["labels"] == ["negative", "positive"]
    assert set(manifest["outputs"]) == {"train.jsonl", "valid.jsonl", "test.jsonl", "leaked.txt"}


def test_the_screen_says_how_many_repeats_were_dropped_and_why(workspace: Workspace) -> None:
    assert f"{REPEATS} of {sum(SIZES.values()) + REPEATS} dropped: the same text" in workspace.prep().stdout


def test_class_0_is_class_0_in_every_split_although_it_is_the_rarer_one(own: Workspace) -> None:
    """fairseq would sort the classes by frequency; here every example is read back and compared."""
    from fairseq.data import Dictionary
    from fairseq.data.indexed_dataset import make_dataset

    labels = Dictionary.load(str(own.binarised / "label" / "dict.txt"))
    assert [labels[index] for index in range(labels.nspecial, len(labels))] == ["0", "1"]
    for split in SIZES:
        binarised = make_dataset(str(own.binarised / "label" / split), impl="mmap")
        read = [int(row[0]) - labels.nspecial for row in binarised]
        names = [example.label for example in read_split(own.root / f"data/splits/amazon_fr/{split}.jsonl")]
        assert [("negative", "positive")[index] for index in read] == names


def test_the_data_dictionary_is_the_models_own(workspace: Workspace) -> None:
    assert (workspace.binarised / "input0/dict.txt").read_text() == (workspace.model / "dict.txt").read_text()


def test_prep_again_touches_nothing(own: Workspace) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in (own.root / "data").rglob("*") if path.suffix in (".bin", ".jsonl")
    }
    answer = own.prep()
    assert answer.stdout.count("up to date") == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_damaged_output_is_made_again(own: Workspace) -> None:
    damaged = own.binarised / "input0/train.bin"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-8])
    answer = own.prep()
    assert "made  data/bin" in answer.stdout.replace(str(own.root) + "/", "")
    assert "up to date  data/splits" in answer.stdout
    assert damaged.read_bytes() == whole


def test_another_validation_seed_remakes_the_splits_and_what_depends_on_them(own: Workspace) -> None:
    test = (own.root / "data/splits/amazon_fr/test.jsonl").read_text()
    valid = (own.root / "data/splits/amazon_fr/valid.jsonl").read_text()
    answer = own.prep("dataset.valid_seed=1")
    assert answer.stdout.count("made") == 2
    assert (own.root / "data/splits/amazon_fr/test.jsonl").read_text() == test
    assert (own.root / "data/splits/amazon_fr/valid.jsonl").read_text() != valid


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--dataset", "nope"), "DATASET=nope: there is no such dataset; choose from: allocine, amazon_fr"),
        (("--model", "nope"), "MODEL=nope: there is no such model"),
        (("--model", "./nowhere"), "MODEL=nowhere: there is no such folder"),
        (("dataset.titel=x",), "unknown configuration key 'dataset.titel' (did you mean 'title'?)"),
        (("dataset.expected.all=118",), "holds 117 examples for all, amazon_fr has 118"),
        (("dataset.n_test=200",), "dataset.n_test=200: there are 110 examples to draw from"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(workspace: Workspace, words: tuple[str, ...], message: str) -> None:
    answer = workspace.python("data_prep", "--model", "tiny", *workspace.overrides, *words)
    assert message in refused(answer)


def own_tables(own: Workspace, labels: list[str], ending: str = "") -> list[str]:
    """Write a train and a test table and return the words that prepare them."""
    rows = [(f"ce roman est {word}{ending}", labels[number % 2]) for number, word in enumerate([*GOOD, *BAD])]
    for name, add in (("train", "et la fin aussi"), ("test", "mais long")):
        lines = ["text,label", *(f"{text} {add},{label}" for text, label in rows)]
        (own.root / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    files = [f"dataset.{name}={own.root / name}.csv" for name in ("train", "test")]
    return ["data_prep", "--model", "tiny", "--dataset", "table", "dataset.name=mine", "dataset.n_valid=4", *files]


def test_a_label_that_the_terminal_cannot_show_is_shown_as_it_can(
    own: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    words = own_tables(own, ["chef-d'œuvre", "navet"])
    command = [sys.executable, "-m", *words]
    answer = subprocess.run(command, cwd=own.root, capture_output=True, text=True, encoding="latin-1")
    assert answer.returncode == 0, answer.stderr
    assert "classes chef-d'?uvre, navet" in answer.stdout
    labels = json.loads((own.root / "data/splits/mine/manifest.json").read_text(encoding="utf-8"))["labels"]
    assert labels == ["chef-d'œuvre", "navet"]


def test_texts_with_many_unknown_pieces_are_told_how_to_be_taken(own: Workspace) -> None:
    words = own_tables(own, ["a", "b"], " 😀")
    said = refused(own.python(*words))
    advised = re.search(r"model\.max_unknown_share=0\.\d+", said)
    assert advised, said
    answer = own.python(*words, advised.group())
    assert answer.returncode == 0, answer.stderr
