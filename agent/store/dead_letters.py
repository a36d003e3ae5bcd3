"""Dead letters: frames nobody could inspect, kept until somebody publishes them again or discards them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.phrases import MADE, made_of, remade
from agent.store.errors import Conflict, NotFound
from agent.store.rows import columns, read_all, values
from agent.store.tables import LETTER_DONE, LETTER_WAITS, dead_letter

State = Literal["waiting", "replayed", "discarded"]


@dataclass(frozen=True, slots=True)
class NewDeadLetter:
    """A frame as it came; `headers` are (name, text) pairs, undecodable bytes replaced.

    `counted` is False where the frame has an inspection of its own; `blob_sha256` is None beyond the quota.
    """

    stream_id: int
    partition: int
    offset: int
    station: str | None
    reason: str
    detail: str
    headers: Sequence[tuple[str, str]]
    value_sha256: str
    blob_sha256: str | None
    counted: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """As `NewDeadLetter`, with its id and what became of it; `preview_sha256` is None until somebody asks for it."""

    id: int
    stream_id: int
    partition: int
    offset: int
    station: str | None
    reason: str
    detail: str
    headers: tuple[tuple[str, str], ...]
    value_sha256: str
    blob_sha256: str | None
    counted: bool
    created_at: datetime
    preview_sha256: str | None
    replayed_at: datetime | None
    discarded_at: datetime | None
    made: Mapping[str, Any] | None = None  # of the detail

    @property
    def told(self) -> str:
        """Its detail as it was made, so that a page can say it in the plant's language."""
        return remade(self.detail, self.made)

    @property
    def state(self) -> State:
        """Whether it waits for a person, or what one did with it."""
        return "discarded" if self.discarded_at else "replayed" if self.replayed_at else "waiting"


@dataclass(frozen=True, slots=True)
class Pile:
    """How many there are of one reason, by what became of them."""

    reason: str
    waiting: int
    replayed: int
    discarded: int


def add_all(conn: Connection, rows: Sequence[NewDeadLetter]) -> None:
    """Adds the dead letters of one partition's transaction."""
    if rows:
        conn.execute(sa.insert(dead_letter), [{**values(row), MADE: made_of(row.detail)} for row in rows])


def recent(
    conn: Connection,
    limit: int = 50,
    *,
    reason: str | None = None,
    station: str | None = None,
    state: State | None = None,
) -> list[DeadLetter]:
    """The newest ones, newest first: of a reason, of the station that the frames named, in a state; None: any."""
    query = _where(_select(), reason, station, state).order_by(dead_letter.c.id.desc())
    return _read(conn, query.limit(limit))


def waiting(
    conn: Connection, reason: str | None = None, station: str | None = None, limit: int | None = None
) -> list[DeadLetter]:
    """Those that nobody has replayed or discarded yet, oldest first; None: any reason, any station, all of them."""
    return _read(conn, _where(_select(), reason, station, "waiting").order_by(dead_letter.c.id).limit(limit))


def waiting_ids(
    conn: Connection,
    reason: str | None,
    station: str | None,
    limit: int | None,
    *,
    kept: bool = False,
    but: Collection[int] = (),
) -> list[int]:
    """The ids of `waiting`, but not these; `kept`: only of those that there is something to publish of."""
    query = _where(sa.select(dead_letter.c.id), reason, station, "waiting").order_by(dead_letter.c.id)
    # In the statement itself: there may be more of them than it may have parameters.
    query = query.where(dead_letter.c.id.not_in(sa.bindparam("but", list(but), expanding=True, literal_execute=True)))
    return list(conn.execute((query.where(_KEPT) if kept else query).limit(limit)).scalars())


def count_waiting(conn: Connection, reason: str | None, station: str | None, *, kept: bool = False) -> int:
    """How many `waiting_ids` there are."""
    query = _where(sa.select(sa.func.count()).select_from(dead_letter), reason, station, "waiting")
    return int(conn.execute(query.where(_KEPT) if kept else query).scalar_one())


def piles(conn: Connection) -> list[Pile]:
    """How many there are of each reason; where most wait comes first."""
    row, n = dead_letter.c, sa.func.count()
    waiting = {reason: int(count) for reason, count in conn.execute(
        sa.select(row.reason, n).where(LETTER_WAITS).group_by(row.reason)
    )}  # fmt: skip
    discarded = sa.func.count(row.discarded_at)
    done = {reason: (int(count) - int(gone), int(gone)) for reason, count, gone in conn.execute(
        sa.select(row.reason, n, discarded).where(LETTER_DONE).group_by(row.reason)
    )}  # fmt: skip
    found = [Pile(one, waiting.get(one, 0), *done.get(one, (0, 0))) for one in waiting.keys() | done.keys()]
    return sorted(found, key=lambda one: (-one.waiting, -one.replayed - one.discarded, one.reason))


def stations(conn: Connection, limit: int = 100) -> list[str]:
    """The stations that the frames of those waiting named, registered or not, by name."""
    row = dead_letter.c
    # By reason, too: that is the order of the index.
    query = sa.select(row.reason, row.station).where(LETTER_WAITS).group_by(row.reason, row.station)
    found = {one.station for one in conn.execute(query.order_by(row.reason, row.station))}
    return sorted(found - {None})[:limit]


def get(conn: Connection, letter_id: int) -> DeadLetter:
    """The dead letter of that id.

    Raises:
        NotFound: there is none.
    """
    found = _read(conn, _select().where(dead_letter.c.id == letter_id))
    if not found:
        raise NotFound("there is no dead letter {letter_id}; see: goodpart dead-letters list", letter_id=letter_id)
    return found[0]


def states(conn: Connection, ids: Sequence[int]) -> dict[int, State]:
    """What became of those of these ids that there are."""
    state = sa.case(*((condition, name) for name, condition in _STATES.items()))
    rows = conn.execute(sa.select(dead_letter.c.id, state).where(dead_letter.c.id.in_(ids)))
    return {row.id: row[1] for row in rows}


def lock(conn: Connection, ids: Collection[int]) -> None:
    """Keeps others from changing these, or letting their bytes go, until the writing transaction ends."""
    row = dead_letter.c
    conn.execute(sa.select(row.id).where(row.id.in_(ids)).order_by(row.id).with_for_update())


def at(conn: Connection, stream_id: int, partition: int, offsets: Sequence[int]) -> dict[int, DeadLetter]:
    """Those made of the frames at these offsets, by offset."""
    row = dead_letter.c
    query = _select().where(row.stream_id == stream_id, row.partition == partition, row.offset.in_(offsets))
    return {one.offset: one for one in _read(conn, query)}


def of_records(conn: Connection, places: Collection[tuple[int, int, int]]) -> dict[tuple[int, int, int], DeadLetter]:
    """Those of these records, by stream id, partition and offset."""
    row = dead_letter.c
    query = _select().where(sa.tuple_(row.stream_id, row.partition, row.offset).in_(list(places)))
    return {(one.stream_id, one.partition, one.offset): one for one in (_read(conn, query) if places else ())}


def replayed(conn: Connection, letter_id: int, now: datetime) -> None:
    """Records that it was published again."""
    conn.execute(sa.update(dead_letter).where(dead_letter.c.id == letter_id).values(replayed_at=now))


def discard(conn: Connection, ids: Sequence[int], now: datetime) -> None:
    """Records that they need not be published, and lets their bytes go; headers and hash stay.

    Raises:
        Conflict: one of them does not wait any more.
    """
    mine = sa.and_(dead_letter.c.id.in_(ids), _STATES["waiting"])
    gone = {"discarded_at": now, "blob_sha256": None, "preview_sha256": None}
    if conn.execute(sa.update(dead_letter).where(mine).values(gone)).rowcount != len(set(ids)):
        raise Conflict("some of these dead letters were replayed or discarded meanwhile: look again")


def keep_preview(conn: Connection, letter_id: int, sha256: str) -> bool:
    """Names its preview; False where its bytes were let go meanwhile."""
    mine = sa.and_(dead_letter.c.id == letter_id, dead_letter.c.blob_sha256.is_not(None))
    return conn.execute(sa.update(dead_letter).where(mine).values(preview_sha256=sha256)).rowcount == 1


_STATES: dict[State, sa.ColumnElement[bool]] = {  # in the words of the indexes
    "waiting": LETTER_WAITS,
    "replayed": sa.and_(LETTER_DONE, dead_letter.c.discarded_at.is_(None)),
    "discarded": sa.and_(LETTER_DONE, dead_letter.c.discarded_at.is_not(None)),
}
# What a claim check names lies where it says, or not: only a replay can tell.
_KEPT = sa.or_(dead_letter.c.blob_sha256.is_not(None), dead_letter.c.reason.in_(("claim_missing", "claim_corrupt")))


def _where(query: sa.Select[Any], reason: str | None, station: str | None, state: State | None) -> sa.Select[Any]:
    for column, wanted in ((dead_letter.c.reason, reason), (dead_letter.c.station, station)):
        if wanted is not None:
            query = query.where(column == wanted)
    return query if state is None else query.where(_STATES[state])


def _select() -> sa.Select[Any]:
    return sa.select(*columns(dead_letter, DeadLetter))


def _read(conn: Connection, query: sa.Select[Any]) -> list[DeadLetter]:
    found = read_all(DeadLetter, conn.execute(query))
    return [replace(one, headers=tuple((name, text) for name, text in one.headers)) for one in found]


def count_recent(conn: Connection, station: str | None, reason: str, since: datetime) -> int:
    """How many of that station and reason kept their bytes since then: what the quota looks at."""
    row = dead_letter.c
    query = sa.select(sa.func.count()).where(
        row.station == station, row.reason == reason, row.created_at >= since, row.blob_sha256.is_not(None)
    )
    return conn.execute(query).scalar_one()
