"""What a frame says of its camera: on rendered parts, as they are and spoiled."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.demo.render import picture
from agent.pipeline.measures import GRID, measure, sharpness
from model.images import Frame, decode, decode_raw


def _part(seed: int) -> Frame:
    return picture(None, 0.0, (11, seed))[0]


def _noisy(frame: object, deviation: float, seed: int = 0) -> Frame:
    values = np.asarray(frame, np.float32)
    noise = np.random.default_rng(seed).normal(0, deviation, (*values.shape[:2], 1))
    return np.clip(np.rint(values + noise), 0, 255).astype(np.uint8)


def _defocused(frame: Frame, sigma: float) -> Frame:
    """A lens blurs before the sensor adds its noise."""
    return _noisy(cv2.GaussianBlur(frame.astype(np.float32), (0, 0), sigma), 1.5)


@pytest.mark.parametrize("seed", range(3))
def test_sharpness_falls_with_the_focus_whatever_the_exposure(seed: int) -> None:
    part = _part(seed)
    levels = [sharpness(_noisy(part, 1.5)), *(sharpness(_defocused(part, sigma)) for sigma in (1, 2, 3, 6, 12))]
    assert levels == sorted(levels, key=lambda level: -(level or 0)), "the worse the focus, the lower"
    sharp, at_2 = levels[0], levels[2]
    assert sharp is not None
    assert at_2 is not None
    assert sharp - at_2 > 1.0
    darker = sharpness((part * 0.7).astype(np.uint8))
    assert darker == pytest.approx(sharpness(part), abs=0.1)


def test_a_focus_lost_in_one_direction_shows_too() -> None:
    part = _part(1)
    for kernel in (np.ones((1, 9)) / 9, np.ones((9, 1)) / 9):
        smeared = np.asarray(cv2.filter2D(part, -1, kernel), np.uint8)
        assert (sharpness(part) or 0) - (sharpness(smeared) or 0) > 0.5


def test_black_and_overexposed_frames_are_told_from_good_ones() -> None:
    part = _part(2)
    good, cap = measure(part), measure(_noisy(np.full_like(part, 5), 2))
    over = measure(np.clip(part * 2.5, 0, 255).astype(np.uint8))
    assert good.brightest > 150
    assert cap.brightest <= 16
    assert good.saturated < 0.01
    assert over.saturated > 0.3


def test_a_red_lamp_is_light() -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    assert measure(red).brightest == 255
    assert measure(red).saturated == 1.0


def test_noise_changes_the_grid_and_a_repeat_does_not() -> None:
    part = _part(3)
    assert np.array_equal(measure(part).grid, measure(part.copy()).grid)
    for quality in (95, 50):
        grids = []
        for seed in (1, 2):
            data = cv2.imencode(".jpg", _noisy(part, 0.5, seed), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            grids.append(measure(decode(data.tobytes())).grid)
        assert (grids[0] != grids[1]).mean() > 0.1


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 200), width=st.integers(1, 200), seed=st.integers(0, 9))
def test_frames_of_every_size_are_measured(height: int, width: int, seed: int) -> None:
    frame = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = measure(frame)
    assert found.grid.shape == (GRID * GRID,)
    assert set(np.unique(found.grid)) <= set(np.unique(frame.max(axis=2)))
    assert (found.sharpness is None) == (height < 16 or width < 32)


def test_tiles_cover_a_large_frame_evenly() -> None:
    """Whatever part of a large frame is in focus counts: what is measured is spread over both its sides."""
    mono = np.random.default_rng(0).integers(0, 256, (1200, 1600), dtype=np.uint8)
    frame = decode_raw(mono.tobytes(), 1600, 1200, "Mono8")
    whole = sharpness(frame)
    for quarter in (np.s_[:300], np.s_[450:750], np.s_[900:], np.s_[:, :400], np.s_[:, 600:1000], np.s_[:, 1200:]):
        part = frame.copy()
        part[quarter] = 128
        assert (whole or 0) - (sharpness(part) or 0) == pytest.approx(np.log(4 / 3), abs=0.15)
