"""Stretches of a window of time: what is whole of it is read from coarse sums, its ends from sums of quarter hours."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Table

from agent.store.buckets import QUARTER

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Stretch = tuple[Table, sa.ColumnElement[bool]]  # where to read, and which rows of it


def window(table: Table, since: datetime, until: datetime) -> Stretch:
    """The rows of [since, until)."""
    return table, sa.and_(table.c.start >= since, table.c.start < until)


def stretches(
    since: datetime, until: datetime, fine: Table, coarse: Table, width: timedelta, torn: Collection[datetime] = ()
) -> list[Stretch]:
    """The stretches of [since, until): no two have anything in common.

    Both tables count the same, so that the sums are those of the fine one alone.

    Args:
        since: start of the window.
        until: its end, not included.
        fine: sums of quarter hours.
        coarse: sums of wide buckets.
        width: of the wide ones, which begin at midnight, UTC.
        torn: wide ones that are to be given by quarter hours all the same, by their starts.
    """
    since, until = since.astimezone(UTC), until.astimezone(UTC)
    first, last = since + (EPOCH - since) % width, until - (until - EPOCH) % width
    if first >= last:
        return [window(fine, since, until)]
    ends = [window(fine, *one) for one in ((since, first), (last, until)) if one[0] < one[1]]
    whole = window(coarse, first, last)
    inner = sorted(one for one in torn if first <= one < last)
    if not inner:
        return [*ends, whole]
    # A list of starts, not a range for each: SQLite takes no more than a thousand of these.
    quarters = [one + n * QUARTER for one in inner for n in range(width // QUARTER)]
    return [*ends, (fine, fine.c.start.in_(quarters)), (coarse, whole[1] & coarse.c.start.not_in(inner))]
