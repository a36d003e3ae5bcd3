"""Evaluation of folders with a scorer whose scores and maps are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.cases import SHOWN, Case, collect
from model.evaluation import Evaluation, evaluate, measure
from model.images import FolderError, Frame, InputSpec, LabelledImage, read_folder, to_frame
from model.metrics import Bools, Floats, MetricError, aupro, image_auroc, pixel_auroc
from model.progress import Progress

HEIGHT, WIDTH, SIDE = 48, 80, 64


@dataclass(frozen=True)
class Told:
    """A score of a frame."""

    score: float
    map: Floats


class Brightness:
    """Scores a frame by its own brightness: the map is the frame, as the model would see it."""

    spec = InputSpec(SIDE, SIDE)

    def score(self, frames: Sequence[Frame]) -> list[Told]:
        maps = [cv2.resize(frame[..., 0], (SIDE, SIDE)).astype(np.float32) for frame in frames]
        return [Told(float(one.max()), one) for one in maps]


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Noise; defects are brighter spots: dents much, scratches a little."""
    rng = np.random.default_rng(0)
    write(tmp_path / "train/good/0.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    for kind, count, light in (("good", 20, 0), ("dent", 7, 90), ("scratch", 5, 25)):
        for at in range(count):
            noise = rng.integers(60, 120, (HEIGHT, WIDTH))
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            mask[10:18, 20 + at : 34 + at] = 255
            picture = np.repeat((noise + light * (mask > 0))[..., None], 3, 2).astype(np.uint8)
            write(tmp_path / f"test/{kind}/{at}.png", picture)
            if light:
                write(tmp_path / f"ground_truth/{kind}/{at}_mask.png", mask)
    return tmp_path


def measured(folder: Path) -> tuple[list[LabelledImage], Evaluation]:
    images = list(read_folder(folder).test)
    return images, evaluate(Brightness(), images)


def test_figures_are_those_of_the_metrics_at_ground_truth_resolution(folder: Path) -> None:
    images, found = measured(folder)
    frames = [image.frame() for image in images]
    told = Brightness().score(frames)
    masks: list[Bools] = [
        mask for one, f in zip(images, frames, strict=True) if (mask := one.mask(f.shape)) is not None
    ]
    maps = [to_frame(one.map, frame.shape, Brightness.spec) for one, frame in zip(told, frames, strict=True)]
    assert maps[0].shape == (HEIGHT, WIDTH)
    assert found.image_auroc == image_auroc([image.label != "good" for image in images], [one.score for one in told])
    assert found.pixel_auroc == pytest.approx(pixel_auroc(masks, maps))
    assert found.aupro == pytest.approx(aupro(masks, maps, 0.3))
    assert found.aupro_05 == pytest.approx(aupro(masks, maps, 0.05))
    assert (found.n_good, found.n_defect) == (20, 12)


def test_each_kind_is_measured_against_all_good_images(folder: Path) -> None:
    images, found = measured(folder)
    scores = [one.score for one in Brightness().score([image.frame() for image in images])]
    by_kind = {
        kind: [score for image, score in zip(images, scores, strict=True) if image.label == kind]
        for kind in ("good", "dent", "scratch")
    }
    assert {kind: one.n for kind, one in found.per_defect.items()} == {"dent": 7, "scratch": 5}
    for kind, one in found.per_defect.items():
        wanted = image_auroc([0] * 20 + [1] * one.n, by_kind["good"] + by_kind[kind])
        assert one.image_auroc == wanted
        assert one.image_auroc_interval[0] <= wanted <= one.image_auroc_interval[1]
    dent, scratch = found.per_defect["dent"].aupro, found.per_defect["scratch"].aupro
    assert dent is not None
    assert scratch is not None
    for one in found.per_defect.values():
        assert one.aupro is not None and one.aupro_interval is not None
        low, high = one.aupro_interval
        assert low <= one.aupro <= high
        assert f"AUPRO at 0.3 {one.aupro:.3f} [{low:.3f}, {high:.3f}]" in found.describe()
    assert found.aupro == pytest.approx((7 * dent + 5 * scratch) / 12)  # one region an image
    assert dent > scratch


def test_json_has_the_stated_keys_and_null_without_masks(folder: Path) -> None:
    whole = json.loads(json.dumps(measured(folder)[1].to_dict()))
    (folder / "ground_truth/dent/3_mask.png").unlink()
    found = measured(folder)[1]
    partly = json.loads(json.dumps(found.to_dict()))
    assert set(whole) == set(partly) == {
        "image_auroc", "image_ap", "image_f1max", "pixel_auroc", "aupro", "aupro_05", "n_good", "n_defect",
        "per_defect", "intervals",
    }  # fmt: skip
    assert set(whole["intervals"]) == {"image_auroc", "image_ap", "image_f1max", "pixel_auroc", "aupro", "aupro_05"}
    assert set(partly["intervals"]) == {"image_auroc", "image_ap", "image_f1max"}
    assert [partly[key] for key in ("pixel_auroc", "aupro", "aupro_05")] == [None] * 3
    assert partly["per_defect"]["scratch"]["aupro"] is partly["per_defect"]["scratch"]["aupro_interval"] is None
    assert partly["image_auroc"] == whole["image_auroc"]
    assert "without a mask" in found.describe()


def test_a_mask_that_shows_nothing_is_refused(folder: Path) -> None:
    write(folder / "ground_truth/dent/0_mask.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    with pytest.raises(FolderError, match=r"0_mask\.png: marks nothing on 0\.png"):
        evaluate(Brightness(), read_folder(folder).test)


def test_intervals_hold_their_figures_and_repeat(folder: Path) -> None:
    images, found = measured(folder)
    for key, (low, high) in found.intervals.items():
        assert low <= getattr(found, key) <= high, key
    cases = collect(Brightness(), images)
    assert measure(cases) == found
    assert measure(cases, rng=np.random.default_rng(5)).intervals != found.intervals


def test_the_cases_kept_are_the_extremes(folder: Path) -> None:
    images = read_folder(folder).test
    cases = collect(Brightness(), images)
    good = sorted((s for label, s in zip(cases.labels, cases.scores, strict=True) if label == "good"), reverse=True)
    bad = sorted(s for label, s in zip(cases.labels, cases.scores, strict=True) if label != "good")
    assert scores_of(cases.alarming) == good[:SHOWN]
    assert scores_of(cases.missed) == bad[:SHOWN]
    assert scores_of(cases.clearest) == bad[: -SHOWN - 1 : -1]
    assert {case.image.label for case in cases.alarming} == {"good"}
    assert all(case.map.base is None and case.map.max() == case.score for case in cases.missed)


def scores_of(cases: Sequence[Case]) -> list[float]:
    return [case.score for case in cases]


def test_progress_reaches_its_end(folder: Path) -> None:
    heard: list[Progress] = []
    images = read_folder(folder).test
    collect(Brightness(), images, heard.append)
    assert [(one.phase, one.step, one.steps) for one in heard] == [("evaluating", 16, 32), ("evaluating", 32, 32)]
    assert heard[-1].eta_s == 0


def test_what_cannot_be_measured_says_why(folder: Path) -> None:
    images = read_folder(folder).test
    with pytest.raises(MetricError, match="test/good and at least one test/KIND"):
        evaluate(Brightness(), [image for image in images if image.label == "good"])

    class Broken(Brightness):
        def score(self, frames: Sequence[Frame]) -> list[Told]:
            return [Told(float("nan"), one.map) for one in super().score(frames)]

    with pytest.raises(MetricError, match=r"0\.png: its score is not finite"):
        evaluate(Broken(), images)
    write(folder / "ground_truth/dent/0_mask.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(FolderError, match="another size"):
        evaluate(Brightness(), images)
