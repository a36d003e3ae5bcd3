"""What people see of a frame."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest

from agent.pipeline import pictures
from agent.pipeline.pictures import Heatmap
from bench.memory import DRAWING
from model.images import InputSpec, Map, decode

WHOLE = InputSpec(64, 64)


def hot(corner: Map, spec: InputSpec) -> Heatmap:
    """A cold map with these values at its upper left."""
    values = np.zeros(spec.canvas, np.float32)
    values[: corner.shape[0], : corner.shape[1]] = corner
    return Heatmap(values, spec)


def test_pictures_fit_and_the_heatmap_is_half_precision_over_the_frame() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 255, (900, 3200, 3), dtype=np.uint8)
    made = pictures.render(frame, Heatmap(rng.random((64, 64), dtype=np.float32) * 1e6, WHOLE))
    assert decode(made.preview).shape == (450, 1600, 3)
    assert decode(made.thumbnail).shape == (72, 256, 3)
    assert made.overlay
    assert decode(made.overlay).shape == (450, 1600, 3)
    assert made.heatmap
    heat = np.load(io.BytesIO(made.heatmap), allow_pickle=False)
    assert (heat.dtype, heat.shape) == (np.float16, (144, 512))
    assert np.isfinite(heat).all()


def test_drawing_takes_no_more_memory_than_docs_stream_says() -> None:
    frame = np.zeros((1000, 1600, 3), np.uint8)
    tracemalloc.start()
    try:
        pictures.render(frame, Heatmap(np.eye(64, dtype=np.float32), WHOLE))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= DRAWING * 1000 * 1600


def test_a_small_frame_keeps_its_size_and_needs_no_map() -> None:
    made = pictures.render(np.full((20, 30, 3), 7, np.uint8), None)
    assert decode(made.preview).shape == (20, 30, 3)
    assert made.overlay is made.heatmap is None


def test_the_overlay_colours_the_hot_place_and_leaves_the_cold_one() -> None:
    frame = np.full((64, 64, 3), 100, np.uint8)
    mixed = pictures.overlay(frame, hot(np.full((16, 16), 5, np.float32), WHOLE))
    assert (mixed[40:, 40:] == 100).all()
    assert (np.abs(mixed[2, 2].astype(int) - 100) > 30).any()


def test_a_flat_map_is_no_heat() -> None:
    frame = np.full((8, 8, 3), 100, np.uint8)
    assert (pictures.overlay(frame, Heatmap(np.full((64, 64), 3.0, np.float32), WHOLE)) == 100).all()


@pytest.mark.parametrize(
    ("spec", "rows", "columns"),  # where the map's upper left quarter lies in a frame of 100 x 200
    [
        (InputSpec(64, 64), (0, 50), (0, 100)),
        (InputSpec(64, 64, region=(0.5, 0.0, 1.0, 0.5)), (0, 25), (100, 150)),
        (InputSpec(64, 64, fit="letterbox"), (0, 50), (0, 100)),
        (InputSpec(64, 64, fit="letterbox", region=(0.0, 0.5, 0.5, 1.0)), (50, 75), (0, 50)),
        (InputSpec(64, 64, columns=2, overlap=0.25), (0, 50), (0, 100)),
    ],
)
def test_heat_lies_where_the_model_saw_it(spec: InputSpec, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    frame = np.full((100, 200, 3), 100, np.uint8)
    height, width = spec.canvas
    heat = hot(np.full((height // 2, width // 2), 9, np.float32), spec)
    coloured = (pictures.overlay(frame, heat).astype(int) != 100).any(2)
    made = pictures.render(frame, heat)
    assert made.heatmap
    stored = np.load(io.BytesIO(made.heatmap), allow_pickle=False)
    assert stored.shape == (100, 200)
    for found in (coloured, stored > 4.5):
        at = np.zeros((100, 200), np.bool_)
        at[slice(*rows), slice(*columns)] = True
        assert (found ^ at).mean() < 0.03  # but for the soft edge
        edges = np.nonzero(found)
        assert abs(edges[0].min() - rows[0]) <= 2
        assert abs(edges[1].min() - columns[0]) <= 2
