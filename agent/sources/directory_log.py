"""The log of a spool directory: accepted frames in their order, and how they are read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote, unquote

import structlog

from agent.frame import CONTENT_TYPES, Record, at

log = structlog.get_logger()
SIDECAR = ".json"
LONGEST_STEM = 43  # bytes; with the hash of the whole name as long as 60
LARGEST_SIDECAR = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """A frame in the log: `00000000000000000042@STATION@NAME@HASH.jpg`."""

    offset: int
    path: Path

    @property
    def station(self) -> str:
        """As its folder was called; with U+FFFD in it where that is not UTF-8."""
        return unquote(self.path.name.split("@", 2)[1])

    @property
    def sidecar(self) -> Path:
        """The file of its headers."""
        return self.path.with_name(self.path.name + SIDECAR)


def log_name(frame: Path) -> str:
    """What a frame's name in the log says beside its offset; no two frames of a folder have the same."""
    stem = quote(os.fsencode(frame.stem), safe="")[:LONGEST_STEM]
    whole = blake2b(os.fsencode(frame.name), digest_size=8).hexdigest()
    return f"{quote(os.fsencode(frame.parent.name), safe='')}@{stem}@{whole}{frame.suffix.lower()}"


def entries(folder: Path) -> Iterator[Entry]:
    """The frames in a log, in no certain order."""
    for path in folder.glob("*@*@*"):
        offset = path.name.partition("@")[0]
        if path.suffix in CONTENT_TYPES and offset.isascii() and offset.isdigit():
            yield Entry(int(offset), path)


def record(entry: Entry) -> Record:
    """The frame as any source reads it.

    Raises:
        OSError: it cannot be read.
    """
    headers = {"content-type": CONTENT_TYPES[entry.path.suffix], "ce_source": entry.station}
    with suppress(FileNotFoundError):
        headers |= _sidecar(entry.sidecar)
    # What is no text makes a header that is not UTF-8, as it would on the wire.
    pairs = tuple((_bytes(name).decode("utf-8", "replace"), _bytes(value)) for name, value in headers.items())
    taken = at(entry.path.stat().st_mtime_ns // 1000)
    return Record(0, entry.offset, taken, entry.station.encode(), pairs, entry.path.read_bytes())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _sidecar(path: Path) -> dict[str, str]:
    try:
        if path.stat().st_size > LARGEST_SIDECAR:
            raise ValueError("too large")
        found = json.loads(path.read_bytes())
        return {str(name): str(value) for name, value in found.items() if value is not None}
    except (ValueError, AttributeError, RecursionError):
        # The frame shall not be lost for it: a header that nobody can read makes a dead letter that says so.
        log.warning("sidecar_unreadable", path=str(path))
        return {"ce_type": "unreadable sidecar, not a JSON object of header names and values"}
