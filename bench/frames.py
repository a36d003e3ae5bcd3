"""Decoding and preparing frames against OpenCV's bare decoder."""

from __future__ import annotations

import cv2
import numpy as np

from agent.demo.render import picture
from bench.row import Row, per_second
from model.images import InputSpec, decode, prepare

FRAMES = 32


def rows() -> list[Row]:
    """Frames per second on one thread, 1024 x 1024 JPEG of the demo's part."""
    shot, _ = picture(None, 0.0, (0,))
    large = cv2.resize(shot, (1024, 1024), interpolation=cv2.INTER_CUBIC)
    data = cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        spec = InputSpec(256, 256)
        ours = per_second(lambda: [prepare(decode(data), spec) for _ in range(FRAMES)], FRAMES)
        buffer = np.frombuffer(data, np.uint8)
        bare = per_second(lambda: [cv2.imdecode(buffer, cv2.IMREAD_COLOR) for _ in range(FRAMES)], FRAMES)
    finally:
        cv2.setNumThreads(before)
    return [
        Row(
            "decode, check and prepare, 1024 px JPEG", ours, "frames/s", f"cv2.imdecode alone: {bare:,.0f}", ours / bare
        )
    ]
