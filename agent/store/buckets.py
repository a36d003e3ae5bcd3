"""Buckets of time that trends are summed in: quarters as they are stored, and hours, shifts and days of the plant."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Literal

Bucket = Literal["minute", "quarter", "hour", "shift", "day"]
WHOLE_DAY = (time(),)
FIXED = {"minute": timedelta(minutes=1), "quarter": timedelta(minutes=15), "hour": timedelta(hours=1)}


def minute(moment: datetime) -> datetime:
    """The start of its minute, UTC."""
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


def quarter(moment: datetime) -> datetime:
    """The start of its quarter hour, UTC. Every timezone in use today is a whole number of quarters from UTC."""
    start = minute(moment)
    return start - timedelta(minutes=start.minute % 15)


def cutter(bucket: Bucket, timezone: tzinfo, shifts: Sequence[time] = WHOLE_DAY) -> Callable[[datetime], datetime]:
    """Maps a quarter's start to its bucket's start, in UTC so that the hour that comes twice stays two hours.

    Args:
        bucket: a width.
        timezone: the plant's; hours, shifts and days are cut in it.
        shifts: when each begins, on whole quarters, ascending. What is before a day's first belongs to the last shift
            of the day before.
    """
    if bucket == "hour":
        # From the local minute, not by replacing it, which would lose the fold of the repeated hour.
        return lambda start: start - timedelta(minutes=start.astimezone(timezone).minute)
    if bucket in ("shift", "day"):
        begins = WHOLE_DAY if bucket == "day" else shifts

        def last_begin(start: datetime) -> datetime:
            local = start.astimezone(timezone)
            at = bisect_right(begins, local.time()) - 1
            day = local.date() - timedelta(days=at < 0)
            return datetime.combine(day, begins[at], timezone).astimezone(UTC)

        return last_begin
    return lambda start: start


def end_of(start: datetime, bucket: Bucket, timezone: tzinfo, shifts: Sequence[time] = WHOLE_DAY) -> datetime:
    """Where the bucket that starts there ends, UTC. Arguments as `cutter`."""
    if bucket in FIXED:
        return start.astimezone(UTC) + FIXED[bucket]
    begins = list(WHOLE_DAY if bucket == "day" else shifts)
    local = start.astimezone(timezone)
    following = begins.index(local.time()) + 1
    day = local.date() + timedelta(days=following == len(begins))
    return datetime.combine(day, begins[following % len(begins)], timezone).astimezone(UTC)
