"""A camera's connection to the broker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from threading import Lock
from types import TracebackType
from typing import Any, Self

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from agent.camera.errors import CameraError, FrameTooLarge
from agent.frame import Envelope, to_headers
from agent.settings import Kafka
from agent.sources import broker
from agent.sources.base import SourceError

ACK_S = 30.0
GRACE_S = 5.0  # the client looks for frames to give up only now and then
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
LARGEST = 64 << 20  # bytes of one request; the broker's own limit comes first


@dataclass(frozen=True, slots=True)
class Counts:
    """Frames handed to the broker's client, acknowledged by the broker, and given up; why the last of these was."""

    accepted: int
    acked: int
    failed: int
    problem: str = ""


class Camera:
    """A producer of frames. One thread publishes; acknowledgements come on the client's own thread.

    Args:
        kafka: the section [kafka]; its frames topic must exist.
        on_acked: hears the id of each published frame that the broker has taken, on the client's thread.
        ack_s: how long the broker may take to acknowledge a frame, with all retries, before it is given up.

    Raises:
        CameraError: no broker answers, or the topic is missing or not allowed.
    """

    def __init__(
        self,
        kafka: Kafka,
        *,
        ack_s: float = ACK_S,
        on_acked: Callable[[str], None] | None = None,
    ):
        self._topic, self._ack_s, self._on_frame_acked = kafka.frames_topic, ack_s, on_acked
        self._lock = Lock()
        self._accepted = self._acked = self._failed = 0
        self._problem = ""
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
        on_failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Publishes one record as it is; `on_acked` or `on_failed` is called on the client's thread.

        Raises:
            FrameTooLarge: the client takes no record of this size.
            CameraError: the broker is away for too long.
        """
        try:
            future = self._producer.send(self._topic, value, key=key.encode() if key else None, headers=list(headers))
        except TOO_LARGE as error:
            raise FrameTooLarge(f"the broker takes no frames of {len(value)} bytes ({error})") from error
        except KafkaError as error:
            raise CameraError(f"the broker takes no frames ({error})") from error
        with self._lock:
            self._accepted += 1
        future.add_callback(self._on_acked, on_acked)
        future.add_errback(self._on_failed, on_failed)

    def publish(self, value: bytes, envelope: Envelope) -> None:
        """Publishes one frame; `on_acked` hears its id. Raises as `send`."""
        heard = self._on_frame_acked
        then = (lambda: heard(envelope.frame_id)) if heard else None
        self.send(value, to_headers(envelope), key=envelope.station, on_acked=then)

    def deliver(self, value: bytes, headers: Sequence[tuple[str, bytes]], *, key: str) -> None:
        """Publishes one record and waits for it.

        Raises:
            FrameTooLarge: neither the client nor the broker will ever take it.
            CameraError: the broker does not acknowledge it; it may be there or not.
        """
        problems: list[Exception] = []
        self.send(value, headers, key=key, on_failed=problems.append)
        self.flush()
        if problems:
            kind = FrameTooLarge if isinstance(problems[0], FrameTooLarge) else CameraError
            raise kind(f"the broker does not take the frame ({problems[0]})") from problems[0]

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

    def _on_failed(self, then: Callable[[Exception], None] | None, error: Exception) -> None:
        with self._lock:
            self._failed += 1
            self._problem = str(error)
        if then:
            then(FrameTooLarge(str(error)) if isinstance(error, TOO_LARGE) else error)


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
