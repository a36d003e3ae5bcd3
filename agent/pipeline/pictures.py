"""What people see of a frame: preview, overlay, thumbnail; and its heatmap as numbers."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

import model.images as images  # first: it limits what cv2 may decode

import cv2  # isort: skip
from PIL import Image

PREVIEW = 1600  # pixels of the longer side
THUMBNAIL = 256
HEATMAP = 512
GLANCE = 320
QUALITY = 80
STRENGTH = 0.6  # of the heatmap's colours over the hottest spot

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Heatmap:
    """An anomaly map, and the input whose canvas it has."""

    values: images.Map
    spec: images.InputSpec

    def alone(self) -> Heatmap:
        """The same, apart from the other maps of its batch, which a view would keep in memory."""
        return self if self.values.base is None else replace(self, values=self.values.copy())

    def over(self, shape: tuple[int, ...]) -> images.Map:
        """As it lies over a whole frame of this shape, whatever part of it is inspected: float32 H x W."""
        return images.to_frame(self.values, shape, self.spec)


@dataclass(frozen=True, slots=True)
class Pictures:
    """Encoded pictures of one frame; those with a heatmap are None where it has none."""

    preview: bytes
    thumbnail: bytes
    overlay: bytes | None
    heatmap: bytes | None
    other_overlay: bytes | None = None


def render(frame: Pixels, heatmap: Heatmap | None, other: Heatmap | None = None) -> Pictures:
    """Renders one frame; all pictures show the whole of it.

    Args:
        frame: uint8 RGB, H x W x 3.
        heatmap: None where it has none.
        other: that of a second model, which is only laid over the frame.
    """
    preview = _fit(frame, PREVIEW)
    return Pictures(
        preview=_webp(preview),
        thumbnail=thumbnail(preview),
        overlay=_webp(overlay(preview, heatmap)) if heatmap else None,
        heatmap=_npy(heatmap.over(_fitted(frame.shape, HEATMAP))) if heatmap else None,
        other_overlay=_webp(overlay(preview, other)) if other else None,
    )


def preview_of(frame: Pixels) -> bytes:
    """The preview alone, for a frame that nothing scored."""
    return _webp(_fit(frame, PREVIEW))


def glance(frame: Pixels, heatmap: Heatmap | None) -> bytes:
    """A small picture of the whole frame under its heatmap, where it has one: WebP, some ten kilobytes."""
    small = _fit(frame, GLANCE)
    return _webp(overlay(small, heatmap) if heatmap else small)


def thumbnail(frame: Pixels) -> bytes:
    """A small picture of the whole frame, WebP."""
    return _webp(_fit(frame, THUMBNAIL))


def overlay(preview: Pixels, heatmap: Heatmap) -> Pixels:
    """The preview under its heatmap's colours, scaled to this picture: colours compare places, not parts."""
    fitted = heatmap.over(preview.shape)
    low, high = float(fitted.min()), float(fitted.max())
    heat = (fitted - low) / max(high - low, 1e-12)
    colours = cv2.cvtColor(cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    weight = (STRENGTH * heat)[..., None]
    mixed: Pixels = (preview * (1 - weight) + colours * weight).astype(np.uint8)
    return mixed


def png(frame: Pixels) -> bytes:
    """The frame as a PNG, without loss."""
    done, data = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(f"a picture of {frame.shape} cannot be encoded as a PNG")
    encoded: Any = data
    return bytes(encoded.tobytes())


def _fit(frame: Pixels, longest: int) -> Pixels:
    height, width = _fitted(frame.shape, longest)
    if (height, width) == frame.shape[:2]:
        return frame
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _fitted(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    """Height and width, shrunk in proportion until neither is more than `longest`."""
    scale = min(1.0, longest / max(shape[:2]))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _webp(frame: Pixels) -> bytes:
    # Least effort: a third of the time of OpenCV, which gives no choice, for files up to two fifths larger.
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "WEBP", quality=QUALITY, method=0)
    return buffer.getvalue()


def _npy(anomaly_map: npt.NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    # float16 ends at 65504; an infinity would be no map.
    np.save(buffer, np.clip(anomaly_map, -65504, 65504).astype(np.float16), allow_pickle=False)
    return buffer.getvalue()
