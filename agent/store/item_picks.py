"""Items that somebody has picked of a search, for one decision on all of them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from agent.store import items
from agent.store.item_search import Wanted
from agent.store.items import Item
from agent.store.tables import item


def open_ones(conn: Connection, wanted: Wanted, ids: Collection[int], limit: int) -> list[Item]:
    """Those of these ids that still match and that nobody has closed, the newest part first."""
    row = item.c
    conditions = (row.id.in_(list(ids)), row.state != "closed", *wanted.conditions())
    return items.of(conn, *conditions, order=(row.event_at.desc(), row.id.desc()), limit=limit)
