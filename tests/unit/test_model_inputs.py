"""From a frame to model input and back: region, stretch and letterbox, tiles, ignore mask."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.images import Frame, InputError, InputSpec, Map, Mask, ignore_mask, inspected, prepare, to_frame

RNG = np.random.default_rng(0)


def noise(height: int, width: int) -> Frame:
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def slope(height: int, width: int) -> Frame:
    """Red grows to the right, green downwards: each pixel says where it is."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 0] = np.linspace(0, 255, width).round()[None, :]
    frame[..., 1] = np.linspace(0, 255, height).round()[:, None]
    return frame


def png(mask: Mask) -> str:
    return base64.b64encode(cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes()).decode()


def canvas_of(frame: Frame, spec: InputSpec) -> Frame:
    """The tiles laid together; where they overlap, they must agree."""
    canvas = np.zeros((*spec.canvas, 3), np.uint8)
    done = np.zeros(spec.canvas, np.bool_)
    for tile, (top, left) in zip(prepare(frame, spec).tiles, spec.corners, strict=True):
        at = slice(top, top + spec.height), slice(left, left + spec.width)
        assert np.array_equal(canvas[at][done[at]], tile[done[at]])
        canvas[at], done[at] = tile, True
    assert done.all()
    return canvas


@st.composite
def regions(draw: st.DrawFn) -> tuple[float, float, float, float]:
    edges = [sorted(draw(st.tuples(*[st.floats(0, 1)] * 2).filter(lambda e: abs(e[0] - e[1]) > 0.05))) for _ in "xy"]
    return edges[0][0], edges[1][0], edges[0][1], edges[1][1]


@st.composite
def specs(draw: st.DrawFn) -> InputSpec:
    ignored = np.zeros((9, 7), np.bool_)
    ignored[draw(st.integers(0, 8)), draw(st.integers(0, 6))] = True
    spec = InputSpec(
        height=draw(st.sampled_from([64, 96])), width=draw(st.sampled_from([64, 128])),
        fit=draw(st.sampled_from(["stretch", "letterbox"])), region=draw(regions()),
        rows=draw(st.integers(1, 3)), columns=draw(st.integers(1, 3)), overlap=draw(st.floats(0, 0.5)),
    )  # fmt: skip
    try:
        return replace(spec, ignore=png(ignored) if draw(st.booleans()) else "")
    except InputError:  # the mask's pixel is as large as the region
        return spec


SHAPES = st.tuples(st.integers(20, 300), st.integers(20, 300))


@settings(max_examples=40, deadline=None)
@given(spec=specs(), shape=SHAPES)
def test_every_frame_becomes_tiles_and_its_map_comes_back_in_its_own_shape(
    spec: InputSpec, shape: tuple[int, int]
) -> None:
    try:
        prepared = prepare(noise(*shape), spec)
    except InputError as error:
        assert "nothing would be inspected" in str(error)  # the mask's pixel covers a small region's canvas
        return
    assert prepared.tiles.shape == (spec.rows * spec.columns, spec.height, spec.width, 3)
    assert prepared.tiles.dtype == np.uint8
    if prepared.mask is not None:
        assert prepared.mask.shape == spec.canvas
        assert spec.masked
        assert prepared.mask.any()
        assert not prepared.mask.all()
    found = to_frame(RNG.random(spec.canvas, np.float32), shape, spec)
    assert found.shape == shape
    assert found.dtype == np.float32


@settings(max_examples=40, deadline=None)
@given(spec=specs(), shape=SHAPES)
def test_neighbouring_tiles_show_the_same_pixels_and_cover_the_canvas(spec: InputSpec, shape: tuple[int, int]) -> None:
    spec = replace(spec, ignore="")
    assert canvas_of(noise(*shape), spec).shape[:2] == spec.canvas


@settings(max_examples=40, deadline=None)
@given(spec=specs(), shape=SHAPES, at=st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9)))
def test_a_spot_on_the_map_comes_back_to_the_place_it_was_seen_at(
    spec: InputSpec, shape: tuple[int, int], at: tuple[float, float]
) -> None:
    """A frame whose colours say where they are; a hot pixel of the canvas; the hottest place of the frame's map."""
    spec = replace(spec, ignore="")
    canvas = canvas_of(slope(*shape), spec)
    inside = inspected(*shape, spec)
    rows, columns = np.nonzero(np.ones(spec.canvas, np.bool_) if inside is None else inside)
    row = round(rows.min() + at[0] * (rows.max() - rows.min()))
    column = round(columns.min() + at[1] * (columns.max() - columns.min()))
    spot = np.zeros(spec.canvas, np.float32)
    cv2.circle(spot, (column, row), 3, 1.0, -1)
    found = to_frame(np.asarray(cv2.GaussianBlur(spot, (0, 0), 2), np.float32), shape, spec)
    hottest = np.unravel_index(found.argmax(), shape)
    colour = canvas[row, column].astype(float) / 255
    place = np.array([colour[1] * (shape[0] - 1), colour[0] * (shape[1] - 1)])
    # Half a step of the colours, a pixel of the canvas in the frame, and a pixel of the frame.
    region = np.array([spec.region[3] - spec.region[1], spec.region[2] - spec.region[0]])
    extent = np.array([np.ptp(rows) + 1, np.ptp(columns) + 1])
    allowed = np.array(shape) / 510 + 2 * region * shape / extent + 1.5
    assert (np.abs(np.array(hottest) - place) <= allowed).all()


def test_the_models_own_size_is_left_alone() -> None:
    frame = noise(64, 96)
    prepared = prepare(frame, InputSpec(64, 96))
    assert np.array_equal(prepared.tiles[0], frame)
    assert prepared.mask is None
    values = RNG.random((64, 96), np.float32)
    assert np.array_equal(to_frame(values, frame.shape, InputSpec(64, 96)), values)


@pytest.mark.parametrize("shape", [(256, 512), (128, 300), (40, 1000), (33, 70)])
def test_a_stretched_frame_keeps_its_mean_whatever_side_shrinks(shape: tuple[int, int]) -> None:
    """Fine stripes along the side that shrinks become their mean; bilinear sampling would pick some of them."""
    frame = np.zeros((*shape, 3), np.uint8)
    frame[:, ::2] = 200
    tile = prepare(frame, InputSpec(64, 64)).tiles[0].astype(float)
    assert tile.shape == (64, 64, 3)
    if shape[1] >= 300:
        assert np.abs(tile - 100).max() < 30
    assert tile.mean() == pytest.approx(100, abs=3)


def test_a_region_is_cut_out_before_anything_else() -> None:
    frame = noise(100, 200)
    spec = InputSpec(64, 64, region=(0.25, 0.1, 0.75, 0.9))
    whole = prepare(np.ascontiguousarray(frame[10:90, 50:150]), InputSpec(64, 64))
    assert np.array_equal(prepare(frame, spec).tiles, whole.tiles)
    heat = to_frame(np.full((64, 64), 5, np.float32) + np.eye(64, dtype=np.float32), frame.shape, spec)
    assert (heat[10:90, 50:150].max(), heat[:10].max(), heat[:, 150:].max()) == (6, 5, 5)


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [((100, 200), (16, 48), (0, 64)), ((200, 100), (0, 64), (16, 48)), ((70, 70), (0, 64), (0, 64))],
)
def test_a_letterbox_keeps_proportions_and_masks_its_bars(
    shape: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    spec = InputSpec(64, 64, fit="letterbox")
    prepared = prepare(slope(*shape), spec)
    expected = np.zeros((64, 64), np.bool_)
    expected[slice(*rows), slice(*columns)] = True
    found = np.ones((64, 64), np.bool_) if prepared.mask is None else prepared.mask
    assert np.array_equal(found, expected)
    tile = prepared.tiles[0]
    assert (tile[: rows[0]] == tile[rows[0]]).all()  # the edge, repeated outwards
    assert (tile[rows[1] :] == tile[rows[1] - 1]).all()


def test_a_part_in_letterbox_is_as_wide_as_it_is_high() -> None:
    frame = np.zeros((100, 300, 3), np.uint8)
    cv2.circle(frame, (150, 50), 40, (255, 255, 255), -1)
    spots = [prepare(frame, InputSpec(96, 96, fit=fit)).tiles[0][..., 0] > 127 for fit in ("letterbox", "stretch")]
    sides = [(int(spot.any(1).sum()), int(spot.any(0).sum())) for spot in spots]
    assert abs(sides[0][0] - sides[0][1]) <= 1
    assert sides[1][0] > 2 * sides[1][1]


def test_the_bars_of_a_letterbox_never_reach_the_frames_map() -> None:
    spec = InputSpec(64, 64, fit="letterbox")
    values = np.zeros((64, 64), np.float32)
    values[:10] = 100  # in the upper bar
    assert to_frame(values, (100, 200), spec).max() == 0


@pytest.mark.parametrize(("rows", "columns", "overlap"), [(1, 1, 0.5), (1, 2, 0.25), (2, 3, 0.0), (3, 2, 0.5)])
def test_tiles_lie_in_rows_each_a_step_from_the_last(rows: int, columns: int, overlap: float) -> None:
    spec = InputSpec(64, 128, rows=rows, columns=columns, overlap=overlap)
    down, across = 64 * (1 - overlap), 128 * (1 - overlap)
    assert spec.strides == (down, across)
    assert spec.canvas == (64 + (rows - 1) * down, 128 + (columns - 1) * across)
    assert spec.tiles == len(spec.corners) == rows * columns
    assert spec.corners[-1] == ((rows - 1) * down, (columns - 1) * across)
    frame = noise(*spec.canvas)
    assert np.array_equal(canvas_of(frame, spec), frame)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shape=SHAPES, fit=st.sampled_from(["stretch", "letterbox"]), region=regions())
def test_no_ignored_pixel_is_ever_inspected(
    data: st.DataObject, shape: tuple[int, int], fit: str, region: tuple[float, float, float, float]
) -> None:
    ignored = np.zeros(shape, np.bool_)
    for _ in range(3):
        ignored[data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))] = True
    spec = InputSpec(64, 64, fit=fit, region=region)
    everywhere = inspected(*shape, spec)
    try:
        spec = replace(spec, ignore=png(ignored))
        mask = inspected(*shape, spec)
    except InputError:
        return
    left, top, right, bottom = region
    rows, columns = slice(round(top * shape[0]), round(bottom * shape[0])), slice(
        round(left * shape[1]), round(right * shape[1])
    )  # fmt: skip
    if not ignored[rows, columns].any():
        assert (mask is None) == (everywhere is None)
        return
    assert mask is not None
    # A frame that is bright only where it is ignored: no inspected pixel of the canvas may see any of it.
    bright = np.repeat(ignored[..., None], 3, 2).astype(np.uint8) * 255
    seen = prepare(bright, spec).tiles[0].max(2)
    shrinks = rows.stop - rows.start >= 64 and columns.stop - columns.start >= 64 and fit == "stretch"
    if shrinks:  # where frames are enlarged, their bilinear resize reaches half a pixel further
        assert seen[mask].max() == 0
    assert mask.any()


def test_a_mask_of_another_size_lies_over_the_same_places() -> None:
    fine = np.zeros((400, 800), np.bool_)
    fine[100:200, 400:600] = True
    coarse = np.zeros((4, 8), np.bool_)
    coarse[1, 4:6] = True
    made = [inspected(400, 800, InputSpec(64, 128, ignore=png(one))) for one in (fine, coarse)]
    assert made[0] is not None
    assert made[1] is not None
    assert np.array_equal(made[0], made[1])
    assert not made[0][16:32, 64:96].any()
    assert made[0].sum() == 64 * 128 - 16 * 32


def test_an_ignore_mask_is_read_from_an_image(tmp_path: Path) -> None:
    file = tmp_path / "mask.png"
    picture = np.zeros((3000, 2000), np.uint8)
    picture[1500, 1000] = 255  # one pixel, which no shrinking may lose
    cv2.imwrite(str(file), picture)
    spec = InputSpec(64, 64, ignore=ignore_mask(file))
    mask = inspected(3000, 2000, spec)
    assert mask is not None
    assert 1 <= (~mask).sum() <= 4
    assert not mask[32, 32]
    assert spec.masked
    assert not InputSpec().masked


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.full((8, 8), 255, np.uint8), "white everywhere"),
        (np.zeros((8, 8), np.uint8), "no white pixel"),
        (None, "m.png"),
    ],
)
def test_a_mask_that_makes_no_sense_is_refused(tmp_path: Path, content: Frame | None, words: str) -> None:
    file = tmp_path / "m.png"
    if content is not None:
        cv2.imwrite(str(file), content)
    with pytest.raises(InputError, match=words):
        ignore_mask(file)


def _left_half() -> str:
    mask = np.zeros((10, 10), np.bool_)
    mask[:, :5] = True
    return png(mask)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"height": 100}, "multiples of 32"),
        ({"width": 32}, "from 64 on"),
        ({"fit": "crop"}, "'stretch' or 'letterbox'"),
        ({"region": (0.5, 0.0, 0.5, 1.0)}, "left < right"),
        ({"region": (0.0, 0.0, 1.0, 1.1)}, "within 0 .. 1"),
        ({"region": (0.0, float("nan"), 1.0, 1.0)}, "top < bottom"),
        ({"region": (0.0, 0.5, 1.0, 0.51)}, "1/64"),
        ({"rows": 0}, "1 x 1 tiles"),
        ({"columns": 2, "overlap": 0.6}, "overlap of 0 .. 0.5"),
        ({"overlap": float("nan")}, "overlap"),
        ({"region": (0.0, 0.0, 1.0)}, "left, top, right and bottom"),
        ({"ignore": "no base64"}, "not an image"),
        ({"ignore": base64.b64encode(b"no image").decode()}, "not an image"),
        ({"ignore": _left_half(), "region": (0.0, 0.0, 0.5, 1.0)}, "covers the whole region"),
    ],
)
def test_a_specification_that_cannot_be_used_says_why(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        InputSpec(**values)


def test_a_frame_too_small_for_the_region_is_refused_and_64_pixels_are_enough() -> None:
    spec = InputSpec(64, 64, region=(0.0, 0.5, 1.0, 0.5 + 1 / 64))
    with pytest.raises(InputError, match="smaller than a pixel of a 40 x 90 frame"):
        prepare(noise(40, 90), spec)
    assert prepare(noise(64, 64), spec).tiles.shape == (1, 64, 64, 3)
    values: Map = np.ones((64, 64), np.float32)
    assert to_frame(values, (5, 5), spec).shape == (5, 5)  # a small picture of a large frame still gets its map


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        (np.zeros((64, 64, 3), np.uint16), "uint16"), (np.zeros((64, 64, 3), np.float32), "float32"),
        (np.zeros((64, 64), np.uint8), r"shape \(64, 64\)"), (np.zeros((64, 64, 4), np.uint8), r"shape \(64, 64, 4\)"),
        (np.zeros((3, 64, 64), np.uint8), r"shape \(3, 64, 64\)"), ([[[0, 0, 0]]], "a list"),
    ],
)  # fmt: skip
def test_a_frame_of_other_values_or_another_shape_is_refused(frame: Any, found: str) -> None:
    with pytest.raises(InputError, match=f"{found}.* uint8 H x W x 3 in RGB is needed"):
        prepare(frame, InputSpec(64, 64))


def test_a_region_out_of_json_is_the_same_region() -> None:
    given: Any = [0.0, 0.0, 0.5, 0.5]
    assert InputSpec(64, 64, region=given) == InputSpec(64, 64, region=(0.0, 0.0, 0.5, 0.5))
    assert prepare(noise(80, 80), InputSpec(64, 64, "letterbox", region=given)).mask is None


@pytest.mark.parametrize("left", [0.05, 0.125, 0.225, 0.3])
@pytest.mark.parametrize(("side", "shown"), [(100, 1000), (64, 2048)])
def test_no_ignored_pixel_is_inspected_in_a_region_that_cuts_the_masks_pixels(
    side: int, shown: int, left: float
) -> None:
    ignored = np.zeros((side, side), np.bool_)
    ignored[side // 2 : side * 5 // 8, side // 2 : side * 5 // 8] = True
    spec = InputSpec(256, 256, region=(left, left, 1.0, 1.0), ignore=png(ignored))
    mask = inspected(shown, shown, spec)
    assert mask is not None
    bright = ignored.repeat(shown // side, 0).repeat(shown // side, 1)
    frame = np.repeat(bright[..., None], 3, 2).astype(np.uint8) * 255
    assert prepare(frame, spec).tiles[0].max(2)[mask].max() == 0


def test_masks_are_shared_and_cannot_be_changed() -> None:
    mask = inspected(100, 200, InputSpec(64, 64, fit="letterbox"))
    assert mask is inspected(100, 200, InputSpec(64, 64, fit="letterbox"))
    assert mask is not None
    with pytest.raises(ValueError, match="read-only"):
        mask[0, 0] = True
