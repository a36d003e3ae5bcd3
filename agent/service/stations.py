"""Adding, changing and retiring stations. For engineers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.phrases import Phrase
from agent.service.acts import Done, check_name, perform
from agent.service.ranks import Invalid
from agent.store import camera_history, changeovers, drift, epochs, products, stations
from agent.store.engine import reading
from agent.store.errors import Conflict
from agent.store.offsets import Position
from agent.store.rows import KEEP
from agent.store.stations import Station
from agent.store.users import User


@dataclass(frozen=True, slots=True)
class Changed:
    """A station after a change; `starts` is where another product begins, for each partition read before."""

    station: Station
    starts: Sequence[Position]


@dataclass(frozen=True, slots=True)
class Relearnt:
    """What a station learns anew: how many measures were forgotten, and the new epochs by the product's name."""

    forgotten: int
    epochs: Mapping[str, int]


def add(
    engine: Engine,
    actor: User,
    name: str,
    *,
    product: str | None = None,
    audit_rate: float | None = None,
    silent_after_s: float | None = None,
    key: str,
    now: datetime,
) -> Station:
    """Registers a station; running agents know it within seconds.

    Args:
        engine: the database.
        actor: an engineer or higher.
        name: as frames name it.
        product: name of what it runs when a frame does not say.
        audit_rate: share of its parts reviewed whatever their verdict; None for the configured one.
        silent_after_s: seconds without a frame that raise an alert, 0 for never; None for the configured ones.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: the name, the rate or the time cannot be used.
        NotFound: there is no such product.
        Conflict: the name is taken, or the product is retired.
    """
    name = check_name(name, "station")
    _check_rate(audit_rate)
    _check_silence(silent_after_s)
    request = {"name": name, "product": product, "audit_rate": audit_rate, "silent_after_s": silent_after_s}

    def work(conn: Connection, _: User) -> Done:
        product_id = _made(conn, product) if product else None
        made = stations.add(
            conn, name, product_id=product_id, audit_rate=audit_rate, silent_after_s=silent_after_s, now=now
        )
        return Done({"id": made.id}, f"station:{made.id}", request)

    done = perform(engine, actor, "station.add", request, work, least="engineer", key=key, now=now)
    return _get(engine, done["id"])


def change(
    engine: Engine,
    actor: User,
    name: str,
    *,
    product: str | None = None,
    audit_rate: float | None = None,
    silent_after_s: float | None = None,
    key: str,
    now: datetime,
) -> Changed:
    """Changes what is given (not None); `silent_after_s` 0 means never.

    Another product is a changeover: frames that name none have it from the next unread offset on, also those that an
    agent has read but not recorded.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: the rate or the time cannot be used.
        NotFound: there is no such station or product.
        Conflict: one of them is retired.
    """
    _check_rate(audit_rate)
    _check_silence(silent_after_s)
    request = {"name": name, "product": product, "audit_rate": audit_rate, "silent_after_s": silent_after_s}

    def work(conn: Connection, _: User) -> Done:
        before = stations.named(conn, name)
        if before.retired_at is not None:
            raise Conflict("{name} is retired: its frames are not inspected", name=name)
        stations.change(
            conn,
            before.id,
            audit_rate=KEEP if audit_rate is None else audit_rate,
            silent_after_s=KEEP if silent_after_s is None else silent_after_s,
        )
        starts = changeovers.change(conn, before, _made(conn, product), now) if product else []
        told = [asdict(one) for one in starts]
        to = {field: value for field, value in request.items() if field != "name" and value is not None}
        held = {"product": products.get(conn, before.product_id).name if before.product_id else None, **asdict(before)}
        detail = {"name": name, "from": {field: held[field] for field in to}, "to": to, "starts": told}
        return Done({"id": before.id, "starts": told}, f"station:{before.id}", detail)

    done = perform(engine, actor, "station.change", request, work, least="engineer", key=key, now=now)
    return Changed(_get(engine, done["id"]), [Position(**one) for one in done["starts"]])


def retire(engine: Engine, actor: User, name: str, *, key: str, now: datetime) -> Station:
    """Marks a station as taken down; frames that name it become `bad_header`.

    Raises:
        PermissionDenied: the actor's role is too low.
        NotFound: there is no such station.
        Conflict: it is retired already.
    """

    def work(conn: Connection, _: User) -> Done:
        station = stations.named(conn, name)
        if station.retired_at is not None:
            raise Conflict("{name} is retired already", name=name)
        stations.change(conn, station.id, retired_at=now)
        return Done({"id": station.id}, f"station:{station.id}", {"name": name})

    done = perform(engine, actor, "station.retire", {"name": name}, work, least="engineer", key=key, now=now)
    return _get(engine, done["id"])


def relearn(engine: Engine, actor: User, name: str, *, opens_epoch: bool = True, key: str, now: datetime) -> Relearnt:
    """Forgets what is usual of a station's pictures, after its camera, lens or lamp was changed on purpose.

    Running agents follow within a minute and learn anew. For each product that the station runs, or that drift was
    followed of there, a `camera` epoch opens: its calibration sets no longer speak for the stream. A product that has
    no epoch yet, or was retired, gets none.

    Args:
        engine: the database.
        actor: an engineer or higher.
        name: of the station.
        opens_epoch: False where the pictures of good parts are what they were.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
        NotFound: there is no such station.
    """

    def work(conn: Connection, actor: User) -> Done:
        station = stations.named(conn, name)
        found = Relearnt(
            camera_history.forget(conn, station.id), _cut(conn, station, actor, now) if opens_epoch else {}
        )
        return Done(asdict(found), f"station:{station.id}", {"name": name, **asdict(found)})

    request = {"name": name} | ({} if opens_epoch else {"opens_epoch": False})
    return Relearnt(**perform(engine, actor, "station.relearn", request, work, least="engineer", key=key, now=now))


def _cut(conn: Connection, station: Station, actor: User, now: datetime) -> dict[str, int]:
    """Opens an epoch for each product of a station."""
    followed, _ = drift.at_station(conn, station.id)
    words = Phrase("the camera, lens or lamp of {station} was changed", station=station.name)
    return {
        one.name: epochs.open(conn, one.id, "camera", words, by=actor.id, now=now).id
        for one in products.all(conn)
        if one.id in {station.product_id, *followed} and epochs.of_product(conn, one.id)
    }


def _get(engine: Engine, station_id: int) -> Station:
    with reading(engine) as conn:
        return stations.get(conn, station_id)


def _made(conn: Connection, name: str) -> int:
    found = products.named(conn, name)
    if found.retired_at is not None:
        raise Conflict("{name} is retired: its frames are not inspected; see: goodpart products list", name=name)
    return found.id


def _check_silence(seconds: float | None) -> None:
    if seconds is not None and not 0 <= seconds < math.inf:
        raise Invalid(
            "{seconds} s is no time after which a station is silent; 0 (never) or more is allowed", seconds=seconds
        )


def _check_rate(rate: float | None) -> None:
    if rate is not None and not 0 <= rate <= 1:
        raise Invalid("an audit rate of {rate} is not from 0 to 1, such as 0.01", rate=rate)
