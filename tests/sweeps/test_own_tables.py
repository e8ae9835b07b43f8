"""From one's own tables to figures: every format, string labels, three classes, pairs, one's own model folder."""

import json
import random
import shlex
import shutil
from pathlib import Path

import pytest

from tests.conftest import Workspace, refused
from tests.data_prep.test_table import write_table

CLASSES = {"négatif": "ennuyeux", "neutre": "banal", "positif": "superbe"}
TRAINING = ("--device", "cpu", "--precision", "fp32", "--epochs", "2")


def reviews(count: int, start: int) -> list[dict[str, str]]:
    """Return rows whose text holds a line break, quotes and separators, and whose class one word tells."""
    generator = random.Random(start)
    rows = []
    for number in range(start, start + count):
        label, word = list(CLASSES.items())[number % 3]
        filler = " ".join(generator.choices(["ce livre", "le style", "la fin", "l'intrigue"], k=3))
        rows.append({"id": f"{number}", "avis": f'{filler},\nest "{word}";\tn° {number}', "note": label})
    return rows


@pytest.fixture
def own(workspace: Workspace, tmp_path: Path) -> Workspace:
    """An empty workspace with a tiny model brought under its own name."""
    shutil.copytree(workspace.model, tmp_path / "modeles" / "mon_modele")
    of_tiny = "model.max_unknown_share=0.2"  # its vocabulary knows few characters
    return Workspace(tmp_path, (of_tiny, "launcher.threads=1"))


def done(own: Workspace, *words: str) -> str:
    answer = own.python(*words, *own.overrides)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_three_classes_in_three_formats_reach_the_table(own: Workspace) -> None:
    train = write_table(own.root / "train.csv", reviews(60, 0))
    valid = write_table(own.root / "valid.jsonl", reviews(18, 100))
    test = write_table(own.root / "test.parquet", reviews(24, 200))
    columns = ["dataset.text=avis", "dataset.label=note", "dataset.name=avis"]
    files = [f"dataset.train={train}", f"dataset.valid={valid}", f"dataset.test={test}"]
    chosen = ("--dataset", "table", "--model", "modeles/mon_modele")
    said = done(own, "data_prep", *chosen, *columns, *files)
    assert "(60 train, 18 valid, 24 test; classes neutre, négatif, positif)" in said
    done(own, "sweeps", *chosen, *TRAINING, "--seeds", "0,1", *columns, *files)
    folder = own.root / "runs/default/avis/mon_modele/fairseq/full/random/seed=1"
    assert json.loads((folder / "provenance.json").read_text())["inputs"]["labels"] == ["neutre", "négatif", "positif"]
    counts = json.loads((folder / "progress.json").read_text())
    assert (counts["valid"]["n"], counts["test"]["n"]) == (18, 24)
    answer = own.analyse()
    assert answer.returncode == 0, answer.stderr
    table = (own.root / "results/default/tables/results.md").read_text()
    assert "avis: 3 classes, neutre, négatif, positif." in table
    assert "mon_modele" in table
    summary = json.loads((own.root / "results/default/summary.json").read_text())
    assert summary["classes"] == {"avis": ["neutre", "négatif", "positif"]}
    assert {group["n"] for group in summary["groups"]} == {2}
    report = (own.root / "results/default/report.md").read_text()
    assert "read train.csv (train), valid.jsonl (valid) and test.parquet (test); without data/splits/avis" in report


def test_one_table_is_enough_when_the_test_texts_are_drawn_from_it(own: Workspace) -> None:
    rows = reviews(90, 0)
    table = write_table(own.root / "avis.csv", [*rows, rows[0]])  # a repeat would be in train and in test
    words = ["dataset.text=avis", "dataset.label=note", "dataset.name=avis"]
    chosen = ("--dataset", "table", "--model", "modeles/mon_modele")
    own_words = [f"dataset.train={table}", "dataset.n_test=30", "dataset.n_valid=12", "dataset.test_seed=7"]
    said = done(own, "data_prep", *chosen, *words, *own_words)
    assert "(48 train, 12 valid, 30 test; classes neutre, négatif, positif)" in said
    sweep = ("sweeps", *chosen, *TRAINING, "--seeds", "0", "--init", "random", *words)
    done(own, *sweep)
    assert own.analyse().returncode == 0
    report = (own.root / "results/default/report.md").read_text()
    assert "read avis.csv (train and test); without data/splits/avis" in report
    splits = own.root / "data/splits/avis"
    drawn = (splits / "test.jsonl").read_bytes()
    shutil.rmtree(own.root / "data/splits")
    shutil.rmtree(own.root / "data/bin")
    prep, _ = json.loads((own.root / "runs/default/sweep.json").read_text())["commands"]
    args = next(word for word in shlex.split(prep) if word.startswith("ARGS=")).removeprefix("ARGS=")
    done(own, "data_prep", *chosen, *shlex.split(args))  # the command of the report makes the same data
    assert (splits / "test.jsonl").read_bytes() == drawn
    assert len((splits / "valid.jsonl").read_bytes().splitlines()) == 12
    other = write_table(own.root / "autre.csv", rows)
    said = refused(own.python(*sweep, f"dataset.train={other}", *own.overrides))
    assert f"dataset.train={other}: the data was not prepared from this file; run `make prep" in said
    said = refused(own.python(*sweep, f"dataset.test={other}", *own.overrides))
    assert f" dataset.test={other} " in said
    assert f" dataset.train={table} dataset.n_valid=12 dataset.test_seed=7'` first" in said
    assert "n_test" not in said  # test texts are brought or drawn, never both


def test_validation_texts_are_brought_or_drawn(own: Workspace) -> None:
    table, valid = write_table(own.root / "avis.csv", reviews(90, 0)), write_table(own.root / "v.csv", reviews(12, 100))
    words = ["dataset.text=avis", "dataset.label=note", "dataset.name=avis", f"dataset.train={table}"]
    words += [f"dataset.valid={valid}", "dataset.n_test=30"]
    chosen = ("--dataset", "table", "--model", "modeles/mon_modele")
    assert "(60 train, 12 valid, 30 test; " in done(own, "data_prep", *chosen, *words)
    said = refused(own.python("data_prep", *chosen, *words, "dataset.n_valid=6", *own.overrides))
    assert "dataset.n_valid=6: avis brings validation texts, so none are drawn; leave one out" in said


def test_pairs_from_tsv_reach_the_table(own: Workspace) -> None:
    rows = [{**row, "suite": f"donc {row['avis'][::-1]}"} for row in reviews(60, 0)]
    later = [{**row, "suite": "donc"} for row in reviews(12, 300)]
    train, test = write_table(own.root / "train.tsv", rows), write_table(own.root / "test.tsv", later)
    words = ["dataset.text=avis", "dataset.label=note", "dataset.text_pair=suite", "dataset.name=paires"]
    chosen = ("--dataset", "table", "--model", "modeles/mon_modele")
    said = done(own, "data_prep", *chosen, *words, f"dataset.train={train}", f"dataset.test={test}")
    manifest = json.loads((own.root / "data/bin/paires.mon_modele/manifest.json").read_text())
    assert manifest["pairs"]
    assert manifest["max_positions"] == 64
    assert manifest["cut"]["train"]["examples"] > 0
    assert "texts cut at 64 tokens" in said
    assert (own.root / "data/bin/paires.mon_modele/input1/train.bin").is_file()
    done(own, "sweeps", *chosen, *TRAINING, "--seeds", "0", "--init", "random", *words)
    assert own.analyse().returncode == 0
    prep, _ = json.loads((own.root / "runs/default/sweep.json").read_text())["commands"]
    assert prep.endswith(f" dataset.train={train} dataset.test={test}'")
    assert "paires: 3 classes" in (own.root / "results/default/tables/results.md").read_text()


def test_a_sweep_on_a_table_that_is_not_prepared_says_so(own: Workspace) -> None:
    words = ("sweeps", "--dataset", "table", "--model", "modeles/mon_modele", *TRAINING, "dataset.name=autre")
    command = (
        "make prep DATASET=table MODEL=modeles/mon_modele ARGS='dataset.name=autre dataset.train={} dataset.test={}'"
    )
    said = refused(own.python(*words))
    assert f"autre is not prepared for mon_modele; run `{command.format('...', '...')}` first" in said
    splits = own.root / "data/splits/autre"  # prepared, but for another model
    splits.mkdir(parents=True)
    (splits / "manifest.json").write_text('{"source": {"files": {"train": "a.csv", "test": "b.csv"}}}')
    assert f"`{command.format('a.csv', 'b.csv')}` first" in refused(own.python(*words))
