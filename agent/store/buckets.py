"""Buckets of time that trends are summed in: those that are stored, and hours, shifts and days of the plant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Literal

Fine = Literal["minute", "quarter", "hour"]  # as they are stored, hours being those of UTC
Bucket = Literal[Fine, "shift", "day"]
WHOLE_DAY = (time(),)
QUARTER, HOUR, DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
FIXED = {"minute": timedelta(minutes=1), "quarter": QUARTER, "hour": HOUR}


def minute(moment: datetime) -> datetime:
    """The start of its minute, UTC."""
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


def quarter(moment: datetime) -> datetime:
    """The start of its quarter hour, UTC. Every timezone in use today is a whole number of quarters from UTC."""
    start = minute(moment)
    return start - timedelta(minutes=start.minute % 15)


def hour(moment: datetime) -> datetime:
    """The start of its hour, UTC; no hour of a plant whose timezone is half an hour off."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def day(moment: datetime) -> datetime:
    """The start of its day, UTC; no day of the plant."""
    return hour(moment).replace(hour=0)


def cutter(bucket: Bucket, timezone: tzinfo, shifts: Sequence[time] = WHOLE_DAY) -> Callable[[datetime], datetime]:
    """Maps a quarter's start to its bucket's start, in UTC so that the hour that comes twice stays two hours.

    The start of an hour, too, but of one that `torn` names.

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


def torn(bucket: Bucket, timezone: tzinfo, shifts: Sequence[time], since: datetime, until: datetime) -> set[datetime]:
    """The hours of UTC that lie in two buckets of the window, by their starts.

    Args:
        bucket: an hour or wider.
        timezone: as for `cutter`.
        shifts: as for `cutter`.
        since: start of the window.
        until: its end.
    """
    if bucket == "hour":
        cut, count = cutter(bucket, timezone), (until - since) // HOUR + 2
        hours = (hour(since) + n * HOUR for n in range(count))
        return {one for one in hours if cut(one) != cut(one + HOUR - QUARTER)}
    begins = _Begins(timezone, shifts if bucket == "shift" else WHOLE_DAY)
    first, last = (one.astimezone(timezone).date() for one in (since, until))
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return {hour(one) for day in days for one in begins.of(day) if one.minute}


def nominal(start: datetime, timezone: tzinfo, shifts: Sequence[time]) -> time:
    """As which shift the one that starts there is known: its local time, but where the clock was changed just then."""
    day = start.astimezone(timezone).date()
    return shifts[_Begins(timezone, shifts).of(day).index(start.astimezone(UTC))]


def end_of(start: datetime, bucket: Bucket, timezone: tzinfo, shifts: Sequence[time] = WHOLE_DAY) -> datetime:
    """Where the bucket that starts there ends, UTC. Arguments as `cutter`."""
    if bucket in FIXED:
        return start.astimezone(UTC) + FIXED[bucket]
    return _Begins(timezone, WHOLE_DAY if bucket == "day" else shifts).next(start)
