"""Teaching a product from the live stream: how far that is, and the parts that were collected.

The set is the product's open items of kind `teach`: the first `parts` parts of its station, by serial, else by frame.
A part leaves it as a defect, or with all others: as samples, or because the teaching was cancelled. The row of a
teaching is locked (`lock`) by whoever adds items to the set, takes them out, or changes the state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from agent.phrases import together, word
from agent.store.errors import Conflict, NotFound
from agent.store.rows import columns, insert, read, read_all
from agent.store.tables import item, review, sample, taught, teaching

KIND = "teach"
LOOK = "look"  # a command with args {"product_id": ...}: look through the set
TRIGGER = "teach"  # of the training run on it
UNFINISHED = ("collecting", "looking", "training")
_OURS = item.c.kind == KIND
_PART = sa.func.coalesce(item.c.serial, item.c.frame_id)


@dataclass(frozen=True, slots=True)
class Teaching:
    """A product that is taught, or was last; `parts` are those wanted."""

    product_id: int
    station_id: int
    parts: int
    state: str  # collecting | looking | training | done | cancelled
    by: int
    started_at: datetime
    ended_at: datetime | None

    @property
    def unfinished(self) -> bool:
        """Whether its frames need no model."""
        return self.state in UNFINISHED


@dataclass(frozen=True, slots=True)
class View:
    """One frame of a part of the set. `oddness` is None until it was looked through."""

    item_id: int
    part: str  # its serial, else the frame's id
    serial: str | None
    lot: str | None
    event_at: datetime
    frame_sha256: str
    preview_sha256: str | None
    thumbnail_sha256: str | None
    oddness: float | None
    pixels_sha256: str | None = None  # of the decoded frame; None where it is not known


@dataclass(frozen=True, slots=True)
class Left:
    """A frame that was taken out of the set as a defect, and the others of its part with it."""

    item_id: int
    part: str
    reason: str


def find(conn: Connection, product_id: int) -> Teaching | None:
    """The product's teaching, over or not; None where it never was taught from the stream."""
    found = conn.execute(_select().where(teaching.c.product_id == product_id)).one_or_none()
    return read(Teaching, found) if found else None


def lock(conn: Connection, product_id: int) -> Teaching:
    """The product's teaching; nobody else changes it or its set until this transaction ends.

    Raises:
        NotFound: it never was taught.
    """
    found = conn.execute(_select().where(teaching.c.product_id == product_id).with_for_update()).one_or_none()
    if found is None:
        raise NotFound(
            "the product is not being taught; begin with: goodpart products teach NAME --station S --parts N"
        )
    return read(Teaching, found)


def all(conn: Connection) -> list[Teaching]:
    """All of them, the last begun first."""
    return read_all(Teaching, conn.execute(_select().order_by(teaching.c.started_at.desc(), teaching.c.product_id)))


def begin(conn: Connection, product_id: int, station_id: int, parts: int, by: int, now: datetime) -> None:
    """Begins to collect, in the place of an earlier teaching that is over."""
    row = {"station_id": station_id, "parts": parts, "state": "collecting", "by": by, "started_at": now}
    statement = insert(conn, teaching).values(product_id=product_id, **row)
    conn.execute(statement.on_conflict_do_update(index_elements=["product_id"], set_={**row, "ended_at": None}))


def extend(conn: Connection, product_id: int, parts: int) -> None:
    """Collects more parts for the set there is. Lock the teaching first."""
    more = sa.update(teaching).where(teaching.c.product_id == product_id)
    conn.execute(more.values(parts=parts, state="collecting"))


def move(conn: Connection, product_id: int, state: str, now: datetime, *, expected: Collection[str]) -> None:
    """Changes the state.

    Raises:
        Conflict: it is none of the expected.
    """
    given = {"state": state, "ended_at": None if state in UNFINISHED else now}
    mine = (teaching.c.product_id == product_id, teaching.c.state.in_(expected))
    if conn.execute(sa.update(teaching).where(*mine).values(**given)).rowcount != 1:
        raise Conflict(
            "the teaching of product {product_id} is not {states} any more: load it again",
            product_id=product_id,
            states=together("{one} or {other}", map(word, expected)),
        )


def count(conn: Connection, product_id: int) -> int:
    """How many parts are in the set."""
    query = sa.select(sa.func.count(sa.distinct(_PART))).where(*_set(product_id))
    return int(conn.execute(query).scalar_one())


def parts(conn: Connection, product_id: int) -> set[str]:
    """The parts of the set, each by its serial, else by its frame's id."""
    return set(conn.execute(sa.select(_PART).where(*_set(product_id))).scalars())


def defective(conn: Connection, found: Teaching) -> set[str]:
    """The parts that were taken out of a teaching's set as defects: none of their frames is good."""
    taken = (item.c.state == "closed", item.c.decision == "defect", item.c.closed_at >= found.started_at)
    return set(conn.execute(sa.select(_PART).where(item.c.product_id == found.product_id, _OURS, *taken)).scalars())


def views(conn: Connection, product_id: int) -> list[View]:
    """All frames of the set, the oddest first; those that nobody looked through yet last, in the order they came."""
    query = (
        sa.select(
            item.c.id.label("item_id"),
            _PART.label("part"),
            item.c.serial,
            item.c.lot,
            item.c.event_at,
            item.c.frame_sha256,
            item.c.preview_sha256,
            item.c.thumbnail_sha256,
            taught.c.oddness,
            item.c.pixels_sha256,
        )
        .outerjoin(taught, taught.c.item_id == item.c.id)
        .where(*_set(product_id), item.c.frame_sha256.is_not(None))
        .order_by(taught.c.oddness.is_(None), taught.c.oddness.desc(), item.c.id)
    )
    return read_all(View, conn.execute(query))


def left(conn: Connection, found: Teaching) -> list[Left]:
    """The frames that were taken out of a teaching's set as defects, the last one first."""
    said = sa.select(review.c.item_id, sa.func.max(review.c.id).label("id")).where(review.c.decision == "defect")
    last = said.group_by(review.c.item_id).subquery()
    query = (
        sa.select(item.c.id.label("item_id"), _PART.label("part"), review.c.reason)
        .join(last, last.c.item_id == item.c.id)
        .join(review, review.c.id == last.c.id)
        .where(item.c.product_id == found.product_id, _OURS, item.c.decision == "defect")
        .where(item.c.closed_at >= found.started_at)
        .order_by(review.c.id.desc())
    )
    return read_all(Left, conn.execute(query))


def by_part(found: Collection[View]) -> dict[str, list[View]]:
    """The frames of each part; parts in the order of their first frame here."""
    grouped: dict[str, list[View]] = defaultdict(list)
    for view in found:
        grouped[view.part].append(view)
    return dict(grouped)


def record(conn: Connection, oddness: Mapping[int, float]) -> None:
    """Says how odd each item is among the others of its set, by item id."""
    if not oddness:
        return
    rows = [{"item_id": item_id, "oddness": value} for item_id, value in sorted(oddness.items())]
    statement = insert(conn, taught).values(rows)
    conn.execute(
        statement.on_conflict_do_update(index_elements=["item_id"], set_={"oddness": statement.excluded.oddness})
    )


def close(conn: Connection, product_id: int, decision: str | None, now: datetime) -> int:
    """Takes all items out of the set; returns how many. With a decision of None nobody needs their evidence."""
    closed = sa.update(item).where(*_set(product_id)).values(state="closed", decision=decision, closed_at=now)
    return conn.execute(closed).rowcount


def close_part(conn: Connection, item_id: int, now: datetime) -> None:
    """The other frames of an item's part leave the set with it, as a defect; no samples are made of them."""
    leaving = {"state": "closed", "decision": "defect", "closed_at": now}
    conn.execute(sa.update(item).where(_same_part(item_id), item.c.state == "open").values(**leaving))


def reopen_part(conn: Connection, item_id: int, closed_at: datetime) -> None:
    """What `close_part` closed at that time comes back into the set."""
    back = {"state": "open", "decision": None, "closed_at": None}
    conn.execute(sa.update(item).where(_same_part(item_id), item.c.closed_at == closed_at).values(**back))


def finish(conn: Connection, product_id: int, now: datetime) -> None:
    """Ends a teaching because a model of the product went live; nothing happens where none is under way."""
    found = conn.execute(_select().where(teaching.c.product_id == product_id).with_for_update()).one_or_none()
    if found is not None and read(Teaching, found).unfinished:
        move(conn, product_id, "done", now, expected=UNFINISHED)
        close(conn, product_id, None, now)


def revoke(conn: Connection, product_id: int, now: datetime) -> int:
    """Revokes the good samples that the last teaching made; returns how many."""
    since = sa.select(teaching.c.started_at).where(teaching.c.product_id == product_id).scalar_subquery()
    made = sa.select(item.c.id).where(item.c.product_id == product_id, _OURS)
    own = (sample.c.product_id == product_id, sample.c.item_id.in_(made), sample.c.role != "defect")
    ours = sa.and_(*own, sample.c.created_at >= since, sample.c.revoked_at.is_(None))
    return conn.execute(sa.update(sample).where(ours).values(revoked_at=now)).rowcount


def _select() -> sa.Select[tuple[object, ...]]:
    return sa.select(*columns(teaching, Teaching))


def _set(product_id: int) -> tuple[ColumnElement[bool], ...]:
    return item.c.product_id == product_id, _OURS, item.c.state == "open"


def _same_part(item_id: int) -> ColumnElement[bool]:
    it = sa.alias(item)
    same = sa.select(sa.func.coalesce(it.c.serial, it.c.frame_id)).where(it.c.id == item_id).scalar_subquery()
    product_id = sa.select(it.c.product_id).where(it.c.id == item_id).scalar_subquery()
    return sa.and_(item.c.product_id == product_id, _OURS, same == _PART, item.c.id != item_id)
