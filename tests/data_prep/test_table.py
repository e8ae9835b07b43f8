"""One's own tables: whatever text goes in comes out of the .bin files again, piece for piece."""

import csv
import json
import unicodedata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sentencepiece
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.__main__ import prepare_splits
from data_prep.binarise import _write_texts
from data_prep.cleaning import clean, is_empty
from data_prep.examples import SPLITS, read_split
from foundation.errors import UsageError
from hydra_conf.compose import compose_config
from tests.conftest import Workspace

Rows = list[tuple[str, str]]
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)
LABELS = st.sampled_from(["négatif", "neutre", "positif"])
TABLE = st.lists(st.tuples(TEXTS, LABELS), min_size=1, max_size=25)


def write_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write the rows in the format that the name asks for, as one would with the usual tools."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        with path.open("w", encoding="utf-8-sig", newline="") as stream:
            dialect = csv.excel if path.suffix == ".csv" else csv.excel_tab
            writer = csv.DictWriter(stream, list(rows[0]), dialect=dialect)
            writer.writeheader()
            writer.writerows(rows)
    return path


def splits_of_tables(folder: Path, words: list[str]) -> Path:
    return prepare_splits(compose_config([f"data_dir={folder / 'data'}", "dataset=table", "dataset.name=mine", *words]))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TABLE, st.sampled_from(["csv", "tsv", "jsonl", "parquet"]))
def test_any_text_comes_out_of_the_bin_files_again_piece_for_piece(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory, rows: Rows, kind: str
) -> None:
    """By sentencepiece and fairseq's dictionary used directly, on the texts as they were written into the table."""
    from fairseq.data import Dictionary
    from fairseq.data.indexed_dataset import MMapIndexedDataset

    from data_prep.preprocess import preprocess

    folder = tmp_path_factory.mktemp("table")
    train = [("un", "neutre"), ("deux", "positif"), ("cinq", "négatif"), *rows]
    test = [("trois", "neutre"), *((text + " !", label) for text, label in rows)]
    for name, own in (("train", train), ("valid", [("quatre", "négatif")]), ("test", test)):
        write_table(folder / f"{name}.{kind}", [{"text": text, "label": label} for text, label in own])
    words = [f"dataset.{name}={folder / name}.{kind}" for name in ("train", "valid", "test")]
    splits = splits_of_tables(folder, words)
    (folder / "text").mkdir()
    labels = json.loads((splits / "manifest.json").read_text())["labels"]
    for column in _write_texts(folder / "text", splits, labels):
        preprocess(folder, workspace.model, column)

    processor = sentencepiece.SentencePieceProcessor(model_file=str(workspace.model / "sentencepiece.bpe.model"))
    dictionary = Dictionary.load(str(workspace.model / "dict.txt"))
    texts, classes = (MMapIndexedDataset(str(folder / column / "test")) for column in ("input0", "label"))
    assert len(texts) == len(test)  # no test example is ever dropped
    for number, (text, label) in enumerate(test):
        expected = [dictionary.index(piece) for piece in processor.encode(clean(text), out_type=str)]
        assert texts[number].tolist() == [*expected, dictionary.eos()]
        assert labels[int(classes[number][0]) - dictionary.nspecial] == label
    judged = {plain(text) for text, _ in [*test, ("quatre", "négatif")]}
    kept = {clean(text) for text, _ in train if not is_empty(text) and plain(text) not in judged}
    assert {example.text for example in read_split(splits / "train.jsonl")} == kept


def plain(text: str) -> str:
    """Return the text as its near-copies are, by a rule written anew here."""
    drawn = [one for one in clean(text).casefold() if unicodedata.category(one) not in ("Cc", "Cf")]
    return clean("".join(drawn))


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_each_format_gives_the_same_examples(tmp_path: Path, kind: str) -> None:
    rows = [
        {"avis": 'Ligne une,\nligne « deux »\tet "trois".', "note": 5, "autre": "x"},
        {"avis": "Bof; moyen, sans plus", "note": 3, "autre": ""},
        {"avis": "Nul : à fuir", "note": 1, "autre": "z"},
    ]
    many = [{**row, "avis": f"{k} {row['avis']}"} for k in range(4) for row in rows]
    train = write_table(tmp_path / f"train.{kind}", many)
    test = write_table(tmp_path / f"test.{kind}", [{**row, "avis": f"{row['avis']} !"} for row in rows])
    columns = ["dataset.text=avis", "dataset.label=note", "dataset.valid_share=0.3"]
    splits = splits_of_tables(tmp_path, [f"dataset.train={train}", f"dataset.test={test}", *columns])
    examples = {name: list(read_split(splits / f"{name}.jsonl")) for name in SPLITS}
    manifest = json.loads((splits / "manifest.json").read_text())
    assert manifest["labels"] == ["1", "3", "5"]
    assert [example.text for example in examples["test"]] == [f"{clean(str(row['avis']))} !" for row in rows]
    assert [example.label for example in examples["test"]] == ["5", "3", "1"]
    assert {example.text_pair for name in SPLITS for example in examples[name]} == {None}


def test_labels_may_be_strings_integers_or_booleans(tmp_path: Path) -> None:
    rows = [{"text": f"texte {k}", "label": value} for k, value in enumerate([True, False, "vrai ", 7])]
    paths: dict[str, list[dict[str, Any]]] = {
        "train": rows,
        "valid": [{"text": "v", "label": 7}],
        "test": [{"text": "t", "label": "vrai"}],
    }
    words = [f"dataset.{name}={write_table(tmp_path / f'{name}.jsonl', own)}" for name, own in paths.items()]
    manifest = json.loads((splits_of_tables(tmp_path, words) / "manifest.json").read_text())
    assert manifest["labels"] == ["7", "false", "true", "vrai"]


SAME: dict[str, tuple[list[Any], list[Any], list[str]]] = {  # two labels, the same otherwise, what they are called
    "booleans": (["True", "False"], [True, False], ["true", "false"]),
    "booleans in capitals": (["TRUE", "FALSE"], ["true", "false"], ["true", "false"]),
    "floats": (["1.0", "0.0"], ["1", "0"], ["1", "0"]),
    "floats and integers": ([1.0, 0.0], [1, 0], ["1", "0"]),
    "floats below zero": ([-1.0, 1.0], ["-1.00", "1"], ["-1", "1"]),
    "floats that are zero": ([-0.0, 2.0], ["-0.0", "2"], ["0", "2"]),
}


@pytest.mark.parametrize("case", SAME)
@pytest.mark.parametrize("kinds", [("csv", "jsonl"), ("jsonl", "csv"), ("parquet", "jsonl"), ("tsv", "parquet")])
def test_a_label_is_one_class_however_it_is_written(tmp_path: Path, case: str, kinds: tuple[str, str]) -> None:
    one, other, names = SAME[case]
    words = []
    for name, values, count, kind in (("train", one, 20, kinds[0]), ("test", other, 4, kinds[1])):
        rows = [{"text": f"{name} {k}", "label": values[k % 2]} for k in range(count)]
        words.append(f"dataset.{name}={write_table(tmp_path / f'{name}.{kind}', rows)}")
    splits = splits_of_tables(tmp_path, words)
    manifest = json.loads((splits / "manifest.json").read_text())
    assert manifest["labels"] == sorted(names)
    assert manifest["per_class"] == {"train": [9, 9], "valid": [1, 1], "test": [2, 2]}
    assert [example.label for example in read_split(splits / "test.jsonl")] == [*names, *names]


def test_the_labels_that_are_asked_for_are_matched_in_every_writing(tmp_path: Path) -> None:
    words = ["dataset.labels=[false,true]"]
    for name, values in (("train", ["False", "TRUE"]), ("test", ["false", "true"])):
        rows = [{"text": f"{name} {k}", "label": values[k % 2]} for k in range(20)]
        words.append(f"dataset.{name}={write_table(tmp_path / f'{name}.csv', rows)}")
    manifest = json.loads((splits_of_tables(tmp_path, words) / "manifest.json").read_text())
    assert manifest["labels"] == ["False", "True"]
    assert manifest["per_class"]["test"] == [10, 10]


def test_a_label_that_only_looks_like_a_number_keeps_its_writing(tmp_path: Path) -> None:
    labels = ["1.5", "Vrai", "1.0.0", "01", "v1.0", "1.", ".0"]
    words = []
    for name in ("train", "valid", "test"):
        rows = [{"text": f"{name} {k}", "label": label} for k, label in enumerate(labels)]
        words.append(f"dataset.{name}={write_table(tmp_path / f'{name}.csv', rows)}")
    manifest = json.loads((splits_of_tables(tmp_path, words) / "manifest.json").read_text())
    assert manifest["labels"] == sorted(labels)


@pytest.mark.parametrize("kind", ["CSV", "Csv", "TSV", "JSONL", "Parquet", "PARQUET"])
def test_the_ending_of_a_name_may_be_in_any_case(tmp_path: Path, kind: str) -> None:
    """Windows writes them so."""
    words = []
    for name, count in (("train", 20), ("test", 4)):
        rows = [{"text": f"{name}, {k}\tfin", "label": "ab"[k % 2]} for k in range(count)]
        made = write_table(tmp_path / f"{name}.{kind.lower()}", rows)
        words.append(f"dataset.{name}={made.rename(tmp_path / f'{name}.{kind}')}")
    examples = list(read_split(splits_of_tables(tmp_path, words) / "test.jsonl"))
    assert [example.text for example in examples] == [f"test, {k} fin" for k in range(4)]


def test_a_row_of_a_parquet_table_is_called_a_row_in_any_case(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": "a", "label": "b"}, {"text": None, "label": "c"}]
    path = write_table(tmp_path / "t.parquet", rows).rename(tmp_path / "T.PARQUET")
    with pytest.raises(UsageError, match="T.PARQUET, row 2: column 'text'"):
        splits_of_tables(tmp_path, [f"dataset.train={path}", f"dataset.test={path}"])


def test_a_moved_table_is_the_same_table(tmp_path: Path) -> None:
    rows = [{"text": f"texte {k}", "label": "ab"[k % 2]} for k in range(20)]
    train, test = (write_table(tmp_path / f"{name}.csv", rows) for name in ("train", "test"))
    write_table(test, [{"text": f"essai {k}", "label": "ab"[k % 2]} for k in range(4)])
    first = splits_of_tables(tmp_path, [f"dataset.train={train}", f"dataset.test={test}"])
    made = (first / "train.jsonl").stat().st_mtime_ns
    moved = train.rename(tmp_path / "ailleurs.csv")
    assert splits_of_tables(tmp_path, [f"dataset.train={moved}", f"dataset.test={test}"]) == first
    assert (first / "train.jsonl").stat().st_mtime_ns == made


def test_classes_are_numbered_in_the_datasets_order_and_not_by_name_or_frequency(tmp_path: Path) -> None:
    labels = ["pour", "contre", "avec"]
    for split in SPLITS:
        lines = [
            {"id": str(k), "text": f"{split} {k}", "text_pair": None, "label": label}
            for k, label in enumerate(["avec", "avec", "avec", "contre", "contre", "pour"])
        ]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "text").mkdir()
    assert _write_texts(tmp_path / "text", tmp_path, labels) == ["input0", "label"]
    assert (tmp_path / "text/test.label").read_text().split() == ["2", "2", "2", "1", "1", "0"]
    assert (tmp_path / "text/dict.txt").read_text() == "0 1\n1 2\n2 3\n"


@pytest.mark.parametrize(("columns", "cut"), [(["input0", "label"], 2), (["input0", "input1", "label"], 4)])
def test_a_text_is_cut_where_its_tokens_and_those_that_are_put_between_are_too_many(
    tmp_path: Path, columns: list[str], cut: int
) -> None:
    """A text has its `</s>`, and `<s>` comes before it; between the texts of a pair comes one more `</s>`."""
    import torch
    from fairseq.data import indexed_dataset

    from data_prep.preprocess import n_cut

    for column, sizes in (("input0", [8, 9, 10, 11, 12]), ("input1", [1] * 5), ("label", [2] * 5)):
        (tmp_path / column).mkdir()
        made = indexed_dataset.make_builder(str(tmp_path / column / "test.bin"), impl="mmap", vocab_size=100)
        for size in sizes:
            made.add_item(torch.zeros(size, dtype=torch.int32))
        made.finalize(str(tmp_path / column / "test.idx"))
    assert n_cut(tmp_path, columns, "test", 11) == cut


@pytest.mark.parametrize(
    ("suffix", "separator"), [("csv", ";"), ("csv", "\t"), ("csv", "|"), ("tsv", ","), ("tsv", ";")]
)
def test_another_separator_is_found_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, separator: str
) -> None:
    """As Excel writes a CSV where the comma is the decimal mark."""
    for name, texts in (("train", 12), ("test", 4)):
        rows = [f'"{name}{separator} {k}"{separator}{k % 2}{separator}' for k in range(texts)]
        lines = [f'text{separator}label{separator}"a,b;c\td|e"', *rows]
        (tmp_path / f"{name}.{suffix}").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8-sig")
    files = [f"dataset.{name}={tmp_path / name}.{suffix}" for name in ("train", "test")]
    splits = splits_of_tables(tmp_path, [*files, "dataset.n_valid=2"])
    assert sorted(example.text for example in read_split(splits / "test.jsonl")) == [
        clean(f"test{separator} {k}") for k in range(4)
    ]
    assert f"train.{suffix} is separated by {separator!r}" in capsys.readouterr().out


def test_the_usual_separator_is_kept_where_it_makes_the_columns(tmp_path: Path) -> None:
    for name, texts in (("train", 12), ("test", 4)):
        rows = [f"{name};{k},{k % 2},a;b" for k in range(texts)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label,c;d", *rows]) + "\n", encoding="utf-8")
    files = [f"dataset.{name}={tmp_path / name}.csv" for name in ("train", "test")]
    splits = splits_of_tables(tmp_path, [*files, "dataset.n_valid=2"])
    assert next(read_split(splits / "test.jsonl")).text == "test;0"


@pytest.mark.parametrize(
    ("train", "test", "classes"),
    [
        (["1.", "0."], ["1", "0"], ["0", "1"]),
        (["1e0", "-0"], ["1", "0"], ["0", "1"]),
        (["10", "1e1", "0"], ["1.0e1", "0"], ["0", "10"]),
        (["2.50", "1"], ["2.5", "1"], ["1", "2.5"]),
        (["1e0", "a"], ["1e0", "a"], ["1e0", "a"]),
        (["01", "1"], ["01", "1"], ["01", "1"]),
        (["-1", "1"], ["-1.", "1"], ["-1", "1"]),
    ],
)
def test_where_all_labels_are_numbers_a_number_is_one_class(
    tmp_path: Path, train: list[str], test: list[str], classes: list[str]
) -> None:
    for name, labels in (("train", train), ("test", test)):
        rows = [{"text": f"{name} {k}", "label": label} for k in range(6) for label in labels]
        rows = [{**row, "text": f"{row['text']} {number}"} for number, row in enumerate(rows)]
        write_table(tmp_path / f"{name}.csv", rows)
    files = [f"dataset.{name}={tmp_path / name}.csv" for name in ("train", "test")]
    splits = splits_of_tables(tmp_path, [*files, "dataset.n_valid=2"])
    assert sorted(json.loads((splits / "manifest.json").read_text())["labels"]) == sorted(classes)
    found = [example.label for example in read_split(splits / "test.jsonl")]
    assert set(found) == set(classes)
    assert len(found) == 6 * len(test)
