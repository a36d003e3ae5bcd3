"""Claim checks: frames too large for the broker, read from the configured blob store and from nowhere else."""

from __future__ import annotations

import hashlib
from urllib.parse import unquote, urlsplit

from agent.frame import BadHeader, DataRef
from agent.phrases import Worded
from agent.pipeline.patience import Patience
from agent.store.blobs import BlobMissing, BlobStore, BlobTooLarge

LONGEST_KEY = 1024  # bytes, of S3
LONGEST_PART = 255  # bytes, of file systems


class ClaimCorrupt(Worded):
    """What lies there is not what the headers say."""


class ClaimChecks:
    """Reads what data references name. Thread-safe.

    Args:
        store: the only place that is read.
        patience: waits while the store does not answer.
    """

    def __init__(self, store: BlobStore, patience: Patience) -> None:
        self._store, self._patience = store, patience

    def read(self, ref: DataRef) -> bytes | None:
        """The frame's bytes; None where there is nothing yet, or nothing that we may read.

        Raises:
            BadHeader: the reference points anywhere but into the store.
            ClaimCorrupt: another size or hash than the headers say.
            AbandonedError: the agent stops at once.
        """
        key = key_of(ref.uri, self._store.location)
        try:
            data = self._patience.call(lambda: self._store.read(key, ref.size), "blobs")
        except BlobMissing:
            return None
        except BlobTooLarge as error:
            raise ClaimCorrupt("ce_datasize is {size}, and there is more", size=ref.size) from error
        if len(data) != ref.size:
            raise ClaimCorrupt("ce_datasize is {size}, and there are {n} bytes", size=ref.size, n=len(data))
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise ClaimCorrupt("the bytes do not have the hash ce_datasha256")
        return data


def key_of(uri: str, location: str) -> str:
    """The key in the store at `location` that a reference names.

    Raises:
        BadHeader: it is not one of that store, or not plainly, or longer than the store takes.
    """
    try:
        wanted, own = urlsplit(uri), urlsplit(location)
        parts, base = (_segments(one.path) for one in (wanted, own))
    except ValueError as error:
        raise BadHeader("ce_dataref cannot be read: {error}", error=error) from None
    inside = (wanted.scheme, wanted.netloc) == (own.scheme, own.netloc) and parts[: len(base)] == base
    if not inside or len(parts) == len(base) or wanted.query or wanted.fragment:
        raise BadHeader("ce_dataref is not in the blob store; {location}/KEY is allowed", location=location.rstrip("/"))
    longest = max(len(part.encode()) for part in parts)
    if len("/".join(parts).encode()) > LONGEST_KEY or (own.scheme == "file" and longest > LONGEST_PART):
        raise BadHeader(
            "ce_dataref must have at most {longest} bytes, in a folder {part} a part",
            longest=LONGEST_KEY, part=LONGEST_PART,
        )  # fmt: skip
    return "/".join(parts[len(base) :])


def _segments(path: str) -> list[str]:
    """The parts of a path, decoded once; none of them may change where the others lead."""
    parts = [unquote(part, errors="strict") for part in path.strip("/").split("/")] if path.strip("/") else []
    for part in parts:
        if part in ("", ".", "..") or any(sign in "/\\%\x7f" or sign < " " for sign in part):
            raise BadHeader(
                "ce_dataref cannot be read: empty parts, dots, encoded separators and control characters are not "
                "allowed"
            )
    return parts
