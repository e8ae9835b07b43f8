"""A web server on this machine that misbehaves as asked: breaks off, refuses, redirects, sends something else."""

import base64
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What one address answers.

    `statuses` are answered first, one a request; then the body, which breaks off after `breaks[i]` bytes in the i-th
    answer that holds it. `etag` lets a broken download go on; without one it cannot. Who does not give `password`, as
    in name:password, is refused.
    """

    body: bytes = b""
    statuses: list[int] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)
    etag: str | None = '"1"'
    location: str | None = None
    password: str | None = None
    kind: str | None = None  # what it says that it is: text/html
    ranges: list[str | None] = field(default_factory=list)  # the Range header of each request, as it came


class Web:
    """The server: `pages` by path, `url(path)` for an address."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        pages = self.pages

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                page = pages.get(self.path)
                if page is None:
                    self.answer(404)
                    return
                page.ranges.append(self.headers.get("Range"))
                given = self.headers.get("Authorization", "").removeprefix("Basic ")
                if page.password is not None and base64.b64decode(given).decode() != page.password:
                    self.answer(401)
                elif page.location:
                    self.answer(302, {"Location": page.location})
                elif page.statuses:
                    self.answer(page.statuses.pop(0))
                else:
                    self.send_body(page)

            def answer(self, status: int, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": "0", **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()

            def send_body(self, page: Page) -> None:
                wanted, start = self.headers.get("Range"), 0
                if wanted and page.etag and self.headers.get("If-Range", page.etag) == page.etag:
                    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(page.body) > 0:
                    self.answer(416)
                    return
                self.send_response(206 if start else 200)
                body = page.body[start:]
                self.send_header("Content-Length", str(len(body)))
                for name, value in {"ETag": page.etag, "Content-Type": page.kind}.items():
                    if value:
                        self.send_header(name, value)
                self.end_headers()
                until = page.breaks.pop(0) if page.breaks else len(body)
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body[:until])
                if until < len(body):
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"


@contextlib.contextmanager
def serving() -> Iterator[Web]:
    """Yield a server and end it."""
    web = Web()
    try:
        yield web
    finally:
        web.server.shutdown()
        web.server.server_close()
