"""Proposals: parts that a review called normal, on their way to become training samples."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.phrases import word
from agent.store import epochs
from agent.store.errors import Conflict
from agent.store.rows import columns, read_all
from agent.store.samples import STATES, Sample, get
from agent.store.tables import item, sample

LEAST_SINCE = 20  # accepted since the stream changed, before what was held up since is compared with them

_USED = sample.c.revoked_at.is_(None)


def waiting(conn: Connection, product_id: int, limit: int) -> list[Sample]:
    """The product's proposals that no check has looked at, oldest first."""
    query = sa.select(*columns(sample, Sample)).where(
        sample.c.product_id == product_id, _USED, sample.c.state == "proposed"
    )
    return read_all(Sample, conn.execute(query.order_by(sample.c.id).limit(limit)))


def since_change(conn: Connection, product_id: int) -> list[Sample]:
    """The accepted normals for training among parts inspected since the newest epoch that cuts; none without one."""
    return _since_change(conn, product_id, "accepted")


def missing(conn: Connection, product_id: int) -> int:
    """How many of these are missing until what was held up since the change is looked at again; 0 without a change."""
    if epochs.changed_at(conn, product_id) is None:
        return 0
    return max(0, LEAST_SINCE - _count_since(conn, product_id))


def again(conn: Connection, product_id: int, limit: int) -> list[Sample]:
    """The held-up proposals that a check shall look at again, oldest first.

    After a change of the stream nothing accepted looks like its good parts, so the check holds up nearly all, and a
    second person looks. Of parts inspected since the change, one that was held up is due once `LEAST_SINCE` such
    normals are accepted, and twice as many as it was judged beside: so a bounded number of times, as each is another
    chance for a defect.
    """
    accepted = _count_since(conn, product_id)
    if accepted < LEAST_SINCE:
        return []
    held = _since_change(conn, product_id, "quarantined")
    return [one for one in held if _suspect_beside(one, accepted // 2)][:limit]


def _suspect_beside(one: Sample, normals: int) -> bool:
    """Whether a check held it up, beside at most so many normals since the change."""
    found = one.quarantine or {}
    return found.get("found") == "suspect" and found.get("since_change", 0) <= normals


def _since_change(conn: Connection, product_id: int, state: str) -> list[Sample]:
    changed_at = epochs.changed_at(conn, product_id)
    if changed_at is None:
        return []
    query = _seen_since(sa.select(*columns(sample, Sample)), product_id, state, changed_at)
    return read_all(Sample, conn.execute(query.order_by(sample.c.id)))


def _count_since(conn: Connection, product_id: int) -> int:
    """How many `since_change` has."""
    changed_at = epochs.changed_at(conn, product_id)
    if changed_at is None:
        return 0
    return int(conn.execute(_seen_since(sa.select(sa.func.count()), product_id, "accepted", changed_at)).scalar_one())


def _seen_since(query: sa.Select[Any], product_id: int, state: str, changed_at: datetime) -> sa.Select[Any]:
    return (
        query.select_from(sample)
        .join(item, item.c.id == sample.c.item_id)
        .where(sample.c.product_id == product_id, sample.c.role == "train", sample.c.state == state, _USED)
        .where(item.c.event_at >= changed_at)
    )


def products(conn: Connection) -> list[int]:
    """The ids of the products whose proposals a check shall look at, for the first time or again."""
    query = sa.select(sample.c.product_id, sample.c.state).where(_USED, sample.c.state.in_(("proposed", "quarantined")))
    found = {(int(row[0]), str(row[1])) for row in conn.execute(query.distinct())}
    new = {product_id for product_id, state in found if state == "proposed"}
    held = {product_id for product_id, _ in found} - new
    return sorted(new | {product_id for product_id in held if again(conn, product_id, 1)})


def counts(conn: Connection, product_id: int) -> dict[str, int]:
    """How many of the product's train samples, revoked ones aside, are in each state that any is in."""
    query = sa.select(sample.c.state, sa.func.count()).where(
        sample.c.state.in_(STATES), sample.c.product_id == product_id, sample.c.role == "train", _USED
    )
    return {str(row[0]): int(row[1]) for row in conn.execute(query.group_by(sample.c.state))}


def move(
    conn: Connection,
    sample_id: int,
    state: str,
    *,
    expected: Collection[str],
    by: int | None,
    quarantine: Mapping[str, Any] | None = None,
    now: datetime,
) -> None:
    """Moves a proposal to another state.

    Args:
        conn: a writing transaction.
        sample_id: of a sample that is not revoked.
        state: accepted, quarantined or refused.
        expected: the states that it may have now.
        by: who accepts it; None: the agent.
        quarantine: what the check found; None leaves what is there.
        now: the time.

    Raises:
        NotFound: there is no such sample.
        Conflict: it is revoked, or in another state.
    """
    changes: dict[str, Any] = {"state": state}
    if state == "accepted":
        changes |= {"accepted_by": by, "accepted_at": now}
    if quarantine is not None:
        changes["quarantine"] = dict(quarantine)
    still = (sample.c.id == sample_id, sample.c.revoked_at.is_(None), sample.c.state.in_(expected))
    if conn.execute(sa.update(sample).where(*still).values(**changes)).rowcount != 1:
        found = get(conn, sample_id)
        known = word("revoked" if found.revoked_at else found.state)
        raise Conflict("sample {sample_id} is {state} already", sample_id=sample_id, state=known)
