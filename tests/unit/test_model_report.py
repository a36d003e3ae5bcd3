"""The report's picture: that it is written, whole, and shows what it should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.cases import Case, Cases
from model.evaluation import measure
from model.images import InputSpec, LabelledImage
from model.metrics import ImagePixels
from model.report import ReportError, write_report

SPEC = InputSpec(64, 64)
Picture = np.ndarray


@pytest.fixture
def cases(tmp_path: Path) -> Cases:
    """Images of very different shapes; the defect, and with it the hot spot of the map, at their upper left."""
    rng = np.random.default_rng(0)
    kept: dict[str, list[Case]] = {"good": [], "bent_$1": []}
    for label, shift in (("good", 0.0), ("bent_$1", 2.0)):
        for at, shape in enumerate([(40, 120), (90, 30), (64, 64)]):
            path, mask = tmp_path / label / f"{at}{'_long_name' * 5}.png", tmp_path / "masks" / f"{label}{at}.png"
            for one in (path, mask):
                one.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), rng.integers(90, 160, (*shape, 3), np.uint8))
            spot = np.zeros(shape, np.uint8)
            spot[: shape[0] // 4, : shape[1] // 4] = 255
            cv2.imwrite(str(mask), spot)
            heat = np.zeros((64, 64), np.float32)
            heat[:16, :16] = shift + at
            kept[label].append(Case(LabelledImage(path, label, mask), shift + at, heat, SPEC))
    good, bent = kept["good"], kept["bent_$1"]
    every = good + bent
    pixels = []
    for case in every:
        shape = case.image.frame().shape
        mask_of = case.image.mask(shape)
        assert mask_of is not None
        pixels.append(ImagePixels.of(mask_of, case.heatmap(shape)))
    labels, scores = tuple(case.image.label for case in every), tuple(case.score for case in every)
    return Cases(labels, scores, tuple(pixels), tuple(good[::-1]), tuple(bent), tuple(bent[::-1]))


def drawn(path: Path, cases: Cases, review: float | None = None, reject: float | None = None) -> Picture:
    title = "a model on $photos$"
    write_report(path, cases, measure(cases), title=title, review_threshold=review, reject_threshold=reject)
    return np.asarray(cv2.imread(str(path)))[..., ::-1]


def has(picture: Picture, colour: tuple[int, int, int]) -> int:
    return int((np.abs(picture.astype(int) - colour) < 8).all(axis=2).sum())


def test_a_report_is_one_whole_picture_with_figures_curves_and_cases(tmp_path: Path, cases: Cases) -> None:
    picture = drawn(tmp_path / "report.png", cases)
    assert picture.shape == (1440, 1680, 3)
    head, curves, gallery = picture[:130], picture[130:630], picture[630:]
    assert has(head, (0, 114, 178)) > 500  # the figures
    assert has(curves, (0, 114, 178)) > 200  # the good images
    assert has(curves, (213, 94, 0)) > 200  # the defective ones
    assert has(gallery, (0, 255, 255)) > 200  # true defects
    assert has(gallery, (252, 255, 164)) > 200  # the hottest places
    assert not list(tmp_path.glob(".*"))


def test_thresholds_are_drawn_only_where_there_are_any(tmp_path: Path, cases: Cases) -> None:
    black = (0, 0, 0)
    none, review, both = (
        has(drawn(tmp_path / "report.png", cases, *one)[130:630], black) for one in ((), (1.5,), (1.5, 3.0))
    )
    assert review > none + 300  # a dashed line as high as the histogram
    assert both > review + 300  # and another


def test_no_masks_and_equal_scores_still_give_a_picture(tmp_path: Path, cases: Cases) -> None:
    flat = tuple(replace(case, score=1.0, map=np.ones((64, 64), np.float32)) for case in cases.missed)
    bare = replace(cases, scores=(1.0,) * 6, pixels=(), alarming=flat[:1], missed=flat, clearest=flat)
    assert drawn(tmp_path / "report.png", bare, review=1.0).shape == (1440, 1680, 3)


def test_a_report_that_cannot_be_written_says_why(tmp_path: Path, cases: Cases) -> None:
    with pytest.raises(ReportError, match=r"ends in \.png"):
        drawn(tmp_path / "report.pdf", cases)
    with pytest.raises(ReportError, match="cannot be written"):
        drawn(tmp_path / "nowhere" / "report.png", cases)
