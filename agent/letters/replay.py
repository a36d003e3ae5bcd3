"""Dead letters published again: the kept bytes and headers as a new record, under an id of its own.

That id follows from the dead letter alone. One published twice, by a crash before it was recorded or by two people, is
the same frame twice: within 24 hours the second is a duplicate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import Engine

from agent.camera import Camera
from agent.frame import ALIASES, BadHeader, Record, StreamKey, parse
from agent.pipeline.directory import Directory
from agent.pipeline.patience import NoPatience
from agent.pipeline.work import Lane, Place, Work
from agent.service import dead_letters as service
from agent.settings import Settings
from agent.sources.directory_frames import DirectoryFrames
from agent.store import dead_letters, offsets, registry
from agent.store.blobs import BlobCorrupt, BlobMissing, BlobStore
from agent.store.dead_letters import DeadLetter
from agent.store.engine import reading
from agent.store.offsets import Claim
from agent.store.users import User

Headers = Sequence[tuple[str, bytes]]
# What a new record says itself. The old place in the order of the station's frames is not the new record's.
_OWN = frozenset({"ce_id", "ce_source", "ce_product", "ce_replayof", "ce_sequence"})


class NotReplayable(Exception):
    """A dead letter that cannot be published again; the message says why."""


class Outlet(Protocol):
    """Where frames go: a camera's connection, or a spool."""

    def deliver(self, value: bytes, headers: Headers, *, key: str) -> None:
        """Returns once the frame is acknowledged; raises where it is not. `key` is the station."""


@contextmanager
def open_outlet(settings: Settings) -> Iterator[Outlet]:
    """The outlet to where this installation's frames come from.

    Raises:
        CameraError: no broker answers.
    """
    if settings.source.kind == "directory":
        yield DirectoryFrames(settings.source.directory)
        return
    with Camera(settings.kafka) as camera:
        yield camera


@dataclass(frozen=True, slots=True)
class Again:
    """A dead letter as it will be published."""

    letter: DeadLetter
    frame_id: str
    station: str
    product: str
    headers: Headers


class Letters:
    """Publishes dead letters again.

    Args:
        engine: the database.
        store: has the kept bytes.
        settings: what a frame without a station or product is taken for.
    """

    def __init__(self, engine: Engine, store: BlobStore, settings: Settings) -> None:
        self._engine, self._store, self._station = engine, store, settings.kafka.station
        self._directory = Directory(engine, NoPatience(), settings)

    def require(self, actor: User) -> None:
        """Lets an engineer go on.

        Raises:
            PermissionDenied: the actor's role is too low.
        """
        service.require(self._engine, actor)

    def prepare(self, letter: DeadLetter, *, station: str | None = None, product: str | None = None) -> Again:
        """What will be published.

        Args:
            letter: the dead letter.
            station: in place of what its headers say.
            product: in place of what its headers say.

        Raises:
            NotReplayable: it was discarded, its bytes were not kept, its headers still do not do, or its product has no
                model.
        """
        if letter.discarded_at is not None:
            raise NotReplayable(f"dead letter {letter.id}: it was discarded")
        with reading(self._engine) as conn:
            key = offsets.stream_keys(conn)[letter.stream_id]
        headers = _headers(letter, station=station, product=product)
        reference = any(name.lower() == "ce_dataref" for name, _ in headers)
        if letter.blob_sha256 is None and not reference:
            raise NotReplayable(
                f"dead letter {letter.id}: its bytes were not kept, or let go since: blobs.failed_per_hour, [retention]"
            )
        frame_id = new_id(key, letter)
        record = Record(letter.partition, letter.offset, letter.created_at, None, tuple(headers), b"")
        try:
            envelope = parse(record, stream=key.topic_id, default_station=self._station)
            # What its station ran at its offset, not what it runs now.
            lane = Lane(key, Claim(letter.stream_id, letter.partition, letter.offset, epoch=0, holder=""))
            place = self._directory.place(Work(lane, record, letter.created_at, float("-inf")), envelope)
        except BadHeader as error:
            raise NotReplayable(
                f"dead letter {letter.id}: {error}; give another station or product in place of what it says"
            ) from None
        self._require_model(letter, place)
        own = {
            "ce_id": frame_id,
            "ce_source": place.station,
            "ce_product": place.product,
            "ce_replayof": f"{key.topic}/{letter.partition}/{letter.offset}"[-200:],
        }
        rest = [(name, value) for name, value in headers if _canonical(name) not in _OWN]
        published = [*((name, text.encode()) for name, text in own.items()), *rest]
        return Again(letter, frame_id, place.station, place.product, published)

    def publish(self, again: Again, outlet: Outlet, actor: User, *, key: str, clock: Callable[[], datetime]) -> None:
        """Publishes one, then records that. A crash between the two is mended by a repetition: a duplicate.

        Args:
            again: what `prepare` made.
            outlet: where frames go.
            actor: an engineer or higher.
            key: idempotency key.
            clock: the time.

        Raises:
            PermissionDenied: the actor's role is too low; nothing was published.
            NotReplayable: it was discarded meanwhile, or its bytes are gone.
            CameraError, SourceError: it is not acknowledged; it may be there or not.
        """
        self.require(actor)
        with reading(self._engine) as conn:
            if dead_letters.get(conn, again.letter.id).discarded_at is not None:
                raise NotReplayable(f"dead letter {again.letter.id}: it was discarded meanwhile")
        value = self._bytes(again)
        outlet.deliver(value, again.headers, key=again.station)
        service.replayed(
            self._engine, actor, again.letter.id,
            frame_id=again.frame_id, station=again.station, product=again.product, key=key, now=clock(),
        )  # fmt: skip

    def _bytes(self, again: Again) -> bytes:
        # A claim check names its picture itself; what was kept of it may be too large for the broker.
        if again.letter.blob_sha256 is None or any(name.lower() == "ce_dataref" for name, _ in again.headers):
            return b""
        try:
            return self._store.get(again.letter.blob_sha256)
        except (BlobMissing, BlobCorrupt) as error:
            raise NotReplayable(f"dead letter {again.letter.id}: its bytes cannot be had ({error})") from None

    def _require_model(self, letter: DeadLetter, place: Place) -> None:
        if place.taught:
            return
        with reading(self._engine) as conn:
            if registry.live(conn, place.product_id) is None:
                raise NotReplayable(
                    f"dead letter {letter.id}: product {place.product!r} has no model, it would not be inspected; "
                    f"train one first: goodpart retrain --product {place.product}"
                )


def new_id(key: StreamKey, letter: DeadLetter) -> str:
    """The id of the frame that a dead letter becomes: the same each time, and no other letter's."""
    position = "/".join((key.cluster_id, key.topic_id, str(letter.partition), str(letter.offset)))
    return f"replay-{hashlib.sha256(position.encode()).hexdigest()[:32]}"


def _headers(letter: DeadLetter, *, station: str | None, product: str | None) -> list[tuple[str, bytes]]:
    """As they were kept, but for what is replaced."""
    given = {"ce_source": station, "ce_product": product}
    replaced = {name: text for name, text in given.items() if text is not None}
    kept = [(name, text) for name, text in letter.headers if _canonical(name) not in replaced]
    for name, text in kept:
        if "\ufffd" in text and _canonical(name) != "ce_id":
            raise NotReplayable(f"dead letter {letter.id}: its header {name} was not UTF-8, and is lost")
    return [(name, text.encode()) for name, text in [*kept, *replaced.items()]]


def _canonical(name: str) -> str:
    return ALIASES.get(name.lower(), name.lower())
