from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import pytest

from agent.retrain.comparison import Lists, Scores, approved, evidence, numbers, score_images, score_rest, units
from agent.retrain.gate import NOTHING_APPROVED, Caught
from agent.retrain.progress import Stage, Step
from agent.settings import Gate
from agent.store.approvals import Approvals
from agent.store.samples import Sample
from agent.store.snapshots import Snapshot
from model.certificate import Certificate, certify
from model.engines import Scored, Scorer
from model.images import Frame
from tests.unit.test_retrain_gate import PACE

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def sample(
    number: int, role: str, *, serial: str | None = None, origin: str = "import", station: int | None = None
) -> Sample:
    name = f"{number:064}"
    return Sample(
        number,
        1,
        role,
        origin,
        name,
        None,
        None,
        name,
        serial,
        None,
        None,
        None,
        "accepted",
        None,
        None,
        None,
        NOW,
        None,
        station,
        lot="lot-1" if station else None,
    )


def lists(*samples: Sample) -> Lists:
    return Lists.of(Snapshot(1, 1, "", NOW, samples), {1: "press-1", 2: "press-2"})


class FakeScorer:
    """Scores a frame by its only pixel, with one number looked up."""

    def __init__(self, scores: dict[int, float]) -> None:
        self.scores = scores
        self.batches: list[int] = []

    def score(self, frames: Sequence[Frame]) -> list[Scored]:
        self.batches.append(len(frames))
        none = np.zeros(1, np.float32)
        return [Scored(self.scores[int(frame[0, 0, 0])], none, none) for frame in frames]


def load(one: Sample) -> Frame:
    return np.full((1, 1, 3), one.id, np.uint8)


def certificate(scores: Sequence[float]) -> Certificate:
    options: dict[str, Any] = {"review_rate": 0.3, "reject_rate": 0.2, "confidence": 0.95}
    return certify(scores, artifact_sha256="", calibration_sha256="", fingerprint="", look=2, **options)


@pytest.mark.parametrize("serials", [True, False])
def test_a_part_scores_as_its_worst_frame_where_all_have_serials(serials: bool) -> None:
    found = lists(*(sample(i, "calibration", serial=f"part{i // 2}" if serials or i else None) for i in range(6)))
    scorer = FakeScorer({0: 1.0, 1: 3.0, 2: 5.0, 3: 4.0, 4: math.nan, 5: 1.0})
    images = score_images(cast(Scorer, scorer), found.calibration, load, Stage("calibrating", 6, None))
    scores = numbers(units(found, found.calibration, images))
    assert len(scores) == found.units == (3 if serials else 6)
    assert found.unit == ("part" if serials else "frame")
    if serials:
        assert scores[:2] == (3.0, 5.0) and math.isnan(scores[2])


def test_everything_is_scored_in_batches_and_reported() -> None:
    found = lists(*(sample(i, "holdout") for i in range(20)), *(sample(20 + i, "defect") for i in range(3)))
    scorer, heard = FakeScorer({i: float(i) for i in range(23)}), list[Step]()
    holdout, defects = score_rest(cast(Scorer, scorer), found, load, Stage("comparing", 23, heard.append))
    assert holdout == tuple(map(float, range(20))) and defects == (20.0, 21.0, 22.0)
    assert scorer.batches == [16, 4, 3] and heard[-1].step == 23


def test_both_models_are_cut_at_the_challengers_k() -> None:
    calibration = tuple(float(i) for i in range(100))
    found = lists(
        *(sample(i, "calibration") for i in range(100)),
        *(sample(100 + i, "holdout") for i in range(3)),
        *(
            sample(200 + i, "defect", origin=origin)
            for i, origin in enumerate(("import", "audit", "flagged", "flagged"))
        ),
    )
    made = certificate(calibration)
    threshold = made.review_threshold
    assert threshold is not None and made.review_k > 1
    above, below = threshold + 0.5, threshold
    # The champion's scores are a hundred times those of the challenger: only its own calibration scores cut it.
    challenger = Scores(calibration, (above, below, below), (above, below, below, above))
    champion = Scores(
        tuple(100 * score for score in calibration),
        (100 * below, 100 * above, 100 * below),
        (100 * below, 100 * above, 100 * above, 100 * above),
    )
    found_evidence = evidence(found, challenger, champion, made, wanted=Gate(), pace=PACE)
    assert (found_evidence.margin, found_evidence.pace) == (0.3, PACE)  # the review rate, where gate.margin is 0
    assert evidence(found, challenger, champion, made, wanted=Gate(margin=0.02), pace=PACE).margin == 0.02
    assert found_evidence.neutral == Caught(total=2, lost=1, won=1, samples=(201,))
    assert found_evidence.flagged == Caught(total=2, lost=1, won=0, samples=(202,))
    assert (found_evidence.holdout, found_evidence.holdout_new_only, found_evidence.holdout_old_only) == (3, 1, 1)
    assert (found_evidence.look, found_evidence.review_k, found_evidence.defects) == (2, made.review_k, 4)


def test_a_defect_scored_not_a_number_is_not_caught() -> None:
    calibration = tuple(float(i) for i in range(50))
    found = lists(*(sample(i, "calibration") for i in range(50)), sample(50, "defect"))
    challenger, champion = Scores(calibration, (), (math.nan,)), Scores(calibration, (), (99.0,))
    assert evidence(found, challenger, champion, certificate(calibration), wanted=Gate(), pace=PACE).neutral.lost == 1


def test_a_good_part_that_the_challenger_cannot_score_counts_as_flagged() -> None:
    calibration = tuple(float(i) for i in range(50))
    found = lists(*(sample(i, "calibration") for i in range(50)), sample(50, "holdout"))
    challenger, champion = Scores(calibration, (math.nan,), ()), Scores(calibration, (0.0,), ())
    assert (
        evidence(found, challenger, champion, certificate(calibration), wanted=Gate(), pace=PACE).holdout_new_only == 1
    )


def test_the_same_serial_at_two_stations_is_two_parts() -> None:
    """As drift and watch count them: the unit of a certificate is a good part at a station."""
    found = lists(*(sample(i, "calibration", serial=f"part{i // 4}", station=1 + i % 2) for i in range(8)))
    made = units(found, found.calibration, [float(i) for i in range(8)])
    assert len(made) == found.units == 4
    assert [(one.serial, one.station, one.score, one.lot) for one in made] == [
        ("part0", "press-1", 2.0, "lot-1"), ("part0", "press-2", 3.0, "lot-1"),
        ("part1", "press-1", 6.0, "lot-1"), ("part1", "press-2", 7.0, "lot-1"),
    ]  # fmt: skip


def test_approved_normals_are_counted_as_parts_among_what_the_line_inspected() -> None:
    """Two views of a part are one part; where no line inspected anything, they are all there is."""
    calibrating = [sample(i, "calibration", serial=f"part{i}", station=1) for i in range(30)]
    new = [sample(100 + i, "train", serial=f"new{i // 2}", origin="flagged", station=1) for i in range(8)]
    found, known = lists(*calibrating), [float(i) for i in range(30)]
    scores = [50.0, 1.0, 60.0, 2.0, 3.0, 4.0, 40.0, 70.0]
    ids = frozenset(one.id for one in new)
    told = approved(found, known, new, scores, Approvals(ids))
    assert (told.parts, told.inspected, told.above, told.rank) == (4, 4, 3, 1)
    assert told.samples == (107, 102, 100, 106) and told.chance < 0.01
    beside = approved(found, known, new, scores, Approvals(ids, 900))
    assert beside.inspected == 900 and beside.chance == 1.0
    assert approved(found, known, [], [], Approvals(frames=900)) == NOTHING_APPROVED


def test_the_unchecked_normals_that_score_highest_are_named_first() -> None:
    """Those seen before the stream changed are not counted as parts, but named, too."""
    calibrating = [sample(i, "calibration", serial=f"part{i}", station=1) for i in range(30)]
    new = [sample(100 + i, "train", serial=f"new{i}", origin="flagged", station=1) for i in range(4)]
    found, known = lists(*calibrating), [float(i) for i in range(30)]
    told = approved(
        found, known, new, [50.0, 1.0, 60.0, 2.0], Approvals(frozenset({100, 101}), 2, frozenset({101, 102, 103}))
    )
    assert told.unchecked == (102, 103, 101)
    assert (told.parts, told.above, told.samples) == (2, 1, (100,))
    assert approved(found, known, new[2:], [60.0, 2.0], Approvals(unchecked=frozenset({102}))).unchecked == (102,)
