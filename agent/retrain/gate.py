"""The gate: may the challenger replace the champion? A pure function of numbers, without models or database.

Source: goodpart's model.md, "Retraining", Gate. Both models are cut so that they flag the same number of calibration
normals (the challenger's k); only then are the defects they catch comparable.

Assumes that the calibration, hold-out and bank images were never used to train either model, and the newly approved
normals not the champion; and where it says that a loss may be chance, that defects are lost independently.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from agent.phrases import MADE, Phrase, made_of, together
from model.statistics import binomial_tail, clopper_pearson, look_delta

Verdict = Literal["pass", "fail", "needs_person"]
State = Literal["ok", "fail", "person", "too_small"]
HOLDOUT_LEVEL = 0.05
LOST_SHARE = 0.02  # of import and audit defects, net of those won: more are never promoted without a person
LOST_MOST = 0.05  # of them, net: more are no chance whatever their number
LOST_LEVEL = 0.05  # chance below which what is lost is no chance
LOST_FLAGGED_SHARE = 0.05  # of defects that a version flagged, which favour that version
APPROVED_LEVEL = 0.01  # of all looks at one calibration set: good parts that seem too many to be good
SHOWN = 10  # ids


@dataclass(frozen=True, slots=True)
class Caught:
    """Which defects of one origin the two models catch."""

    total: int = 0
    lost: int = 0  # by the champion only
    won: int = 0  # by the challenger only
    samples: tuple[int, ...] = ()  # the ids of the lost ones


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the two models take for the same frames, measured in turns, `rounds` times each.

    Attributes:
        rounds, batch: how often, and how many frames at once.
        challenger_ms, champion_ms: median time of a frame, in milliseconds.
        ratio: how many times as long the challenger takes: by the fastest round of each or by the median of what their
            rounds side by side say, the smaller. Other work on the machine only adds time, so the fastest rounds say
            most of the models themselves, unless one of them never had a quiet moment; a slower model shows in both.
        allowed: gate.slowdown, the ratio up to which the challenger may go live by itself.
    """

    rounds: int
    batch: int
    challenger_ms: float
    champion_ms: float
    ratio: float
    allowed: float


@dataclass(frozen=True, slots=True)
class Approved:
    """How the normals that a review newly approved, and no second person looked at, score by the champion.

    Attributes:
        parts: how many they are.
        inspected: parts that the line inspected meanwhile, or more; they are some of these.
        above, rank: so many of them score higher than the rank-th highest calibration part.
        chance: that of so many good parts so many do, see `most_telling`; 1 where there are none.
        samples: the ids of their images that score higher, the highest first.
        unchecked: the ids of those that the quarantine did not look at either, the highest score first; seen before the
            newest change of the stream, too, which `parts` are not.
    """

    parts: int = 0
    inspected: int = 0
    above: int = 0
    rank: int = 1
    chance: float = 1.0
    samples: tuple[int, ...] = ()
    unchecked: tuple[int, ...] = ()


NOTHING_APPROVED = Approved()


@dataclass(frozen=True, slots=True)
class Evidence:
    """The numbers that the gate judges."""

    look: int  # j: this is the j-th certificate on this calibration set
    calibration: int
    review_k: int
    review_rate: float  # asked for
    certified_review_rate: float | None  # None: no certificate
    margin: float  # the largest rate of new flags on good parts that the hold-out must rule out
    holdout: int
    holdout_new_only: int  # hold-out normals that only the challenger flags
    holdout_old_only: int
    neutral: Caught  # defects of origin import or audit
    flagged: Caught  # defects of origin flagged
    min_defects: int
    pace: Pace
    approved: Approved = NOTHING_APPROVED

    @property
    def defects(self) -> int:
        """Items of the bank."""
        return self.neutral.total + self.flagged.total


@dataclass(frozen=True, slots=True)
class Finding:
    """One check, its outcome and its numbers in words."""

    check: Literal["false_alarms", "holdout", "defects", "flagged_defects", "bank", "approved", "unchecked", "latency"]
    state: State
    words: Phrase


@dataclass(frozen=True, slots=True)
class Report:
    """The gate's verdict with everything behind it."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    evidence: Evidence

    @property
    def words(self) -> str:
        """For people: the findings that decided first, then the others."""
        order = {"fail": 0, "person": 1, "ok": 2, "too_small": 3}
        return together(
            "{one}; {other}", (one.words for one in sorted(self.findings, key=lambda one: order[one.state]))
        )

    @property
    def reason(self) -> str:
        """What decided, in words."""
        deciding = {"fail": "fail", "needs_person": "person", "pass": "ok"}[self.verdict]
        return together("{one}; {other}", (one.words for one in self.findings if one.state == deciding))

    @property
    def numbers(self) -> dict[str, Any]:
        """The record as plain JSON."""
        states = {one.check: one.state for one in self.findings}
        return {
            **asdict(self.evidence),
            "findings": states,
            MADE: {one.check: made_of(one.words) for one in self.findings},
        }


def judge(evidence: Evidence) -> Report:
    """The verdict: `fail` if any check fails, else `needs_person` if any asks for one, else `pass`."""
    findings = (
        _false_alarms(evidence),
        _holdout(evidence),
        judged_defects(evidence.neutral),
        _flagged(evidence.flagged),
        _bank(evidence),
        _approved(evidence),
        _unchecked(evidence.approved.unchecked),
        _latency(evidence.pace),
    )
    states = {one.state for one in findings}
    verdict: Verdict = "fail" if "fail" in states else "needs_person" if "person" in states else "pass"
    return Report(verdict, findings, evidence)


def caught(found: Iterable[tuple[int, bool, bool]]) -> Caught:
    """Counts (id, champion flags it, challenger flags it) over defects of one origin."""
    flags = list(found)
    lost = tuple(which for which, champion, challenger in flags if champion and not challenger)
    won = sum(challenger and not champion for _, champion, challenger in flags)
    return Caught(len(flags), len(lost), won, lost)


def cut(scores: Iterable[float], k: int) -> float:
    """The k-th largest calibration score: the threshold that flags what scores strictly more. k = 0 flags nothing."""
    return sorted(scores, reverse=True)[k - 1] if k else math.inf


def holdout_needs(margin: float, look: int) -> int:
    """Hold-out normals below which even no new flag at all cannot show non-inferiority: ln(1 / level) / margin."""
    return math.ceil(math.log(1 / look_delta(HOLDOUT_LEVEL, look)) / margin)


def _false_alarms(evidence: Evidence) -> Finding:
    n, rate, certified = evidence.calibration, evidence.review_rate, evidence.certified_review_rate
    if certified is None:
        words = Phrase("no review rate can be certified from {n} calibration parts", n=n)
        return Finding("false_alarms", "person", words)
    if certified > rate:
        words = Phrase(
            "only a review rate of {certified:.3g}, not {rate:.3g}, can be certified from {n} calibration parts at "
            "look {look}",
            certified=certified, rate=rate, n=n, look=evidence.look,
        )  # fmt: skip
        return Finding("false_alarms", "person", words)
    words = Phrase(
        "a review rate of {rate:.3g} is certified from {n} calibration parts (k = {k}, look {look})",
        rate=rate, n=n, k=evidence.review_k, look=evidence.look,
    )  # fmt: skip
    return Finding("false_alarms", "ok", words)


def _holdout(evidence: Evidence) -> Finding:
    n, new, margin = evidence.holdout, evidence.holdout_new_only, evidence.margin
    enough = holdout_needs(margin, evidence.look)
    if n < enough:
        words = Phrase("the hold-out is too small to tell ({n} of {enough} normals)", n=n, enough=enough)
        return Finding("holdout", "too_small", words)
    level = look_delta(HOLDOUT_LEVEL, evidence.look)
    bound = clopper_pearson(new, n, 1 - 2 * level)[1]
    words = Phrase(
        "{new} of {n} hold-out normals are flagged by the challenger only (upper bound {bound:.3g}, allowed "
        "{margin:.3g})",
        new=new, n=n, bound=bound, margin=margin,
    )  # fmt: skip
    return Finding("holdout", "ok" if bound <= margin else "fail", words)


def judged_defects(found: Caught) -> Finding:
    """What is lost of imported and audited defects, above the limit: fails, or a person judges whether it is chance.

    Of many defects some lie at the threshold, and any two trainings differ by which of these they flag.
    """
    net = found.lost - found.won
    if not found.total:
        return Finding("defects", "ok", Phrase("there are no imported or audited defects"))
    if net <= max(1.0, LOST_SHARE * found.total):
        words = Phrase("of {total} imported and audited defects {lost} are lost and {won} won", **asdict(found))
        return Finding("defects", "ok", words)
    chance = binomial_tail(found.lost, found.lost + found.won, 0.5)  # McNemar 1947, as an exact sign test
    words = Phrase(
        "of {total} imported and audited defects {lost} are lost (samples {ids}) and {won} won: an equal model loses "
        "so many, or more, with a chance of {chance:.2g}",
        **asdict(found), ids=_listed(found.samples), chance=chance,
    )  # fmt: skip
    doubtful = chance > LOST_LEVEL and net <= LOST_MOST * found.total
    return Finding("defects", "person" if doubtful else "fail", words)


def _flagged(found: Caught) -> Finding:
    if not found.total:
        return Finding("flagged_defects", "ok", Phrase("there are no defects found in flagged parts"))
    words = Phrase("of {total} defects found in flagged parts {lost} are lost", total=found.total, lost=found.lost)
    return Finding("flagged_defects", "fail" if found.lost > LOST_FLAGGED_SHARE * found.total else "ok", words)


def _bank(evidence: Evidence) -> Finding:
    if evidence.defects < evidence.min_defects:
        words = Phrase(
            "only {n} confirmed defects, fewer than gate.min_defects = {least}",
            n=evidence.defects, least=evidence.min_defects,
        )  # fmt: skip
        return Finding("bank", "person", words)
    return Finding("bank", "ok", Phrase("{n} confirmed defects to compare on", n=evidence.defects))


def _approved(evidence: Evidence) -> Finding:
    """Too many high scores ask for a person: those parts may be defects, or the stream another one than calibrates."""
    found, level = evidence.approved, look_delta(APPROVED_LEVEL, evidence.look)
    if not found.parts:
        return Finding("approved", "ok", Phrase("no normals are newly approved by one person alone"))
    which = Phrase("all {n} calibration parts", n=evidence.calibration)
    if found.rank > 1:
        which = Phrase("all but {rest} of {n} calibration parts", rest=found.rank - 1, n=evidence.calibration)
    words = Phrase(
        "{above} of {parts} newly approved normals score higher by the champion than {which}: of {inspected} good "
        "parts so many do with a chance of {chance:.2g}, allowed {level:.2g}",
        above=found.above, parts=found.parts, which=which, inspected=found.inspected, chance=found.chance, level=level,
    )  # fmt: skip
    if found.chance >= level:
        return Finding("approved", "ok", words)
    words = Phrase(
        "{found}. They are defects approved by mistake, or the stream has changed and needs an epoch: look at samples "
        "{ids}",
        found=words, ids=_listed(found.samples),
    )  # fmt: skip
    return Finding("approved", "person", words)


def _unchecked(samples: tuple[int, ...]) -> Finding:
    """No number tells a false alarm that was approved from a defect that was, so one person alone steers no model."""
    if not samples:
        words = Phrase("the quarantine or a second person looked at every newly approved normal")
        return Finding("unchecked", "ok", words)
    words = Phrase(
        "{n} newly approved normals were looked at by one person alone, and not by the quarantine: look at samples "
        "{ids}",
        n=len(samples), ids=_listed(samples),
    )  # fmt: skip
    return Finding("unchecked", "person", words)


def _listed(samples: tuple[int, ...]) -> str:
    ids = ", ".join(map(str, samples[:SHOWN]))
    return Phrase("{ids} and more", ids=ids) if len(samples) > SHOWN else ids


def _latency(pace: Pace) -> Finding:
    """Too slow asks for a person and does not fail: a measured time is not reproducible, and a slower model may well be
    what an engineer wants, who then gives the line the machine for it.
    """
    words = Phrase(
        "a frame takes the challenger {challenger_ms:.3g} ms, the champion {champion_ms:.3g} ms (medians of {rounds} "
        "rounds of {batch}), {ratio:.2f} times as long, allowed gate.slowdown = {allowed:g}",
        **asdict(pace),
    )
    return Finding("latency", "ok" if pace.ratio <= pace.allowed else "person", words)
