"""Publishes images as a camera would: CloudEvents headers, key = station, every frame acknowledged by the broker."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from agent.frame import Envelope, to_headers
from agent.settings import Kafka, utc_now
from agent.sources import broker
from agent.sources.base import SourceError

CONTENT_TYPES = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".bmp": "image/bmp",
    ".tif": "image/tiff", ".tiff": "image/tiff", ".webp": "image/webp",
}  # fmt: skip
ACK_S = 30.0
GRACE_S = 5.0  # the client looks for frames to give up only now and then
LARGEST = 64 << 20  # bytes of one request; the broker's own limit comes first


class CameraError(Exception):
    """Frames that cannot be published; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Frames handed to the broker's client, acknowledged by the broker, and given up; why the last of these was."""

    accepted: int
    acked: int
    failed: int
    problem: str = ""


def image_paths(folder: Path) -> tuple[Path, ...]:
    """All images of a folder and its sub-folders, by name.

    Raises:
        CameraError: it is not there, or has none.
    """
    if not folder.is_dir():
        raise CameraError(f"{folder}: there is no such folder")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in CONTENT_TYPES and path.is_file())
    if not found:
        raise CameraError(f"{folder}: has no images ({', '.join(CONTENT_TYPES)})")
    return tuple(found)


def pace(rate: float, stop: Event, *, tick: Callable[[], float] = monotonic) -> Iterator[None]:
    """Yields `rate` times a second until `stop` is set. One that fell behind does not catch up in a burst.

    Args:
        rate: per second, positive.
        stop: set by another thread; waited on between two yields.
        tick: seconds that never go back.
    """
    due = tick()
    while not stop.wait(max(0.0, due - tick())):
        yield
        due = max(due + 1 / rate, tick())


class Camera:
    """A producer of frames. One thread publishes; acknowledgements come on the client's own thread.

    Args:
        kafka: the section [kafka]; its frames topic must exist.
        clock: capture time of a frame, aware UTC.
        ack_s: how long the broker may take to acknowledge a frame, with all retries, before it is given up.

    Raises:
        CameraError: no broker answers, or the topic is missing or not allowed.
    """

    def __init__(self, kafka: Kafka, *, clock: Callable[[], datetime] = utc_now, ack_s: float = ACK_S):
        self._topic, self._clock, self._ack_s = kafka.frames_topic, clock, ack_s
        self._lock = Lock()
        self._accepted = self._acked = self._failed = 0
        self._problem = ""
        self._sequences: dict[str, Iterator[int]] = {}
        try:
            self._producer: Any = broker.connect(
                KafkaProducer,
                kafka,
                delivery_timeout_ms=int(ack_s * 1000),
                request_timeout_ms=int(ack_s * 1000),
                acks="all",
                enable_idempotence=True,
                allow_auto_create_topics=False,
                max_request_size=LARGEST,
            )
        except SourceError as error:
            raise CameraError(str(error)) from None
        try:
            if self._topic not in _topics(kafka):
                raise CameraError(
                    f"{kafka.bootstrap} has no topic {self._topic} that we see; create it, or set kafka.frames_topic"
                )
        except BaseException:
            self._producer.close(timeout=1)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def counts(self) -> Counts:
        """So far."""
        with self._lock:
            return Counts(self._accepted, self._acked, self._failed, self._problem)

    def send(
        self,
        value: bytes,
        headers: Sequence[tuple[str, bytes]],
        *,
        key: str | None,
        on_acked: Callable[[], None] | None = None,
    ) -> None:
        """Publishes one record as it is; `on_acked` is called on the client's thread.

        Raises:
            CameraError: the client cannot take it (too large, or the broker is away for too long).
        """
        try:
            future = self._producer.send(self._topic, value, key=key.encode() if key else None, headers=list(headers))
        except KafkaError as error:
            raise CameraError(f"the broker takes no frames ({error})") from error
        with self._lock:
            self._accepted += 1
        future.add_callback(self._on_acked, on_acked)
        future.add_errback(self._on_failed)

    def publish(
        self,
        value: bytes,
        *,
        station: str,
        content_type: str,
        product: str | None = None,
        serial: str | None = None,
        lot: str | None = None,
        frame_id: str | None = None,
        on_acked: Callable[[str], None] | None = None,
    ) -> str:
        """Publishes one frame, captured now; returns its id. `on_acked` hears the id. Raises as `send`."""
        found = frame_id or str(uuid4())
        sequence = next(self._sequences.setdefault(station, itertools.count(1)))
        envelope = Envelope(found, station, product, serial, lot, self._clock(), content_type, sequence, None)
        self.send(value, to_headers(envelope), key=station, on_acked=(lambda: on_acked(found)) if on_acked else None)
        return found

    def stream(
        self,
        paths: Sequence[Path],
        *,
        rate: float,
        stations: Sequence[str],
        product: str | None = None,
        lot: str | None = None,
        count: int | None = None,
        loop: bool = False,
        stop: Event,
        on_acked: Callable[[str], None] | None = None,
    ) -> Counts:
        """Publishes images at a steady rate, stations in turn, until `stop`, `count` or the end of the images.

        Args:
            paths: encoded images; published as they are.
            rate: frames per second, all stations together. A camera that fell behind does not catch up in a burst.
            stations: camera positions.
            product: what is made; None: what the stations run.
            lot: the batch of the parts.
            count: stop after this many frames; None: at the end of the images, or never with `loop`.
            loop: begin again at the first image.
            stop: set by another thread.
            on_acked: hears the id of each frame that the broker has taken.

        Returns:
            Counts after every frame was acknowledged or given up.

        Raises:
            CameraError: a file cannot be read, or the broker takes no frames.
            ValueError: the rate is not positive, or there is no station.
        """
        if rate <= 0 or not stations:
            raise ValueError("a positive rate and at least one station are needed")
        feed = itertools.islice(itertools.cycle(paths) if loop else paths, count)
        turns = zip(feed, itertools.cycle(stations), pace(rate, stop), strict=False)
        for number, (path, station, _) in enumerate(turns, 1):
            try:
                value = path.read_bytes()
            except OSError as error:
                raise CameraError(f"{path}: cannot be read ({error.strerror})") from None
            self.publish(
                value, station=station, content_type=CONTENT_TYPES[path.suffix.lower()], product=product,
                serial=f"{path.stem}-{number}", lot=lot, on_acked=on_acked,
            )  # fmt: skip
        self.flush()
        return self.counts

    def flush(self) -> None:
        """Waits until every accepted frame was acknowledged or given up.

        Raises:
            CameraError: the client does neither in time.
        """
        try:
            self._producer.flush(timeout=self._ack_s + GRACE_S)
        except KafkaError as error:
            raise CameraError(f"the broker does not acknowledge frames ({error}); publish them again") from error

    def close(self) -> None:
        """Leaves the broker."""
        self._producer.close(timeout=5)

    def _on_acked(self, then: Callable[[], None] | None, _metadata: Any) -> None:
        with self._lock:
            self._acked += 1
        if then:
            then()

    def _on_failed(self, error: BaseException) -> None:
        with self._lock:
            self._failed += 1
            self._problem = str(error)


def _topics(kafka: Kafka) -> Collection[str]:
    # Listed, not looked up by name: some brokers create what is looked up.
    try:
        admin: Any = broker.connect(KafkaAdminClient, kafka)
        try:
            found: Collection[str] = admin.list_topics()
        finally:
            admin.close()
    except (KafkaError, SourceError) as error:
        raise CameraError(f"{kafka.bootstrap} does not list its topics ({error}); allow it, or try again") from error
    return found
