"""What became of every frame that was received, partition by partition, in words and numbers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo

from agent.store.alerts import Alert
from agent.store.gaps import Gap
from agent.store.offsets import Counts, PartitionState
from agent.store.speed import Place
from dashboard import speed
from dashboard.alerts import ago
from dashboard.speed import Points

Rows = list[dict[str, object]]


def sentence(counts: Counts) -> str:
    """The identity that must hold: received frames are the sum of their outcomes."""
    words = (
        f"{counts.received:,} received = {counts.inspected:,} inspected + {counts.not_inspected:,} not inspected + "
        f"{counts.dead_lettered:,} dead letters + {counts.duplicate:,} duplicates"
    )
    if counts.balanced:
        return words
    rest = counts.received - (counts.inspected + counts.not_inspected + counts.dead_lettered + counts.duplicate)
    return f"{words} {rest:+,}: {abs(rest):,} frames have {'no' if rest > 0 else 'more than one'} outcome"


def partitions(states: Sequence[PartitionState]) -> Rows:
    """What became of the frames of each partition."""
    return [
        {
            "Partition": f"{one.topic}/{one.partition}",
            "Stream": one.stream_id,
            "Received": f"{one.counts.received:,}",
            "Inspected": f"{one.counts.inspected:,}",
            "Not inspected": f"{one.counts.not_inspected:,}",
            "Dead letters": f"{one.counts.dead_lettered:,}",
            "Duplicates": f"{one.counts.duplicate:,}",
            "Adds up": "yes" if one.counts.balanced else "NO",
        }
        for one in states
    ]


def positions(states: Sequence[PartitionState], lags: Mapping[Place, Points], now: datetime) -> Rows:
    """How far each partition is, and how far behind; `lags` by minute."""
    return [
        {
            "Partition": f"{one.topic}/{one.partition}",
            "Stream": one.stream_id,
            "Next offset": f"{one.next_offset:,}",
            "Lag": speed.lag(lags.get((one.stream_id, one.partition), ()), now),
            "Last hour": speed.trend(lags.get((one.stream_id, one.partition), ()), now),
            "Last commit": "never" if one.committed_at is None else f"{ago(one.committed_at, now)} ago",
            "Held by": one.holder,
        }
        for one in states
    ]


def gaps(found: Sequence[Gap], zone: tzinfo) -> Rows:
    """A row a gap in the log."""
    return [
        {
            "When": f"{one.created_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
            "Stream": one.stream_id,
            "Partition": one.partition,
            "What": {
                "below_start": "frames were deleted before they were read",
                "beyond_end": "the log is another one: read from its start",
            }[one.kind],
            "From": f"{one.from_offset:,}",
            "To": f"{one.to_offset:,}",
        }
        for one in found
    ]


def alerts(found: Sequence[Alert], names: Mapping[int, str], zone: tzinfo) -> Rows:
    """A row an alert, open or over; `names` of people by their id."""
    return [
        {
            "Since": f"{one.opened_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
            "Until": f"{one.closed_at.astimezone(zone):%Y-%m-%d %H:%M:%S}" if one.closed_at else "it lasts",
            "Level": one.level,
            "Kind": one.kind.replace("_", " "),
            "Subject": one.subject,
            "What": one.words,
            "Times": one.n,
            "Seen by": "" if one.acknowledged_by is None else names.get(one.acknowledged_by, "somebody"),
            "Seen": f"{one.acknowledged_at.astimezone(zone):%Y-%m-%d %H:%M:%S}" if one.acknowledged_at else "",
        }
        for one in found
    ]
