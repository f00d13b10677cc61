"""A folder with a config in it, a bucket, and the `migrator` command, in this process or in one of its own."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from migrator.cli.app import application
from tests.ended import Ended
from tests.servers.s3 import S3Server

MIGRATOR = [sys.executable, "-m", "migrator"]


@dataclass(frozen=True, slots=True)
class Project:
    """A working directory; commands run in it."""

    folder: Path
    server: S3Server
    bucket: str

    def configure(self, sources: str, name: str = "trial") -> None:
        """Writes migrator.toml with these sources."""
        destination = f'bucket = "{self.bucket}"\nendpoint_url = "{self.server.endpoint}"'
        text = f'name = "{name}"\n\n[destination]\n{destination}\n\n{sources}\n'
        (self.folder / "migrator.toml").write_text(text)

    def files(self, **contents: str) -> None:
        """Writes photos/<name>.txt and a config that moves them."""
        folder = self.folder / "photos"
        folder.mkdir(exist_ok=True)
        for name, content in contents.items():
            (folder / f"{name}.txt").write_text(content)
        self.configure('[[sources]]\nname = "photos"\ntype = "directory"\nroot = "photos"\nkey = "{path}"')

    def lots(self, urls: list[str], key: str = "{path}") -> None:
        """Writes urls.txt and a config that moves what it lists."""
        (self.folder / "urls.txt").write_text("\n".join(urls) + "\n")
        manifest = '[[sources]]\nname = "lots"\ntype = "manifest"\nfiles = "urls.txt"\nallow_private = true'
        self.configure(f'{manifest}\nkey = "{key}"')

    def run(self, *arguments: str) -> Ended:
        """Runs a command in this process."""
        result = CliRunner().invoke(application(), list(arguments))
        return Ended(result.exit_code, result.stdout, result.stderr)

    def start(self, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
        """Starts a command in a process of its own."""
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        return subprocess.Popen([*MIGRATOR, *arguments], cwd=self.folder, text=True, env=dict(os.environ), **pipes)

    def objects(self) -> dict[str, bytes]:
        """What the bucket holds, seen by boto3."""
        client = self.server.client()
        listed = client.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return {each["Key"]: client.get_object(Bucket=self.bucket, Key=each["Key"])["Body"].read() for each in listed}


@pytest.fixture
def project(tmp_path: Path, moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project with a bucket of its own."""
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, moto_server, moto_server.new_bucket())


@pytest.fixture
def site() -> Iterator[Callable[[dict[str, bytes]], str]]:
    """Serves pages (path -> body; 404 for others) and returns their base URL."""
    servers: list[ThreadingHTTPServer] = []

    def serve(pages: dict[str, bytes]) -> str:
        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = pages.get(self.path.partition("?")[0])
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: object) -> None:
                del format, args

        server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
