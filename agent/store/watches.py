"""Watches: a second model that scores a share of the parts beside what decides, and what became of that.

A shadow is a candidate beside the champion, before its promotion; a watch is the champion before beside the newly
promoted one. A watch is under way until `closed_at`: `open` while it is judged, `untrusted` once neither model held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.phrases import MADE, Phrase, made_of, remade, together
from agent.store.errors import Conflict, NotFound
from agent.store.rows import insert_rows, listed, names, read, read_all
from agent.store.tables import certificate, deployment, item, model_version, product, shadow_score, watch


@dataclass(frozen=True, slots=True)
class Watch:
    """One of them. `other` is what scores beside what decides: a shadow's candidate, a watch's champion before."""

    id: int
    product_id: int
    product: str
    kind: str  # shadow | watch
    deployment_id: int
    number: int  # version of what decides
    certificate: Mapping[str, Any] | None  # of what decides
    other_version_id: int
    other_number: int
    other_artifact_sha256: str
    other_certificate: Mapping[str, Any] | None
    share: float  # of the parts, drawn before scoring
    state: str  # open | kept | rolled_back | untrusted | ended
    words: str | None  # of an open one: why the other model cannot score; else what came of it
    made: Mapping[str, Any] | None  # of the words
    numbers: Mapping[str, Any] | None  # of agent.watching, as it last looked
    opened_at: datetime
    closed_at: datetime | None

    @property
    def full(self) -> bool:
        """Whether enough parts were drawn: while it is open no more are."""
        return self.state == "open" and bool(self.numbers and self.numbers.get("full"))

    @property
    def told(self) -> str:
        """What there is to say of it now."""
        numbers = self.numbers or {}
        if self.words:
            return remade(self.words, self.made)
        if numbers:
            return remade(numbers["words"], numbers.get(MADE))
        return Phrase("no part of its sample was inspected yet")

    @property
    def title(self) -> Phrase:
        """Which models, in words."""
        if self.kind == "shadow":
            return Phrase("v{number} in the shadow of v{other}", number=self.other_number, other=self.number)
        return Phrase("v{number} watched against v{other}", number=self.number, other=self.other_number)


@dataclass(frozen=True, slots=True)
class Score:
    """One frame of a watch: what decides, and the other model, of it."""

    watch_id: int
    stream_id: int
    partition: int
    offset: int
    event_at: datetime
    station_id: int
    part: str  # serial, or the frame's id
    flagged: bool
    other_flagged: bool
    score: float | None
    other_score: float | None


@dataclass(frozen=True, slots=True)
class Seen:
    """One frame of a watch and what people said of it: `decision` of its closed item, None while it has none."""

    station_id: int
    part: str
    flagged: bool
    other_flagged: bool
    decision: str | None


def open(
    conn: Connection,
    *,
    product_id: int,
    kind: str,
    deployment_id: int,
    version_id: int,
    certificate_id: int,
    share: float,
    now: datetime,
) -> int:
    """Opens one and returns its id. Lock the product first.

    Args:
        conn: a writing transaction.
        product_id: whose.
        kind: shadow or watch.
        deployment_id: what decides meanwhile.
        version_id: what scores beside it.
        certificate_id: one of that version's.
        share: of the parts, in (0, 1].
        now: the time.

    Raises:
        Conflict: one is under way.
    """
    if before := active(conn, product_id):
        raise Conflict(
            "{watch} still: end that first with goodpart watch end {watch_id} --reason ...",
            watch=before.title,
            watch_id=before.id,
        )
    statement = sa.insert(watch).values(
        product_id=product_id,
        kind=kind,
        deployment_id=deployment_id,
        model_version_id=version_id,
        certificate_id=certificate_id,
        share=share,
        state="open",
        opened_at=now,
    )
    return int(conn.execute(statement.returning(watch.c.id)).scalar_one())


def get(conn: Connection, watch_id: int) -> Watch:
    """The watch of that id.

    Raises:
        NotFound: there is none.
    """
    found = conn.execute(_select().where(watch.c.id == watch_id)).one_or_none()
    if found is None:
        raise NotFound("there is no watch {watch_id}", watch_id=watch_id)
    return read(Watch, found)


def active(conn: Connection, product_id: int) -> Watch | None:
    """The one under way for a product."""
    query = _select().where(watch.c.product_id == product_id, watch.c.closed_at.is_(None))
    found = conn.execute(query).one_or_none()
    return read(Watch, found) if found else None


def all_active(conn: Connection) -> list[Watch]:
    """All that are under way, at most one a product."""
    return read_all(Watch, conn.execute(_select().where(watch.c.closed_at.is_(None)).order_by(watch.c.id)))


def all(conn: Connection, product_id: int, limit: int = 20) -> list[Watch]:
    """The product's newest ones, newest first."""
    query = _select().where(watch.c.product_id == product_id).order_by(watch.c.id.desc())
    return read_all(Watch, conn.execute(query.limit(limit)))


def say(conn: Connection, watch_id: int, words: str | None) -> None:
    """Why the other model of an open one cannot score; None: it can."""
    conn.execute(sa.update(watch).where(watch.c.id == watch_id, watch.c.state == "open").values(_told(words)))


def count(conn: Connection, watch_id: int, numbers: Mapping[str, Any]) -> None:
    """What the last look at an open one found."""
    conn.execute(sa.update(watch).where(watch.c.id == watch_id, watch.c.state == "open").values(numbers=dict(numbers)))


def distrust(conn: Connection, watch_id: int, words: str, numbers: Mapping[str, Any]) -> bool:
    """Neither model can be trusted: both go on scoring, every part from now on. False where it is open no more."""
    return _leave(conn, watch_id, state="untrusted", numbers=dict(numbers), share=1.0, **_told(words))


def close(
    conn: Connection, watch_id: int, state: str, words: str, now: datetime, numbers: Mapping[str, Any] | None = None
) -> bool:
    """Ends an open one as kept, rolled_back or ended; False where it is open no more."""
    counted = {} if numbers is None else {"numbers": dict(numbers)}
    return _leave(conn, watch_id, state=state, closed_at=now, **_told(words), **counted)


def end(conn: Connection, product_id: int, why: str, now: datetime) -> Watch | None:
    """Ends what is under way for a product, whatever it found: `untrusted` stays its state. None where nothing is."""
    if (found := active(conn, product_id)) is None:
        return None
    trusted = found.state == "open"
    words = why if trusted else together("{one}; {other}", [found.told, why])
    after = {"state": "ended" if trusted else "untrusted", "closed_at": now, **_told(words)}
    conn.execute(sa.update(watch).where(watch.c.id == found.id).values(after))
    return found


def add_scores(conn: Connection, scores: Sequence[Score]) -> None:
    """Adds frames, in one partition's transaction."""
    insert_rows(conn, shadow_score, names(Score), map(_values, scores))


def seen(conn: Connection, watch_id: int) -> list[Seen]:
    """The frames of a watch, in the order in which the parts were inspected."""
    row = shadow_score.c
    closed = sa.case((item.c.state == "closed", item.c.decision))
    query = (
        sa.select(row.station_id, row.part, row.flagged, row.other_flagged, closed.label("decision"))
        .outerjoin(
            item,
            sa.and_(item.c.stream_id == row.stream_id, item.c.partition == row.partition, item.c.offset == row.offset),
        )
        .where(row.watch_id == watch_id)
        .order_by(row.event_at, row.stream_id, row.partition, row.offset)
    )
    return read_all(Seen, conn.execute(query))


def over(conn: Connection, before: datetime) -> list[int]:
    """The watches that ended before that time and still have frames, by id."""
    frames = sa.exists().where(shadow_score.c.watch_id == watch.c.id)
    return list(conn.execute(sa.select(watch.c.id).where(watch.c.closed_at < before, frames).order_by("id")).scalars())


def _told(words: str | None) -> dict[str, Any]:
    return {"words": words, MADE: made_of(words)}


def _leave(conn: Connection, watch_id: int, **changes: Any) -> bool:
    statement = sa.update(watch).where(watch.c.id == watch_id, watch.c.state == "open").values(**changes)
    return conn.execute(statement).rowcount == 1


_values = listed(Score)


def _select() -> sa.Select[Any]:
    decides, own = model_version.alias("decides"), certificate.alias("own")
    return (
        sa.select(
            watch.c.id,
            watch.c.product_id,
            product.c.name.label("product"),
            watch.c.kind,
            watch.c.deployment_id,
            decides.c.number,
            own.c.record.label("certificate"),
            watch.c.model_version_id.label("other_version_id"),
            model_version.c.number.label("other_number"),
            model_version.c.artifact_sha256.label("other_artifact_sha256"),
            certificate.c.record.label("other_certificate"),
            watch.c.share,
            watch.c.state,
            watch.c.words,
            watch.c.made,
            watch.c.numbers,
            watch.c.opened_at,
            watch.c.closed_at,
        )
        .join(product, product.c.id == watch.c.product_id)
        .join(deployment, deployment.c.id == watch.c.deployment_id)
        .join(decides, decides.c.id == deployment.c.model_version_id)
        .outerjoin(own, own.c.id == deployment.c.certificate_id)
        .join(model_version, model_version.c.id == watch.c.model_version_id)
        .outerjoin(certificate, certificate.c.id == watch.c.certificate_id)
    )
