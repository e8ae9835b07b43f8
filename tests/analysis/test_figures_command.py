"""`python -m analysis` on a real sweep."""

import json
import re
import shutil
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from analysis.__main__ import made_from, main
from tests.analysis.golden import at
from tests.conftest import EPOCHS, SIZES, Refusals, Workspace

FIGURES = (
    "test_accuracy",
    "valid_accuracy",
    "final_accuracy",
    "steps_to_threshold",
    "seed_spread",
    "valid_against_test",
    "train_loss",
)


class Page(HTMLParser):
    """Collects a page's tags, the addresses it names, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "poster")]

    def handle_data(self, data: str) -> None:
        self.text += data


@dataclass(frozen=True)
class Analysis:
    """Runs the command in this process, in the swept workspace, and returns what it printed.

    Its figures are composed and not drawn: those of `results` are.
    """

    root: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def of(self, *words: str) -> str:
        self.monkeypatch.setattr(sys, "argv", ["command", *words])
        with at(self.root):
            assert main() == 0
        return self.capsys.readouterr().out


@pytest.fixture
def analysis(swept: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Analysis:
    return Analysis(swept.root, monkeypatch, capsys)


@pytest.fixture(scope="module")
def results(swept: Workspace) -> Path:
    answer = swept.python("analysis")
    assert answer.returncode == 0, answer.stderr
    assert "reaches" in answer.stdout
    return swept.root / "results/default"


def test_figures_tables_and_summary_of_a_real_sweep(swept: Workspace, results: Path) -> None:
    for name in FIGURES:
        assert Image.open(results / f"figures/{name}.png").size[0] > 800
        assert "<svg" in (results / f"figures/{name}.svg").read_text()[:2000]
    tables = {path.name for path in (results / "tables").iterdir()}
    assert tables == {"results.md", "results.csv", "results.tex", "runs.csv"}
    summary = json.loads((results / "summary.json").read_text())
    rows = pd.read_csv(results / "tables/runs.csv").to_dict("records")
    assert [row["test"] for row in rows] == [run["test"] for run in summary["runs"]]
    assert [row["best_step"] for row in rows] == [run["best_step"] for run in summary["runs"]]
    assert {(row["train"], row["length"], row["state"]) for row in rows} == {(SIZES["train"], 1, "done")}
    assert [run["status"] for run in summary["runs"]] == ["done"] * 4
    for run in summary["runs"]:
        progress = json.loads((swept.run_folder(run["init"], run["seed"]) / "progress.json").read_text())
        assert run["best_step"] == progress["best_step"]
        assert run["best_valid"] == 100 * progress["best_valid"]["n_correct"] / progress["best_valid"]["n"]
    table = pd.read_parquet(results / "scalars.parquet")
    assert len(table[(table["split"] == "test") & (table["tag"] == "n_correct")]) == 4 * (EPOCHS + 1)
    assert [row["steps"] for row in rows] == [table["step"].max()] * 4


def test_the_page_on_the_architecture_names_every_file_and_folder(swept: Workspace, results: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()
    made = (swept.root / "data/splits/amazon_fr", swept.binarised, swept.run_folder("random", 0), results)
    for path in (path for folder in made for path in folder.iterdir() if path.name[0] != "."):
        assert f"`{path.name}{'/' if path.is_dir() else ''}`" in page


def test_the_statistics_know_the_texts(results: Path) -> None:
    statistics = json.loads((results / "statistics.json").read_text())
    assert [group["no_texts"] for group in statistics["groups"]] == [None, None]
    (comparison,) = statistics["comparisons"]
    assert comparison["paired"]
    assert comparison["difference"]["over_texts"]["target"] == "new texts, new seeds"
    verdicts = json.loads((results / "verdicts.json").read_text())
    assert verdicts == {"numbers": [], "claims": [], "errata": []}  # nothing published is said of other runs


def test_the_report_is_one_file_that_needs_no_network(results: Path) -> None:
    html = (results / "report.html").read_text()
    page = Page(html)
    assert page.tags.count("img") == len(FIGURES)
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert not re.search(r"url\(|@import", html)
    assert 'name="viewport"' in html
    for words in (
        "How much does pre-training buy?",
        "reaches",
        "TF-IDF + logistic regression",
        "commonest class",
        "2 seeds: the 95",
        "7 of 117 dropped",
        "tokens per text",
        "Commands that make all",
        "make prep MODEL=tiny",
        "make sweep MODEL=tiny",
        "SEEDS=0,1",
        "make figures",
        "sha256 of",
        "Brown-Forsythe",
        "this test set, new seeds",
        "new texts, new seeds",
        "None.",
    ):
        assert words in page.text, words


def test_the_report_in_markdown_says_the_same(results: Path) -> None:
    markdown, page = (results / "report.md").read_text(), Page((results / "report.html").read_text())
    headings = re.findall(r"^## (.*)$", markdown, re.MULTILINE)
    assert headings == re.findall(r"<h2>(.*?)</h2>", (results / "report.html").read_text())
    linked = re.findall(r"\]\((figures/.*?)\)", markdown)
    assert sorted(linked) == sorted(f"figures/{name}.png" for name in FIGURES)
    assert linked[:2] == ["figures/test_accuracy.png", "figures/final_accuracy.png"]  # right under the answer
    assert all((results / path).is_file() for path in linked)
    answer = markdown.split("## Answer\n\n")[1].split("\n\n")[0]
    assert answer in page.text


def test_nothing_is_done_when_nothing_has_changed_and_all_of_it_when_something_has(
    analysis: Analysis, results: Path, tmp_path: Path
) -> None:
    words = ["--results-dir", str(tmp_path), "--runs-dir", str(tmp_path / "runs")]
    shutil.copytree(analysis.root / "runs/default", tmp_path / "runs/default")
    assert "made in" in analysis.of(*words)
    stamp = (tmp_path / "default/report.html").stat().st_mtime_ns
    again = analysis.of(*words)
    assert "up to date in" in again
    assert "reaches" in again
    assert (tmp_path / "default/report.html").stat().st_mtime_ns == stamp
    assert "made in" in analysis.of(*words, "--threshold", "80")
    assert "Steps to 80 % test accuracy" in (tmp_path / "default/report.html").read_text()
    (tmp_path / "default/summary.json").unlink()
    next((tmp_path / "runs").rglob("predictions.parquet")).unlink()
    assert "made in" in analysis.of(*words, "--threshold", "80")
    assert (tmp_path / "default/summary.json").is_file()
    assert "predictions.parquet is missing" in (tmp_path / "default/report.md").read_text()


def test_failed_missing_and_damaged_runs_are_named(analysis: Analysis, tmp_path: Path) -> None:
    runs = Path(shutil.copytree(analysis.root / "runs/default", tmp_path / "runs/default")).parent
    folder = runs / "default/amazon_fr/tiny/fairseq/full"
    status = json.loads((folder / "random/seed=0/status.json").read_text())
    (folder / "random/seed=0/status.json").write_text(json.dumps({**status, "state": "failed"}))
    shutil.rmtree(folder / "random/seed=1")
    (events,) = (folder / "pretrained/seed=1/tb/test").glob("*")
    events.write_bytes(events.read_bytes()[:-400])  # the last evaluation
    said = analysis.of("--runs-dir", str(runs), "--results-dir", str(tmp_path / "results"))
    foot = (tmp_path / "results/default/tables/results.md").read_text().splitlines()
    assert "amazon_fr/tiny/fairseq/full/random/seed=0 (failed)" in foot[-1]
    assert "amazon_fr/tiny/fairseq/full/random/seed=1 (missing)" in foot[-1]
    assert f"pretrained/seed=1 (damaged: {events} ends in the middle of a record" in foot[-1]
    assert foot[-1] in said
    page = Page((tmp_path / "results/default/report.html").read_text())
    assert "amazon_fr/tiny/fairseq/full/random/seed=1 (missing)" in page.text
    assert "do not say what pre-training buys: no random run has results (1 failed, 1 missing)" in page.text


def test_runs_that_do_not_belong_together_are_named(analysis: Analysis, tmp_path: Path) -> None:
    runs = Path(shutil.copytree(analysis.root / "runs/default", tmp_path / "runs/default")).parent
    folder = runs / "default/amazon_fr/tiny/fairseq/full"
    config = folder / "pretrained/seed=1/config.yaml"
    config.write_text(config.read_text().replace("weight_decay: 0.01", "weight_decay: 0.5"))
    record = json.loads((folder / "random/seed=1/provenance.json").read_text())
    record["inputs"]["data"]["label/test.bin"] = "other"
    (folder / "random/seed=1/provenance.json").write_text(json.dumps(record))
    words = ["--runs-dir", str(runs), "--results-dir", str(tmp_path / "results")]
    said = analysis.of(*words)
    assert (
        "it differs from seed 0, which the group keeps, in fairseq.optimizer.weight_decay: 0.01 -> 0.5; recipe" in said
    )
    assert "random/seed=1 (unlike the others: it differs from seed 0, which the group keeps, in data (input))" in said
    assert "not on equal terms" not in said
    summary = json.loads((tmp_path / "results/default/summary.json").read_text())
    assert [group["n"] for group in summary["groups"]] == [1, 1]  # no mean of two experiments
    for seed in (0, 1):
        config = folder / f"random/seed={seed}/config.yaml"
        config.write_text(config.read_text().replace("epochs: 6", "epochs: 7"))
    said = analysis.of(*words)
    assert "not compared, because not on equal terms; they differ in recipe.epochs (6 against 7)." in said
    assert "reaches" not in said


def test_a_copy_of_a_run_is_no_second_seed(analysis: Analysis, tmp_path: Path) -> None:
    runs = Path(shutil.copytree(analysis.root / "runs/default", tmp_path / "runs/default")).parent
    folder = runs / "default/amazon_fr/tiny/fairseq/full"
    shutil.copytree(folder / "random/seed=1", folder / "random/seed=2")
    shutil.rmtree(folder / "pretrained/seed=1")
    shutil.copytree(folder / "random/seed=1", folder / "pretrained/seed=1")
    shutil.copytree(folder / "random/seed=1", folder / "random/train=allx3/seed=1")
    said = analysis.of("--runs-dir", str(runs), "--results-dir", str(tmp_path / "results"))
    copied = "the folder is a copy of another run's"
    assert f"random/seed=2 (unlike the others: its config.yaml says seed=1: {copied}" in said
    assert f"pretrained/seed=1 (unlike the others: its config.yaml says init.name=random: {copied}" in said
    assert f"random/train=allx3/seed=1 (unlike the others: its config.yaml says length=1: {copied}" in said
    summary = json.loads((tmp_path / "results/default/summary.json").read_text())
    assert [group["n"] for group in summary["groups"]] == [1, 2, 0]


def test_without_the_data_there_is_no_baseline_and_it_says_so(analysis: Analysis, tmp_path: Path) -> None:
    said = analysis.of("--data-dir", "nowhere", "--results-dir", str(tmp_path))
    assert "fairseq · full · random: no baseline, because nowhere/splits/amazon_fr is not there." in said
    assert "TF-IDF" not in said


def test_bad_words_are_one_sentence(swept: Workspace, refusals: Refusals) -> None:
    assert "runs/nope holds no run; `make sweep SWEEP=nope` trains some" in refusals.of(
        main, ["--sweep", "nope"], swept.root
    )
    assert "SWEEP=../x: it names one folder" in refusals.of(main, ["--sweep", "../x"], swept.root)
    for value in ("0", "101", "x"):
        assert f"--threshold {value}: give a percentage" in refusals.of(main, ["--threshold", value], swept.root)


def empty_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns of a table in which no cell says anything."""
    silent = {"", "-", "nan", "none"}
    return [str(name) for name, column in table.items() if set(map(str, column)) <= silent]


def test_no_table_of_the_report_has_an_empty_column(results: Path) -> None:
    assert empty_columns(pd.DataFrame({"a": ["-", ""], "b": ["-", "1"], "c": [float("nan"), "none"]})) == ["a", "c"]
    page = (results / "report.html").read_text()
    for title in ("Comparisons", "Groups of runs", "Steps to 70 % test accuracy"):
        assert f"<h3>{title}</h3>" in page
    tables = pd.read_html(results / "report.html")
    assert [name for table in tables for name in empty_columns(table)] == []
    assert not any(table.columns.duplicated().any() for table in tables)


def test_a_change_of_anything_that_a_report_is_made_from_makes_it_anew(tmp_path: Path) -> None:
    sweep, data = tmp_path / "runs/s", tmp_path / "data"
    folder = sweep / "amazon_fr/tiny/fairseq/full/random/seed=0"
    files = [
        sweep / "sweep.json",
        folder / "tb/test/events.out.tfevents.1",
        *(folder / f"{name}.json" for name in ("status", "progress", "provenance")),
        folder / "config.yaml",
        folder / "predictions.parquet",
        data / "splits/amazon_fr/manifest.json",
        data / "bin/amazon_fr.tiny/manifest.json",
    ]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("before")
    before = made_from(sweep, data, 70.0)
    assert made_from(sweep, data, 70.0) == before
    assert made_from(sweep, data, 80.0) != before
    for path in files:
        path.write_text("and after")
        assert made_from(sweep, data, 70.0) != before, path
        before = made_from(sweep, data, 70.0)


def test_a_threshold_may_be_all_of_a_hundred_percent(refusals: Refusals, tmp_path: Path) -> None:
    assert "holds no run" in refusals.of(main, ["--threshold", "100"], tmp_path)
