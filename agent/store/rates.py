"""Escape, miss and false-alarm rates: audited frames as parts, windows that are judged, counted for the statistics."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from sqlalchemy import Connection

from agent.store import audits
from agent.store.audits import Drawn
from agent.store.windows import Window, window_at
from model.statistics import AuditSample, Judged

FLAGGED = frozenset({"review", "reject"})


@dataclass(frozen=True, slots=True)
class Audited:
    """What a product's audited parts at one station say of its models.

    Attributes:
        product_id, station_id: whose.
        windows: how many ended windows have parts.
        judged: how many of them count, because 95 % is decided.
        sample: the parts of those that count.
    """

    product_id: int
    station_id: int
    windows: int
    judged: int
    sample: AuditSample


def audited(
    conn: Connection,
    product_id: int,
    since: datetime,
    until: datetime,
    *,
    hours: int,
    timezone: tzinfo,
    station_id: int | None = None,
) -> list[Audited]:
    """Counts the product's audited parts by station.

    A part at a station is flagged where any of its frames there is, and a defect where any is confirmed as one. Frames
    that nothing decided (not inspected, or uncertified) say nothing of a model and are left out.

    Args:
        conn: any transaction.
        product_id: the product.
        since: start of the first window.
        until: windows that end later are left out.
        hours: of a window, `audit.window_h`.
        timezone: the plant's.
        station_id: only this station's.
    """
    found: dict[int, dict[Window, list[Sequence[Drawn]]]] = defaultdict(lambda: defaultdict(list))
    for part in _parts(audits.drawn(conn, product_id, since, until, station_id)):
        window = window_at(part[0].event_at, hours, timezone)
        if window.ends_at <= until:
            found[part[0].station_id][window].append(part)
    return [_total(product_id, station, windows.values()) for station, windows in sorted(found.items())]


def _parts(frames: Iterable[Drawn]) -> list[Sequence[Drawn]]:
    """The frames of each part at each station that a model decided."""
    found: dict[tuple[int, tuple[str, str]], list[Drawn]] = {}
    for one in frames:
        if one.verdict != "not_inspected" and one.reason != "uncertified":
            found.setdefault((one.station_id, one.part), []).append(one)
    return list(found.values())


def _total(product_id: int, station_id: int, windows: Iterable[Sequence[Sequence[Drawn]]]) -> Audited:
    counts = [Counter(map(_kind, parts)) for parts in windows]
    judged = [one for one in counts if _sample(one).suffices]
    return Audited(product_id, station_id, len(counts), len(judged), _sample(sum(judged, Counter())))


def _kind(part: Sequence[Drawn]) -> tuple[bool, str]:
    flagged = any(one.verdict in FLAGGED for one in part)
    if any(one.decision == "defect" for one in part):
        return flagged, "defect"
    return flagged, "open" if any(one.state != "closed" for one in part) else "normal"


def _sample(counts: Counter[tuple[bool, str]]) -> AuditSample:
    passes, flagged = (
        Judged(**{said: counts[is_flagged, said] for said in ("normal", "defect", "open")})
        for is_flagged in (False, True)
    )
    return AuditSample(passes, flagged)
