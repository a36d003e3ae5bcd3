"""The review queue: an operator decides on one part after the other."""

from __future__ import annotations

from typing import Any

import streamlit as st

from agent.service import Invalid, PermissionDenied, reviews
from agent.service.ranks import Refused
from agent.settings import utc_now
from agent.store import items, products, stations
from agent.store.errors import Conflict, NotFound
from agent.store.users import User
from dashboard import context
from dashboard.components.review import Said, desk

AHEAD = 20  # items given to the desk at once
Answer = dict[str, Any]


def show() -> None:
    """Draws the page."""
    product_id, station_id = _filters()
    user = context.actor()
    answers: dict[str, Answer] = st.session_state.setdefault(f"answers-{user.name if user else ''}", {})
    _desk(product_id, station_id, user, answers)


@st.fragment(run_every="5s")
def _desk(product_id: int | None, station_id: int | None, user: User | None, answers: dict[str, Answer]) -> None:
    with context.reading() as conn:
        head = items.queue(
            conn, product_id=product_id, station_id=station_id, escalated=context.may("engineer"), limit=AHEAD
        )
        counts = items.counts(conn, product_id=product_id)
    waiting = counts.open + (counts.escalated if context.may("engineer") else 0)
    if station_id is not None and len(head) < AHEAD:
        waiting = len(head)
    said = desk(head, waiting=waiting, can_decide=context.may("operator"), answers=answers)
    new = [press for press in said if press.key not in answers]
    for press in new:
        answers[press.key] = answer(press, user)
    if new:
        st.rerun(scope="fragment")


def answer(press: Said, user: User | None) -> Answer:
    """Does what was pressed, once; says in words what came of it."""
    if user is None:
        return {"ok": False, "words": "pick who acts first"}
    engine, now = context.engine(), utc_now()
    try:
        if press.decision == "undo":
            undone = reviews.undo(engine, user, press.item, key=press.key, now=now)
            learnt = f"; v{undone.live}, which is live, learnt from it: tell an engineer" if undone.live else ""
            return {"ok": True, "words": f"the part is back in the queue{learnt}"}
        rules = context.settings().samples
        done = reviews.decide(
            engine, user, press.item, press.decision, press.reason, rules=rules, key=press.key, now=now
        )
    except (Refused, PermissionDenied, Invalid, Conflict, NotFound) as error:
        return {"ok": False, "words": str(error)}
    with context.reading() as conn:
        item = items.get(conn, press.item)
    figures = "" if item.score is None else f" · score {item.score:.2f}"
    figures += "" if item.p_value is None else f", p {item.p_value:.3f}"
    became = done.unused or f"the part is {done.state}"
    if done.role:
        became = f"now a {done.role} sample" if done.sample_state == "accepted" else "proposed for training"
    return {"ok": True, "words": became + figures}


def _filters() -> tuple[int | None, int | None]:
    with context.reading() as conn:
        product_ids = {product.name: product.id for product in products.all(conn)}
        station_ids = {station.name: station.id for station in stations.all(conn)}
    left, right, _ = st.columns((1, 1, 2))
    product = left.selectbox("Product", ["all", *product_ids], key="product", bind="query-params")
    station = right.selectbox("Station", ["all", *station_ids], key="station", bind="query-params")
    return product_ids.get(product), station_ids.get(station)
