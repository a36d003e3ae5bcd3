"""`goodpart camera`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from agent.cli.common import CommandError, Common
from agent.service.acts import check_name

if TYPE_CHECKING:
    from agent.camera import Counts
    from agent.camera.stream import Publisher
    from agent.settings import Kafka

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
    unbuffered: bool = False,
    common: Common = Common(),
) -> None:
    """Publish pictures to the frames topic, as a camera would. Ctrl-C stops it.

    What it took is on disk until the broker has it, also while that is away; the next run sends what was left first.
    A folder or file ends well; a live source that ends by itself is an error (exit status 1), so that it is restarted.

    Args:
        source: folder with images (sub-folders are read too), video file, number of a USB camera, or a URL (rtsp://...).
        station: the camera position these frames come from.
        product: what is made (default: what the station runs).
        lot: the batch of the parts.
        rate: frames per second.
        count: stop after this many frames.
        loop: begin a folder or file again at its end.
        encoding: of pictures from a video or live source, jpeg or png.
        buffer: folder of this camera alone for that (default: one for station and broker in ~/.local/state/goodpart).
        unbuffered: keep nothing on disk; what the broker does not take in 30 seconds is given up.
    """
    from agent import camera as room

    if not rate >= room.SLOWEST:
        raise CommandError(f"--rate {rate}: {room.SLOWEST:g} or more frames per second are needed")
    if count is not None and not 1 <= count <= sys.maxsize:
        raise CommandError(f"--count {count}: 1 to {sys.maxsize} are allowed")
    for what, name in (("station", station), ("product", product), ("lot", lot)):
        if name is not None:
            check_name(name, what)  # else no agent would take the frames
    if unbuffered and buffer:
        raise CommandError("--unbuffered keeps nothing in a --buffer: give one of the two")
    kafka = common.settings().kafka
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    pictures = room.pictures(source, loop=loop, encoding=encoding)
    feed = chain([next(pictures)], pictures)  # a source that is not there shows before a broker is looked for
    publish = partial(
        room.stream, pictures=feed, rate=rate, stations=[station], product=product, lot=lot, count=count, stop=stop
    )
    if unbuffered:
        problems = _unbuffered(publish, kafka)
    else:
        problems = _buffered(publish, kafka, buffer or room.default_folder(kafka, station, os.environ))
    if problems:
        raise CommandError("; ".join(problems))


def _unbuffered(publish: Callable[[Publisher], int], kafka: Kafka) -> list[str]:
    from agent.camera import Camera

    problems: list[str] = []
    with Camera(kafka) as device:
        for act in (partial(publish, device), device.flush):
            problems += _problem(act)  # whatever ended it: what it took before is still sent
    return problems + _report(device.counts, kafka.bootstrap, device.counts.problem)


def _buffered(publish: Callable[[Publisher], int], kafka: Kafka, folder: Path) -> list[str]:
    from agent.camera import BufferedCamera

    keeping = BufferedCamera(kafka, folder)
    try:
        problems = _problem(partial(publish, keeping))
    finally:
        keeping.close(FINISH_S)
    counts = keeping.counts
    problems += _report(counts, kafka.bootstrap, f"too large; they are in {folder}/refused")
    if waiting := keeping.waiting:
        why = counts.problem or "the broker has not acknowledged them yet"
        problems.append(f"{waiting} frames are kept in {folder} for the next time: {why}")
    return problems


def _problem(act: Callable[[], object]) -> list[str]:
    from agent.camera import CameraError

    try:
        act()
    except CameraError as error:
        return [str(error)]
    return []


def _report(counts: Counts, bootstrap: str, why: str | None) -> list[str]:
    print(f"{counts.acked} frames acknowledged of {counts.accepted} accepted, {counts.failed} failed")
    return [f"{counts.failed} frames were not taken by {bootstrap}: {why}"] if counts.failed else []
