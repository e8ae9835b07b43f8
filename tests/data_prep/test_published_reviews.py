"""The published reviews themselves, where they were put into data/raw: their counts, and the random model's."""

from pathlib import Path

import pytest

from analysis.parameters import account, describe, matrices
from data_prep.__main__ import prepare
from data_prep.stages import read_manifest
from hydra_conf.compose import compose_config

RAW = Path(__file__).parents[2] / "data" / "raw"
NEEDED = [RAW / "cls_books" / "train.review.spm", RAW / "e5_small_fr" / "e5-small-q4.bin"]


@pytest.mark.skipif(not all(path.is_file() for path in NEEDED), reason="the reviews, or the vocabulary, are not there")
def test_the_published_reviews_have_the_published_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "raw").symlink_to(RAW)
    words = ["experiment=published", "init=random", f"data_dir={tmp_path}"]
    config = compose_config(words)
    prepare(config, ["random"])
    assert "315,231 in train and valid and 311,660 in test: as many tokens as the published" in capsys.readouterr().out
    splits, binarised = (
        read_manifest(tmp_path / folder) or {}
        for folder in ("splits/cls_books_published", "bin/cls_books_published.roberta_small_fr")
    )
    assert splits["examples"] == {"train": 1800, "valid": 200, "test": 2000}
    assert splits["per_class"]["valid"] == [100, 100]
    assert splits["leaked"] == 54
    assert max(binarised["unknown_share"].values()) <= 0.003
    described = describe(config, n_classes=2)
    assert matrices(account(described.model)) == 22_807_552
    assert len(described.dictionary) == 32_000
    assert not described.is_there
