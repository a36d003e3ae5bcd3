"""Which rows name a blob, and going through all blobs page by page in the order of their hashes.

A page is a range of hashes. Hashes are uniform, so each range of a column that names blobs is as short as the page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ColumnElement, Connection

from agent.store.tables import blob, dead_letter, item, metadata

NAMING: tuple[Column[Any], ...] = tuple(
    key.parent
    for table in metadata.sorted_tables
    for key in sorted(table.foreign_keys, key=lambda key: key.parent.name)
    if key.column is blob.c.sha256
)
OF_ITEMS = tuple(column for column in NAMING if column.table is item)
OF_EVIDENCE = tuple(column for column in NAMING if column.table in (item, dead_letter))
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """The `n` blobs whose hashes are from `first` to `last`, both included."""

    first: str
    last: str
    n: int

    def holds(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        """Whether a hash is on this page; not so for NULL."""
        return column.between(self.first, self.last)


def page_after(conn: Connection, last: str, most: int = PAGE) -> Page | None:
    """The next page behind a hash ("" for the first one); None at the end."""
    hashes = sa.select(blob.c.sha256).where(blob.c.sha256 > last).order_by(blob.c.sha256).limit(most).subquery().c
    query = sa.select(sa.func.min(hashes.sha256), sa.func.max(hashes.sha256), sa.func.count())
    first, end, n = conn.execute(query).one()
    return Page(first, end, n) if n else None


def named(
    within: Callable[[Column[Any]], ColumnElement[bool]], columns: Sequence[Column[Any]] = NAMING
) -> sa.CompoundSelect[Any]:
    """The hashes that rows name.

    Args:
        within: of which hashes, as a condition on a column of them; it must not hold for NULL.
        columns: those that count.
    """
    return sa.union_all(*(sa.select(column).where(within(column)) for column in columns))
