"""What became of every frame that was received, partition by partition, in words and numbers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, tzinfo

from agent.store.alerts import Alert
from agent.store.gaps import Gap
from agent.store.offsets import Counts, PartitionState
from agent.store.speed import Place
from dashboard import speed
from dashboard.alerts import since
from dashboard.codes import shown
from dashboard.speed import Points
from dashboard.words import later, retold, say

Rows = list[dict[str, object]]


def sentence(counts: Counts) -> str:
    """The identity that must hold: received frames are the sum of their outcomes."""
    words = say(
        "{received:,} received = {inspected:,} inspected + {not_inspected:,} not inspected + "
        "{dead_lettered:,} dead letters + {duplicate:,} duplicates",
        **asdict(counts),
    )
    if counts.balanced:
        return words
    rest = counts.received - (counts.inspected + counts.not_inspected + counts.dead_lettered + counts.duplicate)
    if rest > 0:
        return say("{sum} {rest:+,}: {n:,} frames have no outcome", sum=words, rest=rest, n=rest)
    return say("{sum} {rest:+,}: {n:,} frames have more than one outcome", sum=words, rest=rest, n=-rest)


def partitions(states: Sequence[PartitionState]) -> Rows:
    """What became of the frames of each partition."""
    return [
        {
            later("Partition"): f"{one.topic}/{one.partition}",
            later("Stream"): one.stream_id,
            later("Received"): f"{one.counts.received:,}",
            later("Inspected"): f"{one.counts.inspected:,}",
            later("Not inspected"): f"{one.counts.not_inspected:,}",
            later("Dead letters"): f"{one.counts.dead_lettered:,}",
            later("Duplicates"): f"{one.counts.duplicate:,}",
            later("Adds up"): say("yes") if one.counts.balanced else say("NO"),
        }
        for one in states
    ]


def positions(states: Sequence[PartitionState], lags: Mapping[Place, Points], now: datetime) -> Rows:
    """How far each partition is, and how far behind; `lags` by minute."""
    return [
        {
            later("Partition"): f"{one.topic}/{one.partition}",
            later("Stream"): one.stream_id,
            later("Next offset"): f"{one.next_offset:,}",
            later("Lag"): speed.lag(lags.get((one.stream_id, one.partition), ()), now),
            later("Last hour"): speed.trend(lags.get((one.stream_id, one.partition), ()), now),
            later("Last commit"): since(one.committed_at, now),
            later("Held by"): one.holder,
        }
        for one in states
    ]


def gaps(found: Sequence[Gap], zone: tzinfo) -> Rows:
    """A row a gap in the log."""
    return [
        {
            later("When"): f"{one.created_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
            later("Stream"): one.stream_id,
            later("Partition"): one.partition,
            later("What"): {
                "below_start": say("frames were deleted before they were read"),
                "beyond_end": say("the log is another one: read from its start"),
                "truncated": say("the log was cut and written anew: read from the cut"),
            }[one.kind],
            later("From"): f"{one.from_offset:,}",
            later("To"): f"{one.to_offset:,}",
        }
        for one in found
    ]


def alerts(found: Sequence[Alert], names: Mapping[int, str], zone: tzinfo) -> Rows:
    """A row an alert, open or over; `names` of people by their id."""
    return [
        {
            later("Since"): f"{one.opened_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
            later("Until"): f"{one.closed_at.astimezone(zone):%Y-%m-%d %H:%M:%S}" if one.closed_at else say("it lasts"),
            later("Level"): shown(one.level),
            later("Kind"): shown(one.kind),
            later("Subject"): one.subject,
            later("What"): retold(one.told),
            later("Times"): one.n,
            later("Seen by"): "" if one.acknowledged_by is None else names.get(one.acknowledged_by, say("somebody")),
            later("Seen"): f"{one.acknowledged_at.astimezone(zone):%Y-%m-%d %H:%M:%S}" if one.acknowledged_at else "",
        }
        for one in found
    ]
