"""Downloads from a server that breaks off, lies, refuses and redirects."""

import hashlib
import io
import json
import multiprocessing
import socket
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from data_prep.sources import fetching, raw
from data_prep.sources.fetching import fetch_file, record_first_use, shown
from foundation.errors import UsageError
from foundation.whole_files import locked
from tests.data_prep.web import Page, Web, serving

BODY = bytes(range(256)) * 4000  # 1 MB: several chunks
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        yield server


def file(*urls: str, sha256: str | None = SHA256, name: str = "corpus.zip") -> DictConfig:
    return OmegaConf.create({"name": name, "urls": list(urls), "sha256": sha256})


def archive(kind: str) -> bytes:
    """Return an archive of one small file: the same bytes at every call, so without the time of day."""
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as made:
            made.writestr(zipfile.ZipInfo("texte"), "bien")
    else:
        with tarfile.open(fileobj=out, mode="w:bz2") as made_tar:
            made_tar.addfile(tarfile.TarInfo("texte"))
    return out.getvalue()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_a_file_is_fetched_with_its_checksum_beside_it(web: Web, tmp_path: Path) -> None:
    web.pages["/a"] = Page(BODY)
    path, digest = fetch_file(file(web.url("/a")), tmp_path / "raw")
    assert digest == SHA256
    assert path.read_bytes() == BODY
    assert left(tmp_path / "raw") == ["corpus.zip", "corpus.zip.sha256"]
    assert (tmp_path / "raw" / "corpus.zip.sha256").read_text() == f"{SHA256}  corpus.zip\n"


def test_a_download_that_breaks_off_goes_on_where_it_ended(web: Web, tmp_path: Path) -> None:
    web.pages["/a"] = Page(BODY, breaks=[300_000, 400_000])
    assert fetch_file(file(web.url("/a")), tmp_path)[0].read_bytes() == BODY
    first, second, third = web.pages["/a"].ranges
    assert first is None
    assert second is not None
    assert third is not None
    assert 0 < int(second[6:-1]) <= 300_000 < int(third[6:-1]) <= 700_000


def test_without_an_entity_tag_a_broken_download_starts_again(web: Web, tmp_path: Path) -> None:
    web.pages["/a"] = Page(BODY, breaks=[300_000], etag=None)
    assert fetch_file(file(web.url("/a")), tmp_path)[0].read_bytes() == BODY
    assert web.pages["/a"].ranges == [None, None]


def test_a_file_that_changed_meanwhile_is_fetched_anew(web: Web, tmp_path: Path) -> None:
    web.pages["/a"] = Page(b"old" * 400_000, breaks=[300_000, *[0] * (fetching.ATTEMPTS - 1)])
    with pytest.raises(UsageError):
        fetch_file(file(web.url("/a")), tmp_path)
    web.pages["/a"] = Page(BODY, etag='"2"')
    assert fetch_file(file(web.url("/a")), tmp_path)[0].read_bytes() == BODY


def test_what_a_failed_command_left_is_used_by_the_next(web: Web, tmp_path: Path) -> None:
    web.pages["/a"] = Page(BODY, breaks=[250_000, *[0] * (fetching.ATTEMPTS - 1)])
    with pytest.raises(UsageError, match="it broke off again and again"):
        fetch_file(file(web.url("/a")), tmp_path)
    assert left(tmp_path) == [".corpus.zip.part", ".corpus.zip.part.json"]
    assert fetch_file(file(web.url("/a")), tmp_path)[0].read_bytes() == BODY
    assert (web.pages["/a"].ranges[-1] or "").startswith("bytes=")
    assert left(tmp_path) == ["corpus.zip", "corpus.zip.sha256"]


def test_a_part_that_is_whole_already_is_no_dead_end(web: Web, tmp_path: Path) -> None:
    """A command killed between the last byte and the renaming leaves one; servers answer 416 to a request for more."""
    web.pages["/a"] = Page(BODY)
    (tmp_path / ".corpus.zip.part").write_bytes(BODY)
    (tmp_path / ".corpus.zip.part.json").write_text(json.dumps({"url": web.url("/a"), "validator": '"1"'}))
    assert fetch_file(file(web.url("/a")), tmp_path)[0].read_bytes() == BODY
    assert left(tmp_path) == ["corpus.zip", "corpus.zip.sha256"]


def test_a_busy_server_is_asked_again(web: Web, tmp_path: Path) -> None:
    web.pages["/a"] = Page(BODY, statuses=[503, 503])
    assert fetch_file(file(web.url("/a")), tmp_path)[0].read_bytes() == BODY


def test_a_redirect_is_followed(web: Web, tmp_path: Path) -> None:
    web.pages["/a"] = Page(location=web.url("/b"))
    web.pages["/b"] = Page(BODY)
    assert fetch_file(file(web.url("/a")), tmp_path)[0].read_bytes() == BODY


def test_addresses_are_tried_in_order(web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    web.pages["/b"] = Page(b"something else")
    web.pages["/c"] = Page(BODY)
    urls = [web.url(path) for path in ("/a", "/b", "/c")]
    assert fetch_file(file(*urls), tmp_path)[0].read_bytes() == BODY
    said = capsys.readouterr().out
    assert [said.index(url) for url in urls] == sorted(said.index(url) for url in urls)


def test_a_wrong_checksum_keeps_nothing(web: Web, tmp_path: Path) -> None:
    web.pages["/a"] = Page(b"something else")
    with pytest.raises(UsageError, match=f"what it sent has not the pinned sha256 {SHA256}"):
        fetch_file(file(web.url("/a")), tmp_path)
    assert left(tmp_path) == []


@pytest.mark.parametrize(("name", "kind"), [("corpus.zip", "zip"), ("corpus.tar.bz2", "tar")])
def test_a_web_page_in_place_of_an_archive_is_named_and_the_next_address_is_asked(
    web: Web, tmp_path: Path, name: str, kind: str
) -> None:
    """Some servers answer 200 with a page that says that there is nothing."""
    web.pages["/a"] = Page(b"<!DOCTYPE html><html>no such file</html>")
    web.pages["/b"] = Page(archive(kind))
    wanted = file(web.url("/a"), sha256=None, name=name)
    with pytest.raises(UsageError) as caught:
        fetch_file(wanted, tmp_path)
    assert f"({web.url('/a')}: what it sent is a web page, not the archive {name}); download it by hand" in str(
        caught.value
    )
    assert left(tmp_path) == []
    wanted.urls.append(web.url("/b"))
    assert fetch_file(wanted, tmp_path)[0].read_bytes() == archive(kind)


def test_a_file_without_a_pin_is_not_recorded_by_being_there(web: Web, tmp_path: Path) -> None:
    """Only who has read it can tell that it is what was wanted."""
    web.pages["/a"] = Page(archive("zip"))
    path, digest = fetch_file(file(web.url("/a"), sha256=None), tmp_path)
    assert left(tmp_path) == ["corpus.zip"]
    record_first_use(path, digest)
    assert left(tmp_path) == ["corpus.zip", "corpus.zip.sha256"]


ODD = {
    "corpus.zip": "the address does not begin with http:// or https://",
    "zenodo.example/corpus.zip": "the address does not begin with http:// or https://",
    "htps://zenodo.example/corpus.zip": "the address does not begin with http:// or https://",
    "ftp://zenodo.example/corpus.zip": "the address does not begin with http:// or https://",
    "https://": "that is no valid address",
    "http://*.example/corpus.zip": "that is no valid address",
    "http://a..example/corpus.zip": "that is no valid address",
    "http://zenodo.example:port/corpus.zip": "that is no valid address",
    "http://[::1/corpus.zip": "that is no valid address",
    f"http://{'a' * 70}.example/corpus.zip": "that is no valid address",
}


@pytest.mark.parametrize("sha256", [None, SHA256])
@pytest.mark.parametrize("url", ODD)
def test_an_odd_address_is_called_one(tmp_path: Path, url: str, sha256: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        fetch_file(file(url, sha256=sha256), tmp_path)
    assert f"({url}: {ODD[url]}" in str(caught.value)
    assert "pinned" not in str(caught.value)


def test_a_redirect_to_an_odd_address_is_called_one(web: Web, tmp_path: Path) -> None:
    web.pages["/a"] = Page(location="htps://zenodo.example/corpus.zip")
    with pytest.raises(UsageError, match=f"{web.url('/a')}: the address does not begin with http"):
        fetch_file(file(web.url("/a")), tmp_path)


PROXIES = {
    "http://": "is no valid address",
    "http:///x": "is no valid address",
    "http://proxy:port": "is no valid address",
    "http://[::1": "is no valid address",
    "ftp://proxy.invalid:1": "is no valid address",
    "socks5h://me:secret@proxy.invalid:1": "is a SOCKS proxy, which needs the package PySocks",
    "http://me:secret@proxy.invalid:1": "does not answer",
    "http://127.0.0.1:1": "does not answer",
}


@pytest.mark.parametrize("sha256", [None, SHA256])
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_proxy_that_is_none_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], proxy: str, sha256: str | None
) -> None:
    for name in ("no_proxy", "NO_PROXY", "ALL_PROXY", "all_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(UsageError, match=f"the proxy that the environment names .* ({PROXIES[proxy]})") as caught:
        fetch_file(file("http://zenodo.invalid/corpus.zip", sha256=sha256), tmp_path)
    said = str(caught.value) + capsys.readouterr().out
    assert "pinned" not in said
    assert "secret" not in said
    assert "\n" not in str(caught.value)


def test_certificates_that_are_nowhere_are_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nowhere.pem"))
    with pytest.raises(UsageError, match="TLS CA certificate bundle, invalid path: .*nowhere.pem"):
        fetch_file(file("https://127.0.0.1:1/x"), tmp_path / "raw")


def test_passwords_in_an_address_are_not_shown(web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError) as caught:
        fetch_file(file(web.url("/a").replace("//", "//me:sec/ret@".replace("/r", "%2Fr"))), tmp_path)
    said = str(caught.value) + capsys.readouterr().out
    assert f"{web.url('/a')}: HTTP 404" in said
    assert "sec" not in said


@pytest.mark.parametrize(
    ("url", "as_shown"),
    [
        ("http://me:pass@host:80/a@b", "http://host:80/a@b"),
        ("http://me@host/x", "http://host/x"),
        ("http://me:p@ss@host/x", "http://host/x"),
        ("http://me:pa/ss@host/x", "http://host/x"),
        ("no page: http://me:pass@host, http://you:word@other", "no page: http://host, http://other"),
        ("http://host/x.zip?token=abc&download=1: HTTP 404", "http://host/x.zip: HTTP 404"),
        (
            "Max retries exceeded with url: /x?token=abc (Caused by it?)",
            "Max retries exceeded with url: /x (Caused by it?)",
        ),
        ("http://host:80/a@b http://[::1]:80/a@b", "http://host:80/a@b http://[::1]:80/a@b"),
    ],
)
def test_what_is_shown_of_an_address(url: str, as_shown: str) -> None:
    assert shown(url) == as_shown


def test_when_nothing_can_be_reached_one_message_says_what_to_do(web: Web, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/x"
        with pytest.raises(UsageError) as caught:
            fetch_file(file(web.url("/a"), closed, "http://nowhere.invalid/x"), tmp_path / "raw" / "cls")
    sentence = str(caught.value)
    reasons = (f"{web.url('/a')}: HTTP 404", f"{closed}: its host refuses", "invalid/x: its host cannot be found")
    for part in (*reasons, f"put it into {tmp_path / 'raw' / 'cls'}"):
        assert part in sentence
    assert "under the name corpus.zip" in sentence
    assert "\n" not in sentence


def test_a_file_put_there_by_hand_is_used_and_nothing_is_fetched(web: Web, tmp_path: Path) -> None:
    (tmp_path / "corpus.zip").write_bytes(BODY)
    assert fetch_file(file(web.url("/a")), tmp_path)[0].read_bytes() == BODY


@pytest.mark.parametrize("pinned", [True, False])
def test_a_file_that_changed_on_disk_is_refused(web: Web, tmp_path: Path, pinned: bool) -> None:
    web.pages["/a"] = Page(archive("zip"))
    wanted = file(web.url("/a"), sha256=hashlib.sha256(archive("zip")).hexdigest() if pinned else None)
    record_first_use(*fetch_file(wanted, tmp_path))
    (tmp_path / "corpus.zip").write_bytes(BODY)
    with pytest.raises(UsageError, match="pinned is" if pinned else "recorded in corpus.zip.sha256 on first use"):
        fetch_file(wanted, tmp_path)


def _fetch(url: str, folder: Path) -> None:
    fetch_file(file(url), folder)


def test_two_processes_fetch_a_file_once(web: Web, tmp_path: Path) -> None:
    web.pages["/a"] = Page(BODY)
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_fetch, args=(web.url("/a"), tmp_path)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert [one.exitcode for one in both] == [0, 0]
    assert len(web.pages["/a"].ranges) == 1


def test_a_folder_that_one_may_only_read_is_enough_when_the_file_is_there(tmp_path: Path) -> None:
    """Several users may share DATA_DIR; the superuser, whom no mode stops, is watched for writes instead."""
    (tmp_path / "corpus.zip").write_bytes(BODY)
    fetch_file(file("http://nowhere.invalid/x"), tmp_path)
    with locked(tmp_path / ".other.lock"):
        assert (tmp_path / ".other.lock").stat().st_mode & 0o777 == 0o666  # the next user may take it too
    (tmp_path / ".other.lock").unlink(missing_ok=True)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    fetch_file(file("http://nowhere.invalid/x"), tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_weak_entity_tag_does_not_tell_the_same_bytes(web: Web, tmp_path: Path) -> None:
    """It names what means the same; the bytes may be others (RFC 9110, 8.8.3)."""
    web.pages["/a"] = Page(BODY, breaks=[300_000], etag='W/"1"')
    assert fetch_file(file(web.url("/a")), tmp_path)[0].read_bytes() == BODY
    assert web.pages["/a"].ranges == [None, None]


def test_all_files_that_are_missing_are_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(file: DictConfig, folder: Path) -> tuple[Path, str]:
        if (folder / file.name).is_file():
            return folder / file.name, "0"
        raise UsageError(f"{file.name} could not be fetched")

    monkeypatch.setattr(raw, "fetch_file", unreachable)
    files = OmegaConf.create([{"name": name, "what": name} for name in ("a", "b", "c", "d")])
    for name in ("a", "c"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="^b could not be fetched. The same holds for d, which are not there either$"):
        raw.unpacked(files, tmp_path)
    (tmp_path / "b").touch()
    with pytest.raises(UsageError, match="^d could not be fetched$"):
        raw.unpacked(files, tmp_path)
