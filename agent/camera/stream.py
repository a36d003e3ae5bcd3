"""Pictures at a steady rate, from stations in turn."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Event
from time import monotonic
from typing import Protocol

from agent.camera.pictures import Picture


class Publisher(Protocol):
    """A camera, with or without a buffer."""

    def publish(
        self, value: bytes, *, station: str, content_type: str, product: str | None, serial: str | None,
        lot: str | None,
    ) -> str:  # fmt: skip
        """Accepts one frame, captured now; returns its id."""
        ...


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

    Returns:
        How many frames were accepted.

    Raises:
        CameraError: a picture cannot be had, or the publisher takes none.
        ValueError: the rate is not positive, or there is no station.
    """
    if rate <= 0 or not stations:
        raise ValueError("a positive rate and at least one station are needed")
    done = 0
    # The pace goes first, so that a live source is asked for a picture only when one is due.
    for _, picture, station in zip(
        pace(rate, stop), itertools.islice(pictures, count), itertools.cycle(stations), strict=False
    ):
        done += 1
        publisher.publish(
            picture.value, station=station, content_type=picture.content_type, product=product,
            serial=f"{picture.name}-{done}", lot=lot,
        )  # fmt: skip
    return done
