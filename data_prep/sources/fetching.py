"""Fetches files from the web into data/raw. Prints, resumes and verifies every download.

A file that is already in its folder is used, whoever put it there. Its sha256 must be the pinned one. If no sha256 is
pinned, it must be the sha256 recorded in the same folder on first use, that is, when the file has proved readable.
Downloads go through pooch, which keeps a file only when its checksum is right. Without a pinned checksum a file is kept
only when it looks like the archive that its name says. A broken download stays in the same folder as `.<name>.part`,
and the next attempt resumes it.
"""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pooch
import requests
import urllib3
from omegaconf import DictConfig
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy
from tqdm import tqdm
from urllib3.util import Retry, parse_url

from data_prep.sources.archives import looks_like_archive, what_it_is
from foundation.errors import UsageError
from foundation.whole_files import locked, sha256_of, write_text

ATTEMPTS = 5  # at one address when the download breaks off; each attempt resumes the previous attempt
BUSY = (429, 500, 502, 503, 504)  # HTTP status codes after which the same address is asked again
PROXY = "the proxy that the environment names (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY)"
ANSWERS: dict[type[Exception], str] = {  # exceptions and their meaning; the first match is reported
    requests.exceptions.InvalidProxyURL: f"{PROXY} is no valid address",
    requests.exceptions.ProxyError: f"{PROXY} does not answer",
    requests.exceptions.MissingSchema: "the address does not begin with http:// or https://",
    requests.exceptions.InvalidSchema: "the address does not begin with http:// or https://",
    requests.exceptions.InvalidURL: "that is no valid address",
    urllib3.exceptions.LocationValueError: "that is no valid address",
    requests.exceptions.TooManyRedirects: "it redirects in a circle",
}
UNREACHABLE = {  # parts of requests' other messages, and their meaning
    "NameResolutionError": "its host cannot be found",
    "Connection refused": "its host refuses the connection",
    "Network is unreachable": "the network is unreachable",
    "IncompleteRead": "it broke off again and again",
    "Connection broken": "it broke off again and again",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted here (REQUESTS_CA_BUNDLE may name a file of others)",
}
SOCKS = f"{PROXY} is a SOCKS proxy, which needs the package PySocks"
# The part before an @. A password with a slash makes the address invalid, but must be hidden all the same.
CREDENTIALS = re.compile(r"(?<=//)(?:(?:[^/\s@]*@)+|[^/\s@:\[]*:(?!\d*(?:[/\s]|$))[^\s@]*@)")
QUERY = re.compile(
    r"(?<=[^\s?])\?[^\s'\">)]*[^\s'\">):;,.]"
)  # the query of a whole or partial address; it may hold access keys
TIMEOUT = 30  # seconds without an answer
CHUNK = 1 << 16  # bytes; no more than this is lost when a download breaks off


def fetch_file(file: DictConfig, folder: Path) -> tuple[Path, str]:
    """Return `folder/<file.name>`, fetched from the first address that has it, and its verified sha256.

    The sha256 of a file without a pinned one is not recorded yet: call `record_first_use` when the file has proved
    readable. Raises `UsageError` when the checksum is not the pinned or recorded one, or when no address gives the
    file. In the second case the message names every address with its answer, the file, and the folder to put the file
    into by hand.
    """
    target = folder / file.name
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            if not target.is_file():
                _download_from_any(file, target)
    return target, _verified(target, file.sha256)


def record_of(target: Path) -> Path:
    """Return the path of the file that records the sha256 of `target`, in the same folder."""
    return target.with_name(f"{target.name}.sha256")


def record_first_use(target: Path, digest: str) -> None:
    """Record the sha256 of the file, which the file must have from now on. An earlier record stays."""
    if not record_of(target).is_file():
        write_text(record_of(target), f"{digest}  {target.name}\n")


def _verified(target: Path, pinned: str | None) -> str:
    found, record = sha256_of(target), record_of(target)
    words = record.read_text(encoding="utf-8").split() if record.is_file() else []
    expected = pinned or (words[0] if words else None)
    if expected is not None and found != expected:
        origin = "pinned" if pinned else f"recorded in {record.name} on first use"
        raise UsageError(
            f"{target} has sha256 {found}, {origin} is {expected}; delete it"
            f"{'' if pinned else f' and {record}'} to fetch it again"
        )
    if pinned:
        record_first_use(target, found)
    return found


def _download_from_any(file: DictConfig, target: Path) -> None:
    answers = []
    for url in file.urls:
        answer = download(url, target, file.sha256)
        if answer is None:
            return
        answers.append(f"{shown(url)}: {answer}")
    raise UsageError(
        f"{file.name} could not be fetched ({'; '.join(answers)}); download it by hand and put it into "
        f"{target.parent} under the name {file.name}, then run the same command again"
    )


def download(
    url: str, target: Path, sha256: str | None, session: Callable[[], requests.Session] = requests.Session
) -> str | None:
    """Download `url` to `target` and return None. If the download fails, return the reason and leave no `target`."""
    for logger in (pooch.get_logger(), logging.getLogger("urllib3")):
        logger.setLevel(logging.ERROR)  # this module prints its own messages
    print(f"fetching {target.name} from {shown(url)}", flush=True)
    promised = target.name if sha256 is None else None
    downloader = ResumingDownloader(target.with_name(f".{target.name}.part"), promised, session)
    known = f"sha256:{sha256}" if sha256 else None
    try:
        pooch.retrieve(url, known_hash=known, fname=target.name, path=target.parent, downloader=downloader)
    except requests.RequestException as error:  # before ValueError, because some of these are also ValueErrors
        return why_not(error, url)
    except ValueError:  # pooch raises it for a wrong checksum
        return f"what it sent has not the pinned sha256 {sha256}; it is {downloader.brought}"
    target.chmod(0o644)
    return None


def patient(session: requests.Session) -> requests.Session:
    """Make the session ask a busy or silent host again, and return the session."""
    again = Retry(total=3, backoff_factor=0.3, status_forcelist=BUSY, raise_on_status=False)
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=again))
    return session


def shown(url: str) -> str:
    """Return an address, or a sentence with addresses, without user names, passwords and queries."""
    return QUERY.sub("", CREDENTIALS.sub("", url))


def why_not(error: Exception, url: str) -> str:
    """Return in a few words why `url` could not be read, without user names and passwords."""
    response = getattr(error, "response", None)
    if response is not None and not response.ok:
        return f"HTTP {response.status_code}"
    if "SOCKS" in str(error):
        return SOCKS
    cause = error.__cause__ or error
    if isinstance(cause, (requests.exceptions.InvalidURL, urllib3.exceptions.LocationValueError)) and _odd_proxy(url):
        return ANSWERS[requests.exceptions.InvalidProxyURL]
    for kind, sentence in ANSWERS.items():
        if isinstance(cause, kind):
            return sentence
    for sign, sentence in UNREACHABLE.items():
        if sign in str(cause):
            return sentence
    if isinstance(error, requests.Timeout):
        return "it does not answer"
    told = shown(" ".join(str(error).split()))
    odd = isinstance(error, requests.RequestException) and not isinstance(error, NotFetched)
    return f"{type(error).__name__}: {told}" if odd else told


def _odd_proxy(url: str) -> bool:
    """Return whether the environment's proxy for this address is not a valid address."""
    try:
        proxy = select_proxy(url, get_environ_proxies(url))
    except ValueError:  # `url` is invalid, not the proxy
        return False
    try:
        parsed = parse_url(proxy or "http://none")
    except urllib3.exceptions.LocationParseError:
        return True
    return not parsed.host or parsed.scheme not in ("http", "https")


class NotFetched(requests.RequestException):
    """A download failed for a reason that has no exception in requests."""


class ResumingDownloader:
    """A downloader for pooch that resumes an earlier download in the file `part`.

    It asks for the rest of the same file (`If-Range` with the entity tag or date noted in `<part>.json`). The server
    sends the whole file if it cannot compare the tag, or if the file has changed. A file that does not look like the
    archive that the name `promised` says is refused. `brought` describes the downloaded file in words.
    """

    def __init__(self, part: Path, promised: str | None, session: Callable[[], requests.Session]) -> None:
        self.part, self.note = part, part.with_name(f"{part.name}.json")
        self.promised, self.session = promised, session
        self.brought = "nothing"

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> bool | None:
        """Download `url` into `output_file`. Raises `requests.RequestException` when the download fails."""
        try:
            self._bring(url)
        except requests.RequestException:
            raise
        except (urllib3.exceptions.HTTPError, ValueError) as error:  # raised for odd addresses and proxies
            raise NotFetched(str(error)) from error
        except OSError as error:
            if error.errno is not None:  # the disk's fault
                raise
            raise NotFetched(str(error)) from error  # requests raises it for a missing bundle of certificates
        self.note.unlink(missing_ok=True)
        self.brought = what_it_is(self.part)
        if self.promised is not None and not looks_like_archive(self.part, self.promised):
            self.part.unlink()
            raise NotFetched(f"what it sent is {self.brought}, not the archive {self.promised}")
        self.part.replace(output_file)
        return None

    def _bring(self, url: str) -> None:
        with patient(self.session()) as session:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    self._go_on(session, url)
                    break
                except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, requests.Timeout):
                    if attempt == ATTEMPTS or not self.part.is_file():
                        raise

    def _go_on(self, session: requests.Session, url: str) -> None:
        """Append the rest of the file to `part`. Write `part` anew when it may belong to another file."""
        headers = {"Accept-Encoding": "identity", **self._range(url)}
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if (
                answer.status_code == requests.codes.requested_range_not_satisfiable
            ):  # `part` holds the whole file already, or more
                self.part.unlink()
                self._go_on(session, url)
                return
            answer.raise_for_status()
            resumed = answer.status_code == requests.codes.partial_content
            start = self.part.stat().st_size if resumed else 0
            validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
            write_text(self.note, json.dumps({"url": url, "validator": validator}))
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length and length.isdigit() else None
            with (
                self.part.open("ab" if resumed else "wb") as out,
                tqdm(
                    total=total, initial=start, unit="B", unit_scale=True, desc=self.part.name[1:-5], disable=None
                ) as bar,
            ):
                for chunk in answer.iter_content(CHUNK):
                    out.write(chunk)
                    bar.update(len(chunk))

    def _range(self, url: str) -> dict[str, str]:
        if not (self.part.is_file() and self.note.is_file()):
            return {}
        note = json.loads(self.note.read_text(encoding="utf-8"))
        strong = note["validator"] and not note["validator"].startswith("W/")
        if note["url"] != url or not strong or not self.part.stat().st_size:
            return {}
        return {"Range": f"bytes={self.part.stat().st_size}-", "If-Range": note["validator"]}
