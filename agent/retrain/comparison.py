"""Scores of a model on a snapshot, and what two models' scores say about each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from agent.retrain.gate import NOTHING_APPROVED, Approved, Evidence, Pace, caught, cut
from agent.retrain.progress import Stage
from agent.settings import Gate
from agent.store.approvals import Approvals
from agent.store.samples import Sample
from agent.store.snapshots import Snapshot
from model.certificate import Certificate
from model.engines import Scorer
from model.images import Frame
from model.parts import Scored, by_part
from model.statistics import most_telling

BATCH = 16
Load = Callable[[Sample], Frame]


@dataclass(frozen=True, slots=True)
class Lists:
    """A snapshot's samples by what they are for, each in the order of their pixels' hashes."""

    train: tuple[Sample, ...]
    calibration: tuple[Sample, ...]
    holdout: tuple[Sample, ...]
    defects: tuple[Sample, ...]
    places: Mapping[int, str]  # names of stations by id

    @classmethod
    def of(cls, snapshot: Snapshot, places: Mapping[int, str]) -> Lists:
        """Divides by role."""
        of = snapshot.of_role
        return cls(of("train"), of("calibration"), of("holdout"), of("defect"), places)

    def place(self, one: Sample) -> str | None:
        """The name of its station; None where it was imported."""
        return None if one.station_id is None else self.places[one.station_id]

    @property
    def unit(self) -> str:
        """`part` where every calibration and hold-out image names its serial, else `frame`."""
        return "part" if all(one.serial for one in self.calibration + self.holdout) else "frame"

    @property
    def units(self) -> int:
        """How many calibration scores there are: a part is one at a station."""
        if self.unit == "frame":
            return len(self.calibration)
        return len({(one.station_id, one.serial) for one in self.calibration})


@dataclass(frozen=True, slots=True)
class Scores:
    """One model's scores; calibration and hold-out per unit, defects per image in the order of `Lists.defects`."""

    calibration: tuple[float, ...]
    holdout: tuple[float, ...]
    defects: tuple[float, ...]


def score_images(scorer: Scorer, samples: Sequence[Sample], load: Load, stage: Stage) -> tuple[float, ...]:
    """Scores of the samples' images, in their order."""
    rest, scores = iter(samples), list[float]()
    while batch := list(islice(rest, BATCH)):
        scores += [one.score for one in scorer.score([load(sample) for sample in batch])]
        stage.advance(len(batch))
    return tuple(scores)


def units(lists: Lists, samples: Sequence[Sample], scores: Sequence[float]) -> list[Scored]:
    """From scores of images to scores of units: of a part at a station, the largest of its images'."""
    part = lists.unit == "part"
    frames = [
        Scored(score, one.serial if part else None, lists.place(one), one.lot)
        for one, score in zip(samples, scores, strict=True)
    ]
    return by_part(frames)[0]


def numbers(found: Sequence[Scored]) -> tuple[float, ...]:
    """Their scores alone."""
    return tuple(one.score for one in found)


def score_rest(scorer: Scorer, lists: Lists, load: Load, stage: Stage) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scores of the hold-out units, and of the defects."""
    holdout = units(lists, lists.holdout, score_images(scorer, lists.holdout, load, stage))
    return numbers(holdout), score_images(scorer, lists.defects, load, stage)


def approved(
    lists: Lists, calibration: Sequence[float], samples: Sequence[Sample], scores: Sequence[float], new: Approvals
) -> Approved:
    """How newly approved normals stand among the calibration parts.

    Args:
        lists: the run's snapshot.
        calibration: the champion's scores of its units.
        samples: the normals' images.
        scores: the champion's, of these.
        new: which of them are told about. Its frames are no fewer than parts: what came by no line is all there is.
    """
    high = sorted(zip(scores, (one.id for one in samples), strict=True), reverse=True)
    unchecked = tuple(sample_id for _, sample_id in high if sample_id in new.unchecked)
    counted = [(one, score) for one, score in zip(samples, scores, strict=True) if one.id in new.ids]
    if not counted or not calibration:
        return Approved(unchecked=unchecked)
    found = numbers(units(lists, *zip(*counted, strict=True)))
    inspected = max(new.frames, len(found))
    told = most_telling(calibration, found, inspected)
    ids = tuple(sample_id for score, sample_id in high if score > told.cut and sample_id in new.ids)
    return Approved(len(found), inspected, told.above, told.rank, told.chance, ids, unchecked)


def evidence(
    lists: Lists,
    challenger: Scores,
    champion: Scores,
    certificate: Certificate,
    *,
    wanted: Gate,
    pace: Pace,
    approved: Approved = NOTHING_APPROVED,
) -> Evidence:
    """The gate's numbers: both models are cut at the challenger's k on the same calibration set.

    Nothing is certified here: the champion's cut is for comparison only. A good part that the challenger cannot score
    would go to a person, so it counts as flagged; a defect that a model cannot score is not caught by it.
    """
    k = max(certificate.review_k, 1)
    new, old = cut(challenger.calibration, k), cut(champion.calibration, k)
    normals = caught(
        (at, one > old, not other <= new)
        for at, (one, other) in enumerate(zip(champion.holdout, challenger.holdout, strict=True))
    )
    defects = [
        (sample.origin == "flagged", (sample.id, one > old, other > new))
        for sample, one, other in zip(lists.defects, champion.defects, challenger.defects, strict=True)
    ]
    return Evidence(
        look=certificate.look,
        calibration=certificate.n,
        review_k=certificate.review_k,
        review_rate=certificate.review_rate,
        certified_review_rate=certificate.certified_review_rate if certificate.certified else None,
        margin=wanted.margin or certificate.review_rate,
        holdout=len(challenger.holdout),
        holdout_new_only=normals.won,
        holdout_old_only=normals.lost,
        neutral=caught(one for flagged, one in defects if not flagged),
        flagged=caught(one for flagged, one in defects if flagged),
        min_defects=wanted.min_defects,
        pace=pace,
        approved=approved,
    )
