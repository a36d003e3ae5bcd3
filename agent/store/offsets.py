"""The database offset is the truth: how far each partition is finished, by whom, and what became of its frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.frame import StreamKey
from agent.store.errors import Fenced, Outdated
from agent.store.rows import added, insert, names, serialise, values
from agent.store.tables import consumer_offset, stream

LOCK = 0x636C6169  # "clai"


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of received frames. Balanced: received is the sum of the others."""

    received: int = 0
    inspected: int = 0
    not_inspected: int = 0
    dead_lettered: int = 0
    duplicate: int = 0

    def __add__(self, other: Counts) -> Counts:
        return added(self, other)

    @property
    def balanced(self) -> bool:
        """Whether every received frame has exactly one outcome."""
        return self.received == self.inspected + self.not_inspected + self.dead_lettered + self.duplicate


class Number(NamedTuple):
    """The sequence number of a station's last frame, and when that was recorded, in Unix seconds."""

    value: int
    at: int


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to commit a partition, until someone else claims it.

    `leader_epoch`: under which leader of the log the record before `next_offset` was written; None where unknown.
    `numbers`: of its stations, by name; those without any are left out.
    """

    stream_id: int
    partition: int
    next_offset: int
    epoch: int
    holder: str
    leader_epoch: int | None = None
    numbers: Mapping[str, Number] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class PartitionState:
    """How far one partition is."""

    stream_id: int
    topic: str
    partition: int
    next_offset: int
    epoch: int
    holder: str
    counts: Counts
    claimed_at: datetime
    committed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a partition goes on."""

    stream_id: int
    topic: str
    partition: int
    next_offset: int


def take_turn(conn: Connection) -> None:
    """Waits until no other transaction claims or voids claims; call it before either locks a row of a stream."""
    serialise(conn, LOCK)


def stream_id(conn: Connection, key: StreamKey, now: datetime) -> int:
    """The id of the stream, made where it is new."""
    found = conn.execute(
        sa.select(stream.c.id).where(stream.c.cluster_id == key.cluster_id, stream.c.topic_id == key.topic_id)
    ).scalar_one_or_none()
    if found is not None:
        return int(found)
    made = insert(conn, stream).values(
        cluster_id=key.cluster_id, topic_id=key.topic_id, topic=key.topic, created_at=now
    )
    # The update changes nothing: it makes RETURNING answer where another agent was faster.
    made = made.on_conflict_do_update(
        index_elements=["cluster_id", "topic_id"], set_={"topic_id": made.excluded.topic_id}
    )
    return int(conn.execute(made.returning(stream.c.id)).scalar_one())


def stream_keys(conn: Connection) -> dict[int, StreamKey]:
    """Every stream that was ever read, by its id."""
    query = sa.select(stream.c.id, stream.c.cluster_id, stream.c.topic_id, stream.c.topic)
    return {row.id: StreamKey(row.cluster_id, row.topic_id, row.topic) for row in conn.execute(query)}


def stored(conn: Connection, stream_id: int, partition: int) -> int | None:
    """The offset that the partition goes on with; None where it was never claimed."""
    row = consumer_offset.c
    return conn.execute(
        sa.select(row.next_offset).where(row.stream_id == stream_id, row.partition == partition)
    ).scalar_one_or_none()


def is_known(conn: Connection, stream_id: int, topic: str) -> bool:
    """Whether this stream was read before, or any other one that had this topic's name."""
    own = sa.or_(stream.c.id == stream_id, stream.c.topic == topic)
    return conn.execute(sa.select(consumer_offset.c.stream_id).join(stream).where(own).limit(1)).first() is not None


def begin(conn: Connection, stream_id: int, partition: int, next_offset: int, now: datetime) -> None:
    """Notes where a partition begins that nobody has claimed yet."""
    conn.execute(
        insert(conn, consumer_offset).values(
            stream_id=stream_id, partition=partition, next_offset=next_offset, epoch=0, holder="", claimed_at=now
        )
    )


def claim(
    conn: Connection,
    stream_id: int,
    partition: int,
    *,
    holder: str,
    start: int,
    leader_epoch: int | None = None,
    now: datetime,
) -> Claim:
    """Takes the partition from whoever held it.

    Args:
        conn: a writing transaction that took its turn.
        stream_id: of the stream.
        partition: of the stream.
        holder: who claims, unique to a process.
        start: offset to start with where the partition was never claimed.
        leader_epoch: under which leader of the log the record before `start` was written; None where unknown.
        now: the time.
    """
    statement = insert(conn, consumer_offset).values(
        stream_id=stream_id, partition=partition, next_offset=start, epoch=1, holder=holder, claimed_at=now,
        leader_epoch=leader_epoch,
    )  # fmt: skip
    statement = statement.on_conflict_do_update(
        index_elements=["stream_id", "partition"],
        set_={
            "epoch": consumer_offset.c.epoch + 1,
            "holder": statement.excluded.holder,
            "claimed_at": statement.excluded.claimed_at,
        },
    )
    row = consumer_offset.c
    found = conn.execute(statement.returning(row.next_offset, row.epoch, row.leader_epoch, row.numbers)).one()
    numbers = _numbers(found.numbers)
    return Claim(stream_id, partition, found.next_offset, found.epoch, holder, found.leader_epoch, numbers)


def end(conn: Connection, stream_id: int, partition: int) -> None:
    """Voids the claim of a partition of a stream that another one follows: nothing more is recorded there."""
    row = consumer_offset.c
    of_it = sa.update(consumer_offset).where(row.stream_id == stream_id, row.partition == partition)
    conn.execute(of_it.values(epoch=row.epoch + 1))


def numbered_elsewhere(conn: Connection, claim: Claim, station: str) -> int | None:
    """When another partition of the stream last had a number of that station, in Unix seconds; None: none has."""
    row = consumer_offset.c
    others = sa.select(row.numbers).where(row.stream_id == claim.stream_id, row.partition != claim.partition)
    found = (_numbers(one).get(station) for one in conn.execute(others).scalars())
    return max((number.at for number in found if number), default=None)


def _numbers(stored: Mapping[str, list[int]] | None) -> dict[str, Number]:
    return {station: Number(*number) for station, number in (stored or {}).items()}


def advance(
    conn: Connection,
    claim: Claim,
    next_offset: int,
    counts: Counts,
    now: datetime,
    *,
    leader_epoch: int | None = None,
    numbers: Mapping[str, int] | None = None,
) -> Claim:
    """Commits the partition up to `next_offset`; call it first in the frames' transaction.

    Args:
        conn: a writing transaction.
        claim: as this agent last read or wrote it.
        next_offset: the first offset that is not finished.
        counts: the outcomes of the frames in between.
        now: the time.
        leader_epoch: of the last of them.
        numbers: of the last of each station among them that has one.

    Raises:
        Fenced: the claim is void; drop the partition's work. Outdated where no other holder has the partition.
        ValueError: the offset goes back, or the counts are not balanced.
    """
    if next_offset < claim.next_offset:
        raise ValueError(f"offset {next_offset} is behind {claim.next_offset}")
    if not counts.balanced:
        raise ValueError(f"the counts are not balanced: {counts}")
    added = {f"more_{name}": n for name, n in values(counts).items()}
    if numbers:
        at = int(now.timestamp())
        claim = replace(claim, numbers={**claim.numbers, **{name: Number(n, at) for name, n in numbers.items()}})
    return _move(conn, _ADVANCE, claim, next_offset, leader_epoch, at=now, **added)


def reposition(conn: Connection, claim: Claim, next_offset: int) -> Claim:
    """Moves the partition to an offset that the log still has, after a data gap; backwards too.

    The numbers of before say nothing of what comes behind the gap.

    Raises:
        Fenced: as `advance`.
    """
    return _move(conn, _REPOSITION, replace(claim, numbers={}), next_offset, None)


# Built once: building one takes longer than running it.
_ROW = consumer_offset.c
_REPOSITION = (
    sa.update(consumer_offset)
    .where(
        _ROW.stream_id == sa.bindparam("of_stream"),
        _ROW.partition == sa.bindparam("of_partition"),
        _ROW.next_offset == sa.bindparam("from_offset"),
        _ROW.epoch == sa.bindparam("under_epoch"),
        _ROW.holder == sa.bindparam("by_holder"),
    )
    .values(
        next_offset=sa.bindparam("to_offset"),
        leader_epoch=sa.bindparam("of_leader"),
        numbers=sa.bindparam("last_numbers", type_=_ROW.numbers.type),
    )
)
_ADVANCE = _REPOSITION.values(
    committed_at=sa.bindparam("at"), **{name: _ROW[name] + sa.bindparam(f"more_{name}") for name in names(Counts)}
)


def _move(
    conn: Connection, statement: sa.Update, claim: Claim, next_offset: int, leader_epoch: int | None, **more: object
) -> Claim:
    given = {
        "of_stream": claim.stream_id,
        "of_partition": claim.partition,
        "from_offset": claim.next_offset,
        "under_epoch": claim.epoch,
        "by_holder": claim.holder,
        "to_offset": next_offset,
        "of_leader": leader_epoch,
        "last_numbers": claim.numbers or None,
    }
    moved = conn.execute(statement, given | more)
    if moved.rowcount != 1:
        raise _void(conn, claim)
    return replace(claim, next_offset=next_offset, leader_epoch=leader_epoch)


def _void(conn: Connection, claim: Claim) -> Fenced:
    row = consumer_offset.c
    holder = conn.execute(
        sa.select(row.holder).where(row.stream_id == claim.stream_id, row.partition == claim.partition)
    ).scalar_one_or_none()
    where = f"partition {claim.partition} of stream {claim.stream_id}"
    if holder == claim.holder:
        return Outdated(f"the claim of {where} is outdated: drop its work and claim it again")
    return Fenced(f"{where} was claimed or committed by someone else: drop its work and claim it again")


def void_all(conn: Connection) -> list[Position]:
    """Makes every claim void, though its holder stays: what is read but not committed must be read again.

    Claims take turns with this, and a frames' transaction locks one of these rows, its first: no order of them can lead
    to a deadlock.

    Returns:
        Where each partition goes on, by stream and partition.
    """
    take_turn(conn)
    row = consumer_offset.c
    moved = conn.execute(
        sa.update(consumer_offset).values(epoch=row.epoch + 1).returning(row.stream_id, row.partition, row.next_offset)
    ).all()
    topics = {one.id: one.topic for one in conn.execute(sa.select(stream.c.id, stream.c.topic))}
    return [Position(one.stream_id, topics[one.stream_id], one.partition, one.next_offset) for one in sorted(moved)]


def totals(conn: Connection) -> Counts:
    """What became of all frames ever received."""
    return Counts(*map(int, conn.execute(_TOTALS).one()))


_TOTALS = sa.select(*(sa.func.coalesce(sa.func.sum(consumer_offset.c[name]), 0) for name in names(Counts)))


def partitions(conn: Connection) -> list[PartitionState]:
    """How far each partition of each stream is."""
    own = [c for c in consumer_offset.c if c.name not in names(Counts)]
    counts = [consumer_offset.c[name] for name in names(Counts)]
    rows = conn.execute(
        sa.select(stream.c.topic, *own, *counts)
        .join(stream)
        .order_by(consumer_offset.c.stream_id, consumer_offset.c.partition)
    ).mappings()
    return [
        PartitionState(
            counts=Counts(**{name: row[name] for name in names(Counts)}),
            **{name: row[name] for name in names(PartitionState) if name != "counts"},
        )
        for row in rows
    ]
