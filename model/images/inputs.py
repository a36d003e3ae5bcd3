"""From a frame to model input and back: region, stretch or letterbox, tiles, ignore mask. The one way for all."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from model.images.decode import Frame, ImageError, decode

Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Pixels = TypeVar("Pixels", Frame, Map)
STRIDE = 32  # of the model's code: input sides are multiples of it
SMALLEST = 64
MASK_SIDE = 1024  # an ignore mask is kept no larger than this
COVERED = (
    "the ignore mask covers the whole region, so nothing would be inspected; make it smaller, or the region larger"
)


class InputError(ImageError):
    """An input specification, or a frame under it, that cannot be used; the message says what to change."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How a product's frames become model input. Plain values, so that an artifact's manifest holds it.

    Attributes:
        height, width: of one tile in pixels, what the network sees; multiples of 32, at least 64.
        fit: "stretch" (as in the paper) or "letterbox" (proportions kept, edges repeated outwards and masked).
        region: left, top, right, bottom of the inspected part of the frame, as fractions 0 .. 1 of its sides; each
            side at least 1/64 of the frame's, so that every frame from 64 x 64 pixels on has it.
        rows, columns: tiles that cover the region.
        overlap: of neighbouring tiles, as a fraction 0 .. 0.5 of a tile's side.
        ignore: "" or a base64 PNG over the whole frame, of any size: white pixels are never inspected.

    Raises:
        InputError: a value outside its range.
    """

    height: int = 256
    width: int = 256
    fit: str = "stretch"
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    rows: int = 1
    columns: int = 1
    overlap: float = 0.0
    ignore: str = ""

    def __post_init__(self) -> None:
        if len(self.region) != 4:
            raise InputError(f"region {self.region}: left, top, right and bottom are needed")
        object.__setattr__(self, "region", tuple(self.region))  # JSON and YAML give lists, and specs are keys
        left, top, right, bottom = self.region
        if any(side < SMALLEST or side % STRIDE for side in (self.height, self.width)):
            raise InputError(f"a model input of {self.height} x {self.width}: multiples of {STRIDE} from {SMALLEST} on")
        if self.fit not in ("stretch", "letterbox"):
            raise InputError(f"fit {self.fit!r}: 'stretch' or 'letterbox' is allowed")
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise InputError(f"region {self.region}: left < right and top < bottom, all within 0 .. 1, are needed")
        if min(right - left, bottom - top) < 1 / SMALLEST - 1e-9:
            raise InputError(f"region {self.region}: each side must be at least 1/{SMALLEST} of the frame's")
        if self.rows < 1 or self.columns < 1 or not 0 <= self.overlap <= 0.5:
            raise InputError("at least 1 x 1 tiles with an overlap of 0 .. 0.5 are needed")
        if self.ignore:
            self._check_ignore()

    def _check_ignore(self) -> None:
        ignored = _ignored(self.ignore)
        (height, width), (left, top, right, bottom) = ignored.shape, self.region
        if ignored[int(top * height) : ceil(bottom * height), int(left * width) : ceil(right * width)].all():
            raise InputError(COVERED)

    @property
    def tiles(self) -> int:
        """Tiles of one frame."""
        return self.rows * self.columns

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of the tiles laid together: the size of the anomaly map."""
        down, across = self.strides
        return self.height + (self.rows - 1) * down, self.width + (self.columns - 1) * across

    @property
    def strides(self) -> tuple[int, int]:
        """From one tile to the next, down and across, in pixels."""
        return round(self.height * (1 - self.overlap)), round(self.width * (1 - self.overlap))

    @property
    def corners(self) -> list[tuple[int, int]]:
        """Top and left of each tile in the canvas, row by row."""
        down, across = self.strides
        return [(row * down, column * across) for row in range(self.rows) for column in range(self.columns)]

    @property
    def masked(self) -> bool:
        """Whether a frame can have pixels in the canvas that are not inspected."""
        return self.fit == "letterbox" or bool(self.ignore)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A frame as model input.

    Attributes:
        tiles: uint8 T x height x width x 3, RGB.
        mask: bool canvas, True where it is inspected; None where that is everywhere.
    """

    tiles: Frame
    mask: Mask | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a frame's region lies: rows and columns of the frame, and of the canvas."""

    frame: tuple[slice, slice]
    canvas: tuple[slice, slice]


def prepare(frame: Frame, spec: InputSpec) -> Prepared:
    """Frame (uint8 H x W x 3, any size) -> model input: area resize along sides that shrink, bilinear along others.

    Raises:
        InputError: the frame is no uint8 H x W x 3, the region is smaller than a pixel of it, or the mask leaves
            nothing to inspect.
    """
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise InputError(_wrong(frame))
    left, top, right, bottom = spec.region
    if min((bottom - top) * frame.shape[0], (right - left) * frame.shape[1]) < 1 - 1e-6:
        size = f"{frame.shape[0]} x {frame.shape[1]}"
        raise InputError(f"the region {spec.region} is smaller than a pixel of a {size} frame; send larger frames")
    place = _place(frame.shape[0], frame.shape[1], spec)
    canvas = _resize(frame[place.frame], _extent(place.canvas))
    if canvas.shape[:2] != spec.canvas:
        (top, left), (height, width) = (place.canvas[0].start, place.canvas[1].start), canvas.shape[:2]
        below, right = spec.canvas[0] - top - height, spec.canvas[1] - left - width
        canvas = np.asarray(cv2.copyMakeBorder(canvas, top, below, left, right, cv2.BORDER_REPLICATE), np.uint8)
    tiles = [canvas[top : top + spec.height, left : left + spec.width] for top, left in spec.corners]
    return Prepared(np.stack(tiles), inspected(frame.shape[0], frame.shape[1], spec))


def _wrong(frame: object) -> str:
    found = f"{frame.dtype} of shape {frame.shape}" if isinstance(frame, np.ndarray) else f"a {type(frame).__name__}"
    return (
        f"a frame is {found}; an array of uint8 H x W x 3 in RGB is needed: scale other ranges to 0 .. 255 and give "
        "grey ones three equal channels, as model.images.decode does"
    )


@lru_cache(maxsize=64)
def inspected(height: int, width: int, spec: InputSpec) -> Mask | None:
    """The canvas mask of frames of this size: True where inspected; None where that is everywhere. Not to be changed.

    Raises:
        InputError: nothing is left.
    """
    if not spec.masked:
        return None
    place = _place(height, width, spec)
    mask = np.zeros(spec.canvas, np.bool_)
    mask[place.canvas] = True
    if spec.ignore:
        mask[place.canvas] &= ~_seen(_ignored(spec.ignore), (height, width), place)
    if not mask.any():
        raise InputError(COVERED)
    mask.flags.writeable = False
    return None if mask.all() else mask


def to_frame(anomaly_map: Map, shape: tuple[int, ...], spec: InputSpec) -> Map:
    """An anomaly map (float32, canvas of `spec`) in frame coordinates: float32 shape[0] x shape[1].

    Resized as `prepare` resizes, so that no hot spot is lost between the pixels of a smaller picture. What is not
    inspected gets the map's smallest value, so that it never stands out.
    """
    place = _place(shape[0], shape[1], spec)
    inside = _resize(anomaly_map[place.canvas], _extent(place.frame))
    if inside.shape == tuple(shape[:2]):
        return inside
    whole = np.full(shape[:2], anomaly_map.min(), np.float32)
    whole[place.frame] = inside
    return whole


def ignore_mask(path: Path) -> str:
    """Reads an image whose white pixels are never inspected, as `InputSpec.ignore` wants it.

    Raises:
        InputError: it cannot be read, or ignores everything or nothing.
    """
    try:
        picture = decode(path.read_bytes())
    except (ImageError, OSError) as error:
        raise InputError(f"{path}: {error}; an image with white where nothing is inspected is needed") from None
    mask: Mask = np.asarray(picture.max(axis=2) > 127)
    if mask.all() or not mask.any():
        wrong = "is white everywhere; nothing would be inspected" if mask.all() else "has no white pixel"
        raise InputError(f"{path}: {wrong}; paint white what is to be ignored, and the rest black")
    scale = min(1.0, MASK_SIDE / max(mask.shape))
    kept = _fitted(mask, (max(1, round(mask.shape[0] * scale)), max(1, round(mask.shape[1] * scale))))
    return base64.b64encode(cv2.imencode(".png", kept.astype(np.uint8) * 255)[1].tobytes()).decode()


@lru_cache(maxsize=16)
def _ignored(text: str) -> Mask:
    """The mask that `InputSpec.ignore` holds: bool, True where ignored."""
    try:
        picture = decode(base64.b64decode(text, validate=True))
    except (binascii.Error, ImageError):
        raise InputError("the ignore mask is not an image in base64; make it with model.images.ignore_mask") from None
    return np.asarray(picture.max(axis=2) > 127)


def _fitted(ignored: Mask, size: tuple[int, int]) -> Mask:
    """A mask at another size: what covers any ignored pixel is ignored, so that none of them is ever inspected."""
    smaller = (min(ignored.shape[0], size[0]), min(ignored.shape[1], size[1]))
    # Area averages of float32: any share of an ignored pixel leaves more than 0.
    covered = cv2.resize(ignored.astype(np.float32), smaller[::-1], interpolation=cv2.INTER_AREA) > 1e-6
    return cv2.resize(covered.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0


def _seen(ignored: Mask, shape: tuple[int, int], place: _Place) -> Mask:
    """Which pixels of the canvas show any ignored pixel of a mask that lies over a whole frame of this shape."""
    spans = []
    for rows, cells, side, pixels in zip(place.frame, _extent(place.canvas), shape, ignored.shape, strict=True):
        edges = (rows.start + np.arange(cells + 1) * ((rows.stop - rows.start) / cells)) * (pixels / side)
        spans.append((np.floor(edges[:-1] + 1e-6).astype(int), np.ceil(edges[1:] - 1e-6).astype(int)))
    (top, bottom), (left, right) = spans
    total = np.pad(ignored.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))
    upto = total[bottom] - total[top]
    return np.asarray(upto[:, right] > upto[:, left])


@lru_cache(maxsize=64)
def _place(height: int, width: int, spec: InputSpec) -> _Place:
    rows, columns = _region(height, width, spec.region)
    tall, wide = _extent((rows, columns))
    across, down = spec.canvas[1], spec.canvas[0]
    if spec.fit == "letterbox":
        scale = min(down / tall, across / wide)
        down, across = max(1, round(tall * scale)), max(1, round(wide * scale))
    above, before = (spec.canvas[0] - down) // 2, (spec.canvas[1] - across) // 2
    return _Place((rows, columns), (slice(above, above + down), slice(before, before + across)))


def _region(height: int, width: int, region: tuple[float, float, float, float]) -> tuple[slice, slice]:
    """Rows and columns of a region, to the nearest pixel; at least one of each."""
    left, top, right, bottom = region
    return _span(top, bottom, height), _span(left, right, width)


def _span(low: float, high: float, side: int) -> slice:
    start = min(round(low * side), side - 1)
    return slice(start, max(round(high * side), start + 1))


def _extent(place: tuple[slice, slice]) -> tuple[int, int]:
    return place[0].stop - place[0].start, place[1].stop - place[1].start


def _resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    # Each axis by itself: OpenCV's area method shrinks only if both sides do, and a long side alone would alias.
    smaller = (min(pixels.shape[0], size[0]), min(pixels.shape[1], size[1]))
    for wanted, method in ((smaller, cv2.INTER_AREA), (size, cv2.INTER_LINEAR)):
        if pixels.shape[:2] != wanted:
            pixels = np.asarray(cv2.resize(pixels, wanted[::-1], interpolation=method), pixels.dtype)
    return pixels
