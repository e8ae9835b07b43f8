"""Archives: the wanted member and nothing else; anything that could hurt is refused by its name."""

import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.sources.archives import take_members
from foundation.errors import UsageError

LIMIT = 10_000


def zipped(path: Path, members: dict[str, bytes | zipfile.ZipInfo]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            if isinstance(content, zipfile.ZipInfo):
                archive.writestr(content, b"target")
            else:
                archive.writestr(name, content)
    return path


def tarred(path: Path, members: dict[str, bytes | tarfile.TarInfo]) -> Path:
    mode = {"gz": "w:gz", "bz2": "w:bz2", "xz": "w:xz", "tar": "w"}[path.name.rsplit(".", 1)[-1]]
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            body = b"" if isinstance(content, tarfile.TarInfo) else content
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return path


def tar_special(kind: bytes, target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo("deep/special")
    info.type, info.linkname = kind, target
    return info


def zip_link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("deep/special")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def take(archive: Path, folder: Path, **wanted: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    return take_members(archive, wanted or {"train": "train.review"}, folder, LIMIT)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_members_are_found_anywhere_and_the_rest_stays_inside(tmp_path: Path, name: str) -> None:
    members: dict[str, bytes] = {
        "top/fr/books/train.review": b"un",
        "top/de/books/train.review": b"ein",
        "model/spm.bpe.model": b"spm",
        "__MACOSX/model/._spm.bpe.model": b"litter",
        "model/._spm.bpe.model": b"litter",
    }
    make: Callable[[Path, dict[str, bytes]], Path] = zipped if name.endswith("zip") else tarred  # type: ignore[assignment]
    archive = make(tmp_path / name, members)
    names = take(
        archive, tmp_path / "out", **{"train": "*/fr/books/train.review", "sentencepiece.bpe.model": "*.model"}
    )
    assert names == {"train": "train.review", "sentencepiece.bpe.model": "sentencepiece.bpe.model"}
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        "train.review": b"un",
        "sentencepiece.bpe.model": b"spm",
    }


OUTSIDE = ["../train.review", "a/../../train.review", "/nowhere/train.review", "..\\train.review", "C:\\train.review"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz"])
def test_a_path_that_leads_outside_the_folder_writes_nothing_there(tmp_path: Path, kind: str, name: str) -> None:
    make: Callable[[Path, dict[str, bytes]], Path] = zipped if kind.endswith("zip") else tarred  # type: ignore[assignment]
    archive = make(tmp_path / kind, {name: b"dehors", "x/../../other": b"o"})
    before = sorted([*tmp_path.rglob("*"), tmp_path / "out", tmp_path / "out/train.review"])
    take(archive, tmp_path / "out", train="train.review")
    assert sorted(tmp_path.rglob("*")) == before


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "zip, link": (lambda at: zipped(at / "a.zip", {"l": zip_link()}), "deep/special is a link or a device, not a file"),
    "zip, too much": (lambda at: zipped(at / "a.zip", {"big": b"0" * 20_000, "t": b"t"}), "more than 10,000"),
    "tar, too much": (lambda at: tarred(at / "a.tar.bz2", {"big": b"0" * 20_000}), r"10,000 bytes \(member 'big'"),
}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_link_or_a_device_in_a_tar_is_refused_by_its_name(tmp_path: Path, kind: bytes) -> None:
    archive = tarred(tmp_path / "a.tar", {"s": tar_special(kind)})
    with pytest.raises(UsageError, match="deep/special is a link or a device, not a file"):
        take(archive, tmp_path / "out", train="special")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("case", REFUSED)
def test_an_archive_of_links_or_of_too_much_is_refused_and_writes_nothing(tmp_path: Path, case: str) -> None:
    make, message = REFUSED[case]
    archive = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=message):
        take(archive, tmp_path / "out", train="special")
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "out"])


@pytest.mark.parametrize(
    ("says", "message"),
    [(10, r"is not a whole archive \(Bad CRC-32"), (9000, "'train.review' is shorter than the arch")],
)
def test_an_archive_that_lies_about_a_size_is_found_out(tmp_path: Path, says: int, message: str) -> None:
    """Both records of the member say another size; it holds 5,000 bytes. Never more is written than was said."""
    path = zipped(tmp_path / "a.zip", {"train.review": b"0" * 5000})
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 5000), struct.pack("<I", says)))
    with pytest.raises(UsageError, match=message):
        take(path, tmp_path / "out")
    assert sum(file.stat().st_size for file in (tmp_path / "out").iterdir()) <= says


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_the_limit_is_on_all_members_together_to_the_byte(tmp_path: Path, name: str) -> None:
    """What is not wanted counts too: a tar archive is read through it, and it is a sign of what the archive is."""
    make: Callable[[Path, dict[str, bytes]], Path] = zipped if name.endswith("zip") else tarred  # type: ignore[assignment]
    members = {"a/train.review": b"0" * 4000, "a/unlabeled.review": b"0" * 5999}
    take(make(tmp_path / name, {**members, "a/README": b"0"}), tmp_path / "out")
    assert (tmp_path / "out/train.review").stat().st_size == 4000
    with pytest.raises(UsageError, match=r"unpacks to more than 10,000 bytes \(member 'a/README'\)"):
        take(make(tmp_path / name, {**members, "a/README": b"00"}), tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar.bz2"])
def test_a_broken_archive_is_one_sentence(tmp_path: Path, name: str) -> None:
    make: Callable[[Path, dict[str, bytes]], Path] = zipped if name.endswith("zip") else tarred  # type: ignore[assignment]
    content = bytes(number * 7919 % 251 for number in range(9000))
    path = make(tmp_path / name, {"train.review": content})
    whole = path.read_bytes()
    for broken, told in (
        (b"", ": it is an empty file"),
        (b"\n<!DOCTYPE html><p>404", ": it is a web page"),
        (b"1234", ": it is a file of 4 bytes"),
        (whole[: len(whole) // 2], " " if name.endswith("gz") else ": it is a file of "),
    ):
        path.write_bytes(broken)
        with pytest.raises(UsageError, match=f"{name} is not a whole archive{told}"):
            take(path, tmp_path / "out")


def test_what_the_disk_does_is_not_blamed_on_the_archive(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"train.review": b"t"})
    with pytest.raises(FileNotFoundError):
        take_members(path, {"train": "train.review"}, tmp_path / "nowhere", LIMIT)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a/test.review": b"t"}, r"holds no file train.review \(it holds a/test.review\)"),
        ({}, "it holds nothing"),
        ({"a/train.review": b"1", "b/train.review": b"2"}, r"holds 2 files train.review \(a/train.review, b/train"),
    ],
)
def test_a_member_that_is_not_there_or_there_twice_is_one_sentence(
    tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        take(zipped(tmp_path / "a.zip", dict(members)), tmp_path / "out")
