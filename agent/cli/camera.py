"""`goodpart camera`."""

from __future__ import annotations

import signal
import sys
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Event

from agent.cli.common import CommandError, Common
from agent.service.acts import check_name

FINISH_S = 10.0  # for the broker to take what is left in a buffer


def camera(
    source: str,
    /,
    *,
    station: str,
    product: str | None = None,
    lot: str | None = None,
    rate: float = 2.0,
    count: int | None = None,
    loop: bool = False,
    encoding: str = "jpeg",
    buffer: Path | None = None,
    common: Common = Common(),
) -> None:
    """Publish pictures to the frames topic, as a camera would. Ctrl-C stops it.

    Args:
        source: folder with images (sub-folders are read too), video file, number of a USB camera, or a URL (rtsp://...).
        station: the camera position these frames come from.
        product: what is made (default: what the station runs).
        lot: the batch of the parts.
        rate: frames per second.
        count: stop after this many frames.
        loop: begin a folder or file again at its end.
        encoding: of pictures from a video or live source, jpeg or png.
        buffer: folder of this camera alone; keeps accepted frames until the broker has them, also while it is away.
    """
    from agent import camera as room

    if not rate >= room.SLOWEST:
        raise CommandError(f"--rate {rate}: {room.SLOWEST:g} or more frames per second are needed")
    if count is not None and not 1 <= count <= sys.maxsize:
        raise CommandError(f"--count {count}: 1 to {sys.maxsize} are allowed")
    for what, name in (("station", station), ("product", product), ("lot", lot)):
        if name is not None:
            check_name(name, what)  # else no agent would take the frames
    kafka = common.settings().kafka
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    pictures = room.pictures(source, loop=loop, encoding=encoding)
    feed = chain([next(pictures)], pictures)  # a source that is not there shows before a broker is looked for
    publish = partial(
        room.stream, pictures=feed, rate=rate, stations=[station], product=product, lot=lot, count=count, stop=stop
    )
    waiting = 0
    if buffer is None:
        with room.Camera(kafka) as device:
            publish(device)
            device.flush()
            counts = device.counts
    else:
        keeping = room.BufferedCamera(kafka, buffer)
        try:
            publish(keeping)
        finally:
            keeping.close(FINISH_S)
        counts, waiting = keeping.counts, keeping.waiting
    left = f", {waiting} kept in {buffer} for the next time" if waiting else ""
    print(f"{counts.acked} frames acknowledged of {counts.accepted} accepted, {counts.failed} failed{left}")
    if counts.failed:
        why = counts.problem or f"too large; they are in {buffer}/refused"
        raise CommandError(f"{counts.failed} frames were not taken by {kafka.bootstrap}: {why}")
