"""Points in time as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from agent.cli.common import CommandError

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def moment(option: str, text: str, zone: ZoneInfo, *, end: bool = False) -> datetime:
    """A time with its timezone, or the plant's time or date, in UTC.

    Args:
        option: its name, for the message.
        text: RFC 3339 such as 2026-01-31T08:00:00Z; without a timezone it is the plant's.
        zone: the plant's.
        end: a date means its end, else its beginning.

    Raises:
        CommandError: it cannot be read, or is no time that a clock shows.
    """
    try:
        found = datetime.fromisoformat(text)
        if end and _DATE.fullmatch(text):
            found += timedelta(days=1)
        return (found.replace(tzinfo=zone) if found.tzinfo is None else found).astimezone(UTC)
    except ValueError:
        raise CommandError(
            f"{option} {text}: write it as 2026-01-31T08:00:00Z, or in plant time as 2026-01-31T08:00 or 2026-01-31"
        ) from None
    except OverflowError:
        raise CommandError(f"{option} {text}: is beyond the years 1 to 9999") from None
