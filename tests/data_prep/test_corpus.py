"""A corpus for pre-training: paragraphs of a file, without any text that a dataset is judged on."""

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from data_prep.corpus import corpus_folder, paragraphs, prepare_corpus
from foundation.errors import UsageError
from hydra_conf.compose import compose_config
from hydra_conf.words import quoted
from tests.conftest import Workspace, reviews


def prepared(workspace: Workspace, path: Path, *more: str) -> tuple[Path, dict[str, Any]]:
    """Prepare the corpus in a file for the tiny model. Return its folder and its manifest."""
    words = ["model=tiny", "corpus=text", f"corpus.name={path.name.partition('.')[0]}", "tokens=1000", *more]
    words += [f"corpus.file={quoted(path)}", f"data_dir={quoted(workspace.root / 'data')}"]
    config = compose_config(words, "pretrain")
    return corpus_folder(config), prepare_corpus(config, workspace.model)


def texts_of(folder: Path, split: str) -> list[list[int]]:
    from fairseq.data.indexed_dataset import MMapIndexedDataset

    dataset = MMapIndexedDataset(str(folder / "input0" / split))
    return [dataset[row].tolist() for row in range(len(dataset))]


def test_texts_that_a_dataset_is_judged_on_are_dropped(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judged = [
        json.loads((workspace.root / f"data/splits/amazon_fr/{split}.jsonl").read_text("utf-8").splitlines()[3])["text"]
        for split in ("valid", "test")
    ]
    path = tmp_path / "leaking.txt"
    own = [text for text, _ in reviews(250, seed=9)]
    path.write_text("\n\n".join([*own, judged[0].upper(), judged[1]]), encoding="utf-8")
    _, manifest = prepared(workspace, path)
    known = {
        json.loads(line)["text"].casefold()
        for split in ("valid", "test")
        for line in (workspace.root / f"data/splits/amazon_fr/{split}.jsonl").read_text("utf-8").splitlines()
    }
    n_leaks = sum(text.casefold() in known for text in [*own, *judged])
    assert n_leaks >= 2
    assert manifest["dropped"] == {"amazon_fr": n_leaks}
    assert sum(manifest["paragraphs"].values()) == 252 - n_leaks
    assert list(manifest["inputs"]["checked"]) == ["amazon_fr"]
    assert f"{n_leaks} paragraphs dropped: validation or test texts of amazon_fr" in capsys.readouterr().out


def test_every_hundredth_paragraph_is_held_out_and_training_texts_can_be_added(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "numbers.txt"
    path.write_text("\n".join(f"livre {number}" for number in range(1, 201)), encoding="utf-8")
    folder, manifest = prepared(workspace, path, "model.max_unknown_share=1")
    assert manifest["paragraphs"] == {"train": 198, "valid": 2}
    assert len(texts_of(folder, "valid")) == 2
    assert all(text[-1] == 2 for text in texts_of(folder, "train"))  # each paragraph ends with </s>
    _, more = prepared(workspace, path, "model.max_unknown_share=1", "corpus.add=[amazon_fr]")
    assert sum(more["paragraphs"].values()) == 200 + 60
    with pytest.raises(UsageError, match="corpus.add=nobody: .* is not there; run `make prep DATASET=nobody` first"):
        prepared(workspace, path, "corpus.add=[nobody]")


def test_no_more_is_held_out_than_says_how_good_a_model_is(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_prep.corpus.MOST_HELD_OUT", 2)
    path = tmp_path / "many.txt"
    path.write_text("\n".join(f"livre {number}" for number in range(1, 501)), encoding="utf-8")
    _, manifest = prepared(workspace, path, "model.max_unknown_share=1")
    assert manifest["paragraphs"] == {"train": 498, "valid": 2}


def test_packed_files_are_read_as_plain_ones(tmp_path: Path) -> None:
    lines = "Un  livre\u00a0superbe.\n\n\u200b\nUn roman e\u0301mouvant.\n".encode()
    (tmp_path / "a.txt").write_bytes(lines)
    (tmp_path / "a.txt.xz").write_bytes(lzma.compress(lines))
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(lines))
    for name in ("a.txt", "a.txt.xz", "a.txt.gz"):
        assert list(paragraphs(tmp_path / name)) == ["Un livre superbe.", "Un roman émouvant."]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.txt", None, "there is no file .*missing.txt .corpus.file.: give the path of your own text"),
        ("empty.txt", b"\n\n", "has 0 paragraphs that can be used; every hundredth is held out: give at least 100"),
        ("latin.txt", "d\xe9j\xe0\n".encode("latin-1") * 200, "cannot be read after line 0 .*; save it as UTF-8"),
        ("cut.txt.gz", gzip.compress(b"mot\n" * 200, mtime=0)[:-12], "cannot be read after line "),
        (
            "damaged.txt.gz",
            gzip.compress(bytes(range(256)) * 40, mtime=0)[:40] + b"x" * 400,
            "cannot be read after line",
        ),
        ("cut.txt.xz", lzma.compress(b"mot\n" * 200)[:-12], "cannot be read after line "),
        ("table.csv", b"a\n" * 200, "a corpus is a file .txt, .txt.xz or .txt.gz"),
        ("chinese.txt", "一二三四\n".encode() * 200, "of the tokens of train are unknown to "),
    ],
    ids=["missing", "empty", "latin", "cut gz", "damaged gz", "cut xz", "table", "chinese"],
)
def test_a_corpus_that_cannot_be_used_is_one_sentence(
    workspace: Workspace, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        prepared(workspace, path)


def test_a_known_corpus_is_the_file_that_it_says(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "eltec_fra.txt.xz"
    path.write_bytes(lzma.compress(b"mot\n" * 200))
    words = ["model=tiny", "tokens=1000", f"corpus.file={quoted(path)}", f"data_dir={quoted(workspace.root / 'data')}"]
    with pytest.raises(UsageError, match="is not the file of CORPUS=eltec_fra: its sha256 is another one"):
        prepare_corpus(compose_config(words, "pretrain"), workspace.model)
