"""One way from bytes to model input, used by training and by the stream; and folders of images. No torch."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 28))  # read once, when cv2 is first imported

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

Frame = npt.NDArray[np.uint8]
Map = npt.NDArray[np.float32]
Image.MAX_IMAGE_PIXELS = None  # only headers are read with it, and `decode` has its own limit
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
GOOD = "good"

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
    """More pixels than allowed."""


class WrongSize(ImageError):
    """Raw pixels whose number does not fit their stated size."""


class FolderError(Exception):
    """A folder that cannot be used; the message says what to do."""


def decode(data: bytes, *, max_megapixels: int = 64) -> Frame:
    """Decodes JPEG, PNG, BMP, TIFF or WebP.

    The header is read first, so that a small file with a huge picture costs no memory. EXIF orientation is ignored: a
    camera does not turn. 16-bit images are scaled to 8 bits, grey ones get three equal channels, alpha is dropped.

    Args:
        data: the encoded image.
        max_megapixels: largest picture allowed.

    Returns:
        uint8 H x W x 3, RGB, contiguous.

    Raises:
        TooLarge: more pixels than allowed.
        Undecodable: anything else that is not a whole image.
    """
    width, height, kind = _header(data)
    if width * height > max_megapixels * 1_000_000:
        raise TooLarge(f"the image has {width} x {height} pixels, more than {max_megapixels} megapixels")
    if (kind == "JPEG" and b"\xff\xd9" not in data[-4096:]) or (kind == "PNG" and b"IEND" not in data[-4096:]):
        raise Undecodable(f"the {kind} ends too early")  # OpenCV would fill the rest with grey
    try:
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        frame = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise Undecodable(f"the {kind} cannot be decoded ({error.err})") from None
    if frame is None:
        raise Undecodable(f"the {kind} cannot be decoded")
    return np.ascontiguousarray(frame, dtype=np.uint8)


def _header(data: bytes) -> tuple[int, int, str]:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.width, image.height, str(image.format)
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
        WrongSize: the number of bytes does not fit.
        Undecodable: an unknown pixel format.
    """
    if pixel_format not in _RAW:
        raise Undecodable(f"pixel format {pixel_format!r} is not read; {', '.join(_RAW)} are")
    depth, conversion = _RAW[pixel_format]
    if len(data) != width * height * depth:
        raise WrongSize(f"{len(data)} bytes, but {width} x {height} {pixel_format} has {width * height * depth}")
    pixels = np.frombuffer(data, np.uint8).reshape((height, width, depth) if depth > 1 else (height, width))
    frame = pixels if conversion is None else cv2.cvtColor(pixels, conversion)
    return np.ascontiguousarray(frame, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How a frame becomes model input: stretched to `height` x `width` pixels, as in the paper."""

    height: int
    width: int
    fit: str = "stretch"


def prepare(frame: Frame, spec: InputSpec) -> Frame:
    """The one resize of training and stream: area when shrinking, else bilinear. uint8 height x width x 3."""
    height, width = frame.shape[:2]
    if (height, width) == (spec.height, spec.width):
        return frame
    shrinks = height >= spec.height and width >= spec.width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, (spec.width, spec.height), interpolation=method), dtype=np.uint8)


def to_frame(anomaly_map: Map, shape: tuple[int, ...]) -> Map:
    """An anomaly map (float32 h x w, model input) in frame coordinates: float32 shape[0] x shape[1], bilinear."""
    size = (shape[1], shape[0])
    return np.asarray(cv2.resize(anomaly_map, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def pixels_sha256(frame: Frame) -> str:
    """SHA-256 of a frame's shape and pixels: equal exactly for identical pictures, however they were encoded."""
    digest = hashlib.sha256(repr(frame.shape).encode())
    digest.update(np.ascontiguousarray(frame).data)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image file, its label ("good" or the kind of defect), and its mask where there is one."""

    path: Path
    label: str
    mask_path: Path | None = None

    def frame(self, *, max_megapixels: int = 64) -> Frame:
        """The decoded image; raises FolderError that names the file."""
        try:
            return decode(self.path.read_bytes(), max_megapixels=max_megapixels)
        except (ImageError, OSError) as error:
            raise FolderError(f"{self.path}: {error}; remove or replace it") from None

    def mask(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
        """Defect pixels, bool H x W in frame coordinates; all False for good images, None where there is no mask."""
        if self.label == GOOD:
            return np.zeros(shape[:2], np.bool_)
        if self.mask_path is None:
            return None
        mask = LabelledImage(self.mask_path, self.label).frame()
        if mask.shape[:2] != shape[:2]:
            raise FolderError(f"{self.mask_path}: has another size than its image {self.path.name}")
        return np.asarray(mask.max(axis=2) > 127)


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """A folder in MVTec layout: good images to train on, labelled ones to test with."""

    name: str
    path: Path
    train_good: tuple[LabelledImage, ...]
    test: tuple[LabelledImage, ...]


def read_folder(path: Path) -> ImageFolder:
    """Lists a folder: train/good, test/KIND and ground_truth/KIND/STEM_mask.png; or just good/ and folders of defects.

    Raises:
        FolderError: it is missing, is empty, or has no good images to train on.
    """
    if not path.is_dir():
        raise FolderError(f"{path}: there is no such folder")
    train = path / "train" / GOOD if (path / "train" / GOOD).is_dir() else path / GOOD
    good = _images(train, GOOD, None)
    if not good:
        state = "has no images in train/good or good" if any(path.iterdir()) else "is empty"
        raise FolderError(f"{path}: {state}; put images of good parts into {path / 'train' / GOOD}")
    test = path / "test" if (path / "test").is_dir() else path
    kinds = sorted(
        kind for kind in test.iterdir()
        if kind.is_dir() and kind != train and kind.name not in ("train", "test", "ground_truth")
    )  # fmt: skip
    labelled = [image for kind in kinds for image in _images(kind, kind.name, path / "ground_truth" / kind.name)]
    return ImageFolder(path.resolve().name, path, tuple(good), tuple(labelled))


def _images(folder: Path, label: str, masks: Path | None) -> list[LabelledImage]:
    if not folder.is_dir():
        return []
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    return [LabelledImage(file, label, _mask(file, masks) if masks else None) for file in found]


def _mask(image: Path, masks: Path) -> Path | None:
    candidates = (masks / f"{image.stem}{ending}" for ending in ("_mask.png", ".png"))
    return next((mask for mask in candidates if mask.is_file()), None)
