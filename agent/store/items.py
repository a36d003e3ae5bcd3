"""Items: frames kept for people, with their evidence."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.phrases import together, word
from agent.store import reviews
from agent.store.errors import Conflict, NotFound
from agent.store.rows import values
from agent.store.tables import CLOSED, claim, item, product, station, user

Cursor = tuple[str, bool, int]  # state, watched, id
FLAGS = ("review", "reject")  # verdicts with which a model flags a frame
Headers = tuple[tuple[str, str], ...]  # (name, text) pairs, as they came


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """A frame as the recorder keeps it. `kind` is audit for a drawn frame, whatever its verdict.

    `headers` are its record's; no `Item` has them: a queue of items would read them for nothing (`headers` reads them).
    `other_overlay_sha256` is by the other one of two models that disagree on it (`disagreements` reads it).
    """

    stream_id: int
    partition: int
    offset: int
    event_at: datetime
    frame_id: str
    station_id: int
    product_id: int
    serial: str | None = None
    lot: str | None = None
    kind: str  # flagged | audit | failed | teach
    verdict: str
    reason: str | None = None
    score: float | None = None
    p_value: float | None = None
    severity: float | None = None
    deployment_id: int | None = None
    frame_sha256: str
    pixels_sha256: str | None = None
    heatmap_sha256: str | None = None
    preview_sha256: str | None = None
    overlay_sha256: str | None = None
    thumbnail_sha256: str | None = None
    headers: Sequence[tuple[str, str]] | None = None
    other_overlay_sha256: str | None = None
    created_at: datetime
    watched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An item as a page shows it. Its score, p-value and severity are hidden until it has a review."""

    id: int
    stream_id: int
    partition: int
    offset: int
    event_at: datetime
    frame_id: str
    station_id: int
    station: str
    product_id: int
    product: str
    serial: str | None
    lot: str | None
    kind: str  # flagged | audit | failed | teach
    state: str  # open | escalated | closed
    decision: str | None  # of the closing review: normal | defect
    verdict: str
    reason: str | None
    score: float | None
    p_value: float | None
    severity: float | None
    deployment_id: int | None
    frame_sha256: str | None  # None once its evidence was let go
    pixels_sha256: str | None  # of the decoded frame; None where it is not known
    heatmap_sha256: str | None
    preview_sha256: str | None
    overlay_sha256: str | None
    thumbnail_sha256: str | None
    created_at: datetime
    closed_at: datetime | None
    pinned: bool  # its evidence is never let go
    released_at: datetime | None  # when its evidence was let go
    watched: bool  # of a watch: reviewed first
    judged_by: int | None  # user id of who decided first, or was unsure last, while another person has to decide
    agreed: bool | None  # whether the second of two people said what the first did; None: it had not two
    claimed_by: str | None  # who took it last; only binding until claimed_until
    claimed_until: datetime | None
    reviews: tuple[reviews.Review, ...] = field(default=())

    @property
    def cursor(self) -> Cursor:
        """Where the queue goes on after this item."""
        return self.state, self.watched, self.id


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """How many items are in each state, and how many of the open ones are audit items."""

    open: int
    escalated: int
    closed: int
    open_audit: int


def add_all(conn: Connection, rows: Sequence[NewItem]) -> None:
    """Adds open items, in one partition's transaction. Their blobs were kept before."""
    if rows:
        conn.execute(sa.insert(item), [{**values(row), "state": "open"} for row in rows])


_SHOWN = [column for column in item.c if column not in {item.c.headers, item.c.other_overlay_sha256}]


def _select() -> sa.Select[Any]:
    return (
        sa.select(
            *_SHOWN,
            station.c.name.label("station"),
            product.c.name.label("product"),
            user.c.name.label("claimed_by"),
            claim.c.expires_at.label("claimed_until"),
        )
        .join(station, station.c.id == item.c.station_id)
        .join(product, product.c.id == item.c.product_id)
        .outerjoin(claim, claim.c.item_id == item.c.id)
        .outerjoin(user, user.c.id == claim.c.user_id)
    )


def _read(conn: Connection, query: sa.Select[Any]) -> list[Item]:
    rows = conn.execute(query).all()
    said = reviews.of_items(conn, [row.id for row in rows])
    return [Item(**row._mapping, reviews=tuple(said[row.id])) for row in rows]


def of_queue(
    query: sa.Select[Any], product_id: int | None, station_id: int | None, kind: str | None = None
) -> sa.Select[Any]:
    """The query without parts that a product is taught from: those are looked through on a page of their own."""
    query = query.where(item.c.kind != "teach")
    for column, wanted in ((item.c.product_id, product_id), (item.c.station_id, station_id), (item.c.kind, kind)):
        if wanted is not None:
            query = query.where(column == wanted)
    return query


def part_waits(product_id: Any, serial: Any) -> sa.ColumnElement[bool]:
    """Whether a view of that part waits for people; not of one without a serial, as it has but one view.

    A part is drawn for the audit by its serial: what one view tells of that, it tells of the others. So nothing is told
    of any before all are judged.

    Args:
        product_id: a column, or a value.
        serial: likewise.
    """
    view = item.alias()
    same = (view.c.product_id == product_id, view.c.serial == serial)
    return sa.exists().where(*same, view.c.state != CLOSED, view.c.kind != "teach")


def others_wait(conn: Connection, of: Item) -> bool:
    """Whether another view of a closed item's part waits for people."""
    waits = part_waits(of.product_id, of.serial)
    return of.serial is not None and bool(conn.execute(sa.select(waits)).scalar_one())


def places(*, escalated: bool) -> list[tuple[str, bool]]:
    """State and `watched` of what waits, in the queue's order: a part that people could not settle waited longest."""
    return [(state, watched) for state in ("escalated", "open")[not escalated :] for watched in (True, False)]


def queue(
    conn: Connection,
    *,
    product_id: int | None = None,
    station_id: int | None = None,
    kind: str | None = None,
    escalated: bool = False,
    limit: int = 50,
    after: Cursor | None = None,
) -> list[Item]:
    """What waits for a person: what is escalated, then the others; of both first what a watch waits for, then by age.

    Audit items are among them; parts to teach a product from are in no queue.

    Args:
        conn: any transaction.
        product_id: only this product's.
        station_id: only this station's.
        kind: only this kind.
        escalated: with the escalated ones, as an engineer sees them.
        limit: at most so many.
        after: `Item.cursor` of the last one already seen.
    """
    found: list[Item] = []
    left = places(escalated=escalated)
    if after is not None:
        left = left[left.index(after[:2]) :] if after[:2] in left else []
    for state, watched in left:
        query = of_queue(_select().where(item.c.state == state).order_by(item.c.id), product_id, station_id, kind)
        query = query.where(item.c.watched.is_(watched))
        if after is not None and after[:2] == (state, watched):
            query = query.where(item.c.id > after[2])
        if len(found) < limit:
            found += _read(conn, query.limit(limit - len(found)))
    return found


def of(
    conn: Connection, *conditions: sa.ColumnElement[bool], order: Sequence[sa.ColumnElement[Any]], limit: int
) -> list[Item]:
    """Items that hold the conditions, but none of those to teach a product from."""
    # Ids first: where no index has that order, 200,000 whole rows would be sorted.
    found = of_queue(sa.select(item.c.id).where(*conditions), None, None).order_by(*order).limit(limit)
    return _read(conn, _select().where(item.c.id.in_(found)).order_by(*order))


def drawn(conn: Connection, item_ids: Collection[int]) -> set[int]:
    """Those of these items that were drawn for the audit."""
    query = sa.select(item.c.id).where(item.c.id.in_(list(item_ids)), item.c.kind == "audit")
    return set(conn.execute(query).scalars())


def of_records(conn: Connection, places: Collection[tuple[int, int, int]]) -> dict[tuple[int, int, int], Item]:
    """The items of these records, by stream id, partition and offset; parts to teach a product from are none."""
    if not places:
        return {}
    where = sa.tuple_(item.c.stream_id, item.c.partition, item.c.offset).in_(list(places))
    found = _read(conn, of_queue(_select().where(where), None, None))
    return {(one.stream_id, one.partition, one.offset): one for one in found}


def of_serial(conn: Connection, serial: str, limit: int = 200) -> list[Item]:
    """The newest items of a part, newest first, those to teach a product from among them."""
    return _read(conn, _select().where(item.c.serial == serial).order_by(item.c.event_at.desc()).limit(limit))


def get(conn: Connection, item_id: int) -> Item:
    """The item of that id.

    Raises:
        NotFound: there is none.
    """
    found = _read(conn, _select().where(item.c.id == item_id))
    if not found:
        raise NotFound("there is no item {item_id}", item_id=item_id)
    return found[0]


def headers(conn: Connection, ids: Collection[int]) -> dict[int, Headers]:
    """The headers of these items' records, by item id; of older items they are not known."""
    query = sa.select(item.c.id, item.c.headers).where(item.c.id.in_(list(ids)), item.c.headers.is_not(None))
    return {item_id: tuple((name, text) for name, text in found) for item_id, found in conn.execute(query)}


def some(conn: Connection, ids: Iterable[int]) -> list[Item]:
    """The items of these ids, in the queue's order; ids of none are passed over."""
    found = _read(conn, _select().where(item.c.id.in_(list(ids))))
    return sorted(found, key=lambda one: (one.state != "escalated", not one.watched, one.id))


def lock(conn: Connection, item_id: int) -> Item:
    """As `get`, and nobody else changes the item until this transaction ends."""
    conn.execute(sa.select(item.c.id).where(item.c.id == item_id).with_for_update())
    return get(conn, item_id)


def at(conn: Connection, stream_id: int, partition: int, offset: int) -> Item | None:
    """The item made of the frame at that position."""
    row = item.c
    found = _read(conn, _select().where(row.stream_id == stream_id, row.partition == partition, row.offset == offset))
    return found[0] if found else None


def frames_at(conn: Connection, stream_id: int, partition: int, offsets: Sequence[int]) -> dict[int, str]:
    """Hashes of the frames that are kept of these offsets, by offset."""
    row = item.c
    query = sa.select(row.offset, row.frame_sha256).where(row.stream_id == stream_id, row.partition == partition)
    query = query.where(row.offset.in_(offsets), row.frame_sha256.is_not(None))
    return {one.offset: one.frame_sha256 for one in conn.execute(query)}


def counts(conn: Connection, *, product_id: int | None = None) -> ItemCounts:
    """How many items of the review queue are in each state."""
    query = of_queue(sa.select(item.c.state, item.c.kind, sa.func.count()), product_id, None)
    rows = conn.execute(query.group_by(item.c.state, item.c.kind)).all()
    by_state = {state: sum(n for s, _, n in rows if s == state) for state in ("open", "escalated", "closed")}
    return ItemCounts(**by_state, open_audit=sum(n for s, kind, n in rows if (s, kind) == ("open", "audit")))


def for_user(query: sa.Select[Any], user_id: int | None, *, escalated: bool) -> sa.Select[Any]:
    """The query for what waits for this user (None: for anybody): not what another person has to judge after them."""
    query = query.where(item.c.state.in_(["open", "escalated"] if escalated else ["open"]))
    return query if user_id is None else query.where(sa.or_(item.c.judged_by.is_(None), item.c.judged_by != user_id))


def waiting(
    conn: Connection,
    user_id: int | None,
    *,
    product_id: int | None = None,
    station_id: int | None = None,
    escalated: bool = False,
    most: int = 1000,
) -> int:
    """How many items wait for this user, counted up to `most`: a number that costs the same however many there are."""
    query = for_user(of_queue(sa.select(item.c.id), product_id, station_id), user_id, escalated=escalated)
    return conn.execute(sa.select(sa.func.count()).select_from(query.limit(most).subquery())).scalar_one()


def count_failed(conn: Connection, station_id: int, reason: str, since: datetime) -> int:
    """How many failed items of that reason the station made since then: what their quota looks at."""
    row = item.c
    query = sa.select(sa.func.count()).where(
        row.kind == "failed", row.station_id == station_id, row.reason == reason, row.created_at >= since
    )
    return conn.execute(query).scalar_one()


def set_pinned(conn: Connection, item_id: int, pinned: bool) -> None:
    """Keeps retention from an item's evidence, or lets it. Lock the item first."""
    conn.execute(sa.update(item).where(item.c.id == item_id).values(pinned=pinned))


def set_agreed(conn: Connection, item_id: int, agreed: bool | None) -> None:
    """Whether the second of two people said what the first did; None where the second took it back."""
    conn.execute(sa.update(item).where(item.c.id == item_id).values(agreed=agreed))


def set_state(
    conn: Connection,
    item_id: int,
    state: str,
    *,
    expected: Collection[str],
    decision: str | None,
    judged_by: int | None = None,
    now: datetime,
) -> None:
    """Moves an item to `state`.

    Args:
        conn: a writing transaction.
        item_id: of the item.
        state: the new one.
        expected: what it may be now.
        decision: of the closing review.
        judged_by: whose decision another person has to follow; None: anybody may go on.
        now: the time.

    Raises:
        Conflict: its state is none of the expected.
    """
    moved = conn.execute(
        sa.update(item)
        .where(item.c.id == item_id, item.c.state.in_(expected))
        .values(state=state, decision=decision, judged_by=judged_by, closed_at=now if state == "closed" else None)
    )
    if moved.rowcount != 1:
        raise Conflict(
            "item {item_id} is not {states} any more: load it again",
            item_id=item_id,
            states=together("{one} or {other}", map(word, expected)),
        )
