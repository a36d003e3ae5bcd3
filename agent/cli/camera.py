"""`goodpart camera`."""

from __future__ import annotations

import signal
from pathlib import Path
from threading import Event

from agent.cli.common import CommandError, Common


def camera(
    images: Path,
    /,
    *,
    station: str,
    product: str | None = None,
    lot: str | None = None,
    rate: float = 2.0,
    count: int | None = None,
    loop: bool = False,
    common: Common = Common(),
) -> None:
    """Publish a folder of images to the frames topic, as a camera would. Ctrl-C stops it.

    Args:
        images: folder with images; sub-folders are read too.
        station: the camera position these frames come from.
        product: what is made (default: what the station runs).
        lot: the batch of the parts.
        rate: frames per second.
        count: stop after this many frames.
        loop: begin again at the first image.
    """
    from agent import camera as room

    if rate <= 0:
        raise CommandError(f"--rate {rate}: a positive number of frames per second is needed")
    kafka = common.settings().kafka
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    paths = room.image_paths(images)
    with room.Camera(kafka) as device:
        counts = device.stream(
            paths, rate=rate, stations=[station], product=product, lot=lot, count=count, loop=loop, stop=stop
        )
    print(f"{counts.acked} frames acknowledged of {counts.accepted} accepted, {counts.failed} failed")
    if counts.failed:
        raise CommandError(f"{counts.failed} frames were not taken by {kafka.bootstrap}: {counts.problem}")
