"""Adding, changing and retiring stations. For engineers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.service.acts import Done, Invalid, check_name, perform
from agent.store import products, stations
from agent.store.engine import reading
from agent.store.errors import Conflict
from agent.store.rows import KEEP, Keep, changed
from agent.store.stations import Station
from agent.store.users import User


def add(
    engine: Engine,
    actor: User,
    name: str,
    *,
    product_id: int | None = None,
    audit_rate: float | None = None,
    key: str,
    now: datetime,
) -> Station:
    """Registers a station; running agents know it within seconds.

    Args:
        engine: the database.
        actor: an engineer or higher.
        name: as frames name it.
        product_id: what it runs when a frame does not say.
        audit_rate: share of its parts reviewed whatever their verdict; None for the configured one.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: the name or the rate cannot be used.
        NotFound: there is no such product.
        Conflict: the name is taken.
    """
    name = check_name(name, "station")
    _check_rate(audit_rate)
    request = {"name": name, "product_id": product_id, "audit_rate": audit_rate}

    def work(conn: Connection, _: User) -> Done:
        _check_product(conn, product_id)
        made = stations.add(conn, name, product_id=product_id, audit_rate=audit_rate, now=now)
        return Done({"id": made.id}, f"station:{made.id}", request)

    done = perform(engine, actor, "station.add", request, work, least="engineer", key=key, now=now)
    return _get(engine, done["id"])


def change(
    engine: Engine,
    actor: User,
    station_id: int,
    *,
    product_id: int | Keep | None = KEEP,
    audit_rate: float | Keep | None = KEEP,
    key: str,
    now: datetime,
) -> Station:
    """Changes what is given.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: the rate cannot be used.
        NotFound: there is no such station or product.
    """
    changes = changed(product_id=product_id, audit_rate=audit_rate)
    _check_rate(changes.get("audit_rate"))

    def work(conn: Connection, _: User) -> Done:
        _check_product(conn, changes.get("product_id"))
        before = stations.get(conn, station_id)
        stations.change(conn, station_id, product_id=product_id, audit_rate=audit_rate)
        return Done({}, f"station:{station_id}", {"from": {name: getattr(before, name) for name in changes}} | changes)

    request = {"station_id": station_id, **changes}
    perform(engine, actor, "station.change", request, work, least="engineer", key=key, now=now)
    return _get(engine, station_id)


def retire(engine: Engine, actor: User, station_id: int, *, key: str, now: datetime) -> Station:
    """Marks a station as taken down; frames that name it become `bad_header`.

    Raises:
        PermissionDenied: the actor's role is too low.
        NotFound: there is no such station.
        Conflict: it is retired already.
    """

    def work(conn: Connection, _: User) -> Done:
        if stations.get(conn, station_id).retired_at is not None:
            raise Conflict("the station is retired already")
        stations.change(conn, station_id, retired_at=now)
        return Done({}, f"station:{station_id}", {})

    perform(engine, actor, "station.retire", {"station_id": station_id}, work, least="engineer", key=key, now=now)
    return _get(engine, station_id)


def _get(engine: Engine, station_id: int) -> Station:
    with reading(engine) as conn:
        return stations.get(conn, station_id)


def _check_product(conn: Connection, product_id: int | None) -> None:
    if product_id is not None:
        products.get(conn, product_id)


def _check_rate(rate: float | None) -> None:
    if rate is not None and not 0 <= rate <= 1:
        raise Invalid(f"an audit rate of {rate} is not from 0 to 1, such as 0.01")
