"""One file out of a pinned package: from folders and indexes that the test makes; no code of a package is ever run."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf
from pypi_simple import PYPI_SIMPLE_ENDPOINT

from data_prep.sources.package_index import pip_settings, with_credentials
from data_prep.sources.packages import fetch_member
from foundation.errors import UsageError
from foundation.whole_files import sha256_of
from tests.data_prep.web import Page, Web, serving

SDIST, WHEEL = "petit-1.0.tar.gz", "petit-1.0-py3-none-any.whl"


def make_sdist(folder: Path, marker: str = "never", name: str = SDIST) -> Path:
    """Write a source distribution whose code, as setup.py and as a build system of its own, writes `marker`."""
    folder.mkdir(parents=True, exist_ok=True)
    write = f"open({marker!r}, 'w').write('run')\n"
    files = {
        "setup.py": f'{write}from setuptools import setup\nsetup(name="petit", version="1.0")\n',
        "corpus.csv": "texte",
        "PKG-INFO": "Metadata-Version: 2.1\nName: petit\nVersion: 1.0\n",
    }
    path = folder / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as zipped:
            for member, text in files.items():
                zipped.writestr(f"petit-1.0/{member}", text)
        return path
    with tarfile.open(path, "w:gz") as archive:
        for member, text in files.items():
            info = tarfile.TarInfo(f"petit-1.0/{member}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def make_wheel(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        archive.writestr("petit/corpus.csv", "texte")
    return folder / WHEEL


def source(archive: Path) -> DictConfig:
    (archive.parent / "text").write_text("texte")
    wheel = archive.suffix == ".whl"
    return OmegaConf.create(
        {
            "package": "petit",
            "version": "1.0",
            "sha256": sha256_of(archive),
            "binary": wheel,
            "member": f"{'petit' if wheel else 'petit-1.0'}/corpus.csv",
            "member_sha256": sha256_of(archive.parent / "text"),
        }
    )


def page(*links: str) -> bytes:
    """Return an index's page of a package, as the standard wants it."""
    anchors = "".join(f'<a href="{link}">{link.rpartition("/")[2].partition("#")[0]}</a><br>' for link in links)
    return f"<!DOCTYPE html><html><body><h1>Links for petit</h1>{anchors}</body></html>".encode()


@pytest.fixture(autouse=True)
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away how pip is configured on this machine: no index, no folder."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of archives, which pip is configured with."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A web server which pip is configured with as an index."""
    with serving() as server:
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", server.url("/simple"))
        yield server


@pytest.mark.parametrize("kind", ["sdist", "zip", "wheel"])
def test_the_member_is_fetched_with_its_checksum_beside_it_and_nothing_else(
    index: Path, tmp_path: Path, kind: str
) -> None:
    archive = (
        make_wheel(index) if kind == "wheel" else make_sdist(index, name=f"petit-1.0.{kind.replace('sdist', 'tar.gz')}")
    )
    path = fetch_member(source(archive), tmp_path / "raw")
    assert path.read_text() == "texte"
    assert sorted(p.name for p in (tmp_path / "raw").iterdir()) == [".lock", "corpus.csv", "corpus.csv.sha256"]


@pytest.mark.parametrize("place", ["folder", "folder as an address", "page", "index in a folder", "index on the web"])
def test_no_code_of_a_source_distribution_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    marker = tmp_path / "run"
    archive = make_sdist(tmp_path / "files", str(marker))
    config = source(archive)
    with serving() as web:
        if place == "index on the web":
            web.pages["/simple/petit/"] = Page(page(f"../../files/{SDIST}#sha256={config.sha256}"), kind="text/html")
            web.pages[f"/files/{SDIST}"] = Page(archive.read_bytes())
            monkeypatch.delenv("PIP_NO_INDEX")
            monkeypatch.setenv("PIP_INDEX_URL", web.url("/simple/"))
        elif place == "index in a folder":
            (tmp_path / "simple/petit").mkdir(parents=True)
            (tmp_path / "simple/petit/index.html").write_bytes(page(f"../../files/{SDIST}#sha256={config.sha256}"))
            monkeypatch.delenv("PIP_NO_INDEX")
            monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
        elif place == "page":
            (tmp_path / "links.html").write_bytes(page(f"files/{SDIST}"))
            monkeypatch.setenv("PIP_FIND_LINKS", (tmp_path / "links.html").as_uri())
        else:
            monkeypatch.setenv("PIP_FIND_LINKS", archive.parent.as_uri() if "address" in place else str(archive.parent))
        assert fetch_member(config, tmp_path / "raw").read_text() == "texte"
    assert not marker.exists()
    shutil.unpack_archive(archive, tmp_path)
    subprocess.run([sys.executable, "setup.py", "--version"], cwd=tmp_path / "petit-1.0")
    assert marker.exists()  # it would have been


def test_an_index_that_answers_in_json_is_read(web: Web, tmp_path: Path) -> None:
    archive = make_wheel(tmp_path / "files")
    config = source(archive)
    entry = {"filename": WHEEL, "url": f"/files/{WHEEL}", "hashes": {"sha256": config.sha256}}
    answer = {"meta": {"api-version": "1.0"}, "name": "petit", "files": [entry]}
    web.pages["/simple/petit/"] = Page(json.dumps(answer).encode(), kind="application/vnd.pypi.simple.v1+json")
    web.pages[f"/files/{WHEEL}"] = Page(archive.read_bytes(), breaks=[100])
    assert fetch_member(config, tmp_path / "raw").read_text() == "texte"
    assert len(web.pages[f"/files/{WHEEL}"].ranges) == 2  # broken off, and gone on


@pytest.mark.parametrize("absolute", [False, True])
def test_a_password_in_an_address_is_given_to_its_host_and_never_shown(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], absolute: bool
) -> None:
    archive = make_sdist(tmp_path / "files")
    config = source(archive)
    link = web.url(f"/files/{SDIST}") if absolute else f"../../files/{SDIST}"
    web.pages["/simple/petit/"] = Page(page(link), password="me:s3cret")
    web.pages[f"/files/{SDIST}"] = Page(archive.read_bytes(), password="me:s3cret")
    monkeypatch.setenv("PIP_INDEX_URL", web.url("/simple").replace("//", "//me:s3cret@"))
    assert fetch_member(config, tmp_path / "raw").read_text() == "texte"
    web.pages[f"/files/{SDIST}"].password = "another"
    with pytest.raises(UsageError, match=f"{web.url('/files')}/{SDIST}: HTTP 401") as caught:
        fetch_member(config, tmp_path / "file refused")
    web.pages["/simple/petit/"].password = "another"
    with pytest.raises(UsageError, match=f"{web.url('/simple/petit/')}: HTTP 401") as caught_too:
        fetch_member(config, tmp_path / "page refused")
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:s3cret@nowhere.invalid/simple")
    with pytest.raises(UsageError, match=r"http://nowhere.invalid/simple/petit/: its host cannot be found") as nowhere:
        fetch_member(config, tmp_path / "nowhere")
    said = "".join(map(str, (caught.value, caught_too.value, nowhere.value, *capfd.readouterr())))
    assert f"fetching {SDIST} from {web.url('/files')}" in said
    assert "s3cret" not in said


def test_a_password_is_not_given_to_another_host(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_sdist(tmp_path / "files")
    with serving() as other:
        web.pages["/simple/petit/"] = Page(page(other.url(f"/{SDIST}")), password="me:s3cret")
        other.pages[f"/{SDIST}"] = Page(archive.read_bytes(), password="")
        monkeypatch.setenv("PIP_INDEX_URL", web.url("/simple").replace("//", "//me:s3cret@"))
        assert fetch_member(source(archive), tmp_path / "raw").read_text() == "texte"


def test_a_file_that_is_there_is_used_without_the_package(index: Path, tmp_path: Path) -> None:
    config = source(make_wheel(index))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "corpus.csv").write_text("texte")
    (index / WHEEL).unlink()
    assert fetch_member(config, tmp_path / "raw").read_text() == "texte"


def test_a_changed_file_is_refused(index: Path, tmp_path: Path) -> None:
    config = source(make_wheel(index))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "corpus.csv").write_text("autre")
    with pytest.raises(UsageError, match="has sha256 .* pinned is .* delete it"):
        fetch_member(config, tmp_path / "raw")


@pytest.mark.parametrize("told", [False, True])
def test_an_archive_of_another_hash_is_refused_and_the_next_place_is_asked(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """Whether the index says so, or the archive shows it."""
    archive, other = make_sdist(tmp_path / "files"), make_sdist(tmp_path / "other", "another")
    config, sha256 = source(archive), sha256_of(other)
    web.pages["/simple/petit/"] = Page(page(f"{SDIST}#sha256={sha256}" if told else SDIST))
    web.pages[f"/simple/petit/{SDIST}"] = Page(other.read_bytes())
    answer = f"its sha256 is {sha256}, the pinned one is" if told else "what it sent has not the pinned sha256"
    with pytest.raises(UsageError, match=f"{web.url('/simple/petit/')}{SDIST}: {answer} {config.sha256}"):
        fetch_member(config, tmp_path / "raw")
    assert [path.name for path in (tmp_path / "raw").iterdir()] == [".lock"]
    assert len(web.pages[f"/simple/petit/{SDIST}"].ranges) == (0 if told else 1)
    web.pages["/more/petit/"] = Page(page(f"/files/{SDIST}"))
    web.pages[f"/files/{SDIST}"] = Page(archive.read_bytes())
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{(tmp_path / 'none').as_uri()} {web.url('/more')}")
    assert fetch_member(config, tmp_path / "raw").read_text() == "texte"


def test_a_folder_with_an_archive_of_another_hash_is_refused(index: Path, tmp_path: Path) -> None:
    config = source(make_sdist(index))
    config.sha256 = "0" * 64
    with pytest.raises(UsageError, match=f"{SDIST}: its sha256 is .*, the pinned one is {'0' * 64}"):
        fetch_member(config, tmp_path / "raw")
    assert not (tmp_path / "raw" / "corpus.csv").exists()


@pytest.mark.parametrize(("key", "value"), [("package", "petite"), ("version", "9.9"), ("binary", True)])
def test_a_package_that_is_nowhere_is_one_sentence_with_every_place(
    web: Web, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: str | bool
) -> None:
    config = source(make_sdist(index))
    config[key] = value
    web.pages["/page/"] = Page(b"<html>texte</html>")
    web.pages["/image/"] = Page(b"GIF", kind="image/gif")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{index} {web.url('/page/')} {web.url('/image/')} /no/such/folder")
    with pytest.raises(UsageError) as caught:
        fetch_member(config, tmp_path / "raw")
    kind = "wheel" if value is True else "source distribution"
    sentence = str(caught.value)
    assert sentence.startswith(
        f"the {kind} of {config.package} {config.version} could not be fetched ({index}: it does"
    )
    assert (
        f"{web.url('/page/')}: it does not have it; {web.url('/image/')}: what it sent is no page of links" in sentence
    )
    assert f"/no/such/folder: there is no such folder; {web.url('/simple')}/{config.package}/: HTTP 404)" in sentence
    assert "check the network and `pip config list`" in sentence
    assert sentence.endswith(f"or put the package's {config.member} into {tmp_path / 'raw'}")
    assert "\n" not in sentence


def test_without_any_index_one_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pip is configured with no index"):
        fetch_member(source(make_sdist(tmp_path / "files")), tmp_path / "raw")


def test_a_member_that_is_not_there_is_named(index: Path, tmp_path: Path) -> None:
    for archive in (make_sdist(index), make_wheel(index)):
        config = source(archive)
        config.member = "petit/autre.csv"
        with pytest.raises(UsageError, match=f"{archive.name} holds no file /petit/autre.csv"):
            fetch_member(config, tmp_path / "raw")


def test_pip_says_how_it_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By pip's own rules: what is for `download` goes before what is for all, the environment before both."""
    assert pip_settings().indexes == ()
    monkeypatch.delenv("PIP_NO_INDEX")
    assert pip_settings().indexes == (PYPI_SIMPLE_ENDPOINT,)
    written = tmp_path / "pip.conf"
    for_all = ["index-url = http://all/simple", "extra-index-url = file:///a", " file:///b", "cert = c.pem"]
    written.write_text("\n".join(["[global]", *for_all, "find-links = /x\n"]))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(written))
    settings = pip_settings()
    assert settings.indexes == ("http://all/simple", "file:///a", "file:///b")
    assert (settings.cert, settings.find_links) == ("c.pem", ("/x",))
    written.write_text(f"{written.read_text()}[download]\nindex-url = http://download/simple\nfind-links =\n")
    assert pip_settings().indexes[0] == "http://download/simple"
    assert pip_settings().find_links == ("/x",)
    for name, value in (("INDEX_URL", "http://here/simple"), ("PROXY", "http://p:1"), ("TRUSTED_HOST", "h g:1")):
        monkeypatch.setenv(f"PIP_{name}", value)
    settings = pip_settings()
    assert settings.indexes[0] == "http://here/simple"
    for url, verified in (("https://h/x", False), ("https://me:s@g:1/x", False), ("https://g/x", "c.pem")):
        session = settings.session(url)
        assert session.verify == verified
        assert session.proxies["https"] == "http://p:1"
    written.write_text("[global\n")
    with pytest.raises(UsageError, match="`pip config list` does not work .*pip.conf"):
        pip_settings()


def test_a_password_is_not_sent_without_encryption_where_the_index_has_it() -> None:
    place = "https://me:s3cret@host/simple/petit/"
    assert with_credentials("https://host/files/petit.whl", place) == "https://me:s3cret@host/files/petit.whl"
    for url in ("http://host/files/petit.whl", "https://other/files/petit.whl", "https://you:own@host/petit.whl"):
        assert with_credentials(url, place) == url


def test_a_member_of_another_checksum_is_never_put_in_its_place(index: Path, tmp_path: Path) -> None:
    config = source(make_wheel(index))
    config.member_sha256 = "0" * 64
    with pytest.raises(UsageError, match=f"has sha256 .* pinned is {'0' * 64}"):
        fetch_member(config, tmp_path / "raw")
    assert [path.name for path in (tmp_path / "raw").iterdir()] == [".lock"]
