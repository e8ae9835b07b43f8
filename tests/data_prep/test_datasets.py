"""Every published dataset, in its real file format, made small here and served by a server on this machine."""

import hashlib
import io
import json
import re
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from data_prep import splits
from data_prep.__main__ import prepare_splits
from data_prep.examples import SPLITS, Example, Reader, read_split
from data_prep.readers import cls, course
from foundation.errors import UsageError
from foundation.whole_files import sha256_of
from hydra_conf.compose import compose_config
from tests.data_prep.web import Page, Web, serving


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        yield server


def zip_of(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def tar_of(files: dict[str, str], mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


OPENED: list[Path] = []
READ: list[Path] = []  # of the raw files, by the last reader


def _note_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str):
        OPENED.append(Path(arguments[0]))


sys.addaudithook(_note_opened)


@pytest.fixture(autouse=True)
def note_what_the_reader_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    real = splits.make_splits

    def make_splits(folder: Path, config: DictConfig, parts: dict[str, Path], read: Reader) -> dict[str, Any]:
        OPENED.clear()
        facts = real(folder, config, parts, read)
        READ[:] = [path for path in OPENED if "raw" in path.parts]
        return facts

    monkeypatch.setattr(splits, "make_splits", make_splits)


def splits_of(
    web: Web, tmp_path: Path, dataset: str, archives: list[bytes], *words: str
) -> tuple[dict[str, list[Example]], dict[str, Any]]:
    """Serve the archives where the dataset's addresses point to, prepare it and return its splits and manifest.

    Whatever the dataset is, the files that its reader opens are the inputs of the stage.
    """
    expected = [] if any("expected" in word for word in words) else ["dataset.expected=null"]
    overrides = [f"data_dir={tmp_path / 'data'}", f"dataset={dataset}", *expected, *words]
    for number, body in enumerate(archives):
        web.pages[f"/{number}"] = Page(body)
        overrides.append(f"dataset.files.{number}.urls=[{web.url(f'/{number}')}]")
    folder = prepare_splits(compose_config(overrides))
    made = {name: list(read_split(folder / f"{name}.jsonl")) for name in SPLITS}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {sha256_of(path) for path in READ} == set(manifest["inputs"]["raw"].values())
    return made, manifest


def item(text: str, rating: str, title: str = "<title>Titre</title>") -> str:
    return f"""<item>
<category>books</category>
<rating>{rating}</rating>
<asin>2070411400</asin>
{text}
{title}
<date>12 janvier 2008</date>
</item>
"""


def cls_xml(n: int, word: str) -> str:
    items = [item(f"<text>{word} {k} plut\u00f4t bien</text>", "4.0" if k % 2 else "2.0") for k in range(n)]
    items.append(item("<text>L&apos;auteur &amp; moi : &lt;3 &#233;tonnant</text>", "5.0"))
    items.append(item(f"<text><![CDATA[{word} <b>gras</b> & cru]]></text>", "1.0", title=""))
    items.append(item("", "4.0"))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<items>\n{"".join(items)}</items>\n'


WEBIS = {"books": "cls_books_webis", "dvd": "cls_dvd", "music": "cls_music"}


@pytest.mark.parametrize("part", list(WEBIS))
def test_cls_is_read_from_its_xml(web: Web, tmp_path: Path, part: str) -> None:
    root = f"cls-acl10-unprocessed/fr/{part}"
    files = {
        "cls-acl10-unprocessed/README": "lisez-moi",
        f"cls-acl10-unprocessed/de/{part}/train.review": "<items/>",
        f"{root}/unlabeled.review": "<items/>",
        f"{root}/train.review": cls_xml(40, "entra\u00eenement"),
        f"{root}/test.review": cls_xml(10, "essai"),
    }
    made, manifest = splits_of(web, tmp_path, WEBIS[part], [tar_of(files, "w:gz")])
    assert manifest["labels"] == ["negative", "positive"]
    assert manifest["read"] == {"train": 43, "test": 13}
    assert manifest["dropped"] == {"empty, in train": 1, "in train and in validation or test": 1}
    by_text = {example.text: example for example in made["test"]}
    assert by_text["L'auteur & moi : <3 \u00e9tonnant"].label == "positive"
    assert by_text["essai <b>gras</b> & cru"].label == "negative"
    assert by_text["essai 0 plut\u00f4t bien"].label == "negative"
    assert by_text[""].id == "test-13"  # an item without text is still judged
    assert manifest["checks"]["empty"]["test"] == 1
    assert len(made["valid"]) == 4
    sides = [example.label for example in made["valid"]]
    assert sides.count("positive") == sides.count("negative")
    unpacked = (tmp_path / "data/raw/cls").glob("unpacked-*/*")  # and nothing that is not wanted
    assert sorted(path.name for path in unpacked) == ["manifest.json", "test.review", "train.review"]


def course_files(flipped: bool = False) -> dict[str, str]:
    files = {}
    for name, n in (("train", 12), ("valid", 4), ("test", 8)):
        files[f"cls.books/{name}.review"] = "".join(f"{name} \u00ab num\u00e9ro {k} \u00bb\n" for k in range(n))
        files[f"cls.books/{name}.label"] = "".join(f"{(k + flipped) % 2}\n" for k in range(n))
    return files


def test_the_courses_own_copy_has_its_splits(web: Web, tmp_path: Path) -> None:
    made, manifest = splits_of(web, tmp_path, "cls_books_course", [zip_of(course_files())])
    assert manifest["examples"] == {"train": 12, "valid": 4, "test": 8}
    assert made["test"][3] == Example("test-4", "test \u00ab num\u00e9ro 3 \u00bb", None, "positive")


def piece_files(n_train: int = 30) -> list[bytes]:
    """Return the six files of the public copy, made up: two test texts stand in train, one of them in other case."""
    bodies = []
    for part, n in (("train", n_train), ("valid", 10), ("test", 12)):
        texts = [f"▁L ' hist oire ▁de ▁{part} ▁n ° {k} ▁est ▁« ▁bonne ▁» ." for k in range(n)]
        if part == "train":
            texts += [
                "▁L ' hist oire ▁de ▁test ▁n ° 3 ▁est ▁« ▁bonne ▁» .",
                "▁l ' hist oire ▁de ▁test ▁n ° 4 ▁est ▁« ▁bonne ▁» .",
            ]
        bodies.append("".join(f"{text}\n" for text in texts).encode())
        bodies.append("".join(f"{k % 2}\n" for k in range(len(texts))).encode())
    return bodies


def pinned_to(bodies: list[bytes]) -> list[str]:
    return [f"dataset.files.{k}.sha256={hashlib.sha256(body).hexdigest()}" for k, body in enumerate(bodies)]


@pytest.mark.parametrize(
    ("dataset", "n_train", "dropped", "kept"), [("cls_books", 32, 2, 0), ("cls_books_published", 34, 0, 2)]
)
def test_the_public_copy_of_the_published_reviews_is_read_from_its_pieces(
    web: Web, tmp_path: Path, dataset: str, n_train: int, dropped: int, kept: int
) -> None:
    """Train and validation are one heap, drawn anew; the texts of train that are in test, too, are dropped or kept."""
    bodies = piece_files()
    made, manifest = splits_of(web, tmp_path, dataset, bodies, *pinned_to(bodies), "dataset.n_valid=8")
    assert made["test"][3] == Example("test-4", "L'histoire de test n°3 est « bonne ».", None, "positive")
    assert manifest["read"] == {"train": 32, "valid": 10, "test": 12}
    assert manifest["examples"]["test"] == 12
    assert manifest["examples"]["train"] + manifest["examples"]["valid"] == n_train + 8
    assert (sum(manifest["dropped"].values()), sum(manifest["kept"].values())) == (dropped, kept)
    assert (tmp_path / f"data/splits/{dataset}/leaked.txt").read_text().split() == ["test-4", "test-5"]
    sides = [example.label for example in made["valid"]]
    assert sides.count("positive") - sides.count("negative") in (0, -1, 1)


def test_a_file_that_is_not_the_published_one_is_named(web: Web, tmp_path: Path) -> None:
    bodies = piece_files()
    folder = tmp_path / "data/raw/cls_books"
    folder.mkdir(parents=True)
    (folder / "test.label").write_bytes(bodies[1])
    with pytest.raises(UsageError, match="test.label has sha256 .*, pinned is .*; delete it to fetch it again"):
        splits_of(web, tmp_path, "cls_books", bodies, *pinned_to(bodies), "dataset.n_valid=8")


def test_other_labels_of_the_same_texts_make_other_splits(web: Web, tmp_path: Path) -> None:
    before, _ = splits_of(web, tmp_path, "cls_books_course", [zip_of(course_files())])
    shutil.rmtree(tmp_path / "data/raw")
    after, _ = splits_of(web, tmp_path, "cls_books_course", [zip_of(course_files(flipped=True))])
    assert [example.text for example in after["test"]] == [example.text for example in before["test"]]
    assert all(one.label != other.label for one, other in zip(before["test"], after["test"], strict=True))


def test_allocine_is_read_from_its_json_lines(web: Web, tmp_path: Path) -> None:
    def lines(name: str, n: int) -> str:
        rows = [{"film-url": "http://x", "review": f"{name} {k}\nfin \u2026", "polarity": k % 2} for k in range(n)]
        return "".join(json.dumps(row, ensure_ascii=k % 2 == 0) + "\n" for k, row in enumerate(rows))

    files = {f"data/{name}.jsonl": lines(name, n) for name, n in (("train", 10), ("val", 4), ("test", 6))}
    made, manifest = splits_of(web, tmp_path, "allocine", [tar_of(files, "w:bz2")])
    assert manifest["examples"] == {"train": 10, "valid": 4, "test": 6}
    assert made["valid"][1] == Example("valid-2", "val 1 fin \u2026", None, "positive")


def test_paws_x_is_read_as_pairs_and_wrongly_filled_rows_are_counted(web: Web, tmp_path: Path) -> None:
    def lines(name: str, n: int) -> str:
        rows = [f'{k}\t{name} "un" {k}\tl\'autre, "{k}\t{k % 2}' for k in range(n)]
        return "\n".join(["id\tsentence1\tsentence2\tlabel", *rows, "99\tNS\tNS\tNS", "100\tcoup\u00e9"]) + "\n"

    names = {"translated_train.tsv": 10, "dev_2k.tsv": 4, "test_2k.tsv": 6}
    files = {f"x-final/fr/{name}": lines(name, n) for name, n in names.items()}
    files["x-final/de/test_2k.tsv"] = lines("andere", 5)
    made, manifest = splits_of(web, tmp_path, "pawsx_fr", [tar_of(files, "w:gz")])
    assert manifest["examples"] == {"train": 10, "valid": 4, "test": 6}
    assert manifest["dropped"] == {"no label": 6}
    assert manifest["pairs"]
    assert made["test"][1] == Example("test-3", 'test_2k.tsv "un" 1', "l'autre, \"1", "paraphrase")


def test_xnli_takes_the_french_rows_and_three_classes(web: Web, tmp_path: Path) -> None:
    kinds = ["neutral", "contradiction", "entailment"]
    judged = ["language\tgold_label\tsentence1_binary_parse\tsentence1\tsentence2\tpromptID"]
    for k in range(9):
        judged += [
            f"fr\t{kinds[k % 3]}\t\tpr\u00e9misse {k}\tdonc {k}\t{k}",
            f"de\t{kinds[k % 3]}\t\tweil {k}\talso {k}\t{k}",
        ]
    train = ["premise\thypo\tlabel"]
    train += [f"\u00ab un {k}\tdeux {k}\t{kinds[k % 3].replace('contradiction', 'contradictory')}" for k in range(12)]
    first = {
        "XNLI-1.0/xnli.dev.tsv": "\n".join(judged),
        "XNLI-1.0/xnli.test.tsv": "\n".join(judged).replace("donc", "or"),
    }
    second = {"XNLI-MT-1.0/multinli/multinli.train.fr.tsv": "\n".join(train) + "\n"}
    made, manifest = splits_of(web, tmp_path, "xnli_fr", [zip_of(first), zip_of(second)])
    assert manifest["labels"] == ["contradiction", "neutral", "entailment"]
    assert manifest["examples"] == {"train": 12, "valid": 9, "test": 9}
    assert made["train"][1] == Example("train-3", "\u00ab un 1", "deux 1", "contradiction")
    assert made["test"][2].label == "entailment"
    assert made["test"][2].text_pair == "or 2"


@pytest.mark.parametrize(
    ("dataset", "files", "told"),
    [
        (
            "allocine",
            {f"data/{name}.jsonl": '{"review": "bien", "polarity": 2}\n' for name in ("train", "val", "test")},
            "train.jsonl, line 1: expected a review and a polarity of 0 or 1",
        ),
        (
            "allocine",
            {f"data/{name}.jsonl": '{"review": null, "polarity": 1}\n' for name in ("train", "val", "test")},
            "train.jsonl, line 1: expected a review and a polarity of 0 or 1",
        ),
        (
            "pawsx_fr",
            {f"x/fr/{name}.tsv": "id\ts1\ts2\tlabel\n" for name in ("translated_train", "dev_2k", "test_2k")},
            r"train.tsv, line 1: the header is \['id', 's1', 's2', 'label'\], expected \['id', 'sentence1',",
        ),
    ],
)
def test_a_line_of_another_form_is_named(
    web: Web, tmp_path: Path, dataset: str, files: dict[str, str], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        splits_of(web, tmp_path, dataset, [tar_of(files, "w:gz")])


def test_an_xnli_label_that_is_none_is_named(web: Web, tmp_path: Path) -> None:
    judged = "language\tgold_label\tsentence1\tsentence2\nde\t-\tweil\talso\nfr\t-\tun\tdonc\n"
    first = {f"XNLI-1.0/xnli.{name}.tsv": judged for name in ("dev", "test")}
    second = {"XNLI-MT-1.0/multinli/multinli.train.fr.tsv": "premise\thypo\tlabel\nun\tdeux\tneutral\n"}
    with pytest.raises(UsageError, match=r"valid.tsv, line 3: label '-', expected one of contradiction, neutral, ent"):
        splits_of(web, tmp_path, "xnli_fr", [zip_of(first), zip_of(second)])


def test_prepared_again_nothing_is_fetched_or_unpacked(web: Web, tmp_path: Path) -> None:
    files = {f"x/{part}.review": cls_xml(40, part) for part in ("train", "test")}
    words = ["dataset.files.0.members={train: train.review, test: test.review}"]
    splits_of(web, tmp_path, "cls_books_webis", [tar_of(files, "w:gz")], *words)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.review")}
    assert len(before) == 2
    splits_of(web, tmp_path, "cls_books_webis", [tar_of(files, "w:gz")], *words)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert web.pages["/0"].ranges == []


PAGE = b"<!DOCTYPE html><html>no such file</html>"


def delete_as_advised(sentence: str) -> list[str]:
    """Do what the sentence says, and no more: delete the files that it names; return their names."""
    found = re.search(r"delete (.+?) to fetch it again", sentence)
    assert found, sentence
    paths = [Path(word) for word in found[1].split(" and ")]
    for path in paths:
        path.unlink()
    return [path.name for path in paths]


@pytest.mark.parametrize(
    ("brought", "told"),
    [
        (PAGE, "cls.books.zip is not a whole archive: it is a web page"),
        (zip_of(course_files())[:1000], "cls.books.zip is not a whole archive: it is a file of 1,000 bytes"),
        (zip_of({"other.txt": "autre"}), r"cls.books.zip holds no file train.review \(it holds other.txt\)"),
        (zip_of({"../x": "dehors"}), r"cls.books.zip holds no file train.review \(it holds ../x\)"),
    ],
)
@pytest.mark.parametrize("recorded", [False, True])
def test_the_advice_on_a_file_that_is_not_what_it_should_be_works_to_the_letter(
    web: Web, tmp_path: Path, brought: bytes, told: str, recorded: bool
) -> None:
    """Whether it was put there by hand or fetched, and also when an older prep took down its sha256."""
    folder = tmp_path / "data/raw/cls_books_course"
    folder.mkdir(parents=True)
    (folder / "cls.books.zip").write_bytes(brought)
    if recorded:
        (folder / "cls.books.zip.sha256").write_text(f"{hashlib.sha256(brought).hexdigest()}  cls.books.zip\n")
    good = [zip_of(course_files())]
    with pytest.raises(UsageError, match=f"{told}.* again from {web.url('/0')}, or put the right file") as caught:
        splits_of(web, tmp_path, "cls_books_course", good)
    assert (folder / "cls.books.zip.sha256").is_file() == recorded
    assert len(delete_as_advised(str(caught.value))) == 1 + recorded
    _, manifest = splits_of(web, tmp_path, "cls_books_course", good)
    assert manifest["examples"] == {"train": 12, "valid": 4, "test": 8}
    digest = hashlib.sha256(good[0]).hexdigest()
    assert (folder / "cls.books.zip.sha256").read_text() == f"{digest}  cls.books.zip\n"


def test_an_archive_without_the_files_is_not_recorded_when_it_was_fetched(web: Web, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no file train.review") as caught:
        splits_of(web, tmp_path, "cls_books_course", [zip_of({"other.txt": "autre"})])
    assert delete_as_advised(str(caught.value)) == ["cls.books.zip"]
    splits_of(web, tmp_path, "cls_books_course", [zip_of(course_files())])


def test_a_page_in_place_of_a_file_leaves_nothing_behind(web: Web, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{web.url('/0')}: what it sent is a web page, not the archive cls.books.zip"):
        splits_of(web, tmp_path, "cls_books_course", [PAGE])
    assert [path.name for path in (tmp_path / "data/raw/cls_books_course").iterdir() if path.name != ".lock"] == []
    splits_of(web, tmp_path, "cls_books_course", [zip_of(course_files())])


def test_of_a_pinned_archive_the_configuration_is_to_blame(web: Web, tmp_path: Path) -> None:
    body = zip_of({"other.txt": "autre"})
    pin = f"dataset.files.0.sha256={hashlib.sha256(body).hexdigest()}"
    with pytest.raises(UsageError, match="its sha256 is the pinned one, so look at its members"):
        splits_of(web, tmp_path, "cls_books_course", [body], pin)


def test_a_file_with_another_number_of_examples_is_refused(web: Web, tmp_path: Path) -> None:
    files = {f"x/fr/books/{part}.review": cls_xml(10, part) for part in ("train", "test")}
    with pytest.raises(
        UsageError, match="holds 13 examples for train, cls_books_webis has 2,000: it is not the published file"
    ):
        splits_of(web, tmp_path, "cls_books_webis", [tar_of(files, "w:gz")], "dataset.expected.test=13")
    assert not (tmp_path / "data/splits/cls_books_webis").exists()


def test_a_review_of_three_stars_is_not_positive(tmp_path: Path) -> None:
    items = "".join(item(f"<text>{stars}</text>", f"{stars}.0") for stars in range(1, 6))
    (tmp_path / "test.review").write_text(f"<items>{items}</items>")
    read = list(cls.read_part(tmp_path / "test.review", "test", compose_config(["dataset=cls_books_webis"]).dataset))
    assert [example.label for example in read] == ["negative"] * 3 + ["positive"] * 2


def test_texts_without_their_labels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.review").write_text("un beau livre\n")
    with pytest.raises(UsageError, match=r"train\.review has no labels: there is no file train_label\.label"):
        list(course.read_part(tmp_path / "train.review", "train", DictConfig({"labels": ["negative", "positive"]})))
