"""Teaching a product from the parts of a station. For engineers; an agent collects, looks through and trains."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.phrases import together, word
from agent.service import retrain
from agent.service.acts import Done, check_name, perform
from agent.service.ranks import Invalid, PermissionDenied, may
from agent.store import changeovers, commands, products, registry, runs, stations, teachings
from agent.store.engine import reading
from agent.store.errors import Conflict
from agent.store.items import Item
from agent.store.teachings import Teaching
from agent.store.users import User

MOST_PARTS = 5000


def start(engine: Engine, actor: User, name: str, *, station: str, parts: int, key: str, now: datetime) -> Teaching:
    """Collects the next parts of a station to teach a product from; a product that is new is registered.

    The station runs the product from now on. A teaching that still collects or is looked through, at the same station,
    goes on to more parts.

    Args:
        engine: the database.
        actor: an engineer or higher.
        name: the product's.
        station: whose parts they are.
        parts: how many, by serial, else by frame.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: the name or the number cannot be used.
        NotFound: there is no such station.
        Conflict: product or station are retired, the product has a model, or it is being taught otherwise.
    """
    name = check_name(name, "product")
    if not 1 <= parts <= MOST_PARTS:
        raise Invalid(
            "a product cannot be taught from {parts} parts; 1 to {most} are allowed, such as 250",
            parts=parts,
            most=MOST_PARTS,
        )
    request = {"product": name, "station": station, "parts": parts}

    def work(conn: Connection, actor: User) -> Done:
        place = stations.named(conn, station)
        if place.retired_at is not None:
            raise Conflict("{station} is retired: its frames are not inspected", station=station)
        known = products.find(conn, name)
        if known is not None and known.retired_at is not None:
            raise Conflict("{name} is retired; teach a product of another name", name=name)
        product = known or products.add(conn, name, now=now)
        if registry.live(conn, product.id) is not None:
            raise Conflict(
                "{name} has a model already; improve it by reviews, or: goodpart retrain --product {name}", name=name
            )
        changeovers.change(conn, place, product.id, now)  # before the teaching is locked, as a frames' transaction does
        _collect(conn, product.id, place.id, parts, actor, now)
        return Done({"product_id": product.id}, f"product:{product.id}", request | {"new": known is None})

    done = perform(engine, actor, "teach.start", request, work, least="engineer", key=key, now=now)
    return _get(engine, done["product_id"])


def look(engine: Engine, actor: User, product_id: int, *, key: str, now: datetime) -> None:
    """Asks an agent to look through the parts once more, where it could not.

    Raises:
        PermissionDenied: the actor's role is too low.
        NotFound: the product is not being taught.
        Conflict: it still collects, or the parts are being looked through.
    """

    def work(conn: Connection, actor: User) -> Done:
        _expect(teachings.lock(conn, product_id), "looking")
        _nothing_pending(conn, teachings.LOOK, product_id)
        command_id = commands.add(conn, teachings.LOOK, {"product_id": product_id}, actor.id, now)
        return Done({}, f"product:{product_id}", {"command_id": command_id})

    perform(engine, actor, "teach.look", {"product_id": product_id}, work, least="engineer", key=key, now=now)


def train(engine: Engine, actor: User, product_id: int, *, key: str, now: datetime) -> None:
    """Asks an agent to make samples of the parts that are left, and to train on them.

    The run ends as `needs_person`: a person promotes its version. It may be asked for again once a run is over.

    Raises:
        PermissionDenied: the actor's role is too low.
        NotFound: the product is not being taught.
        Conflict: it still collects, a part was not looked through yet, or it is being trained.
    """

    def work(conn: Connection, actor: User) -> Done:
        found = teachings.lock(conn, product_id)
        _expect(found, "looking", "training")
        _nothing_pending(conn, retrain.KIND, product_id)
        if any(run.state in runs.UNFINISHED for run in runs.all(conn, product_id)):
            raise Conflict("a training run of the product is under way; wait for its end or cancel it")
        if found.state == "looking":
            unseen = sum(view.oddness is None for view in teachings.views(conn, product_id))
            if unseen:
                raise Conflict(
                    "{n} images are not looked through yet; an agent does it, then look at the oddest", n=unseen
                )
            teachings.move(conn, product_id, "training", now, expected=("looking",))
        command_id = retrain.ask(conn, actor, product_id, trigger=teachings.TRIGGER, now=now)
        return Done({}, f"product:{product_id}", {"command_id": command_id})

    perform(engine, actor, "teach.train", {"product_id": product_id}, work, least="engineer", key=key, now=now)


def cancel(engine: Engine, actor: User, product_id: int, *, key: str, now: datetime) -> int:
    """Ends a teaching without a model: parts are let go, samples made of them revoked, its run cancelled.

    Returns:
        How many images were let go.

    Raises:
        PermissionDenied: the actor's role is too low.
        NotFound: the product is not being taught.
        Conflict: its teaching is over.
    """

    def work(conn: Connection, _: User) -> Done:
        teachings.lock(conn, product_id)
        teachings.move(conn, product_id, "cancelled", now, expected=teachings.UNFINISHED)
        freed = teachings.close(conn, product_id, None, now)
        revoked = teachings.revoke(conn, product_id, now)
        for run in runs.all(conn, product_id):
            if run.state in runs.UNFINISHED and run.trigger == teachings.TRIGGER:
                runs.close(conn, run.id, "cancelled", "the teaching was cancelled", now)
        return Done({"freed": freed}, f"product:{product_id}", {"freed": freed, "revoked_samples": revoked})

    request = {"product_id": product_id}
    done = perform(engine, actor, "teach.cancel", request, work, least="engineer", key=key, now=now)
    return int(done["freed"])


def leave(conn: Connection, item: Item, decision: str, actor: User, now: datetime) -> None:
    """Checks that a part may leave the set by this review; its other frames leave with it. Part of `reviews.decide`.

    Raises:
        PermissionDenied: the actor is no engineer.
        Invalid: it is no defect.
        Conflict: samples were made of the set already, or the teaching is over.
    """
    _check_engineer(actor)
    if decision != "defect":
        raise Invalid("a part leaves what a product is taught from only as a defect; the others are good")
    _expect(teachings.lock(conn, item.product_id), "collecting", "looking")
    teachings.close_part(conn, item.id, now)


def come_back(conn: Connection, item: Item, actor: User) -> None:
    """Checks that a part may come back into the set; its other frames come with it. Part of `reviews.undo`.

    Raises:
        PermissionDenied: the actor is no engineer.
        Conflict: samples were made of the set already, or the teaching is over.
    """
    _check_engineer(actor)
    _expect(teachings.lock(conn, item.product_id), "collecting", "looking")
    if item.closed_at is not None:
        teachings.reopen_part(conn, item.id, item.closed_at)


def _check_engineer(actor: User) -> None:
    if not may(actor, "engineer"):
        raise PermissionDenied(
            "what a product is taught from is an engineer's to judge; {name} is {role}",
            name=actor.name,
            role=word(actor.role),
        )


def _collect(conn: Connection, product_id: int, station_id: int, parts: int, actor: User, now: datetime) -> None:
    before = teachings.lock(conn, product_id) if teachings.find(conn, product_id) else None
    if before is None or not before.unfinished:
        teachings.begin(conn, product_id, station_id, parts, actor.id, now)
        return
    _expect(before, "collecting", "looking")
    if before.station_id != station_id:
        raise Conflict("the product is being taught at another station; cancel that first")
    there = teachings.count(conn, product_id)
    if parts <= there:
        raise Conflict("{n} parts are there already; give a higher number to collect more", n=there)
    teachings.extend(conn, product_id, parts)


def _expect(found: Teaching, *states: str) -> None:
    if found.state not in states:
        raise Conflict(
            "the teaching is {state}; this needs it to be {states}",
            state=word(found.state),
            states=together("{one} or {other}", map(word, states)),
        )


def _nothing_pending(conn: Connection, kind: str, product_id: int) -> None:
    last = commands.of_product(conn, kind, product_id)
    if last is not None and last.state in commands.PENDING:
        raise Conflict("an agent was asked to do this already; it is at it, or no agent runs: goodpart agent")


def _get(engine: Engine, product_id: int) -> Teaching:
    with reading(engine) as conn:
        found = teachings.find(conn, product_id)
    assert found is not None
    return found
