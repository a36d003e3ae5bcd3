"""Pictures at a steady rate, from stations in turn."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from threading import Event
from time import monotonic
from typing import Protocol
from uuid import uuid4

from agent.camera.errors import SourceLost
from agent.camera.pictures import Picture
from agent.frame import Envelope
from agent.settings import utc_now

SLOWEST = 1e-6  # frames per second: one in 11 days; no clock waits for much longer


class Publisher(Protocol):
    """A camera, with or without a buffer."""

    def publish(self, value: bytes, envelope: Envelope) -> None:
        """Accepts one frame.

        Raises:
            CameraError: it is not accepted.
        """
        ...


def pace(rate: float, stop: Event, *, tick: Callable[[], float] = monotonic) -> Iterator[None]:
    """Yields `rate` times a second until `stop` is set. One that fell behind does not catch up in a burst.

    Args:
        rate: per second, SLOWEST or more.
        stop: set by another thread; waited on between two yields.
        tick: seconds that never go back.
    """
    due = tick()
    while not stop.wait(max(0.0, due - tick())):
        yield
        due = max(due + 1 / rate, tick())


def stream(
    publisher: Publisher,
    pictures: Iterable[Picture],
    *,
    rate: float,
    stations: Sequence[str],
    product: str | None = None,
    lot: str | None = None,
    count: int | None = None,
    stop: Event,
    clock: Callable[[], datetime] = utc_now,
) -> int:
    """Publishes pictures at a steady rate, stations in turn, until `stop`, `count` or their end.

    Args:
        publisher: takes them.
        pictures: published as they are.
        rate: frames per second, all stations together. A camera that fell behind does not catch up in a burst.
        stations: camera positions.
        product: what is made; None: what the stations run.
        lot: the batch of the parts.
        count: stop after this many frames; None: at the end of the pictures.
        stop: set by another thread.
        clock: capture time of a frame, aware UTC.

    Returns:
        How many frames were accepted.

    Raises:
        SourceLost: a live source ended before `stop` or `count`.
        CameraError: a picture cannot be had, or the publisher takes none.
        ValueError: the rate is below SLOWEST, or there is no station.
    """
    if not rate >= SLOWEST or not stations:
        raise ValueError(f"a rate of {SLOWEST:g} or more and at least one station are needed")
    turns, sequences = itertools.cycle(stations), Counter[str]()
    wanted, done = itertools.islice(pictures, count), 0
    for _ in pace(rate, stop):
        # Asked for only when it is due: a live source gives its newest.
        try:
            picture = next(wanted, None)
        except SourceLost:
            if stop.is_set():  # the signal that stops us may end a driver's read, too
                break
            raise
        if picture is None:
            break
        done, station = done + 1, next(turns)
        sequences[station] += 1
        envelope = Envelope(
            str(uuid4()), station, product, f"{picture.name}-{done}", lot, clock(), picture.content_type,
            sequences[station], None,
        )  # fmt: skip
        publisher.publish(picture.value, envelope)
        if done == count:
            break
    return done
