"""Inputs that are wrong in every way we could think of: one sentence each, exit code 2, and nothing half-written."""

import io
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from data_prep.__main__ import main
from tests.conftest import Refusals, Workspace, reviews

HEADER = "text,label\n"
GOOD = HEADER + "".join(f"texte numéro {k},{'ab'[k % 2]}\n" for k in range(20))
GOOD_TEST = HEADER + "".join(f"essai numéro {k},{'ab'[k % 2]}\n" for k in range(6))


class Inputs:
    """A folder of good inputs that a case spoils: tables, and a copy of the tiny model."""

    def __init__(self, root: Path, model: Path) -> None:
        self.root, self.original = root, model
        self.train, self.test = root / "train.csv", root / "test.csv"
        self.train.write_text(GOOD, encoding="utf-8")
        self.test.write_text(GOOD_TEST, encoding="utf-8")
        self.model = root / "mon_modele"
        shutil.copytree(model, self.model)
        self.words: list[str] = []

    def table(self, content: str | bytes, name: str = "bad.csv") -> None:
        """Take another train table."""
        self.train = self.root / name
        self.train.write_bytes(content if isinstance(content, bytes) else content.encode())

    def checkpoint(self, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change what model.pt holds."""
        state = torch.load(self.model / "model.pt", weights_only=True)
        torch.save(change(state) or state, self.model / "model.pt")

    def dictionary(self, change: Callable[[list[str]], list[str]]) -> None:
        path = self.model / "dict.txt"
        lines = path.read_text(encoding="utf-8").split("\n")
        path.write_text("\n".join(change(lines)), encoding="utf-8")

    def raw(self, dataset: str, name: str, body: bytes) -> None:
        """Put an archive where a published dataset looks for it, and ask for that dataset."""
        folder = self.root / "data" / "raw" / dataset
        folder.mkdir(parents=True)
        (folder / name).write_bytes(body)

    def argv(self) -> list[str]:
        given = [f"dataset.train={self.train}", f"dataset.test={self.test}", "dataset.name=mine"]
        default = ["--dataset", "table", "--model", str(self.model)]
        options = [word for word in self.words if word.startswith("--")]
        overrides = [word for word in self.words if not word.startswith("--")]
        chosen = [part for option in options for part in option.split("=", 1)]
        tables = given if "--dataset" not in chosen else []
        return [*default, *chosen, "--data-dir", str(self.root / "data"), "--", *tables, *overrides]


def zip_bytes(members: dict[str, bytes], link: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, body in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = ((stat.S_IFLNK if link else stat.S_IFREG) | 0o644) << 16
            archive.writestr(info, body)
    return out.getvalue()


def tar_bytes(members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:bz2") as archive:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd" if kind != tarfile.REGTYPE else ""
            info.size = len(body) if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(body))
    return out.getvalue()


def jsonl(*lines: str) -> Callable[[Inputs], None]:
    return lambda inputs: inputs.table("\n".join(lines) + "\n", "bad.jsonl")


def csv_table(content: str | bytes, name: str = "bad.csv") -> Callable[[Inputs], None]:
    return lambda inputs: inputs.table(content, name)


def words(*given: str) -> Callable[[Inputs], None]:
    return lambda inputs: inputs.words.extend(given)


def parquet(columns: dict[str, list[Any]]) -> Callable[[Inputs], None]:
    def spoil(inputs: Inputs) -> None:
        import pyarrow
        from pyarrow import parquet as format

        inputs.train = inputs.root / "bad.parquet"
        format.write_table(pyarrow.table(columns), inputs.train)

    return spoil


def course(body: bytes) -> Callable[[Inputs], None]:
    def spoil(inputs: Inputs) -> None:
        inputs.raw("cls_books_course", "cls.books.zip", body)
        inputs.words.append("--dataset=cls_books_course")

    return spoil


def course_files(**changed: str) -> Callable[[Inputs], None]:
    sizes = {"train": 1800, "valid": 200, "test": 2000}
    files = {f"c/{name}.review": "".join(f"{name} {k}\n" for k in range(n)) for name, n in sizes.items()}
    files |= {f"c/{name}.label": "".join(f"{k % 2}\n" for k in range(n)) for name, n in sizes.items()}
    files |= {f"c/{name.replace('_', '.')}": text for name, text in changed.items()}
    return course(zip_bytes({name: text.encode(errors="surrogateescape") for name, text in files.items()}))


def allocine(body: bytes) -> Callable[[Inputs], None]:
    def spoil(inputs: Inputs) -> None:
        inputs.raw("allocine", "data.tar.bz2", body)
        inputs.words.append("--dataset=allocine")

    return spoil


def cls(xml: str) -> Callable[[Inputs], None]:
    files = {f"c/fr/books/{part}.review": xml.encode() for part in ("train", "test")}

    def spoil(inputs: Inputs) -> None:
        inputs.raw("cls", "cls-acl10-unprocessed.tar.gz", tar_bytes(files))
        inputs.words.append("--dataset=cls_books_webis")

    return spoil


def checkpoint(change: Callable[[dict[str, Any]], Any]) -> Callable[[Inputs], None]:
    return lambda inputs: inputs.checkpoint(change)


def dictionary(change: Callable[[list[str]], list[str]]) -> Callable[[Inputs], None]:
    return lambda inputs: inputs.dictionary(change)


def model_file(name: str, body: bytes | None) -> Callable[[Inputs], None]:
    def spoil(inputs: Inputs) -> None:
        (inputs.model / name).unlink()
        if body is not None:
            (inputs.model / name).write_bytes(body)

    return spoil


def truncated(name: str) -> Callable[[Inputs], None]:
    def spoil(inputs: Inputs) -> None:
        body = (inputs.model / name).read_bytes()
        (inputs.model / name).write_bytes(body[: len(body) // 2])

    return spoil


def arguments(**changed: Any) -> Callable[[Inputs], None]:
    def change(state: dict[str, Any]) -> None:
        state["cfg"]["model"].update(changed)

    return checkpoint(change)


def without(name: str) -> Callable[[Inputs], None]:
    return checkpoint(lambda state: {key: value for key, value in state.items() if key != name})


def without_weight(name: str) -> Callable[[Inputs], None]:
    def change(state: dict[str, Any]) -> None:
        del state["model"][name]

    return checkpoint(change)


EMBEDDING = "encoder.sentence_encoder.embed_tokens.weight"
SHORT = "a b c,x\nd e f,y\n"

CASES: dict[str, tuple[Callable[[Inputs], None], str]] = {
    # tables
    "no such table": (words("dataset.train=nowhere.csv"), "nowhere.csv (dataset.train); give its path from /"),
    "a folder for a table": (words("dataset.train=."), "there is no file ."),
    "no train given": (words("--dataset=table", "dataset.test=x.csv"), "dataset.train is not given"),
    "no test given": (words("--dataset=table", "dataset.train=x.csv"), "dataset.test is not given"),
    "a test file, and a number to draw": (words("dataset.n_test=5"), "brings a test split; leave dataset.n_test out"),
    "another suffix": (csv_table(GOOD, "bad.xlsx"), "bad.xlsx: a table ends in .csv, .tsv, .jsonl or .parquet"),
    "an empty file": (csv_table(""), "bad.csv holds no row; give a file with texts"),
    "a header alone": (csv_table(HEADER), "bad.csv holds no row"),
    "no text column": (csv_table("texte,label\na,b\n"), "no column 'text' (did you mean 'texte'?)"),
    "no label column": (csv_table("text,classe\na,b\n"), "no column 'label'; it has: classe, text"),
    "a column twice": (csv_table("text,label,text\na,b,c\n"), "has 2 columns called 'text'; rename one"),
    "no such pair column": (words("dataset.text_pair=autre"), "no column 'autre'"),
    "too few fields": (csv_table(GOOD + "seul\n"), "line 22: 1 column, the header has 2; mend the line"),
    "too many fields": (csv_table(HEADER + "a,b,c\n"), "bad.csv, line 2: 3 columns, the header has 2"),
    "an open quote": (csv_table(HEADER + 'bien,a\n"ouvert,b\nfin,a\n'), "bad.csv, line 3: unexpected end of data"),
    "text after a quote": (csv_table(HEADER + '"bien"dit,a\n'), "bad.csv, line 2: ',' expected after '\"'"),
    "semicolons, other columns": (
        csv_table(GOOD.replace(",", ";").replace("text", "avis")),
        "no column 'text'; it has: avis, label",
    ),
    "Excel's Windows-1252": (
        csv_table("text;label\ndéçu;a\n".encode("cp1252")),
        "(0xe9) is not UTF-8, it may be 'é' in Windows-1252",
    ),
    "Latin-1": (csv_table(HEADER.encode() + "déçu,a\n".encode("latin-1")), "line 2: byte 2 (0xe9) is not UTF-8"),
    "UTF-16": (csv_table(GOOD.encode("utf-16")), "bad.csv, line 1: this is UTF-16"),
    "a cut character": (csv_table(GOOD.encode() + "é".encode()[:1]), "line 22: byte 1 (0xc3) is not UTF-8"),
    "a binary file": (csv_table(bytes(range(256))), "no column 'text'; it has: '\\x00\\x01"),
    "no label": (csv_table(GOOD + "sans,\n"), "line 22: column 'label' holds '', which is not a label"),
    "a label of blanks": (csv_table(GOOD + "sans,  \n"), "which is not a label"),
    "a label that is not seen": (csv_table(GOOD + "sans,\u200b\n"), "line 22: column 'label' holds '\\u200b', which"),
    "labels of train written otherwise": (
        csv_table(GOOD.replace(",a", ",A").replace(",b", ",B")),
        "no label of test ('a', 'b') occurs in train ('A', 'B'",
    ),
    "a label that is not among the labels": (words("dataset.labels=[a,c]"), "train-3 has the label 'b', dataset."),
    "one class": (csv_table(GOOD.replace(",b", ",a")), "every example of train is 'a'; with one class there"),
    "a class of one": (csv_table(GOOD + "rare,c\n"), "class 'c' has 1"),
    "two rows": (csv_table(HEADER + SHORT), "cannot be drawn with all 2 classes in proportion"),
    "only empty texts": (csv_table(HEADER + " ,a\n ,b\n"), "dataset.n_valid=1: there are 0 examples to draw from"),
    "train is test": (lambda inputs: setattr(inputs, "test", inputs.train), "nothing is left for train"),
    "a huge field": (csv_table(HEADER + "x" * 10_000_001 + ",a\n"), "field larger than field limit"),
    "JSONL, not JSON": (jsonl('{"text": "a", "label": "b"}', "{"), "bad.jsonl, line 2 is not JSON ("),
    "JSONL, a list": (jsonl("[1]"), "bad.jsonl, line 1 is not a JSON object"),
    "JSONL, no label": (jsonl('{"text": "a", "labels": 1}'), "line 1 has no 'label' (did you mean 'labels'?)"),
    "JSONL, a number for a text": (jsonl('{"text": 3, "label": 1}'), "column 'text' holds 3, which is not a text"),
    "JSONL, null": (jsonl('{"text": null, "label": 1}'), "holds None, which is not a text"),
    "JSONL, a fraction for a label": (jsonl('{"text": "a", "label": 1.5}'), "holds 1.5, which is not a label"),
    "JSONL, NaN for a label": (jsonl('{"text": "a", "label": NaN}'), "holds nan, which is not a label"),
    "JSONL, a list for a label": (jsonl('{"text": "a", "label": [1]}'), "holds [1], which is not a label"),
    "JSONL, half a character": (jsonl('{"text": "\\ud800", "label": 1}'), "train-1 holds half of a surrogate pair"),
    "JSONL, half a label": (jsonl('{"text": "a", "label": "\\ud800"}'), "train-1 holds half of a surrogate pair"),
    "JSONL, too deep": (jsonl("[" * 100_000), "bad.jsonl, line 1 is not"),
    "JSONL, blank lines": (jsonl("", " "), "bad.jsonl holds no row"),
    "Parquet that is none": (csv_table("PAR1 non", "bad.parquet"), "bad.parquet is not a whole Parquet file"),
    "Parquet, empty": (csv_table(b"", "bad.parquet"), "bad.parquet is not a whole Parquet file"),
    "Parquet, no column": (parquet({"texte": ["a"], "label": ["b"]}), "no column 'text'"),
    "Parquet, numbers": (parquet({"text": [1.0], "label": ["b"]}), "row 1: column 'text' holds 1.0"),
    "Parquet, a null": (parquet({"text": ["a", None], "label": ["b", "c"]}), "row 2: column 'text' holds None"),
    "Parquet, no label": (parquet({"text": ["a"], "label": [None]}), "row 1: column 'label' holds None"),
    # archives and files of published datasets
    "an archive that is none": (course(b"<html>404</html>"), "cls.books.zip is not a whole archive"),
    "an archive cut short": (course(zip_bytes({"a": b"1" * 999})[:500]), "cls.books.zip is not a whole archive"),
    "an archive of other files": (course(zip_bytes({"a.txt": b"1"})), "holds no file train.review"),
    "an archive that leaves its folder": (course(zip_bytes({"../x": b"1"})), "train.review (it holds ../x)"),
    "an archive with an absolute name": (course(zip_bytes({"/x": b"1"})), "train.review (it holds /x)"),
    "an archive with a link": (course(zip_bytes({"train.review": b"/etc"}, link=True)), "train.review is a link or a"),
    "a tar archive with a link": (
        allocine(tar_bytes({"train.jsonl": b""}, tarfile.SYMTYPE)),
        "train.jsonl is a link or a",
    ),
    "a tar archive with a device": (
        allocine(tar_bytes({"train.jsonl": b""}, tarfile.BLKTYPE)),
        "train.jsonl is a link or a",
    ),
    "a label file that is too short": (course_files(train_label="0\n1\n"), "do not have the same number of lines"),
    "a label that is none": (course_files(test_label="2\n" * 2000), "line 1: '2', expected 0 or 1"),
    "another number of reviews": (course_files(test_review="a\n", test_label="1\n"), "holds 1 example for test"),
    "Latin-1 reviews": (course_files(valid_review="é\udce9\n"), "is not UTF-8"),
    "XML that is none": (cls("<items><item>"), "is not XML"),
    "XML without a rating": (cls("<items><item><text>a</text></item></items>"), "item 1: its rating is ''"),
    "XML with a word for a rating": (cls("<items><item><rating>bon</rating></item></items>"), "rating is 'bon'"),
    "XML with entities of its own": (cls('<!DOCTYPE a [<!ENTITY b "c">]><items/>'), "declares XML entities of its own"),
    "XML without items": (cls("<items/>"), "holds 0 examples for train"),
    # models
    "no such model folder": (words("--model=./nowhere"), "MODEL=nowhere: there is no such folder"),
    "no checkpoint": (model_file("model.pt", None), "mon_modele lacks model.pt"),
    "no dictionary": (model_file("dict.txt", None), "mon_modele lacks dict.txt"),
    "no sentencepiece model": (model_file("sentencepiece.bpe.model", None), "mon_modele lacks sentencepiece"),
    "an empty checkpoint": (model_file("model.pt", b""), "is not a whole fairseq checkpoint"),
    "a text for a checkpoint": (model_file("model.pt", b"version https"), "is not a whole fairseq checkpoint"),
    "a checkpoint cut short": (truncated("model.pt"), "is not a whole fairseq checkpoint"),
    "a checkpoint without weights": (without("model"), "is not a whole fairseq checkpoint"),
    "a checkpoint without arguments": (without("cfg"), "does not say what model it is of"),
    "bare weights": (checkpoint(lambda state: state["model"]), "is not a whole fairseq checkpoint"),
    "no number of layers": (arguments(encoder_layers=None), "its arguments say encoder_layers=None"),
    "a number of layers in words": (arguments(encoder_layers="2"), "its arguments say encoder_layers='2'"),
    "no heads": (arguments(encoder_attention_heads=0), "its arguments say encoder_attention_heads=0"),
    "another width in its arguments": (arguments(encoder_embed_dim=32), "say encoder_embed_dim=32, its weights 64"),
    "other positions": (arguments(max_positions=512), "say max_positions=512, its weights 64"),
    "a checkpoint of no RoBERTa": (without_weight(EMBEDDING), "is not of a RoBERTa"),
    "code in a checkpoint": (checkpoint(lambda state: state.update(x=Path("x"))), "can be read safely"),
    "an empty dictionary": (model_file("dict.txt", b""), "dict.txt is empty"),
    "a dictionary without counts": (dictionary(lambda lines: ["mot"]), "dict.txt, line 1: 'mot' is not `symbol count`"),
    "a dictionary with words for counts": (dictionary(lambda lines: ["mot deux"]), "line 1: 'mot deux' is not"),
    "a dictionary with a gap": (dictionary(lambda lines: [lines[0], "", *lines[1:]]), "line 2: '' is not"),
    "a symbol twice": (dictionary(lambda lines: [lines[0], *lines]), "is in line 1 already"),
    "fairseq's own symbol": (dictionary(lambda lines: ["<pad> 1", *lines]), "'<pad>' is in fairseq's own symbols"),
    "a dictionary in Latin-1": (model_file("dict.txt", "é 1\n".encode("latin-1")), "byte 1 (0xe9) is not UTF-8"),
    "a longer dictionary": (dictionary(lambda lines: ["mot 1", *lines]), "they do not belong together"),
    "a sentencepiece model cut short": (truncated("sentencepiece.bpe.model"), "is not a sentencepiece model"),
    "a text for a sentencepiece model": (model_file("sentencepiece.bpe.model", b"non"), "is not a sentencepiece model"),
    # configurations
    "an unknown dataset": (words("--dataset=nope"), "DATASET=nope: there is no such dataset"),
    "an unknown model": (words("--model=nope"), "MODEL=nope: there is no such model"),
    "an unknown experiment": (words("--experiment=nope"), "EXPERIMENT=nope: there is no such experiment"),
    "an unknown key": (words("dataset.txt=a"), "'dataset.txt' (did you mean 'text'?)"),
    "a name with a slash": (words("dataset.name=a/b"), "dataset.name=a/b: it names folders"),
    "a name of dots": (words("dataset.name=.."), "dataset.name=..: it names folders"),
    "an empty name": (words("dataset.name=''"), "dataset.name=: it names folders"),
    "a share above 1": (words("dataset.valid_share=2"), "dataset.valid_share=2.0: it is a share"),
    "a word for a size": (words("dataset.n_valid=many"), "dataset.n_valid=many: it is no whole number"),
    "too many for validation": (words("dataset.n_valid=20"), "dataset.n_valid=20: there are 20 examples to draw from"),
    "a negative size": (words("dataset.n_valid=-1"), "dataset.n_valid=-1: there are 20 examples to draw from"),
    "no override": (words("dataset.train"), "'dataset.train' is not a Hydra override"),
    "a pair that is the text": (words("dataset.text_pair=text"), "dataset.text and dataset.text_pair are both 'text'"),
    "a label that is the text": (words("dataset.label=text"), "dataset.label and dataset.text are both 'text'"),
    "a label that is the pair": (words("dataset.text_pair=label"), "dataset.label and dataset.text_pair are both"),
}


def assert_nothing_half_written(data: Path) -> None:
    """Splits are whole or not there (a model is looked at after its data); nothing is binarised; no scratch is left."""
    files = {path.relative_to(data) for path in data.rglob("*") if path.is_file() and not path.name.endswith(".lock")}
    assert not [path for path in files if path.parts[0] == "bin"]
    assert not [path for path in files if any(part.startswith(".") for part in path.parts)]
    whole = {"train.jsonl", "valid.jsonl", "test.jsonl", "leaked.txt", "manifest.json"}
    splits = {path.name for path in files if path.parts[0] == "splits"}
    assert splits in (set(), whole)


@pytest.mark.parametrize("case", CASES)
def test_a_malformed_input_is_one_sentence_and_leaves_nothing(
    workspace: Workspace, refusals: Refusals, tmp_path: Path, case: str
) -> None:
    spoil, message = CASES[case]
    inputs = Inputs(tmp_path, workspace.model)
    spoil(inputs)
    assert message in refusals.of(main, inputs.argv(), tmp_path)
    assert_nothing_half_written(tmp_path / "data")


def test_a_text_the_model_does_not_know_is_refused_with_examples(workspace: Workspace, tmp_path: Path) -> None:
    inputs = Inputs(tmp_path, workspace.model)
    inputs.table(GOOD.replace("texte", "日本語の文"))
    answer = workspace.python("data_prep", *inputs.argv())
    assert answer.returncode == 2
    assert "of the tokens of train are unknown to" in answer.stderr
    assert "日本語の文" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert_nothing_half_written(tmp_path / "data")


class Writes:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "run"))


def test_a_checkpoint_that_would_write_a_file_does_not(
    workspace: Workspace, refusals: Refusals, tmp_path: Path
) -> None:
    inputs = Inputs(tmp_path, workspace.model)
    inputs.checkpoint(lambda state: state.update(extra=Writes(tmp_path / "written")))
    assert "can be read safely" in refusals.of(main, inputs.argv(), tmp_path)
    assert not (tmp_path / "written").exists()
    torch.load(inputs.model / "model.pt", weights_only=False)  # it would have
    assert (tmp_path / "written").exists()


def test_texts_that_the_model_does_not_know_are_refused_also_when_it_knows_the_test_texts(
    workspace: Workspace, refusals: Refusals, tmp_path: Path
) -> None:
    inputs = Inputs(tmp_path, workspace.model)
    inputs.table(GOOD.replace("texte", "日本語の文"))
    known = [f"{text.replace(',', ' ')},{'ab'[label > 0]}\n" for text, label in reviews(20)]
    inputs.test.write_text(HEADER + "".join(known), encoding="utf-8")
    assert "of the tokens of train are unknown to" in refusals.of(main, inputs.argv(), tmp_path)
