"""One partition's transaction: the offset's compare-and-set first, then everything about its frames."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from agent.failpoints import passing
from agent.pipeline import decisions, headers, lost, taught
from agent.pipeline.numbering import Jump, Numbering
from agent.pipeline.work import DEAD_LETTER, KEPT, NOT_INSPECTED, Lane, Outcome, StationState, Work
from agent.settings import Pipeline, Settings
from agent.store import (
    blobs,
    dead_letters,
    inspections,
    item_vectors,
    items,
    offsets,
    outbox,
    score_bins,
    seen,
    stations,
    teachings,
    trends,
    watches,
)
from agent.store.alerts import Alert
from agent.store.dead_letters import NewDeadLetter
from agent.store.errors import Fenced
from agent.store.inspections import Inspection
from agent.store.item_vectors import Vector
from agent.store.items import NewItem
from agent.store.lots import Lots
from agent.store.offsets import Claim, Counts
from agent.store.outbox import NewDecision
from agent.store.watches import Score

REMEMBERED = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Done:
    """What one transaction recorded."""

    claim: Claim
    counts: Counts
    inspections: tuple[Inspection, ...]
    stations: Mapping[int, StationState]
    duplicates: int
    numbering: Mapping[str, Numbering]
    jumps: Sequence[Jump]
    opened: Sequence[Alert]  # of the frames that cameras lost


def balance(works: Sequence[Work], duplicates: int) -> Counts:
    """The counts of one transaction. `works` are the frames that are no duplicates.

    received = inspected + not_inspected + dead_lettered + duplicate, by construction.
    """
    verdicts = [_outcome(work).verdict for work in works]
    dead, failed = verdicts.count(DEAD_LETTER), verdicts.count(NOT_INSPECTED)
    return Counts(
        received=len(works) + duplicates,
        inspected=len(works) - dead - failed,
        not_inspected=failed,
        dead_lettered=dead,
        duplicate=duplicates,
    )


def commit(
    conn: Connection,
    lane: Lane,
    works: Sequence[Work],
    lots: Lots,
    settings: Settings,
    now: datetime,
) -> Done:
    """Records the finished prefix of one partition.

    Args:
        conn: a writing transaction.
        lane: whose prefix it is.
        works: in consumption order, each with its outcome.
        lots: which of them have sums of their own.
        settings: all of them.
        now: the time.

    Raises:
        Fenced: another agent has the partition, or evidence waited so long that it was swept; nothing may be
            committed, and the frames are to be read again.
        Raced: another agent recorded one of the frame ids meanwhile, or a day got its partition; nothing may be
            committed, and the next look sees it.
    """
    kept = _without_duplicates(conn, works, now)
    counts = balance(kept, len(works) - len(kept))
    end = works[-1].record
    numbering, jumps = lost.follow(lane, kept, now)
    numbers = {station: one.last for station, one in numbering.items() if one.last is not None}
    claim = offsets.advance(
        conn, lane.claim, end.offset + 1, counts, now, leader_epoch=end.leader_epoch, numbers=numbers
    )
    passing("commit.offset")
    _hold(conn, kept, now)
    limits = settings.pipeline
    recorded = [_inspection(claim, work, limits) for work in kept if work.place]
    inspections.add_all(conn, recorded)
    passing("commit.inspections")
    shown = taught.admit(conn, [work for work in kept if _shown(work)], now)
    items.add_all(conn, [_item(claim, work, now) for work in shown])
    item_vectors.add_all(conn, claim.stream_id, claim.partition, _vectors(shown))
    trends.add_inspections(conn, recorded, lots)
    score_bins.add_inspections(conn, recorded, settings.timezone)
    if scores := [_score(claim, work) for work in kept if _watched(work)]:
        watches.add_scores(conn, scores)
    dead_letters.add_all(conn, [_dead_letter(claim, work, now) for work in kept if _outcome(work).reason in KEPT])
    seen.add_all(conn, [(*_pair(work), now) for work in kept if work.place], now - REMEMBERED)
    states = _stations(conn, lane, kept, limits.blind_after)
    for station_id, state in sorted(states.items()):
        last = max(work.event_at for work in kept if work.whose and work.whose[0] == station_id)
        stations.set_status(conn, station_id, "blind" if state.blind else "ok", state.failures, last, now)
    outbox.add_all(conn, [_decision(claim, work, limits, now) for work in kept])
    told, opened = lost.tell(conn, lane, numbering, jumps, now)
    return Done(claim, counts, tuple(recorded), states, counts.duplicate, numbering, told, opened)


def _hold(conn: Connection, works: Sequence[Work], now: datetime) -> None:
    waited = [one.evidence for one in works if one.evidence and now - one.evidence.kept_at > blobs.NAMED_WITHIN]
    if waited and not blobs.hold(conn, set().union(*(evidence.hashes for evidence in waited)), now):
        raise Fenced("the evidence of a frame was swept before it could be recorded: read it again")


def late(work: Work, settings: Pipeline) -> bool:
    """Whether the decision is past its deadline."""
    return latency_ms(work) > settings.decision_deadline_ms


def latency_ms(work: Work) -> float:
    """From the event to the decision; a camera's clock that runs ahead counts as 0."""
    return max(0.0, (_outcome(work).decided_at - work.event_at).total_seconds() * 1000)


def _without_duplicates(conn: Connection, works: Sequence[Work], now: datetime) -> list[Work]:
    pairs = [_pair(work) for work in works if work.place and _outcome(work).verdict != DEAD_LETTER]
    known = seen.already(conn, pairs, now - REMEMBERED)
    kept: list[Work] = []
    for work in works:
        if work.place and _outcome(work).verdict != DEAD_LETTER:
            pair = _pair(work)
            if pair in known:
                continue
            known.add(pair)
        kept.append(work)
    return kept


def _stations(conn: Connection, lane: Lane, works: Sequence[Work], blind_after: int) -> dict[int, StationState]:
    states: dict[int, StationState] = {}
    for work in works:
        whose, outcome = work.whose, _outcome(work)
        if whose is None:
            continue
        station_id, name = whose
        before = states.get(station_id) or _known(conn, lane, station_id)
        if outcome.reason == "too_old":  # nobody tried to inspect it: it says nothing about the station
            states[station_id] = before
        elif outcome.verdict in (NOT_INSPECTED, DEAD_LETTER):
            failures = before.failures + 1
            states[station_id] = StationState(name, failures, before.blind or failures >= blind_after)
        else:
            states[station_id] = StationState(name, 0, False)
    return states


def _known(conn: Connection, lane: Lane, station_id: int) -> StationState:
    """As this lane last recorded it; at first as whoever had the partition before left it."""
    if station_id in lane.stations:
        return lane.stations[station_id]
    stored = stations.get(conn, station_id)
    return StationState(stored.name, stored.failures_in_row, stored.status == "blind")


def _shown(work: Work) -> bool:
    return work.place is not None and work.evidence is not None


def _watched(work: Work) -> bool:
    second = _outcome(work).second
    return second is not None and second.watch_id is not None


def _pair(work: Work) -> tuple[int, str]:
    if work.place is None or work.envelope is None:
        raise ValueError("a dead letter belongs to no station")
    return work.place.station_id, work.envelope.frame_id


def _outcome(work: Work) -> Outcome:
    if work.outcome is None:
        raise ValueError("an unfinished frame cannot be recorded")
    return work.outcome


def _inspection(claim: Claim, work: Work, settings: Pipeline) -> Inspection:
    outcome, place, envelope = _outcome(work), work.place, work.envelope
    if place is None or envelope is None:
        raise ValueError("a dead letter has no inspection")
    return Inspection(
        event_at=work.event_at,
        stream_id=claim.stream_id,
        partition=claim.partition,
        offset=work.record.offset,
        frame_id=envelope.frame_id,
        station_id=place.station_id,
        product_id=place.product_id,
        serial=envelope.serial,
        lot=envelope.lot,
        verdict=outcome.verdict,
        reason=outcome.reason,
        score=outcome.score,
        p_value=outcome.p_value,
        severity=outcome.severity,
        deployment_id=outcome.deployment_id,
        captured_at=envelope.captured_at,
        decided_at=outcome.decided_at,
        latency_ms=latency_ms(work),
        score_ms=outcome.score_ms,
        late=late(work, settings),
        clock_suspect=work.clock_suspect,
    )


def _item(claim: Claim, work: Work, now: datetime) -> NewItem:
    outcome, place, envelope, evidence = _outcome(work), work.place, work.envelope, work.evidence
    if place is None or envelope is None or evidence is None:
        raise ValueError("an item needs its station and its evidence")
    kind = _kind(work)
    return NewItem(
        stream_id=claim.stream_id,
        partition=claim.partition,
        offset=work.record.offset,
        event_at=work.event_at,
        frame_id=envelope.frame_id,
        station_id=place.station_id,
        product_id=place.product_id,
        serial=envelope.serial,
        lot=envelope.lot,
        kind=kind,
        verdict=outcome.verdict,
        reason=outcome.reason,
        score=outcome.score,
        p_value=outcome.p_value,
        severity=outcome.severity,
        deployment_id=outcome.deployment_id,
        frame_sha256=evidence.frame,
        pixels_sha256=evidence.pixels_sha256,
        heatmap_sha256=evidence.heatmap,
        preview_sha256=evidence.preview,
        overlay_sha256=evidence.overlay,
        thumbnail_sha256=evidence.thumbnail,
        headers=headers.texts(work.record.headers, headers.ITEM),
        other_overlay_sha256=evidence.other_overlay,
        created_at=now,
        # An audited part keeps its place among the others: that it is flagged must not show before its verdict.
        watched=outcome.second is not None and kind != "audit",
    )


def _vectors(works: Sequence[Work]) -> dict[int, Vector]:
    return {work.record.offset: work.evidence.vector for work in works if work.evidence and work.evidence.vector}


def _score(claim: Claim, work: Work) -> Score:
    outcome, place, envelope = _outcome(work), work.place, work.envelope
    second = outcome.second
    if place is None or envelope is None or second is None or second.watch_id is None:
        raise ValueError("only a frame that both models scored belongs to a watch")
    return Score(
        watch_id=second.watch_id,
        stream_id=claim.stream_id,
        partition=claim.partition,
        offset=work.record.offset,
        event_at=work.event_at,
        station_id=place.station_id,
        part=envelope.part,
        flagged=outcome.flagged,
        other_flagged=second.flagged,
        score=outcome.score,
        other_score=second.score,
    )


def _kind(work: Work) -> str:
    if work.taught:
        return teachings.KIND
    if work.audit and work.decoded:
        return "audit"
    return "failed" if _outcome(work).verdict == NOT_INSPECTED else "flagged"


def _dead_letter(claim: Claim, work: Work, now: datetime) -> NewDeadLetter:
    outcome, envelope = _outcome(work), work.envelope
    return NewDeadLetter(
        stream_id=claim.stream_id,
        partition=claim.partition,
        offset=work.record.offset,
        station=envelope.station if envelope else None,
        reason=outcome.reason or "",
        detail=outcome.detail,
        headers=headers.texts(work.record.headers),
        value_sha256=_sha256(work),
        blob_sha256=work.evidence.received if work.evidence else None,
        counted=outcome.verdict == DEAD_LETTER,
        created_at=now,
    )


def _sha256(work: Work) -> str:
    ref = work.envelope.dataref if work.envelope else None
    return ref.sha256 if ref else hashlib.sha256(work.record.value).hexdigest()


def _decision(claim: Claim, work: Work, settings: Pipeline, now: datetime) -> NewDecision:
    station = work.place.station if work.place else work.envelope.station if work.envelope else ""
    return NewDecision(
        stream_id=claim.stream_id,
        partition=claim.partition,
        offset=work.record.offset,
        key=station,
        value=decisions.body(work, late=late(work, settings)),
        created_at=now,
    )
