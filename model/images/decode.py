"""Bytes to pixels: encoded images and raw camera buffers, checked before they cost memory."""

from __future__ import annotations

import hashlib
import io
import os

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 28))  # read once, when cv2 is first imported

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from model.images import containers

Frame = npt.NDArray[np.uint8]
Image.MAX_IMAGE_PIXELS = None  # only headers are read with it, and `decode` has its own limit
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")

LONGEST = 65_535  # pixels of a side: what libjpeg writes; libpng gives up at a million

_RAW: dict[str, tuple[int, int | None]] = {  # PFNC name: bytes per pixel, conversion to RGB
    "Mono8": (1, cv2.COLOR_GRAY2RGB),
    "RGB8": (3, None),
    "BGR8": (3, cv2.COLOR_BGR2RGB),
    "BayerRG8": (1, cv2.COLOR_BayerRGGB2RGB),
    "BayerGB8": (1, cv2.COLOR_BayerGBRG2RGB),
    "BayerGR8": (1, cv2.COLOR_BayerGRBG2RGB),
    "BayerBG8": (1, cv2.COLOR_BayerBGGR2RGB),
}


class ImageError(Exception):
    """Bytes that give no image; the message says why."""


class Undecodable(ImageError):
    """Not an image, a damaged one, or a format that is not read."""


class TooLarge(ImageError):
    """More pixels than allowed, in all or along a side."""


class WrongSize(ImageError):
    """Raw pixels whose number does not fit their stated size."""


def decode(data: bytes, *, max_megapixels: int = 64) -> Frame:
    """Decodes JPEG, PNG, BMP, TIFF or WebP.

    The header is read first, so that a small file with a huge picture costs no memory. Orientation, EXIF's or a TIFF's,
    is ignored: a camera does not turn. 16-bit images are scaled to 8 bits, grey ones get three equal channels, alpha is
    dropped. A file that is cut off is refused; damage inside a JPEG, WebP or TIFF whose decoder still finds pixels
    shows in those alone, and is not noticed.

    Args:
        data: the encoded image.
        max_megapixels: largest picture allowed.

    Returns:
        uint8 H x W x 3, RGB, contiguous.

    Raises:
        TooLarge: more pixels than allowed, or a side beyond LONGEST.
        Undecodable: anything else that is seen not to be a whole image.
    """
    width, height, kind, grey = _header(data)
    if width * height > max_megapixels * 1_000_000:
        raise TooLarge(f"the image has {width} x {height} pixels, more than {max_megapixels} megapixels")
    _check_sides(width, height)
    if not containers.ends(data, kind):
        raise Undecodable(f"the {kind} ends too early")  # OpenCV would fill the rest with grey
    stored = containers.as_stored(data) if kind == "TIFF" else data
    one_plane = kind == "JPEG" and grey  # decoded as it is, and then repeated: a third less time
    flags = cv2.IMREAD_GRAYSCALE if one_plane else cv2.IMREAD_COLOR_RGB
    try:
        frame = cv2.imdecode(np.frombuffer(stored, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise Undecodable(f"the {kind} cannot be decoded ({error.err})") from None
    if frame is None:
        raise Undecodable(f"the {kind} cannot be decoded")
    if one_plane:
        frame = cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB)
    return np.ascontiguousarray(frame, dtype=np.uint8)


def _header(data: bytes) -> tuple[int, int, str, bool]:
    """Width, height, format, and whether it has one channel of 8 bits."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.width, image.height, str(image.format), image.mode == "L"
    except UnidentifiedImageError:
        raise Undecodable(f"not an image; {', '.join(FORMATS)} are read") from None
    except Exception as error:  # a damaged header raises whatever its format's reader happens to
        raise Undecodable(f"the image's header is damaged ({type(error).__name__})") from None


def decode_raw(data: bytes, width: int, height: int, pixel_format: str) -> Frame:
    """Reads uncompressed pixels.

    Args:
        data: width x height x bytes per pixel, rows without padding.
        width: in pixels.
        height: in pixels.
        pixel_format: GenICam PFNC name: Mono8, RGB8, BGR8, BayerRG8, BayerGB8, BayerGR8, BayerBG8.

    Returns:
        uint8 H x W x 3, RGB.

    Raises:
        TooLarge: a side beyond LONGEST.
        WrongSize: there are no pixels, or the number of bytes does not fit.
        Undecodable: an unknown pixel format.
    """
    if pixel_format not in _RAW:
        raise Undecodable(f"pixel format {pixel_format[:40]!r} is not read; {', '.join(_RAW)} are")
    depth, conversion = _RAW[pixel_format]
    least = 3 if pixel_format.startswith("Bayer") else 1  # a pixel's neighbours give it the other two colours
    if min(width, height) < least:
        raise WrongSize(f"{width} x {height} pixels: at least {least} x {least} are needed")
    if len(data) != width * height * depth:
        raise WrongSize(f"{len(data)} bytes, but {width} x {height} {pixel_format} has {width * height * depth}")
    _check_sides(width, height)
    pixels = np.frombuffer(data, np.uint8).reshape((height, width, depth) if depth > 1 else (height, width))
    frame = pixels if conversion is None else cv2.cvtColor(pixels, conversion)
    return np.ascontiguousarray(frame, dtype=np.uint8)


def _check_sides(width: int, height: int) -> None:
    if max(width, height) > LONGEST:
        raise TooLarge(f"the image has {width} x {height} pixels; no side may have more than {LONGEST:,}")


def pixels_sha256(frame: Frame) -> str:
    """SHA-256 of a frame's shape and pixels: equal exactly for identical pictures, however they were encoded."""
    digest = hashlib.sha256(repr(frame.shape).encode())
    digest.update(np.ascontiguousarray(frame).data)
    return digest.hexdigest()
