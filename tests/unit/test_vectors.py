"""What is kept of what the scorer saw: a direction, and a coarse heatmap that lies where the heat lay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent.pipeline.pictures import Heatmap
from agent.pipeline.vectors import Features, vector
from agent.store.item_vectors import SIDE
from model.images import InputSpec

SPEC = InputSpec(64, 64)
FEATURES = Features(np.array([3, 0, -4], np.float32), "5" * 64)


def _heatmap(row: int, column: int, spec: InputSpec = SPEC) -> Heatmap:
    """Cold but for a spot of 4 x 4 pixels."""
    values = np.full(spec.canvas, -2.0, np.float32)
    values[row : row + 4, column : column + 4] = 6
    return Heatmap(values, spec)


def test_features_become_a_unit_vector_whatever_their_length() -> None:
    for length in (1e-6, 1.0, 1e4):
        made = vector(replace(FEATURES, values=FEATURES.values * np.float32(length)), _heatmap(0, 0))
        assert made and made.space == FEATURES.space
        np.testing.assert_allclose(np.frombuffer(made.features, "<f2"), [0.6, 0, -0.8], atol=1e-3)


@pytest.mark.parametrize("values", [[0, 0], [float("nan"), 1], [float("inf"), 1]])
def test_features_without_a_direction_are_none(values: list[float]) -> None:
    assert vector(replace(FEATURES, values=np.array(values, np.float32)), _heatmap(0, 0)) is None


def test_the_hottest_cell_is_where_the_heat_was_and_its_scale_is_kept() -> None:
    made = vector(FEATURES, _heatmap(16, 40))
    assert made
    cells = np.frombuffer(made.heatmap, np.uint8).reshape(SIDE, SIDE)
    assert int(cells.argmax()) == 4 * SIDE + 10
    assert (cells.min(), cells.max(), made.low) == (0, 255, -2)
    assert 4 < made.high <= 6


def test_cells_lie_over_the_whole_frame_whatever_part_is_inspected() -> None:
    made = vector(FEATURES, _heatmap(0, 0, InputSpec(64, 64, region=(0.5, 0.5, 1.0, 1.0))))
    assert made
    assert int(np.frombuffer(made.heatmap, np.uint8).argmax()) == 8 * SIDE + 8


def test_a_flat_map_is_cold_everywhere() -> None:
    made = vector(FEATURES, Heatmap(np.full(SPEC.canvas, 3, np.float32), SPEC))
    assert made
    assert (made.heatmap, made.low, made.high) == (bytes(SIDE * SIDE), 3, 3)
