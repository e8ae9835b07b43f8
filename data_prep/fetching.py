"""Fetches files from the web into data/raw: resumed, verified, and never without saying so.

A file that stands in its folder already is used, whoever put it there. Its sha256 is the pinned one; where none is
pinned, the one recorded beside it on first use. Downloads go through pooch, which keeps a file only when its checksum
is right; what a broken download left stays beside it as `.<name>.part`, and the next attempt goes on from there.
"""

import json
import logging
from pathlib import Path
from typing import Any

import pooch
import requests
from omegaconf import DictConfig
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util import Retry

from data_prep.whole_files import locked, sha256_of, write_text
from hydra_conf.errors import UsageError

ATTEMPTS = 5  # of one address that breaks off, each going on where the last one ended
BUSY = (429, 500, 502, 503, 504)  # answers after which the same address is asked again
UNREACHABLE = {  # what requests says, and what that means
    "NameResolutionError": "its host cannot be found",
    "Connection refused": "its host refuses the connection",
    "Network is unreachable": "the network is unreachable",
    "IncompleteRead": "it broke off again and again",
    "Connection broken": "it broke off again and again",
}
TIMEOUT = 30  # seconds without an answer
CHUNK = 1 << 16  # bytes; what is lost at most when a download breaks off


def fetch_file(file: DictConfig, folder: Path) -> tuple[Path, str]:
    """Return `folder/<file.name>`, fetched from the first address that has it, and its verified sha256.

    Raises `UsageError` when its checksum is not the pinned or recorded one, or when no address gives it: then the
    message names every address with its answer, the file and the folder to put it in by hand.
    """
    target = folder / file.name
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            if not target.is_file():
                _download(file, target)
    return target, _verified(target, file.sha256)


def _verified(target: Path, pinned: str | None) -> str:
    found, record = sha256_of(target), target.with_name(f"{target.name}.sha256")
    expected = pinned or (record.read_text(encoding="utf-8").split()[0] if record.is_file() else None)
    if expected is not None and found != expected:
        origin = "pinned" if pinned else f"recorded in {record.name} on first use"
        raise UsageError(f"{target} has sha256 {found}, {origin} is {expected}; delete it"
                         f"{'' if pinned else ' and the record'} to fetch it again")  # fmt: skip
    if not record.is_file():
        write_text(record, f"{found}  {target.name}\n")
    return found


def _download(file: DictConfig, target: Path) -> None:
    for logger in (pooch.get_logger(), logging.getLogger("urllib3")):
        logger.setLevel(logging.ERROR)  # what they would say is said below
    answers = []
    for url in file.urls:
        print(f"fetching {file.name} from {url}", flush=True)
        downloader = ResumingDownloader(target.with_name(f".{target.name}.part"))
        try:
            known = f"sha256:{file.sha256}" if file.sha256 else None
            pooch.retrieve(url, known_hash=known, fname=target.name, path=target.parent, downloader=downloader)
            target.chmod(0o644)
            return
        except ValueError:  # pooch's for a wrong checksum
            answers.append(f"{url}: what it sent has not the pinned sha256 {file.sha256}")
        except requests.RequestException as error:
            answers.append(f"{url}: {_short(error)}")
    raise UsageError(
        f"{file.name} could not be fetched ({'; '.join(answers)}); fetch it in another way and put it into "
        f"{target.parent} under the name {file.name}, then run the same command again"
    )


def _short(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"HTTP {error.response.status_code}"
    for sign, sentence in UNREACHABLE.items():
        if sign in str(error):
            return sentence
    return "it does not answer" if isinstance(error, requests.Timeout) else f"{type(error).__name__}: {error}"


class ResumingDownloader:
    """A downloader for pooch that goes on with what an earlier one left in `part`.

    It asks for the rest of the very same file (`If-Range` with the entity tag or date noted in `<part>.json`); a server
    that cannot tell, or whose file has changed, sends the whole again.
    """

    def __init__(self, part: Path) -> None:
        self.part, self.note = part, part.with_name(f"{part.name}.json")

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> bool | None:
        """Bring the file of `url` into `output_file`. Raises `requests.RequestException` when that cannot be done."""
        with requests.Session() as session:
            again = Retry(total=3, backoff_factor=0.3, status_forcelist=BUSY, raise_on_status=False)
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=again))
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    self._go_on(session, url)
                    break
                except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, requests.Timeout):
                    if attempt == ATTEMPTS or not self.part.is_file():
                        raise
        self.note.unlink(missing_ok=True)
        self.part.replace(output_file)
        return None

    def _go_on(self, session: requests.Session, url: str) -> None:
        """Append the rest of the file to `part`, or write it anew when it cannot be told that it is the same file."""
        headers = {"Accept-Encoding": "identity", **self._range(url)}
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if (
                answer.status_code == requests.codes.requested_range_not_satisfiable
            ):  # `part` holds all there is, or more
                self.part.unlink()
                self._go_on(session, url)
                return
            answer.raise_for_status()
            resumed = answer.status_code == requests.codes.partial_content
            start = self.part.stat().st_size if resumed else 0
            validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
            write_text(self.note, json.dumps({"url": url, "validator": validator}))
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length else None
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
