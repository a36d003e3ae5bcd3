"""Frames from a spool directory, for a cell without Kafka.

A camera writes `incoming/STATION/NAME.jpg` under a name that begins with a dot and then renames it; what else it knows
goes before it into `NAME.jpg.json`, with the names of the wire's headers. Accepting a frame is one rename into `log/`,
whose name carries its offset: that is the durable order, so a reader that is killed finds the same frames at the same
offsets. What the database has is removed from the log, but for its last frame, which keeps the count.
"""

from __future__ import annotations

import errno
import os
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import structlog

from agent.files import lock, sync
from agent.frame import CONTENT_TYPES, Record, StreamKey
from agent.sources.base import Assigned, Bounds, Event, Outside, Place, SourceError, SourceUnreachableError, Unreadable
from agent.sources.directory_log import SIDECAR, Entry, entries, log_name, record

log = structlog.get_logger()
LOOK_S = 0.05
AT_ONCE = 64  # frames accepted in one look: each is synced, and who reads must be heard of meanwhile
# What is wrong with one file, and not with the spool.
_OF_FILE = {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR}


class DirectorySource:
    """The one reader of a spool; another one waits until this one has gone. Its only partition is 0.

    Args:
        directory: the spool; made where it is missing.
        poll_bytes: most bytes of frames that one poll reads; a larger frame comes alone.
    """

    def __init__(self, directory: Path, *, poll_bytes: int = 32 << 20) -> None:
        self._directory = directory
        self._poll_bytes = poll_bytes
        self._incoming, self._log = directory / "incoming", directory / "log"
        self._lock: int | None = None
        self._held = False
        self._entries: list[Entry] = []
        self._waiting: set[Path] = set()  # what of `incoming` cannot be read or accepted now, and was told
        self._next = 0
        self._behind = 0  # frames of `incoming` that were not accepted yet at the last look
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
                raise SourceUnreachableError(
                    f"{_shown(error.filename or self._directory)}: {error.strerror}"
                ) from error
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

    def partitions(self) -> int:
        return 1

    def bounds(self, partitions: Collection[int]) -> dict[int, Bounds]:
        return {partition: Bounds(self._start, self._next) for partition in partitions}

    def seek(self, partition: int, offset: int, leader_epoch: int | None = None) -> bool:
        if self._has(partition):
            self._position = offset
        return self._has(partition)

    def pause(self, partitions: Collection[int]) -> None:
        self._paused = self._paused or 0 in partitions

    def resume(self, partitions: Collection[int]) -> None:
        self._paused = self._paused and 0 not in partitions

    def position(self, partition: int) -> Place | None:
        return Place(self._position) if self._has(partition) else None

    def end(self, partition: int) -> int | None:
        return self._next + self._behind if self._has(partition) else None

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
        self._entries = sorted(entries(self._log), key=lambda one: one.offset)
        self._next = self._entries[-1].offset + 1 if self._entries else 0
        self._return_orphans()
        self._held, self._paused, self._position = True, True, 0
        self._events.append(Assigned(frozenset({0})))
        return True

    def _return_orphans(self) -> None:
        """Sidecars whose frames did not follow before a crash go back to them."""
        known = {entry.sidecar.name for entry in self._entries}
        orphans = [path for path in self._log.glob("*@*@*" + SIDECAR) if path.name not in known]
        frames = {log_name(frame): frame for _, frame in self._arrived({})} if orphans else {}
        for path in orphans:
            if frame := frames.get(path.name.partition("@")[2].removesuffix(SIDECAR)):
                _give_back(path, frame)

    def _accept(self) -> None:
        waiting: dict[Path, OSError] = {}
        before, arrived = self._next, deque(sorted(self._arrived(waiting)))
        try:
            while arrived and self._next < before + AT_ONCE:
                _, path = arrived.popleft()
                try:
                    self._enter(path)
                except OSError as error:
                    self._put_off(path, error, waiting)
        finally:
            if self._next > before:
                sync(self._log)
        for path in waiting.keys() - self._waiting:
            log.warning("frame_waits", path=_shown(path), problem=waiting[path].strerror)
        self._waiting = set(waiting) | {path for _, path in arrived if path in self._waiting}
        self._behind = len(arrived)

    def _arrived(self, waiting: dict[Path, OSError]) -> Iterator[tuple[int, Path]]:
        """Frames in `incoming` with their times; what cannot be looked at is put among those that wait."""
        for station in os.scandir(self._incoming):
            try:
                inside = station.is_dir() and not station.name.startswith(".")
                found = list(os.scandir(station.path)) if inside else []
            except OSError as error:
                self._put_off(Path(station.path), error, waiting)
                continue
            for one in found:
                path = Path(one.path)
                if path.suffix.lower() in CONTENT_TYPES and not one.name.startswith("."):
                    try:
                        if one.is_file():
                            yield one.stat().st_mtime_ns, path
                    except OSError as error:
                        self._put_off(path, error, waiting)

    def _put_off(self, path: Path, error: OSError, waiting: dict[Path, OSError]) -> None:
        """It is tried again at the next look, while others go on; what is wrong with the whole spool is raised."""
        if error.errno not in _OF_FILE or not os.access(self._log, os.W_OK | os.X_OK, effective_ids=True):
            raise error
        waiting[path] = error

    def _enter(self, path: Path) -> None:
        entry = Entry(self._next, self._log / f"{self._next:020d}@{log_name(path)}")
        sync(path)
        sidecar = path.with_name(path.name + SIDECAR)
        has_sidecar = _is_there(sidecar)
        if has_sidecar:
            sync(sidecar)
            sidecar.rename(entry.sidecar)
        try:
            path.rename(entry.path)
        except OSError:
            if has_sidecar:
                _give_back(entry.sidecar, path)
            raise
        self._entries.append(entry)
        self._next += 1

    def _read(self, max_records: int) -> list[Record]:
        if self._paused or not self._held:
            return []
        if not self._start <= self._position <= self._next:
            self._paused = True
            self._events.append(Outside(frozenset({0})))
            return []
        first = bisect_left(self._entries, self._position, key=lambda one: one.offset)
        found = self._read_some(self._entries[first : first + max_records])
        if found:
            self._position = found[-1].offset + 1
        return found

    def _read_some(self, some: Sequence[Entry]) -> list[Record]:
        """The first of these: as many bytes as one poll may have, up to one that cannot be read."""
        found: list[Record] = []
        left = self._poll_bytes
        for entry in some:
            try:
                left -= entry.path.stat().st_size
                if found and left < 0:
                    break
                found.append(record(entry))
            except OSError as error:
                if not found:
                    self._refuse(entry, error)
                break
        return found

    def _refuse(self, entry: Entry, error: OSError) -> None:
        if error.errno not in _OF_FILE:
            raise error
        self._paused = True
        problem = f"{entry.path} cannot be read ({error.strerror}); mend its rights, or put it back"
        self._events.append(Unreadable(0, self._position, problem))


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


def _give_back(sidecar: Path, frame: Path) -> None:
    """Puts a sidecar beside its frame again, where a camera has not written another one since."""
    own = frame.with_name(frame.name + SIDECAR)
    if not _is_there(own):
        sidecar.rename(own)


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENAMETOOLONG):
            raise
        return False
    return True


def _shown(path: str | Path) -> str:
    """A name for people and logs, which need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")
