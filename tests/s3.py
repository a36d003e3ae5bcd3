"""An S3 API on 127.0.0.1 for tests: moto's server, in this process. It is in memory and checks no credentials."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
