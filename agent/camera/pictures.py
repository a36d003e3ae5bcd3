"""Where a camera's pictures come from: a folder of images, a video file, or a live source that OpenCV opens."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import cv2

from agent.camera.errors import CameraError, SourceLost
from agent.frame import CONTENT_TYPES

ENCODERS = {"jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95]), "png": (".png", [cv2.IMWRITE_PNG_COMPRESSION, 1])}


Pixels = Any  # uint8 H x W x 3, as OpenCV has it
Read = Callable[[], tuple[bool, Pixels]]


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded image. `name` tells it from the others of its source."""

    value: bytes
    content_type: str
    name: str

    @classmethod
    def of(cls, path: Path) -> Picture:
        """An image file, as it is.

        Raises:
            CameraError: it cannot be read.
        """
        try:
            name = os.fsencode(path.stem).decode(errors="replace")  # some files' names are no text
            return cls(path.read_bytes(), CONTENT_TYPES[path.suffix.lower()], name)
        except OSError as error:
            raise CameraError(f"{path}: cannot be read ({error.strerror})") from None


def pictures(source: str, *, loop: bool = False, encoding: str = "jpeg") -> Iterator[Picture]:
    """The pictures of a source, one after another; a live source never ends well.

    Args:
        source: a folder of images, published as they are; else what OpenCV opens: a video file, the number of a USB
            camera, or a URL such as rtsp://HOST/STREAM. Of a live source the newest picture each time.
        loop: begin a folder or file again at its end.
        encoding: "jpeg" or "png", of what OpenCV decoded.

    Raises:
        CameraError: the source is not there or has no pictures; one image of a folder cannot be read.
        SourceLost: a live source gives no more pictures.
    """
    if encoding not in ENCODERS:
        raise CameraError(f"{encoding!r} is no encoding; {' and '.join(ENCODERS)} are")
    if Path(source).is_dir():
        yield from _of_folder(Path(source), loop)
        return
    is_file = Path(source).is_file()
    while True:
        yield from _of_opencv(source, encoding, live=not is_file)
        if not (loop and is_file):
            break


def _of_folder(folder: Path, loop: bool) -> Iterator[Picture]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in CONTENT_TYPES and path.is_file())
    if not found:
        raise CameraError(f"{folder}: has no images ({', '.join(CONTENT_TYPES)})")
    for path in itertools.cycle(found) if loop else found:
        yield Picture.of(path)


def _of_opencv(source: str, encoding: str, *, live: bool) -> Iterator[Picture]:
    suffix, options = ENCODERS[encoding]
    capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
    if not capture.isOpened():
        raise CameraError(f"{source}: is no folder, and OpenCV opens no video there; look at the path or URL")
    number = 0
    feed = Newest(capture.read) if live else _InTurn(capture.read)
    try:
        while (pixels := feed.next()) is not None:
            done, value = cv2.imencode(suffix, pixels, options)
            if not done:
                raise CameraError(f"{source}: a picture cannot be encoded as {encoding}")
            number += 1
            yield Picture(value.tobytes(), CONTENT_TYPES[suffix], f"{Path(source).stem or source}-{number:06}")
    finally:
        feed.close()
        capture.release()
    if not number:
        raise CameraError(f"{source}: opens, and gives no pictures")
    if live:
        raise SourceLost(
            f"{source}: gives no more pictures after {number}; look at the camera, its cable and its network, "
            "then start this command again"
        )


class _InTurn:
    """Every picture of a file, when it is asked for."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def next(self) -> Pixels | None:
        read, pixels = self._read()
        return pixels if read else None

    def close(self) -> None:
        """Nothing to end."""


class Newest:
    """A live source read at its own rate by a thread: what nobody asked for in time is not kept.

    Read only when asked, it would give what its driver buffered, ever older.

    Args:
        read: waits for the next picture; (False, ...), or an error of OpenCV, where the source has ended.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._changed, self._ended = Condition(), False
        self._pixels: Pixels | None = None
        self._thread = Thread(target=self._run, name="camera-reader", daemon=True)
        self._thread.start()

    def next(self) -> Pixels | None:
        """The newest picture that was not given yet, waited for; None where the source has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._pixels is not None)
            pixels, self._pixels = self._pixels, None
            return pixels

    def close(self) -> None:
        """Ends the reading."""
        self._ended = True
        self._thread.join()

    def _run(self) -> None:
        while not self._ended:
            try:
                read, pixels = self._read()
            except cv2.error:  # else this thread would end unseen, and `next` wait for ever
                read, pixels = False, None
            with self._changed:
                self._ended = self._ended or not read
                self._pixels = pixels if read else self._pixels
                self._changed.notify_all()
