"""An S3 API on 127.0.0.1 for tests: moto's server, in this process. It is in memory and checks no credentials."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock
from urllib.parse import quote
from urllib.request import Request, urlopen

from moto.server import ThreadedMotoServer

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass(frozen=True)
class S3Server:
    """Where it is, and its one bucket."""

    endpoint: str
    bucket: str = "goodpart"

    def putter(self, folder: str) -> Callable[[str, bytes], None]:
        """Puts an object into a folder of the bucket, as a camera would."""

        def put(key: str, data: bytes) -> None:
            self.request("PUT", f"{self.bucket}/{folder}/{key}", data)

        return put

    def request(self, method: str, path: str, data: bytes | None = None) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        urlopen(Request(f"{self.endpoint}/{quote(path)}", data=data, headers=headers, method=method)).close()


class RefusingS3:
    """Keeps objects in memory, and answers with a status instead where it is told to."""

    def __init__(self) -> None:
        self.refused: dict[str, int] = {}  # statuses by the end of a key
        self.refuse_all: int | None = None
        self._objects: dict[str, bytes] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, path: str) -> tuple[int, bytes]:
        """Status and body of what lies there."""
        told = self.refuse_all or next((status for end, status in self.refused.items() if path.endswith(end)), None)
        if told or path not in self._objects:
            return told or 404, b"<Error/>"
        return 200, self._objects[path]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"] or 0))
                if not shop.refuse_all:
                    shop._objects[self.path] = data
                self._send(shop.refuse_all or 200, b"")

            def do_GET(self) -> None:
                self._send(*shop.answer(self.path))

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("ETag", '"1"')
                self.send_header("Last-Modified", "Mon, 02 Mar 2026 10:00:00 GMT")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@contextmanager
def refusing_s3() -> Iterator[RefusingS3]:
    """A running one; credentials are in the environment meanwhile."""
    made = RefusingS3()
    try:
        with mock.patch.dict(os.environ, CREDENTIALS):
            yield made
    finally:
        made.close()


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A running server; its credentials are in the environment meanwhile."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with mock.patch.dict(os.environ, CREDENTIALS):
            made = S3Server(f"http://{host}:{port}")
            made.request("PUT", made.bucket)
            yield made
    finally:
        server.stop()
