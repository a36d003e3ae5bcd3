"""`goodpart rates`."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from datetime import UTC, timedelta
from typing import Any

from agent.cli.common import CommandError, Common
from agent.settings import utc_now
from agent.store import products, stations
from agent.store import rates as store
from agent.store.engine import reading
from agent.store.rates import Audited
from agent.store.windows import window_at
from model.statistics import AuditSample, Rate

LONGEST = 3650  # days
NAMES = {"escape rate": "escape_rate", "miss rate": "miss_rate", "false-alarm rate": "false_alarm_rate"}


def rates(
    *,
    product: str | None = None,
    station: str | None = None,
    days: int = 30,
    json: bool = False,
    common: Common = Common(),
) -> None:
    """Print how many defects escape and how many good parts are flagged. Example: goodpart rates --product flange

    Of the audited parts of windows (audit.window_h) that ended and are decided to 95 %, by product and station, each
    with its Clopper-Pearson interval. What is undecided enters the bounds as the worse case.

    Args:
        product: only this product.
        station: only this station.
        days: of the last so many plant days.
        json: print a JSON list.
    """
    if not 1 <= days <= LONGEST:
        raise CommandError(f"--days {days}: 1 to {LONGEST} are allowed")
    settings, now = common.settings(), utc_now()
    zone, hours = settings.timezone, settings.audit.window_h
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    since = (today - timedelta(days=days)).replace(tzinfo=zone).astimezone(UTC)
    with reading(common.database()) as conn:
        made = [products.named(conn, product)] if product else products.all(conn, retired=True)
        only = stations.named(conn, station).id if station else None
        places = {one.id: one.name for one in stations.all(conn, retired=True)}
        until = window_at(now, hours, zone).starts_at
        found = [
            (one.name, places[audited.station_id], audited)
            for one in made
            for audited in store.audited(conn, one.id, since, until, hours=hours, timezone=zone, station_id=only)
        ]
    if json:
        listed = [_plain(name, place, audited) for name, place, audited in found]
        print(json_module.dumps(listed, indent=2))
        return
    if not found:
        print(f"no audit window of the last {days} days has ended yet; parts are drawn at audit.rate")
    for name, place, audited in found:
        print(
            f"{name} at {place}: {audited.judged} of {audited.windows} audit windows since {since:%Y-%m-%d} are judged"
        )
        for words, field in NAMES.items():
            print(f"  {words:<17} {_rate(audited.sample, field)}")


def _rate(sample: AuditSample, field: str) -> Rate:
    found: Rate = getattr(sample, field)
    return found


def _plain(product: str, station: str, audited: Audited) -> dict[str, Any]:
    shown = {
        field: asdict(rate) | {"estimate": rate.estimate}
        for field in NAMES.values()
        for rate in [_rate(audited.sample, field)]
    }
    return {"product": product, "station": station, "windows": audited.windows, "judged": audited.judged, **shown}
