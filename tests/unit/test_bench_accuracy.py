"""The accuracy bench's own arithmetic: resumable results, histograms, the paired bootstrap, the table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.accuracy import draw, thin
from bench.peers.bootstrap import compare, image_aurocs, pixel_aurocs, resample
from bench.peers.report import report
from bench.peers.results import Key, Result, ResultError, Results, pixel_histograms
from model.images import LabelledImage
from model.metrics import image_auroc, pixel_auroc

SETTINGS = {"steps": 2, "images": 3}
LABELS = [0] * 20 + [1] * 20


def result(scores: list[float | None], model: str = "padim", seed: int = 0, name: str = "screw") -> Result:
    figures: dict[str, float | None] = {"image_auroc": 0.5, "pixel_auroc": None, "aupro": None}
    return Result(
        key=Key(name, model, seed), settings=SETTINGS, figures=figures, failure="",
        seconds={"fit": 2.0, "score": 0.01}, versions={"torch": "2"}, machine="a CPU",
        images=[f"{at}.png" for at in range(len(LABELS))], labels=LABELS, scores=scores, pixels=None,
    )  # fmt: skip


def scored(shift: float, seed: int) -> list[float | None]:
    rng = np.random.default_rng(seed)
    return [float(value) for value in rng.normal(size=len(LABELS)) + shift * np.array(LABELS)]


def test_a_result_is_there_once_saved_and_comes_back_whole(tmp_path: Path) -> None:
    results, one = Results(tmp_path / "new"), result(scored(1, 0))
    counts = np.arange(2 * len(LABELS) * 3, dtype=np.uint32).reshape(len(LABELS), 2, 3)
    assert not results.has(one.key, SETTINGS)
    results.save(replace(one, pixels=counts))
    assert results.has(one.key, SETTINGS)
    (back,) = results.load()
    assert back.pixels is not None
    assert (back.pixels == counts).all()
    assert replace(back, pixels=None).scores == one.scores
    assert (back.key, back.figures, back.seconds) == (one.key, one.figures, one.seconds)
    results.save(one)
    assert [again.pixels for again in results.load()] == [None]


def test_a_result_of_other_settings_is_not_taken_for_this_one(tmp_path: Path) -> None:
    results, one = Results(tmp_path), result(scored(1, 0))
    results.save(one)
    with pytest.raises(ResultError, match="other --results"):
        results.has(one.key, {**SETTINGS, "steps": 3})


def test_a_run_cut_off_while_writing_leaves_no_result(tmp_path: Path) -> None:
    one = result(scored(1, 0))
    (tmp_path / f".{one.key.stem}.part").write_text('{"half')
    assert not Results(tmp_path).has(one.key, SETTINGS)
    assert list(Results(tmp_path).load()) == []


def test_weighted_aurocs_are_those_of_the_repeated_images() -> None:
    rng = np.random.default_rng(1)
    labels, scores = [0, 1, 0, 1, 1, 0], [0.1, 0.4, 0.4, 0.9, 0.2, 0.3]
    weights = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 1, 3, 1, 0]], np.float64)
    for row, found in zip(weights.astype(int), image_aurocs(labels, scores, weights), strict=True):
        assert found == pytest.approx(image_auroc(np.repeat(labels, row).tolist(), np.repeat(scores, row).tolist()))
    masks = [rng.random((40, 50)) < 0.1 for _ in labels]
    maps = [(rng.normal(size=mask.shape) + 2 * mask).astype(np.float32) for mask in masks]
    for row, found in zip(weights.astype(int), pixel_aurocs(pixel_histograms(masks, maps), weights), strict=True):
        repeated = np.repeat(np.arange(len(labels)), row)
        exact = pixel_auroc([masks[at] for at in repeated], [maps[at] for at in repeated])
        assert found == pytest.approx(exact, abs=1e-3)


def test_histograms_hold_every_pixel_of_its_kind() -> None:
    masks = [np.zeros((9, 9), bool), np.eye(9, dtype=bool)]
    counts = pixel_histograms(masks, [np.ones((9, 9), np.float32), np.arange(81, dtype=np.float32).reshape(9, 9)])
    assert counts.sum(2).tolist() == [[81, 0], [72, 9]]


def test_resampling_keeps_the_numbers_of_both_kinds() -> None:
    drawn = resample(LABELS, 50, np.random.default_rng(0))
    assert (drawn[:, :20].sum(1) == 20).all()
    assert (drawn[:, 20:].sum(1) == 20).all()
    assert (drawn[0] != drawn[1]).any()


def test_the_bound_is_below_the_mean_and_says_which_model_is_better() -> None:
    good = {"screw": {seed: result(scored(3, seed), seed=seed) for seed in range(3)}}
    poor = {"screw": {seed: result(scored(0.3, seed), seed=seed) for seed in range(2)}}
    found = compare(good, poor, "image_auroc", np.random.default_rng(0))
    assert found is not None
    assert 0 < found.lower < found.mean < 1
    assert found.pairs == 2  # the third seed has no counterpart
    reverse = compare(poor, good, "image_auroc", np.random.default_rng(0))
    assert reverse is not None
    assert reverse.mean == pytest.approx(-found.mean)
    assert reverse.lower < reverse.mean < 0


def test_a_model_is_exactly_as_good_as_itself() -> None:
    runs = {"screw": {seed: result(scored(1, seed), seed=seed) for seed in range(3)}}
    found = compare(runs, runs, "image_auroc", np.random.default_rng(0))
    assert found is not None
    assert (found.mean, found.lower) == (0, 0)


def test_a_set_without_a_common_seed_gives_no_difference() -> None:
    runs = {"screw": {0: result(scored(1, 0))}}
    assert compare(runs, {"screw": {}}, "image_auroc", np.random.default_rng(0)) is None
    assert compare(runs, runs, "pixel_auroc", np.random.default_rng(0)) is None


def test_different_test_images_are_refused() -> None:
    one = result(scored(1, 0))
    other = replace(one, images=["other.png", *one.images[1:]])
    with pytest.raises(ResultError, match="different test images"):
        compare({"screw": {0: one}}, {"screw": {0: other}}, "image_auroc", np.random.default_rng(0))


def test_the_table_shows_what_is_missing() -> None:
    found = [
        result(scored(2, 0), "ours-default"), result(scored(2, 1), "ours-default", 1), result(scored(1, 0), "padim")
    ]  # fmt: skip
    models = {"ours-paper": "", "ours-default": "", "reverse_distillation": "", "padim": "", "draem": "needs a GPU"}
    lines = list(report(found, models, ["screw"], [0, 1], repeats=50))
    rows = {tuple(cells[1:3]): cells[3:-1] for cells in ([cell.strip() for cell in line.split("|")] for line in lines)}
    assert rows["screw", "ours-default"] == ["0.5000 ± 0.0000", "none", "none", "2", "10", "2 of 2"]
    assert rows["screw", "padim"][-1] == "1 of 2"
    assert rows["mean", "draem"] == ["needs a GPU"] * 5 + ["0 of 2"]
    assert rows["screw", "ours-paper"] == ["missing"] * 5 + ["0 of 2"]
    assert rows["ours-paper - reverse_distillation", "mean"] == ["missing"] * 4
    assert rows["ours-default - padim", "screw"][0].endswith("(1 of 2)")


def test_results_of_different_settings_make_no_table() -> None:
    one = result(scored(1, 0))
    other = replace(one, settings={**SETTINGS, "steps": 9}, key=replace(one.key, seed=1))
    with pytest.raises(ResultError, match="different settings"):
        list(report([one, other], {"padim": ""}, ["screw"], [0, 1]))


def test_training_images_are_drawn_by_the_seed_and_test_images_thinned_over_all_kinds() -> None:
    images = [LabelledImage(Path(f"{at:03}.png"), "good" if at < 50 else "dent") for at in range(100)]
    assert draw(images, 10, 0) == draw(images, 10, 0) != draw(images, 10, 1)
    assert draw(images, 10, 0) == sorted(draw(images, 10, 0), key=lambda image: image.path)
    assert draw(images, 1000, 0) == images
    assert {image.label for image in thin(images, 4)} == {"good", "dent"}
    assert thin(images, 0) == images
