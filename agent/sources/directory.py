"""Frames from a spool directory, for a cell without Kafka.

A camera writes `incoming/STATION/NAME.jpg` under a name that begins with a dot and then renames it; what else it knows
goes before it into `NAME.jpg.json`, with the names of the wire's headers. Accepting a frame is one rename into `log/`,
whose name carries its offset: that is the durable order, so a reader that is killed finds the same frames at the same
offsets. What the database has is removed from the log, but for its last frame, which keeps the count.
"""

from __future__ import annotations

import json
import os
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote
from uuid import uuid4

import structlog

from agent.files import lock, sync
from agent.frame import CONTENT_TYPES, Record, StreamKey
from agent.sources.base import Assigned, Bounds, Event, Outside, SourceError, SourceUnreachableError

log = structlog.get_logger()
SIDECAR = ".json"
LOOK_S = 0.05
LONGEST_STEM = 60


@dataclass(frozen=True, slots=True)
class _Entry:
    """A frame in the log: `00000000000000000042@STATION@NAME.jpg`."""

    offset: int
    station: str
    path: Path

    @property
    def sidecar(self) -> Path:
        return self.path.with_name(self.path.name + SIDECAR)


class DirectorySource:
    """The one reader of a spool; another one waits until this one has gone. Its only partition is 0.

    Args:
        directory: the spool; made where it is missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._incoming, self._log = directory / "incoming", directory / "log"
        self._lock: int | None = None
        self._held = False
        self._entries: list[_Entry] = []
        self._next = 0
        self._position, self._paused = 0, True
        self._events: deque[Event] = deque()
        self._id = ""

    def open(self) -> None:
        try:
            for folder in (self._incoming, self._log):
                folder.mkdir(parents=True, exist_ok=True)
            self._id = _identity(self._directory / "id")
            self._lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise SourceError(
                f"source.directory: {self._directory} cannot be used ({error.strerror}); mend its rights or set another"
            ) from error

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                if self._held or self._take():
                    self._accept()
                records = self._read(max_records)
            except OSError as error:
                raise SourceUnreachableError(f"{error.filename or self._directory}: {error.strerror}") from error
            left = deadline - time.monotonic()
            if records or left <= 0 or self._events:
                return records
            time.sleep(min(left, LOOK_S))

    def events(self) -> list[Event]:
        found = list(self._events)
        self._events.clear()
        return found

    def stream(self) -> StreamKey:
        return StreamKey("directory", self._id, self._directory.name)

    def bounds(self, partitions: Collection[int]) -> dict[int, Bounds]:
        return {partition: Bounds(self._start, self._next) for partition in partitions}

    def seek(self, partition: int, offset: int) -> bool:
        if self._has(partition):
            self._position = offset
        return self._has(partition)

    def pause(self, partitions: Collection[int]) -> None:
        self._paused = self._paused or 0 in partitions

    def resume(self, partitions: Collection[int]) -> None:
        self._paused = self._paused and 0 not in partitions

    def position(self, partition: int) -> int | None:
        return self._position if self._has(partition) else None

    def end(self, partition: int) -> int | None:
        return self._next if self._has(partition) else None

    def commit(self, offsets: Mapping[int, int]) -> None:
        done = bisect_left(self._entries, min(offsets.get(0, 0), self._next - 1), key=lambda one: one.offset)
        for entry in self._entries[:done]:
            with suppress(OSError):  # the next start removes it
                entry.path.unlink(missing_ok=True)
                entry.sidecar.unlink(missing_ok=True)
        del self._entries[:done]

    def close(self) -> None:
        self._held = False
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _has(self, partition: int) -> bool:
        return self._held and partition == 0

    @property
    def _start(self) -> int:
        return self._entries[0].offset if self._entries else self._next

    def _take(self) -> bool:
        """Becomes the reader, where nobody else is."""
        assert self._lock is not None
        if not lock(self._lock):
            return False
        self._entries = _entries(self._log)
        self._next = self._entries[-1].offset + 1 if self._entries else 0
        self._return_orphans()
        self._held, self._paused, self._position = True, True, 0
        self._events.append(Assigned(frozenset({0})))
        return True

    def _return_orphans(self) -> None:
        """Sidecars whose frames did not follow before a crash go back to them."""
        known = {entry.sidecar.name for entry in self._entries}
        orphans = [path for path in self._log.glob("*@*@*" + SIDECAR) if path.name not in known]
        frames = {_log_name(frame): frame for _, frame in _arrived(self._incoming)} if orphans else {}
        for path in orphans:
            if frame := frames.get(path.name.partition("@")[2].removesuffix(SIDECAR)):
                path.rename(frame.with_name(frame.name + SIDECAR))

    def _accept(self) -> None:
        fresh = sorted(_arrived(self._incoming), key=lambda one: (one[0], one[1]))
        for _, path in fresh:
            entry = _Entry(self._next, path.parent.name, self._log / f"{self._next:020d}@{_log_name(path)}")
            sidecar = path.with_name(path.name + SIDECAR)
            sync(path)
            with suppress(FileNotFoundError):
                sync(sidecar)
                sidecar.rename(entry.sidecar)
            path.rename(entry.path)
            self._entries.append(entry)
            self._next += 1
        if fresh:
            sync(self._log)

    def _read(self, max_records: int) -> list[Record]:
        if self._paused or not self._held:
            return []
        if not self._start <= self._position <= self._next:
            self._paused = True
            self._events.append(Outside(frozenset({0})))
            return []
        first = bisect_left(self._entries, self._position, key=lambda one: one.offset)
        found = [_record(entry) for entry in self._entries[first : first + max_records]]
        if found:
            self._position = found[-1].offset + 1
        return found


def _identity(file: Path) -> str:
    """The spool's own id, so that an emptied and refilled one is another stream."""
    if not file.exists():
        draft = file.with_name(f".id-{uuid4().hex}")
        draft.write_text(uuid4().hex)
        with suppress(FileExistsError):
            os.link(draft, file)  # whoever comes first
        draft.unlink()
        sync(file.parent)
    return file.read_text().strip()


def _arrived(incoming: Path) -> Iterator[tuple[int, Path]]:
    for station in os.scandir(incoming):
        if station.is_dir() and not station.name.startswith("."):
            for one in os.scandir(station.path):
                path = Path(one.path)
                if path.suffix.lower() in CONTENT_TYPES and not one.name.startswith(".") and one.is_file():
                    yield one.stat().st_mtime_ns, path


def _log_name(frame: Path) -> str:
    """What a frame's name in the log says beside its offset."""
    stem = quote(frame.stem, safe="")[:LONGEST_STEM]
    return f"{quote(frame.parent.name, safe='')}@{stem}{frame.suffix.lower()}"


def _entries(folder: Path) -> list[_Entry]:
    found = []
    for path in folder.glob("*@*@*"):
        offset, station, _ = path.name.split("@", 2)
        if path.suffix != SIDECAR and offset.isdigit():
            found.append(_Entry(int(offset), unquote(station), path))
    return sorted(found, key=lambda one: one.offset)


def _record(entry: _Entry) -> Record:
    headers = {"content-type": CONTENT_TYPES[entry.path.suffix], "ce_source": entry.station}
    with suppress(FileNotFoundError):
        headers |= _sidecar(entry.sidecar)
    taken = datetime.fromtimestamp(entry.path.stat().st_mtime_ns / 1e9, UTC)
    pairs = tuple((name, value.encode()) for name, value in headers.items())
    return Record(0, entry.offset, taken, entry.station.encode(), pairs, entry.path.read_bytes())


def _sidecar(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_bytes())
        return {str(name): str(value) for name, value in found.items()}
    except (ValueError, AttributeError):
        # The frame shall not be lost for it: a header that nobody can read makes a dead letter that says so.
        log.warning("sidecar_unreadable", path=str(path))
        return {"ce_type": "unreadable sidecar, not a JSON object of header names and values"}
