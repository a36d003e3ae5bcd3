"""What people see of a frame."""

from __future__ import annotations

import io

import numpy as np

from agent.pipeline import pictures
from model.images import decode


def test_pictures_fit_and_the_heatmap_is_half_precision_at_model_size() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 255, (900, 3200, 3), dtype=np.uint8)
    made = pictures.render(frame, rng.random((16, 16), dtype=np.float32) * 1e6)
    assert decode(made.preview).shape == (450, 1600, 3)
    assert decode(made.thumbnail).shape == (72, 256, 3)
    assert made.overlay
    assert decode(made.overlay).shape == (450, 1600, 3)
    assert made.heatmap
    heat = np.load(io.BytesIO(made.heatmap), allow_pickle=False)
    assert (heat.dtype, heat.shape) == (np.float16, (16, 16))
    assert np.isfinite(heat).all()


def test_a_small_frame_keeps_its_size_and_needs_no_map() -> None:
    made = pictures.render(np.full((20, 30, 3), 7, np.uint8), None)
    assert decode(made.preview).shape == (20, 30, 3)
    assert made.overlay is made.heatmap is None


def test_the_overlay_colours_the_hot_place_and_leaves_the_cold_one() -> None:
    frame = np.full((64, 64, 3), 100, np.uint8)
    heat = np.zeros((64, 64), np.float32)
    heat[:16, :16] = 5.0
    mixed = pictures.overlay(frame, heat)
    assert (mixed[40:, 40:] == 100).all()
    assert (np.abs(mixed[2, 2].astype(int) - 100) > 30).any()


def test_a_flat_map_is_no_heat() -> None:
    frame = np.full((8, 8, 3), 100, np.uint8)
    assert (pictures.overlay(frame, np.full((4, 4), 3.0, np.float32)) == 100).all()
