"""Blobs in an S3 bucket, with obstore (extra `s3`), which reads credentials from AWS_* in the environment."""

from __future__ import annotations

import hashlib
import re
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agent.store.blobs import BlobMissing, BlobTooLarge, checked, checked_name
from agent.store.errors import StoreError, Unreachable

if TYPE_CHECKING:
    from obstore import GetResult

TIMEOUT = timedelta(seconds=10)
PROVEN_S = 10.0
# Refusals that may be of one key: no permission, or no name that it takes. 401 is of everybody, 408 and 429 pass.
_OF_KEY = re.compile(r"status code: 4(?!01|08|29)\d\d")


class S3Blobs:
    """A bucket, or a folder of one. An S3 object is written whole or not at all.

    Args:
        url: `s3://BUCKET[/FOLDER]`.
        endpoint: of another service that speaks S3, such as `http://127.0.0.1:9000`; "" for AWS.

    Raises:
        StoreError: the URL cannot be used, or obstore is not installed.
    """

    def __init__(self, url: str, *, endpoint: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.username:
            raise StoreError("blobs.url: {url!r} cannot be used; s3://BUCKET or s3://BUCKET/FOLDER is allowed", url=url)
        try:
            import obstore
            from obstore.store import S3Store
        except ModuleNotFoundError:
            raise StoreError("blobs.url: S3 needs its library; run: pip install obstore") from None
        self._obstore: Any = obstore
        self._proven = float("-inf")  # monotonic seconds: when a blob of ours was last written and read to prove it
        self._url = url.rstrip("/")
        self._prefix = parts.path.strip("/")
        options: dict[str, Any] = {"endpoint": endpoint, "virtual_hosted_style_request": False} if endpoint else {}
        # A hiccup is retried here; an outage is ours to wait for, so that it shows and the wait can be stopped.
        self._store = S3Store(
            parts.netloc, client_options={"allow_http": endpoint.startswith("http:"), "timeout": TIMEOUT},
            retry_config={"max_retries": 2, "retry_timeout": TIMEOUT}, **options,
        )  # fmt: skip

    def put(self, data: bytes, media_type: str) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._path(checked_name(sha256))
        self._try(lambda: self._obstore.put(self._store, path, data, attributes={"Content-Type": media_type}))
        return sha256

    def get(self, sha256: str) -> bytes:
        path = self._path(checked_name(sha256))
        return checked(bytes(self._get(path).bytes()), sha256, f"{self._url}/{path}")

    def size(self, sha256: str) -> int | None:
        path = self._path(checked_name(sha256))
        try:
            return int(self._try(lambda: self._obstore.head(self._store, path))["size"])
        except BlobMissing:
            return None

    def delete(self, sha256: str) -> None:
        path = self._path(checked_name(sha256))
        with suppress(BlobMissing):  # S3 says nothing of it, others that speak S3 do
            self._try(lambda: self._obstore.delete(self._store, path))

    @property
    def location(self) -> str:
        return self._url

    def read(self, key: str, most: int) -> bytes:
        try:
            found = self._get(self._path(key))
        except Unreachable as error:
            if not _OF_KEY.search(str(error.__cause__)):
                raise
            self._prove()
            raise BlobMissing("{key} is refused, as nothing else in {url} is", key=key, url=self._url) from error
        if found.meta["size"] > most:
            raise BlobTooLarge("{key} has {size} bytes, more than {most}", key=key, size=found.meta["size"], most=most)
        return bytes(self._try(found.bytes))

    def _prove(self) -> None:
        """Raises Unreachable where blobs of ours are refused, too: then it is not one key that is wrong."""
        if time.monotonic() - self._proven > PROVEN_S:
            self.get(self.put(b"", "application/octet-stream"))
            self._proven = time.monotonic()

    def _get(self, path: str) -> GetResult:
        found: GetResult = self._try(lambda: self._obstore.get(self._store, path))
        return found

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def _try(self, call: Any) -> Any:
        from obstore.exceptions import BaseError

        try:
            return call()
        except (BaseError, OSError) as error:
            if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
                raise BlobMissing("there is no such object in {url}", url=self._url) from None
            raise Unreachable(
                "{url} does not answer as it should ({problem}); check blobs.url, blobs.endpoint and the "
                "credentials in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION)",
                url=self._url,
                problem=_line(error),
            ) from error


def _line(error: Exception) -> str:
    return "NoSuchBucket" if "NoSuchBucket" in str(error) else str(error).splitlines()[0][:200]
