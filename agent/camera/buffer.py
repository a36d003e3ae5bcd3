"""A camera that outlives its broker: what it accepted is on disk until the broker has it."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from threading import Condition, Thread
from urllib.parse import quote

import structlog

from agent.camera.errors import CameraError, FrameTooLarge
from agent.camera.producer import Camera, Counts
from agent.files import lock, sync, write_whole
from agent.frame import Envelope, to_headers
from agent.settings import Kafka

log = structlog.get_logger()
AT_ONCE = 32  # frames sent before the broker is waited for
RETRY_S = 1.0
_LENGTH = struct.Struct(">I")
Headers = Sequence[tuple[str, bytes]]


def default_folder(kafka: Kafka, station: str, environ: Mapping[str, str]) -> Path:
    """Where a user's camera of that station keeps what is for that broker's topic; another broker never gets it.

    Raises:
        CameraError: the user has no home.
    """
    try:
        state = Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    except RuntimeError as error:
        raise CameraError("there is no home to buffer frames in; give --buffer, or --unbuffered") from error
    to = blake2b(f"{kafka.bootstrap} {kafka.frames_topic}".encode(), digest_size=4).hexdigest()
    return state / "goodpart" / "cameras" / f"{quote(station, safe=' ')}-{to}"


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it goes to the broker."""

    key: str
    headers: Headers
    value: bytes


class Buffer:
    """Records in a folder, in order, locked until `close`. Different threads may call `put` and the others.

    Args:
        directory: made where it is missing; what it holds from before comes first.

    Raises:
        CameraError: it cannot be used, or somebody else has it open.
    """

    def __init__(self, directory: Path) -> None:
        self._directory, self._refused = directory, directory / "refused"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                self._begin()
            except BaseException:
                self.close()
                raise
        except OSError as error:
            raise CameraError(
                f"the buffer {directory} cannot be used ({error.strerror}); give another --buffer"
            ) from error

    def _begin(self) -> None:
        if not lock(self._lock):
            raise CameraError(
                f"another camera has the buffer {self._directory} open; end it, or give each its own --buffer"
            )
        for draft in self._directory.glob(".*.tmp"):
            draft.unlink()  # never accepted
        # Beyond what was refused, too: no frame may take another's place there.
        kept = [*self.waiting(), *_frames(self._refused)]
        self._next = max((int(path.stem) for path in kept), default=-1) + 1

    def close(self) -> None:
        """Lets others open it."""
        os.close(self._lock)

    def put(self, record: Stored) -> None:
        """Keeps a record; it is accepted once this returns.

        Raises:
            CameraError: the disk takes no more.
        """
        head = json.dumps({"key": record.key, "headers": [(n, v.decode()) for n, v in record.headers]}).encode()
        path = self._directory / f"{self._next:020d}.frame"
        try:
            write_whole(path, (_LENGTH.pack(len(head)), head, record.value))
            sync(self._directory)
        except OSError as error:
            raise CameraError(f"the buffer {self._directory} takes no more frames ({error.strerror})") from error
        self._next += 1

    def waiting(self) -> list[Path]:
        """What the broker does not have yet, oldest first."""
        return _frames(self._directory)

    def read(self, path: Path) -> Stored:
        """One of the waiting."""
        data = path.read_bytes()
        (size,) = _LENGTH.unpack_from(data)
        start = _LENGTH.size + size
        head = json.loads(data[_LENGTH.size : start])
        return Stored(head["key"], [(name, value.encode()) for name, value in head["headers"]], data[start:])

    def remove(self, path: Path) -> None:
        """The broker has it."""
        path.unlink(missing_ok=True)

    def refuse(self, path: Path) -> None:
        """The broker will never take it: kept aside for a person."""
        self._refused.mkdir(exist_ok=True)
        path.rename(self._refused / path.name)


def _frames(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.frame") if path.stem.isdecimal())


class BufferedCamera:
    """Accepts frames at any time; a thread of its own sends them, oldest first, whenever there is a broker.

    A frame may be sent twice (a crash before its acknowledgement was noted), under one id: the agent decides it once.

    Args:
        kafka: the section [kafka].
        directory: of the buffer.
        retry_s: pause before a broker that is away is tried again.

    Raises:
        CameraError: the buffer cannot be used.
    """

    def __init__(self, kafka: Kafka, directory: Path, *, retry_s: float = RETRY_S) -> None:
        self._kafka, self._retry_s, self._buffer = kafka, retry_s, Buffer(directory)
        self._changed, self._ended = Condition(), False
        self._accepted = self._acked = self._refused = 0
        self._problem = ""
        self._thread = Thread(target=self._run, name="camera-sender", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> Counts:
        """Accepted by this process; sent and refused, also of what was there before."""
        with self._changed:
            return Counts(self._accepted, self._acked, self._refused, self._problem)

    @property
    def waiting(self) -> int:
        """Frames that the broker does not have yet."""
        return len(self._buffer.waiting())

    def publish(self, value: bytes, envelope: Envelope) -> None:
        """Accepts one frame.

        Raises:
            CameraError: the buffer takes no more.
        """
        self._buffer.put(Stored(envelope.station, to_headers(envelope), value))
        with self._changed:
            self._accepted += 1
            self._changed.notify_all()

    def close(self, timeout_s: float = 0.0) -> None:
        """Waits so long for the broker to take what waits, then ends; the rest stays on disk for the next time."""
        with self._changed:
            self._changed.wait_for(lambda: not self._buffer.waiting(), timeout_s)
            self._ended = True
            self._changed.notify_all()
        self._thread.join()
        self._buffer.close()

    def _run(self) -> None:
        while not self._ended:
            try:
                with Camera(self._kafka) as camera:
                    self._note("")
                    self._pump(camera)
            except (CameraError, OSError) as error:  # OSError: the buffer's disk
                self._note(str(error))
                with self._changed:
                    self._changed.wait_for(lambda: self._ended, self._retry_s)

    def _note(self, problem: str) -> None:
        with self._changed:
            news, self._problem = problem != self._problem, problem
        if news and problem:
            log.warning("camera_waits_for_broker", problem=problem, waiting=self.waiting)

    def _pump(self, camera: Camera) -> None:
        while True:
            with self._changed:
                while not (batch := self._buffer.waiting()[:AT_ONCE]):
                    if self._ended:
                        return
                    self._changed.wait()
                if self._ended:
                    return
            self._send(camera, batch)

    def _send(self, camera: Camera, batch: Sequence[Path]) -> None:
        failed: dict[Path, Exception] = {}
        for path in batch:
            record = self._buffer.read(path)
            try:
                camera.send(
                    record.value, record.headers, key=record.key,
                    on_failed=lambda error, path=path: failed.update({path: error}),  # type: ignore[misc]
                )  # fmt: skip
            except FrameTooLarge as error:
                failed[path] = error
        camera.flush()
        refused = [path for path, error in failed.items() if isinstance(error, FrameTooLarge)]
        for path in refused:
            log.error("frame_refused", file=path.name, problem=str(failed[path]))
            self._buffer.refuse(path)
        acked = [path for path in batch if path not in failed]
        for path in acked:
            self._buffer.remove(path)
        with self._changed:
            self._acked += len(acked)
            self._refused += len(refused)
            self._changed.notify_all()
        if again := [error for path, error in failed.items() if path not in refused]:
            raise CameraError(str(again[0]))
