"""The world of `migrator demo`: an embedded S3, a web server with pictures of lots, manifests that list them."""

import contextlib
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from migrator.core.errors import PreflightError

if TYPE_CHECKING:
    from PIL import Image

LOTS = 40
PICTURES = 4
"""Pictures a lot; each comes in full size and as a thumbnail."""

BUCKET = "demo-auction-images"

SOFT_404 = b"<!doctype html><title>Not here</title><p>Sorry, this picture has been moved.</p>"
"""What some servers send with status 200 where a picture is missing."""


class World(Struct, frozen=True):
    """Where everything is."""

    endpoint_url: str
    site_url: str
    manifests: Path
    lots: int
    pictures: int
    bucket: str


@contextlib.contextmanager
def world(directory: Path) -> Iterator[World]:
    """Both servers running on free ports of 127.0.0.1, the manifests written to `directory`."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError:
        raise PreflightError(
            "the demo needs its embedded S3 server, which is not installed",
            "install it with `pip install 'migrator[demo]'`, then run `migrator demo` again",
        ) from None
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # moto's server: a line for each request otherwise
    pages = _pictures()
    store = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    site = _Site(pages)
    thread = threading.Thread(target=site.serve_forever, name="site", daemon=True)
    thread.start()
    try:
        host, port = store.get_host_and_port()
        site_url = f"http://127.0.0.1:{site.server_port}"
        manifests = directory / "lots"
        _write_manifests(manifests, site_url, sorted(pages))
        yield World(f"http://{host}:{port}", site_url, manifests, LOTS, len(pages), BUCKET)
    finally:
        site.shutdown()
        site.server_close()
        store.stop()


def _pictures() -> dict[str, bytes | None]:
    """Path -> JPEG. One is None: it is listed and not there. Another is a page that says so with status 200."""
    from PIL import Image

    sky = Image.linear_gradient("L").resize((640, 480))
    pages: dict[str, bytes | None] = {}
    for lot in range(1, LOTS + 1):
        for number in range(1, PICTURES + 1):
            shade = Image.new("L", sky.size, (lot * 37 + number * 61) % 256)
            picture = Image.merge("RGB", (sky, shade, sky.rotate(90 * number).resize(sky.size)))
            pages[f"/auctionimages/{lot:04d}/{number}.jpg"] = _jpeg(picture)
            pages[f"/auctionimages/{lot:04d}/{number}_thumb.jpg"] = _jpeg(picture.resize((160, 120)))
    pages["/auctionimages/0013/2.jpg"] = None
    pages["/auctionimages/0027/3.jpg"] = SOFT_404
    return pages


def _jpeg(picture: "Image.Image") -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _write_manifests(directory: Path, site_url: str, paths: list[str]) -> None:
    directory.mkdir(parents=True)
    for lot in range(1, LOTS + 1):
        mine = [path for path in paths if f"/{lot:04d}/" in path and "_thumb" not in path]
        images = [
            {"image_url": site_url + path, "thumb_url": site_url + path.replace(".jpg", "_thumb.jpg")} for path in mine
        ]
        manifest = {"lot": lot, "title": f"Lot {lot}", "images": images}
        (directory / f"lot_{lot:04d}_images.json").write_text(json.dumps(manifest, indent=2))


class _Site(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, pages: dict[str, bytes | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Page)
        self.pages = pages


class _Page(BaseHTTPRequestHandler):
    server: _Site
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    """Else each answer waits 40 ms for the acknowledgement of its headers."""

    def do_GET(self) -> None:
        body = self.server.pages.get(self.path)
        self.send_response(200 if body is not None else 404)
        kind = "image/jpeg" if body is not None and body is not SOFT_404 else "text/html"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not worth a line here."""
