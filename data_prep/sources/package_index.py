"""Finds an archive in the package index and fetches it. Nothing of the package is run or unpacked.

`pip download` runs the code of a source distribution to make its metadata. So pip is only asked for its configuration:
indexes and folders, certificates and proxy. pypi-simple reads the pages of an index.
"""

import ast
import logging
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

import requests
from omegaconf import DictConfig
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version
from pypi_simple import (
    ACCEPT_ANY,
    PYPI_SIMPLE_ENDPOINT,
    ProjectPage,
    UnsupportedContentTypeError,
    UnsupportedRepoVersionError,
)

from data_prep.sources.fetching import TIMEOUT, download, patient, shown, why_not
from foundation.errors import UsageError
from foundation.whole_files import sha256_of

SECTIONS = ("global", "download", ":env:")  # of pip's configuration, as `pip download` uses them; a later section wins
TRUE = ("1", "y", "yes", "t", "true", "on")


@dataclass(frozen=True)
class PipSettings:
    """pip's configuration: where packages are, and how to connect to these places."""

    find_links: tuple[str, ...]  # folders, and pages of links
    indexes: tuple[str, ...]
    cert: str | None  # file of the certificates to trust
    client_cert: str | None
    proxy: str | None
    trusted_hosts: tuple[str, ...]  # host or host:port whose certificate is not checked

    def session(self, url: str) -> requests.Session:
        """Return a session for requests to `url`."""
        session, parts = requests.Session(), urlsplit(url)
        if self.proxy:
            session.trust_env = False  # else the environment's proxies would win
            session.proxies = {"http": self.proxy, "https": self.proxy}
        if self.cert:
            session.verify = self.cert
        if self.client_cert:
            session.cert = self.client_cert
        if {parts.hostname, parts.netloc.rpartition("@")[2]} & set(self.trusted_hosts):
            session.verify = False
        return session


@dataclass(frozen=True)
class Link:
    """One archive in a folder or on a page of links."""

    name: str
    url: str
    sha256: str | None


def pip_settings() -> PipSettings:
    """Return pip's configuration, from its files and its environment variables."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode != 0:
        said = shown(" ".join(answer.stderr.split()))
        raise UsageError(f"`pip config list` does not work ({said or 'no message'}); mend pip's configuration")
    given: dict[str, str] = {}
    lines = [line.partition("=") for line in answer.stdout.splitlines()]
    for section in SECTIONS:
        for key, _, value in lines:
            held = str(ast.literal_eval(value)) if key.startswith(f"{section}.") else ""
            if held:  # pip treats an empty value as not given
                given[key.removeprefix(f"{section}.")] = held
    index = [given.get("index-url", PYPI_SIMPLE_ENDPOINT), *given.get("extra-index-url", "").split()]
    return PipSettings(
        find_links=tuple(given.get("find-links", "").split()),
        indexes=() if given.get("no-index", "").lower() in TRUE else tuple(index),
        cert=given.get("cert"),
        client_cert=given.get("client-cert"),
        proxy=given.get("proxy"),
        trusted_hosts=tuple(given.get("trusted-host", "").split()),
    )


def fetch_archive(source: DictConfig, folder: Path) -> Path:
    """Fetch the archive of `source.package` into `folder`, verify its sha256, and return its path.

    Raises `UsageError` when no place has the archive with the pinned sha256. The message names every place with its
    answer.
    """
    pip = pip_settings()
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # the message below names every answer
    name = canonicalize_name(source.package)
    places = [*pip.find_links, *(f"{index.rstrip('/')}/{name}/" for index in pip.indexes)]
    answers = []
    for place in dict.fromkeys(places):
        try:
            there = [link for link in links_of(place, name, pip) if is_wanted(link.name, source)]
        except (requests.RequestException, OSError, ValueError) as error:
            answers.append(f"{shown(place)}: {why_not(error, place)}")
            continue
        for link in there:
            answer = _fetch(link, folder, source.sha256, pip)
            if answer is None:
                return folder / link.name
            answers.append(f"{shown(link.url)}: {answer}")
        if not there:
            answers.append(f"{shown(place)}: it does not have it")
    kind = "wheel" if source.binary else "source distribution"
    raise UsageError(
        f"the {kind} of {source.package} {source.version} could not be fetched "
        f"({'; '.join(answers) or 'pip is configured with no index'}); check the network and `pip config list`, then "
        "run the same command again"
    )


def links_of(place: str, project: str, pip: PipSettings) -> list[Link]:
    """Return the archives in a folder, or on a page of links in a file or on the web.

    Raises `requests.RequestException` or `OSError` when the place cannot be read, `ValueError` when the place is
    not a page of links.
    """
    if not place.startswith(("http://", "https://")):
        path = local_path(place)
        if not path.exists():
            raise ValueError("there is no such folder")
        if path.is_dir() and not (path / "index.html").is_file():
            return [Link(file.name, file.resolve().as_uri(), None) for file in sorted(path.iterdir())]
        page = path / "index.html" if path.is_dir() else path
        read = ProjectPage.from_html(project, page.read_bytes(), page.resolve().as_uri())
    else:
        with patient(pip.session(place)) as session:
            answer = session.get(place, headers={"Accept": ACCEPT_ANY}, timeout=TIMEOUT)
            answer.raise_for_status()
        try:
            read = ProjectPage.from_response(answer, project)
        except (UnsupportedContentTypeError, UnsupportedRepoVersionError, ValueError, KeyError, TypeError) as error:
            raise ValueError("what it sent is no page of links") from error
    return [
        Link(file.filename, with_credentials(file.url, place), file.digests.get("sha256")) for file in read.packages
    ]


def local_path(place: str) -> Path:
    """Return the path of a file: address, or of a plain path as pip accepts it."""
    if place.startswith("file:"):
        return Path(url2pathname(urlsplit(place).path))
    return Path(place).expanduser()


def with_credentials(url: str, place: str) -> str:
    """Return `url` with the name and password of `place`, if both have the same scheme and host and `url` has none."""
    own, its = urlsplit(url), urlsplit(place)
    credentials, at, host = its.netloc.rpartition("@")
    if at and own.netloc == host and own.scheme == its.scheme:
        return urlunsplit(own._replace(netloc=f"{credentials}@{host}"))
    return url


def is_wanted(name: str, source: DictConfig) -> bool:
    """Return whether a file has the name of a wheel (or source distribution) of the package in the wanted version."""
    try:
        project, version = (parse_wheel_filename if source.binary else parse_sdist_filename)(name)[:2]
    except (InvalidWheelFilename, InvalidSdistFilename):
        return False
    return project == canonicalize_name(source.package) and version == Version(source.version)


def _fetch(link: Link, folder: Path, sha256: str, pip: PipSettings) -> str | None:
    """Fetch the file into `folder` and return None, or return the reason why it failed."""
    if link.sha256 is not None and link.sha256.lower() != sha256:
        return f"its sha256 is {link.sha256}, the pinned one is {sha256}"
    target = folder / link.name
    if not link.url.startswith("file:"):
        return download(link.url, target, sha256, lambda: pip.session(link.url))
    print(f"fetching {link.name} from {local_path(link.url).parent}", flush=True)
    try:
        shutil.copyfile(local_path(link.url), target)
    except OSError as error:
        return f"{error.strerror}"
    found = sha256_of(target)
    return None if found == sha256 else f"its sha256 is {found}, the pinned one is {sha256}"
