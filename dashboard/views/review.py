"""The review queue: an operator decides on one part after the other.

The desk (dashboard/components/desk) advances by itself and sends each verdict until it is answered here. A run applies
what is new, renews the claims on the items that the desk holds, and draws it with the answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache

import streamlit as st
from sqlalchemy import Connection

from agent.service import bulk, claims, reviews
from agent.service.ranks import Refused
from agent.settings import utc_now
from agent.store import items, products, registry, score_bins, stations
from agent.store import reviews as said
from agent.store.buckets import cutter, quarter
from agent.store.drawing import Drawing
from agent.store.errors import Conflict, NotFound, StoreError
from agent.store.items import Item
from agent.store.registry import Deployment
from agent.store.score_bins import Histogram
from agent.store.users import User
from dashboard import context, desk
from dashboard.codes import named
from dashboard.components import review as component
from dashboard.desk import Data, Heard, Press
from dashboard.filters import one_or_all
from dashboard.fragments import fragment
from dashboard.words import later, retold, say

AHEAD = 10  # items that one desk holds
PAST = 20  # of one's newest verdicts, with each run
OLDER = 50  # a page of older ones, while one looks at it
MOST = 1000  # the queue is counted up to here
DAYS = 30  # of scores in the histogram
Filter = tuple[int | None, int | None]  # product and station


def show() -> None:
    """Draws the page."""
    st.html("<style>[data-testid=stMainBlockContainer] { padding: 4rem 1.5rem 1rem; }</style>")
    wanted = _filters()
    user = context.actor()
    if user is None:
        st.info(say("Pick who acts first. Operators and engineers review."))
        return
    _desk(wanted, user)


@fragment(run_every="5s")
def _desk(wanted: Filter, user: User) -> None:
    key = f"desk-{user.id}"  # another user has another desk: a press is never somebody else's
    answers: dict[str, Data] = st.session_state.setdefault(f"answers-{user.id}", {})
    drawn: Data = st.session_state.setdefault(f"drawn-{user.id}", {})
    told = component.told(key)
    sent = told.presses
    trouble = None
    try:
        for press in sent:
            if press.id not in answers:
                answers[press.id] = answer(press, user)
        drawn.update(_queue(wanted, user, told))
    except (StoreError, Refused) as error:
        trouble = retold(error.phrase)  # what is unanswered stays with the desk, which sends it again
        pressed = {press.item for press in sent}
        drawn["items"] = [card for card in drawn.get("items", []) if card["id"] not in pressed]
    kept = {press.id for press in sent}
    for old in [one for one in answers if one not in kept]:
        del answers[old]
    settings = context.settings().review
    component.draw(
        key,
        {
            "user": user.id, "canDecide": context.may("operator"), "known": told.spoke,
            "reasons": [(one, named(one)) for one in settings.reasons],
            "answers": dict(answers), "trouble": trouble, "items": [], "filter": wanted, "waiting": 0,
            "most": MOST, "past": desk.NOTHING, "older": None, **drawn,
        },
    )  # fmt: skip


def _queue(wanted: Filter, user: User, told: Heard) -> Data:
    """What the desk holds next, how many wait, and what may be taken back."""
    product_id, station_id = wanted
    now, engineer = utc_now(), context.may("engineer")
    if context.may("operator"):
        held = claims.take(
            context.engine(), user, product_id=product_id, station_id=station_id, limit=AHEAD, shown=told.shown,
            back=told.back, known=told.spoke, now=now,
        )  # fmt: skip
    with context.reading() as conn:
        if not context.may("operator"):
            held = items.queue(conn, product_id=product_id, station_id=station_id, limit=AHEAD)
        waiting = items.waiting(
            conn, user.id, product_id=product_id, station_id=station_id, escalated=engineer, most=MOST
        )
        past = _past(conn, user, PAST, None, now)
        older = None if told.before is None else _past(conn, user, OLDER, told.before, now)
        numbers = _numbers(conn, held)
    cards = [desk.card(one, numbers.get(one.deployment_id or 0)) for one in held]
    shown = {"items": cards, "filter": wanted, "waiting": waiting}
    return shown | {"past": past, "older": older}


def _past(conn: Connection, user: User, limit: int, before: int | None, now: datetime) -> Data:
    """A page of one's verdicts of this shift that may be taken back; `more`: what the next page lies before."""
    began = cutter("shift", context.settings().timezone, context.settings().plant.shifts)
    page = said.past(conn, user.id, began(quarter(now)), limit, before)
    seen = {one.id: one for one in items.some(conn, [act[0].item_id for act in page.acts])}
    numbers = _numbers(conn, seen.values())
    firsts = [(act, seen[act[0].item_id]) for act in page.acts]
    rows = [desk.past(act, item, numbers.get(item.deployment_id or 0)) for act, item in firsts]
    return {"before": before, "rows": rows, "more": page.before}


def _numbers(conn: Connection, found: Iterable[Item]) -> dict[int, int]:
    """Of the versions that decided, by deployment."""
    return registry.numbers_of(conn, {one.deployment_id for one in found if one.deployment_id is not None})


def answer(press: Press, user: User) -> Data:
    """Does what was pressed, once; says in words what came of it.

    Raises:
        StoreError: the database is away; the press is to be sent again.
    """
    engine, now, settings = context.engine(), utc_now(), context.settings()
    try:
        if press.decision == "undo" and press.made:
            many = bulk.undo(engine, user, press.made, key=press.id, now=now)
            return {"ok": bool(many.done), "words": desk.back(many)}
        if press.decision == "undo":
            undone = reviews.undo(engine, user, press.item, own=True, key=press.id, now=now)
            words = say("back in the queue")
            return {"ok": True, "words": f"{words}; {desk.learnt(undone.live)}" if undone.live else words}
        done = reviews.decide(
            engine, user, press.item, press.decision, press.reason, rules=settings.samples,
            double=settings.review.double, drawn=Drawing(settings.audit, settings.certificate), key=press.id, now=now,
        )  # fmt: skip
    except (Refused, Conflict, NotFound) as error:
        return {"ok": False, "words": retold(error.phrase)}
    with context.reading() as conn:
        item = items.get(conn, press.item)
        if done.state == "closed" and items.others_wait(conn, item):
            return {"ok": True, "words": say("recorded; what came of it shows once all views of the part are judged")}
        decided = registry.deployments_of(conn, [item.deployment_id or 0]).get(item.deployment_id or 0)
    return {"ok": True, "words": desk.became(done), "figures": _figures(item, decided)}


def _figures(item: Item, decided: Deployment | None) -> Data:
    if decided is None:
        return desk.figures(item, None, None, None)
    scores = _scores(item.product_id, item.station_id, decided.id, int(utc_now().timestamp() // 60))
    return desk.figures(item, decided.number, decided.certificate, scores)


@lru_cache(64)
def _scores(product_id: int, station_id: int, deployment_id: int, minute: int) -> Histogram:
    """The severities of a station's last days; read once a minute (`minute` is of the epoch)."""
    last = score_bins.day_of(utc_now(), context.settings().timezone)
    with context.reading() as conn:
        return score_bins.histogram(conn, product_id, last - timedelta(days=DAYS), last, station_id, deployment_id)


def _filters() -> Filter:
    with context.reading() as conn:
        product_ids = {product.name: product.id for product in products.all(conn)}
        station_ids = {station.name: station.id for station in stations.all(conn)}
    left, right, _ = st.columns((1, 1, 2))
    product = one_or_all(left, "product", say("Product"), product_ids, later("all products"))
    station = one_or_all(right, "station", say("Station"), station_ids, later("all stations"))
    return product_ids.get(product), station_ids.get(station)
