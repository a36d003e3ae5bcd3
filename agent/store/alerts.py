"""Alerts: one open row per kind and subject, who has seen it, and what the webhook still has to say of it.

What the webhook knows of a row: `sent_at` is None until it was told of the opening; `next_attempt_at` is when the next
message is due, of the opening while the row is open, of the end once it is closed. An end is told only where the
opening was. `message` is the id under which it was sent, until that arrived, is given up, or has nothing to say any
more: rows of one message are due together, so that it is the same however often it is sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.phrases import MADE, Phrase, bare, remade
from agent.store.columns import Utc
from agent.store.errors import Conflict
from agent.store.rows import columns, one, read, read_all, serialise
from agent.store.tables import alert

QUIET = timedelta(minutes=10)  # from the last message about a kind and subject to the next opening of it
LOCK = 0x616C6572  # "aler"
LONGEST = 200  # characters of a subject
State = Literal["open", "acknowledged", "ended"]  # by which they are found


@dataclass(frozen=True, slots=True)
class Alert:
    """One of them; `n` is how often it was raised while open, `attempts` the webhook's at the message that is due."""

    id: int
    kind: str
    subject: str
    level: str  # warning | error
    words: str
    detail: Mapping[str, Any]
    n: int
    opened_at: datetime
    seen_at: datetime
    closed_at: datetime | None
    acknowledged_by: int | None
    acknowledged_at: datetime | None
    attempts: int
    next_attempt_at: datetime | None
    sent_at: datetime | None
    message: str | None = None

    @property
    def numbers(self) -> dict[str, Any]:
        """The detail as whoever raised it gave it."""
        return bare(self.detail)

    @property
    def line(self) -> dict[str, Any]:
        """What a log line says of it."""
        return {"alert": self.id, "kind": self.kind, "subject": self.subject, "words": self.words, "n": self.n}

    @property
    def told(self) -> str:
        """Its words as they were made, so that a page can say them in the plant's language."""
        return remade(self.words, self.detail.get(MADE))

    @property
    def state(self) -> str:
        """`open` or `over`; also which of its two messages is due."""
        return "over" if self.closed_at else "open"


def station_subject(name: str) -> str:
    """The subject of what concerns a whole station."""
    return f"station:{name}"


def fitted(subject: str) -> str:
    """The subject as it is stored: a longer one ends in its hash."""
    if len(subject) <= LONGEST:
        return subject
    return f"{subject[: LONGEST - 17]}~{hashlib.sha256(subject.encode()).hexdigest()[:16]}"


def raise_(
    conn: Connection,
    kind: str,
    subject: str,
    words: str,
    *,
    level: str,
    detail: Mapping[str, Any],
    event: bool,
    n: int = 1,
    now: datetime,
) -> Alert | None:
    """Opens an alert, or counts it where it is open.

    A condition that comes back soon after its end, before the webhook spoke of that end, goes on as the same row.

    Args:
        conn: a writing transaction.
        kind: what it is.
        subject: whose.
        words: one line for people; the newest ones stay.
        level: warning or error.
        detail: JSON values.
        event: a person ends it, so what comes after that is another one.
        n: how often it was said.
        now: the time.

    Returns:
        The alert where it opened now, None where it was open.
    """
    serialise(conn, LOCK)
    subject = fitted(subject)
    row, said = alert.c, {"level": level, "words": words, "detail": dict(detail), "seen_at": now}
    this = (row.kind == kind, row.subject == subject)
    counted = sa.update(alert).where(*this, row.closed_at.is_(None)).values(n=row.n + n, **said)
    if conn.execute(counted).rowcount:
        return None
    told = conn.execute(sa.select(sa.func.max(row.sent_at)).where(*this)).scalar_one()
    due = max(now, told + QUIET) if told else now
    found = conn.execute(sa.select(*columns(alert, Alert)).where(*this).order_by(row.id.desc()).limit(1)).one_or_none()
    last = read(Alert, found) if found else None
    if last and not event and _goes_on(last, now):
        # Where its end is not told, the webhook still believes it open.
        again = {"closed_at": None, "n": row.n + n, "attempts": 0, "next_attempt_at": None if last.sent_at else due}
        statement = sa.update(alert).where(row.id == last.id).values(**said, **again, message=None)
    else:
        new = {"kind": kind, "subject": subject, "n": n, "opened_at": now, "next_attempt_at": due}
        statement = sa.insert(alert).values(**said, **new)  # type: ignore[assignment]
    return read(Alert, conn.execute(statement.returning(*columns(alert, Alert))).one())


def _goes_on(last: Alert, now: datetime) -> bool:
    untold = last.sent_at is None or (last.next_attempt_at is not None and last.attempts == 0)
    return untold and last.closed_at is not None and now - last.closed_at < QUIET


def clear(conn: Connection, kind: str, subject: str, now: datetime) -> Alert | None:
    """Ends what is open of that kind and subject; None where nothing is."""
    serialise(conn, LOCK)
    this = (alert.c.kind == kind, alert.c.subject == fitted(subject), alert.c.closed_at.is_(None))
    closed = sa.update(alert).where(*this).values(**_ending(now)).returning(*columns(alert, Alert))
    found = conn.execute(closed).one_or_none()
    return read(Alert, found) if found else None


def acknowledge(conn: Connection, alert_id: int, user_id: int, *, event: bool, now: datetime) -> Alert:
    """Records that a person has seen it. A condition stays open until it is over; an event ends with this.

    Raises:
        NotFound: there is no such alert.
        Conflict: it is over, or somebody was faster.
    """
    row = alert.c
    known = get(conn, alert_id)
    seen = {"acknowledged_by": user_id, "acknowledged_at": now, **(_ending(now) if event else {})}
    unseen = (row.id == alert_id, row.closed_at.is_(None), row.acknowledged_at.is_(None))
    found = conn.execute(sa.update(alert).where(*unseen).values(**seen).returning(*columns(alert, Alert))).one_or_none()
    if found is None:
        why = Phrase("somebody has acknowledged it") if known.acknowledged_at else Phrase("it is over")
        raise Conflict("alert {alert_id} needs nobody any more: {why}", alert_id=alert_id, why=why)
    return read(Alert, found)


def _ending(now: datetime) -> dict[str, Any]:
    sent = alert.c.sent_at.is_not(None)
    return {
        "closed_at": now,
        "attempts": sa.case((sent, 0), else_=alert.c.attempts),
        "next_attempt_at": sa.case((sent, sa.literal(now, Utc)), else_=sa.null()),
        "message": None,
    }


def get(conn: Connection, alert_id: int) -> Alert:
    """The alert of that id.

    Raises:
        NotFound: there is none.
    """
    return one(conn, Alert, alert, alert_id)


def standing(conn: Connection) -> list[Alert]:
    """All open ones: errors first, then the oldest."""
    query = sa.select(*columns(alert, Alert)).where(alert.c.closed_at.is_(None))
    return read_all(Alert, conn.execute(query.order_by(alert.c.level, alert.c.opened_at, alert.c.id)))


def recent(
    conn: Connection, limit: int = 50, *, state: State | None = None, kind: str | None = None, text: str = ""
) -> list[Alert]:
    """The newest ones, newest first.

    Args:
        conn: any transaction.
        limit: at most so many.
        state: `open` ones, `ended` ones, or those that somebody has `acknowledged`, open or ended; None: all.
        kind: only of this kind.
        text: only those whose words or subject have it, in small or capital letters.
    """
    query = sa.select(*columns(alert, Alert)).order_by(alert.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(_STATES[state])
    if kind is not None:
        query = query.where(alert.c.kind == kind)
    if text:
        has = (column.icontains(text, autoescape=True) for column in (alert.c.words, alert.c.subject))
        query = query.where(sa.or_(*has))
    return read_all(Alert, conn.execute(query))


_STATES: dict[State, sa.ColumnElement[bool]] = {
    "open": alert.c.closed_at.is_(None),
    "acknowledged": alert.c.acknowledged_at.is_not(None),
    "ended": alert.c.closed_at.is_not(None),
}


def opened_between(conn: Connection, since: datetime, until: datetime) -> list[Alert]:
    """Those raised in [since, until), oldest first."""
    row = alert.c
    query = sa.select(*columns(alert, Alert)).where(row.opened_at >= since, row.opened_at < until)
    return read_all(Alert, conn.execute(query.order_by(row.opened_at, row.id)))


def counts(conn: Connection) -> dict[str, int]:
    """How many are open, by kind; kinds without any are left out."""
    query = sa.select(alert.c.kind, sa.func.count()).where(alert.c.closed_at.is_(None)).group_by(alert.c.kind)
    return {kind: int(n) for kind, n in conn.execute(query)}


def due(conn: Connection, now: datetime, limit: int) -> list[Alert]:
    """Those whose next message is due, the longest waiting first; of what was sent together, all or none."""
    row = alert.c
    query = sa.select(*columns(alert, Alert)).where(row.next_attempt_at <= now)
    found = read_all(Alert, conn.execute(query.order_by(row.next_attempt_at, row.message, row.id).limit(limit + 1)))
    if len(found) <= limit:
        return found
    cut = found.pop().message
    return [one for one in found if cut is None or one.message != cut]


def take(conn: Connection, wanted: Alert, message: str, again_at: datetime) -> bool:
    """Takes `wanted`, as `due` returned it, for one attempt at `message`; it is due again at `again_at`.

    Returns:
        False where it changed since, or somebody else took it: it must not be sent.
    """
    serialise(conn, LOCK)
    row = alert.c
    same = (row.id == wanted.id, row.attempts == wanted.attempts, row.next_attempt_at == wanted.next_attempt_at)
    closed = row.closed_at.is_(None) if wanted.closed_at is None else row.closed_at.is_not(None)
    attempt = {"attempts": row.attempts + 1, "next_attempt_at": again_at, "message": message}
    return conn.execute(sa.update(alert).where(*same, closed).values(**attempt)).rowcount == 1


def sent(conn: Connection, message: Alert, now: datetime) -> None:
    """The message of `message`, as it was taken, arrived; where the alert ended meanwhile, its end is due now."""
    serialise(conn, LOCK)
    row = alert.c
    ended = sa.and_(row.closed_at.is_not(None), sa.literal(message.closed_at is None))
    after = sa.case((ended, sa.literal(now, Utc)), else_=sa.null())
    told = {"sent_at": now, "attempts": 0, "next_attempt_at": after, "message": None}
    conn.execute(sa.update(alert).where(row.id == message.id).values(**told))


def give_up(conn: Connection, message: Alert) -> None:
    """Sends the message of `message` no more."""
    row = alert.c
    taken = (row.id == message.id, row.attempts == message.attempts + 1)
    conn.execute(sa.update(alert).where(*taken).values(next_attempt_at=None, message=None))
