"""Claiming a partition in the database, and what to do where the stored offset is outside the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.frame import StreamKey
from agent.phrases import Phrase, kept
from agent.pipeline.gap import REPLACED, Cut, DataGapError, Gap, gap_at, partition_subject
from agent.pipeline.work import Lane
from agent.settings import Kafka
from agent.sources.base import Bounds, Place
from agent.store import alerts, gaps, offsets
from agent.store.alerts import Alert
from agent.store.tables import data_gap


@dataclass(frozen=True, slots=True)
class Granted:
    """A claimed partition; reading starts at the claim's next_offset. `opened`: the alert that opened with the gap."""

    lane: Lane
    gap: Gap | None
    opened: Alert | None = None


@dataclass(frozen=True, slots=True)
class Early:
    """A partition that is not claimed, because its stored offset lies beyond the log's end as that was read before it.

    Either its holder moved on in between, with frames that came later, or the log was replaced. Bounds that are read
    from now on tell: ask again with them, and with what was stored.
    """

    partition: int
    stored: int


def claim_all(
    conn: Connection,
    key: StreamKey,
    bounds: Mapping[int, Bounds],
    *,
    partitions: int,
    settings: Kafka,
    holder: str,
    now: datetime,
    stored_before: Mapping[int, int],
    cuts: Mapping[int, Cut],
    ends: Mapping[int, int],
) -> list[Granted | Early]:
    """Claims partitions of one stream, in one writing transaction.

    Where a stored offset lies beyond the log's end, the log was replaced by another one of the same name; where the log
    was cut before the stored offset, its end was. From there on the partition belongs to a stream of its own, so that
    reused offsets never meet the old rows.

    Args:
        conn: a writing transaction.
        key: the stream.
        bounds: of its log, by partition.
        partitions: how many the log has; 0 where unknown.
        settings: the section [kafka].
        holder: who claims, unique to a process.
        now: the time; the same one where this is done again, since the answer to the commit may have been lost.
        stored_before: offsets known to have been stored before the bounds were read.
        cuts: where the log is known to have been cut while it was read.
        ends: where all partitions begin, claimed now or later by whomever, if the topic was never read before; others
            begin at their log's start, as do those of a topic made anew, of which nothing shall be missed.

    Raises:
        DataGapError: there is a gap and kafka.on_gap is "stop"; nothing may be committed. One where the log was cut is
            granted all the same: stop after the commit.
    """
    offsets.take_turn(conn)
    stream_id = offsets.stream_id(conn, key, now)
    if not offsets.is_known(conn, stream_id, key.topic):
        for partition, end in sorted(ends.items()):
            offsets.begin(conn, stream_id, partition, end, now)
    return [
        _claim(
            conn,
            key,
            partition,
            limits,
            partitions=partitions,
            before=stored_before.get(partition),
            cut=cuts.get(partition),
            settings=settings,
            holder=holder,
            now=now,
        )
        for partition, limits in sorted(bounds.items())
    ]


def _claim(
    conn: Connection,
    key: StreamKey,
    partition: int,
    limits: Bounds,
    *,
    partitions: int,
    before: int | None,
    cut: Cut | None,
    settings: Kafka,
    holder: str,
    now: datetime,
) -> Granted | Early:
    current, stream_id = _current(conn, key, partition, now)
    stored = offsets.stored(conn, stream_id, partition)
    gap = gap_at(stored, limits, cut if cut and cut.key == current else None, settings)
    if gap and gap.kind == "beyond_end" and gap.from_offset != before:
        return Early(partition, gap.from_offset)
    # Where the log was cut is known only now: the next start would go on as if nothing were missing.
    if gap and settings.on_gap == "stop" and gap.kind != "truncated":
        words = Phrase(
            "partition {partition} of {topic}: the next offset is {offset}, but the broker has {start} to {end} "
            "({kind}). Frames in between are gone. Set kafka.on_gap to earliest or latest to record the gap and go on",
            partition=partition, topic=key.topic, offset=gap.from_offset, start=limits.start, end=limits.end,
            kind=gap.kind,
        )  # fmt: skip
        raise DataGapError(words, partition_subject(key, partition))
    opened = _record(conn, key, stream_id, partition, gap, now) if gap else None
    if gap and gap.replaced:
        offsets.end(conn, stream_id, partition)  # whoever has it does not know that it ended
        current, stream_id = _current(conn, key, partition, now)
    start = Place(gap.to_offset if gap else limits.start)
    if cut and gap and gap.kind == "truncated" and gap.to_offset == cut.place.offset:
        start = cut.place  # cut below it again before anything is read, the log would show no trace of that
    claim = offsets.claim(
        conn, stream_id, partition, holder=holder, start=start.offset, leader_epoch=start.leader_epoch, now=now
    )
    if gap and not gap.replaced:
        claim = offsets.reposition(conn, claim, gap.to_offset)
    return Granted(Lane(current, claim, partitions=partitions), gap or _recorded(conn, key, partition, now), opened)


def _record(conn: Connection, key: StreamKey, stream_id: int, partition: int, gap: Gap, now: datetime) -> Alert | None:
    """Puts the gap on record, and says so in the same transaction: the next claim finds nothing odd any more."""
    gaps.add(conn, stream_id, partition, gap.from_offset, gap.to_offset, gap.kind, now)
    words = gap.words(key, partition)
    detail = {"gap": gap.kind, **gap.numbers, **kept(words)}
    subject = partition_subject(key, partition)
    return alerts.raise_(conn, "data_gap", subject, words, level="error", detail=detail, event=True, now=now)


def _recorded(conn: Connection, key: StreamKey, partition: int, now: datetime) -> Gap | None:
    """What this claim recorded when it was tried before, and the answer to the commit was lost."""
    found = gaps.found_at(conn, key.topic, partition, now)
    return Gap(found.kind, found.from_offset, found.to_offset) if found else None


def _current(conn: Connection, key: StreamKey, partition: int, now: datetime) -> tuple[StreamKey, int]:
    """The stream that the partition belongs to now: the log's own, or one that replaced it."""
    current, replaced = key, 0
    while True:
        stream_id = offsets.stream_id(conn, current, now)
        row = data_gap.c
        ended = sa.select(row.id).where(row.stream_id == stream_id, row.partition == partition, row.kind.in_(REPLACED))
        if conn.execute(ended).first() is None:
            return current, stream_id
        replaced += 1
        current = replace(key, topic_id=f"{key.topic_id}#{replaced}")
