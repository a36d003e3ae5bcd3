"""The map's arithmetic: blending, masks, normalisations, and the network as their sum, against slow references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from model.anomaly_map import blend, blur, hann, image_score, smooth
from model.images import InputSpec
from model.network import fill
from model.score import FLOOR, Normalisation, ScoreParameters, components, normalisation, paper

RNG = np.random.default_rng(0)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 3), columns=st.integers(1, 3), overlap=st.floats(0, 0.5))
def test_a_canvas_cut_into_tiles_is_blended_back_unchanged(rows: int, columns: int, overlap: float) -> None:
    spec = InputSpec(64, 96, rows=rows, columns=columns, overlap=overlap)
    shares = hann(spec)
    assert float(shares.min()) >= 0
    canvas = torch.from_numpy(RNG.normal(size=(2, 3, *spec.canvas)).astype(np.float32))
    tiles = torch.stack([canvas[:, :, y : y + 64, x : x + 96] for y, x in spec.corners], 1).flatten(0, 1)
    torch.testing.assert_close(blend(tiles, spec, shares), canvas, rtol=1e-4, atol=1e-5)


def test_overlapping_tiles_are_weighed_by_their_windows() -> None:
    spec = InputSpec(64, 64, columns=2, overlap=0.5)
    tiles = torch.stack([torch.zeros(1, 64, 64), torch.ones(1, 64, 64)])
    row = blend(tiles, spec, hann(spec))[0, 0, 32]
    assert torch.equal(row[:32], torch.zeros(32)) and torch.equal(row[64:], torch.ones(32))
    at = np.arange(32) + 0.5
    left, right = np.sin(np.pi * (at + 32) / 64) ** 2, np.sin(np.pi * at / 64) ** 2
    np.testing.assert_allclose(row[32:64].numpy(), right / (left + right), rtol=1e-4, atol=1e-5)


def test_the_masked_blur_averages_inspected_pixels_only() -> None:
    values = RNG.normal(size=(48, 64))
    mask = RNG.random((48, 64)) < 0.6
    kernel = {"sigma": 4.0, "radius": 16, "mode": "reflect"}
    wanted = ndimage.gaussian_filter(values * mask, **kernel) / ndimage.gaussian_filter(mask.astype(float), **kernel)
    spoiled = torch.from_numpy(np.where(mask, values, 1e3).astype(np.float32))[None, None]
    found = smooth(spoiled, torch.from_numpy(mask)[None])[0, 0].numpy()
    np.testing.assert_allclose(found[mask], wanted[mask], rtol=1e-3, atol=1e-4)


def test_what_is_not_inspected_never_decides() -> None:
    maps = torch.tensor([[[5.0, 1.0], [2.0, 9.0]]])
    filled = fill(maps, torch.tensor([[[0, 1], [1, 0]]]))
    assert filled.tolist() == [[[1.0, 1.0], [2.0, 1.0]]]


def test_normalisation_as_a_whole_and_place_by_place() -> None:
    maps = torch.from_numpy(RNG.normal(3, 2, (40, 2, 48, 48)).astype(np.float32))
    whole = normalisation(maps, None, positional=False)
    assert whole.mean.shape == (2, 1, 1)
    assert float(whole.mean[0]) == pytest.approx(float(maps[:, 0].mean()), abs=1e-3)
    assert float(whole.deviation[1]) == pytest.approx(float(maps[:, 1].std()), rel=1e-3)
    places = normalisation(maps, None, positional=True)
    kernel = {"sigma": 4.0, "radius": 16, "mode": "reflect"}
    values = maps[:, 0].double().numpy()
    variance = ndimage.gaussian_filter(values.var(0), **kernel) + FLOOR**2 * values.var(0).mean()
    np.testing.assert_allclose(places.mean[0].numpy(), ndimage.gaussian_filter(values.mean(0), **kernel), rtol=1e-3)
    np.testing.assert_allclose(places.deviation[0].numpy(), np.sqrt(variance), rtol=1e-3)


@pytest.mark.parametrize("positional", [False, True])
def test_masked_places_do_not_move_a_normalisation(positional: bool) -> None:
    maps = torch.from_numpy(RNG.normal(size=(20, 1, 48, 48)).astype(np.float32))
    mask = torch.ones(20, 48, 48)
    mask[:, :, 40:] = 0
    spoiled = maps.clone()
    spoiled[..., 40:] = maps[..., 40:] * 100
    clean, other = (normalisation(one, mask, positional=positional) for one in (maps, spoiled))
    assert torch.equal(clean.deviation, other.deviation)
    assert torch.equal(clean.mean, other.mean)


def test_a_place_that_never_varied_still_has_a_deviation() -> None:
    assert float(normalisation(torch.zeros(5, 1, 32, 32), None, positional=True).deviation.min()) > 0
    assert float(normalisation(torch.zeros(5, 1, 32, 32), None, positional=False).deviation.min()) > 0


@pytest.mark.parametrize("normals", [1, 12])
def test_normals_that_do_not_vary_make_no_place_a_thousandfold_anomaly(normals: int) -> None:
    maps = torch.from_numpy(RNG.normal(3, 2, (1, 1, 48, 48)).astype(np.float32)).repeat(normals, 1, 1, 1)
    whole = normalisation(maps, None, positional=False)
    places = normalisation(maps, None, positional=True)
    assert float(places.deviation.min()) == pytest.approx(FLOOR * 0.01 * float(whole.deviation), rel=0.01)


def test_parameters_are_written_and_read() -> None:
    made = ScoreParameters(paper().scales, normalisation(torch.rand(4, 2, 32, 32), None, positional=True), 0.25,
                           torch.rand(7, 5))  # fmt: skip
    read = ScoreParameters.from_tensors(made.to_tensors())
    assert read.share == 0.25 and read.remembers and read.reconstructs
    assert torch.equal(read.position.mean, made.position.mean)
    assert read.prototypes is not None and torch.equal(read.prototypes, torch.as_tensor(made.prototypes))


def test_the_papers_map_is_the_smoothed_sum_of_pixel_cosines() -> None:
    shapes = ((2, 8, 16, 16), (2, 12, 8, 8), (2, 20, 4, 4))
    teacher, student = ([torch.from_numpy(RNG.normal(size=shape)).float() for shape in shapes] for _ in range(2))
    for scales in (paper().scales, Normalisation(torch.tensor([0.9, 1.0, 1.1]), torch.tensor([0.1, 0.2, 0.3]))):
        total = np.zeros((64, 64))
        for t, s, mean, deviation in zip(teacher, student, scales.mean, scales.deviation, strict=True):
            x, y = (level[0].numpy().astype(np.float64) for level in (t, s))
            cosine = (x * y).sum(0) / np.linalg.norm(x, axis=0) / np.linalg.norm(y, axis=0)
            at = np.arange(64) * (x.shape[1] - 1) / 63
            grid = np.meshgrid(at, at, indexing="ij")
            total += ndimage.map_coordinates((1 - cosine - float(mean)) / float(deviation), grid, order=1)
        wanted = ndimage.gaussian_filter(total, 4.0, radius=16, mode="reflect")
        found = smooth(components(teacher, student, scales, None, (64, 64)))[0, 0]
        np.testing.assert_allclose(found.numpy(), wanted, atol=1e-4)
        assert float(image_score(found[None])[0]) == pytest.approx(wanted.max(), abs=1e-4)


def test_the_blur_is_scipys() -> None:
    values = RNG.normal(size=(2, 3, 40, 56)).astype(np.float32)
    wanted = ndimage.gaussian_filter(values.astype(np.float64), 4.0, radius=16, mode="reflect", axes=(2, 3))
    np.testing.assert_allclose(blur(torch.from_numpy(values)).numpy(), wanted, atol=1e-5)
