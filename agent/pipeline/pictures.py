"""What people see of a frame: preview, overlay, thumbnail; and its heatmap as numbers."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import model.images as images  # first: it limits what cv2 may decode

import cv2  # isort: skip

PREVIEW = 1600  # pixels of the longer side
THUMBNAIL = 256
QUALITY = 80
STRENGTH = 0.6  # of the heatmap's colours over the hottest spot

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Encoded pictures of one frame; those with a heatmap are None where it has none."""

    preview: bytes
    thumbnail: bytes
    overlay: bytes | None
    heatmap: bytes | None


def render(frame: Pixels, anomaly_map: npt.NDArray[np.float32] | None) -> Pictures:
    """Renders one frame.

    Args:
        frame: uint8 RGB, H x W x 3.
        anomaly_map: float32 h x w at model-input size, or None.
    """
    preview = _fit(frame, PREVIEW)
    return Pictures(
        preview=_webp(preview),
        thumbnail=_webp(_fit(preview, THUMBNAIL)),
        overlay=None if anomaly_map is None else _webp(overlay(preview, anomaly_map)),
        heatmap=None if anomaly_map is None else _npy(anomaly_map),
    )


def overlay(preview: Pixels, anomaly_map: npt.NDArray[np.float32]) -> Pixels:
    """The preview under its heatmap's colours, scaled to this picture: colours compare places, not parts."""
    fitted = images.to_frame(anomaly_map, preview.shape)
    low, high = float(fitted.min()), float(fitted.max())
    heat = (fitted - low) / max(high - low, 1e-12)
    colours = cv2.cvtColor(cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    weight = (STRENGTH * heat)[..., None]
    mixed: Pixels = (preview * (1 - weight) + colours * weight).astype(np.uint8)
    return mixed


def png(frame: Pixels) -> bytes:
    """The frame as a PNG, without loss."""
    return _encoded(".png", frame, [])


def _fit(frame: Pixels, longest: int) -> Pixels:
    height, width = frame.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return frame
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _webp(frame: Pixels) -> bytes:
    return _encoded(".webp", frame, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])


def _encoded(kind: str, frame: Pixels, options: list[int]) -> bytes:
    done, data = cv2.imencode(kind, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"a picture of {frame.shape} cannot be encoded as {kind}")
    encoded: Any = data
    return bytes(encoded.tobytes())


def _npy(anomaly_map: npt.NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    # float16 ends at 65504; an infinity would be no map.
    np.save(buffer, np.clip(anomaly_map, -65504, 65504).astype(np.float16), allow_pickle=False)
    return buffer.getvalue()
