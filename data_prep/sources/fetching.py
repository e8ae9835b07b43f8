"""Fetches files from the web into data/raw. Prints, resumes and verifies every download.

A file that is already in its folder is used, whoever put it there. Its sha256 must be the pinned one. If no sha256 is
pinned, it must be the sha256 recorded in the same folder on first use, that is, when the file has proved readable.
A download is kept only when its checksum is right; without a pinned checksum, when it looks like the archive that its
name says. A broken download stays in the same folder as `.<name>.part`, and the next attempt resumes it.
"""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

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
NO_PROXY = f"{PROXY} is no valid address"
REASONS = {  # parts of an error's name and message, and their meaning; the first match is reported
    "SOCKS": f"{PROXY} is a SOCKS proxy, which needs the package PySocks",
    "InvalidProxyURL": NO_PROXY,
    "ProxyError": f"{PROXY} does not answer",
    "MissingSchema": "the address does not begin with http:// or https://",
    "InvalidSchema": "the address does not begin with http:// or https://",
    "InvalidURL": "that is no valid address",
    "LocationParseError": "that is no valid address",
    "LocationValueError": "that is no valid address",
    "TooManyRedirects": "it redirects in a circle",
    "NameResolutionError": "its host cannot be found",
    "Connection refused": "its host refuses the connection",
    "Network is unreachable": "the network is unreachable",
    "IncompleteRead": "it broke off again and again",
    "Connection broken": "it broke off again and again",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted here (REQUESTS_CA_BUNDLE may name a file of others)",
}
# The part before an @. A password with a slash makes the address invalid, but must be hidden all the same.
CREDENTIALS = re.compile(r"(?<=//)(?:(?:[^/\s@]*@)+|[^/\s@:\[]*:(?!\d*(?:[/\s]|$))[^\s@]*@)")
# The query of a whole or partial address. It may hold access keys.
QUERY = re.compile(r"(?<=[^\s?])\?[^\s'\">)]*[^\s'\">):;,.]")
TIMEOUT = 30  # seconds without an answer
CHUNK = 1 << 16  # bytes; no more than this is lost when a download breaks off


def fetch_file(file: DictConfig, folder: Path) -> tuple[Path, str]:
    """Return `folder/<file.name>`, fetched from the first address that has it, and its verified sha256.

    The sha256 of a file without a pinned one is not recorded yet: call `record_first_use` when the file has proved
    readable. Raises `UsageError` when the checksum is not the pinned or recorded one, or when no address gives the
    file; the message then says where to put it by hand.
    """
    target = folder / file.name
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            if not target.is_file():
                _download_from_any(file, target)
    return target, verified(target, file.sha256)


def record_of(target: Path) -> Path:
    """Return the path of the file that records the sha256 of `target`, in the same folder."""
    return target.with_name(f"{target.name}.sha256")


def record_first_use(target: Path, digest: str) -> None:
    """Record the sha256 of the file, which the file must have from now on. An earlier record stays."""
    if not record_of(target).is_file():
        write_text(record_of(target), f"{digest}  {target.name}\n")


def verified(target: Path, pinned: str | None) -> str:
    """Return the sha256 of a file, and record a pinned one. Raises `UsageError` unless it is as pinned or recorded."""
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
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # this module prints its own messages
    print(f"fetching {target.name} from {shown(url)}", flush=True)
    part = target.with_name(f".{target.name}.part")
    try:
        with patient(session()) as connected:
            _bring(connected, url, part)
    except (urllib3.exceptions.HTTPError, ValueError, OSError) as error:  # every RequestException is an OSError
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, requests.RequestException):
            raise  # the disk's fault
        return why_not(error, url)
    _note_of(part).unlink(missing_ok=True)
    wrong = None
    if sha256 is None and not looks_like_archive(part, target.name):
        wrong = f"what it sent is {what_it_is(part)}, not the archive {target.name}"
    elif sha256 is not None and sha256_of(part) != sha256:
        wrong = f"what it sent has not the pinned sha256 {sha256}; it is {what_it_is(part)}"
    if wrong:
        part.unlink()
        return wrong
    part.chmod(0o644)
    part.replace(target)
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
    said = f"{type(error).__name__}: {error}"
    if said.startswith(("InvalidURL", "Location")) and _odd_proxy(url):
        return NO_PROXY
    for sign, sentence in REASONS.items():
        if sign in said:
            return sentence
    if isinstance(error, requests.Timeout):
        return "it does not answer"
    return shown(" ".join((said if isinstance(error, requests.RequestException) else str(error)).split()))


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


def _bring(session: requests.Session, url: str, part: Path) -> None:
    """Download `url` into the file `part`, and go on where a download breaks off."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _go_on(session, url, part)
            break
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, requests.Timeout):
            if attempt == ATTEMPTS or not part.is_file():
                raise


def _go_on(session: requests.Session, url: str, part: Path) -> None:
    """Append the rest of the file to `part`. Write `part` anew when it may belong to another file.

    The server sends the whole file if it cannot compare the entity tag or date, or if the file has changed.
    """
    headers = {"Accept-Encoding": "identity", **_range(url, part)}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:  # `part` holds the whole file, or more
            part.unlink()
            _go_on(session, url, part)
            return
        answer.raise_for_status()
        resumed = answer.status_code == requests.codes.partial_content
        start = part.stat().st_size if resumed else 0
        validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        write_text(_note_of(part), json.dumps({"url": url, "validator": validator}))
        length = answer.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        name = part.name[1:-5]
        with (
            part.open("ab" if resumed else "wb") as out,
            tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=name, disable=None) as bar,
        ):
            for chunk in answer.iter_content(CHUNK):
                out.write(chunk)
                bar.update(len(chunk))


def _note_of(part: Path) -> Path:
    """Return the path of the file that holds the address of `part`, and its entity tag or date."""
    return part.with_name(f"{part.name}.json")


def _range(url: str, part: Path) -> dict[str, str]:
    """Return the headers that ask for the rest of the file if `part` is its beginning, else none."""
    if not (part.is_file() and _note_of(part).is_file()):
        return {}
    note = json.loads(_note_of(part).read_text(encoding="utf-8"))
    strong = note["validator"] and not note["validator"].startswith("W/")
    if note["url"] != url or not strong or not part.stat().st_size:
        return {}
    return {"Range": f"bytes={part.stat().st_size}-", "If-Range": note["validator"]}
