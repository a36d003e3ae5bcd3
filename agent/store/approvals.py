"""Approved parts that a version did not learn from, and how many frames the line inspected meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store import epochs, samples, trends
from agent.store.buckets import quarter
from agent.store.scopes import Scope
from agent.store.tables import deployment, item, sample


@dataclass(frozen=True, slots=True)
class Approvals:
    """Normals of reviews that no second person looked at.

    Attributes:
        ids: those seen since the newest change of the stream.
        frames: of how many they are some.
        unchecked: those, whenever seen, that no quarantine check found clear either.
    """

    ids: frozenset[int] = frozenset()
    frames: int = 0
    unchecked: frozenset[int] = frozenset()


def unlearnt(conn: Connection, product_id: int, beyond: int | None, now: datetime) -> Approvals:
    """Those that the snapshot `beyond` does not hold; a change of the stream is an epoch that cuts.

    What a second person accepted out of the quarantine is left out: somebody looked at it twice, knowing what it looks
    like. The frames are those inspected since the version that flagged the oldest of them went live, or since the
    change: a span that does not depend on when a part was flagged, as one from the first flag to the last would.
    """
    alone = {one.id: one for one in samples.fresh(conn, product_id, beyond) if one.accepted_by is None}
    unchecked = frozenset(one.id for one in alone.values() if (one.quarantine or {}).get("found") != "clear")
    changed_at = epochs.changed_at(conn, product_id)
    query = sa.select(sample.c.id, item.c.event_at).join(item, item.c.id == sample.c.item_id)
    query = query.where(sample.c.product_id == product_id, sample.c.role == "train")
    seen = {
        sample_id: at for sample_id, at in conn.execute(query)
        if sample_id in alone and (changed_at is None or at >= changed_at)
    }  # fmt: skip
    if not seen:
        return Approvals(unchecked=unchecked)
    oldest, row = min(seen.values()), deployment.c
    went_live = sa.select(sa.func.max(row.live_from)).where(row.product_id == product_id, row.live_from <= oldest)
    starts = [one for one in (conn.execute(went_live).scalar_one(), changed_at) if one is not None]
    since = quarter(max(starts, default=oldest))
    inspected = trends.totals(conn, since, now, "product_id", Scope(product_id)).get(product_id)
    return Approvals(frozenset(seen), inspected.inspected if inspected else 0, unchecked)
