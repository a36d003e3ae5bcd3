"""Buckets of time that trends are summed in: quarters as they are stored, and hours, shifts and days of the plant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Literal

Fine = Literal["minute", "quarter"]  # as they are stored
Bucket = Literal[Fine, "hour", "shift", "day"]
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
        begins = _Begins(timezone, WHOLE_DAY if bucket == "day" else shifts)
        return begins.last
    return lambda start: start


class _Begins:
    """When shifts begin, as points in time: a local time that a change of the clock leaves out still is one.

    Args:
        timezone: the plant's.
        shifts: local times, ascending.
    """

    def __init__(self, timezone: tzinfo, shifts: Sequence[time]) -> None:
        self._timezone, self._shifts = timezone, shifts
        self._days: dict[date, list[datetime]] = {}

    def of(self, day: date) -> list[datetime]:
        """Of that day, UTC, ascending."""
        if day not in self._days:
            local = (datetime.combine(day, one, self._timezone) for one in self._shifts)
            self._days[day] = [one.astimezone(UTC) for one in local]
        return self._days[day]

    def last(self, moment: datetime) -> datetime:
        """The last one that is not after the moment."""
        day = moment.astimezone(self._timezone).date()
        found = [one for one in self.of(day) if one <= moment]
        return found[-1] if found else self.of(day - timedelta(days=1))[-1]

    def next(self, moment: datetime) -> datetime:
        """The first one after the moment."""
        day = moment.astimezone(self._timezone).date()
        found = [one for one in self.of(day) if one > moment]
        return found[0] if found else self.of(day + timedelta(days=1))[0]


def nominal(start: datetime, timezone: tzinfo, shifts: Sequence[time]) -> time:
    """As which shift the one that starts there is known: its local time, but where the clock was changed just then."""
    day = start.astimezone(timezone).date()
    return shifts[_Begins(timezone, shifts).of(day).index(start.astimezone(UTC))]


def end_of(start: datetime, bucket: Bucket, timezone: tzinfo, shifts: Sequence[time] = WHOLE_DAY) -> datetime:
    """Where the bucket that starts there ends, UTC. Arguments as `cutter`."""
    if bucket in FIXED:
        return start.astimezone(UTC) + FIXED[bucket]
    return _Begins(timezone, WHOLE_DAY if bucket == "day" else shifts).next(start)
