"""Stretches of a window of time: what is whole of it is read from coarse sums, its ends from fine ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Table

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Stretch = tuple[Table, datetime, datetime]  # where to read, from when, until when


def stretches(since: datetime, until: datetime, fine: Table, coarse: Table, width: timedelta) -> list[Stretch]:
    """The stretches of [since, until), one after the other.

    Both tables count the same, so that the sums are those of the fine one alone.

    Args:
        since: start of the window.
        until: its end, not included.
        fine: sums of the narrow buckets.
        coarse: sums of the wide ones.
        width: of the wide ones, which begin at midnight, UTC.
    """
    since, until = since.astimezone(UTC), until.astimezone(UTC)
    first, last = since + (EPOCH - since) % width, until - (until - EPOCH) % width
    if first >= last:
        return [(fine, since, until)]
    parts = ((fine, since, first), (coarse, first, last), (fine, last, until))
    return [part for part in parts if part[1] < part[2]]
