"""Where a camera's pictures come from: a folder of images, a video file, or a live source that OpenCV opens."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2

from agent.camera.errors import CameraError

CONTENT_TYPES = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".bmp": "image/bmp",
    ".tif": "image/tiff", ".tiff": "image/tiff", ".webp": "image/webp",
}  # fmt: skip
ENCODERS = {"jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95]), "png": (".png", [cv2.IMWRITE_PNG_COMPRESSION, 1])}


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
            return cls(path.read_bytes(), CONTENT_TYPES[path.suffix.lower()], path.stem)
        except OSError as error:
            raise CameraError(f"{path}: cannot be read ({error.strerror})") from None


def pictures(source: str, *, loop: bool = False, encoding: str = "jpeg") -> Iterator[Picture]:
    """The pictures of a source, one after another; a live source ends with its connection.

    Args:
        source: a folder of images, published as they are; else what OpenCV opens: a video file, the number of a USB
            camera, or a URL such as rtsp://HOST/STREAM.
        loop: begin a folder or file again at its end.
        encoding: "jpeg" or "png", of what OpenCV decoded.

    Raises:
        CameraError: the source is not there or has no pictures; live, or one image of a folder, cannot be read.
    """
    if Path(source).is_dir():
        yield from _of_folder(Path(source), loop)
        return
    if encoding not in ENCODERS:
        raise CameraError(f"{encoding!r} is no encoding; {' and '.join(ENCODERS)} are")
    first = True
    while first or (loop and Path(source).is_file()):
        yield from _of_opencv(source, encoding)
        first = False


def _of_folder(folder: Path, loop: bool) -> Iterator[Picture]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in CONTENT_TYPES and path.is_file())
    if not found:
        raise CameraError(f"{folder}: has no images ({', '.join(CONTENT_TYPES)})")
    for path in itertools.cycle(found) if loop else found:
        yield Picture.of(path)


def _of_opencv(source: str, encoding: str) -> Iterator[Picture]:
    suffix, options = ENCODERS[encoding]
    capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
    with closing(_Released(capture)):
        if not capture.isOpened():
            raise CameraError(f"{source}: is no folder, and OpenCV opens no video there; look at the path or URL")
        number = 0
        while True:
            read, pixels = capture.read()
            if not read:
                break
            done, value = cv2.imencode(suffix, pixels, options)
            if not done:
                raise CameraError(f"{source}: a picture cannot be encoded as {encoding}")
            number += 1
            yield Picture(value.tobytes(), CONTENT_TYPES[suffix], f"{Path(source).stem or source}-{number:06}")
        if not number:
            raise CameraError(f"{source}: opens, and gives no pictures")


class _Released:
    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture

    def close(self) -> None:
        self._capture.release()
