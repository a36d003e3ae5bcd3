"""Teach: a product from a station's parts. Collect, take out what is odd, train, look at what decides, go live."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import streamlit as st

from agent.service import models, reviews
from agent.service import teach as service
from agent.store import certificates, epochs, products, stations, teachings
from agent.store import lesson as lessons
from agent.store.lesson import Lesson
from agent.store.products import Product
from agent.store.users import User
from dashboard import calibration, context, recertifying
from dashboard.certificates import words as certificate_words
from dashboard.codes import named, shown
from dashboard.fragments import fragment
from dashboard.parts import PAGE, ROW, Card, card_html, cards, pages
from dashboard.style import CSS
from dashboard.tables import plain
from dashboard.words import later, retold, say

USUAL = 250  # parts: 40 % of them calibrate, and a review rate of 5 % needs 82
HELP = later(
    "40 % of the parts calibrate (25 % from 500 on). At 95 % confidence a review rate of 5 % needs 205 parts, "
    "one of 1 % needs 1,668; fewer certify a higher rate."
)


def show() -> None:
    """Draws the page; operators see it, engineers act."""
    st.title(say("Teach"))
    st.html(f"<style>{CSS}</style>")
    user = context.actor()
    if user is None or not context.may("operator"):
        st.info(say("Operators look at what is being taught here; engineers teach."))
        return
    with context.reading() as conn:
        names = {one.id: one for one in products.all(conn)}
        taught = {names[one.product_id].name: one for one in teachings.all(conn) if one.product_id in names}
        places = [one.name for one in stations.all(conn)]
    engineer = context.may("engineer")
    if engineer:
        _begin(user, places, first=not taught)
    if not taught:
        st.info(
            say("No product is being taught. An engineer begins: name the product, its station, and how many parts.")
        )
        return
    name = st.selectbox(say("Product"), list(taught), key="taught", bind="query-params")
    chosen = taught[name]
    moving = "3s" if chosen.unfinished else None
    fragment(run_every=moving)(_lesson)(names[chosen.product_id], user if engineer else None)


def _begin(user: User, places: list[str], *, first: bool) -> None:
    with st.expander(say("Teach a product"), expanded=first, icon=":material/school:"):
        if not places:
            st.caption(say("There are no stations yet. Add one: `goodpart stations add NAME`"))
            return
        left, middle, right = st.columns((2, 2, 1))
        name = left.text_input(
            say("Product to teach"), key="teach-name", placeholder=say("a new name, or one without a model")
        )
        station = middle.selectbox(say("From the parts of station"), places, key="teach-station")
        parts = right.number_input(say("Parts"), 1, service.MOST_PARTS, USUAL, key="teach-parts", help=say(HELP))
        st.caption(
            say(
                "The station runs the product from now on. Until its model is live, all its frames go to review. Let "
                "only good parts pass; what is not good you take out."
            )
        )
        if st.button(say("Begin"), key="teach-begin", disabled=not name.strip()):
            begin = partial(service.start, context.engine(), user, name, station=station, parts=int(parts))
            _do(begin, say("{name} is taught from the next {parts} parts", name=name, parts=parts))


def _lesson(product: Product, user: User | None) -> None:
    """One product; `user` acts, None only looks."""
    with context.reading() as conn:
        lesson = lessons.find(conn, product.id)
        if lesson is None:
            return
        station = stations.get(conn, lesson.teaching.station_id).name
        version = lesson.version
        issued = certificates.of_version(conn, version.id)[:1] if version else []
        epoch = epochs.of_certificate(conn, issued[0].id) if issued else None
        due = recertifying.read(conn, product.id)
    st.caption(
        say(
            "{name} from {station} · {state}",
            name=plain(product.name),
            station=plain(station),
            state=shown(lesson.teaching.state),
        )
    )
    _progress(lesson)
    if user is None:
        st.caption(say("Engineers take parts out, train and go live here."))
    elif lesson.teaching.unfinished:
        _actions(product, lesson, user)
    if lesson.version and lesson.teaching.unfinished:
        st.markdown(certificate_words(issued[0].record if issued else None, epoch))
        recertifying.tell(due)
        if user is not None:
            with st.container(horizontal=True):
                _go_live(product, lesson.version.id, user)
                recertifying.button(due, user, "teach-recertify")
        st.subheader(say("Calibration parts that scored highest"))
        calibration.show(product.id, lesson.version.id)
    if lesson.teaching.state in ("collecting", "looking"):
        _set(lesson, user)


def _progress(lesson: Lesson) -> None:
    teaching, run = lesson.teaching, lesson.run
    if lesson.problem:
        st.error(plain(retold(lesson.problem)))
    elif teaching.state == "training" and run and run.state == "running":
        st.progress(min(1.0, run.step / run.steps) if run.steps else 0.0, retold(lesson.words))
    elif teaching.state == "collecting":
        st.progress(min(1.0, lesson.collected / teaching.parts), retold(lesson.words))
    else:
        st.info(retold(lesson.words))


def _actions(product: Product, lesson: Lesson, user: User) -> None:
    engine = context.engine()
    failed = lesson.teaching.state == "looking" and lesson.look is not None and lesson.look.state == "failed"
    with st.container(horizontal=True):
        if st.button(say("Train"), key="teach-train", icon=":material/model_training:", disabled=not lesson.may_train):
            _do(partial(service.train, engine, user, product.id), say("an agent trains"))
        if failed and st.button(say("Look through again"), key="teach-look"):
            _do(partial(service.look, engine, user, product.id), say("an agent looks through the parts again"))
        with st.popover(say("Cancel")):
            st.caption(say("The parts are let go, and samples made of them are revoked."))
            if st.button(say("Cancel the teaching"), key="teach-cancel"):
                _do(partial(service.cancel, engine, user, product.id), say("cancelled"))


def _set(lesson: Lesson, user: User | None) -> None:
    found = cards(lesson.views)
    if not found:
        st.caption(say("No part has come yet."))
    elif lesson.looked:
        st.subheader(say("The oddest first"))
    else:
        st.subheader(say("As they came"))
    last = pages(len(found))
    left, right, _ = st.columns((1, 1, 2))
    reason = (
        left.selectbox(say("A defect is a"), context.settings().review.reasons, key="teach-reason", format_func=named)
        if user and found
        else ""
    )
    page = int(right.number_input(say("Page of {last}", last=last), 1, last, 1, key="teach-page")) if last > 1 else 1
    shown = found[(page - 1) * PAGE : page * PAGE]
    for start in range(0, len(shown), ROW):
        for column, card in zip(st.columns(ROW), shown[start : start + ROW], strict=False):
            with column:
                _card(card, reason, user)
    _left(lesson, user)


def _card(card: Card, reason: str, user: User | None) -> None:
    st.html(card_html(card))
    if user is not None and st.button(say("Defect"), key=f"teach-defect-{card.item_id}"):
        take = partial(reviews.decide, context.engine(), user, card.item_id, "defect", reason)
        _do(take, say("{part} is a defect ({reason}) now", part=card.part, reason=named(reason)))


def _left(lesson: Lesson, user: User | None) -> None:
    if not lesson.left:
        return
    with st.expander(say("{n} taken out as defects", n=len(lesson.left))):
        for one in lesson.left:
            words, undo = st.columns((4, 1))
            words.text(f"{one.part} · {named(one.reason)}")
            if user is not None and undo.button(say("Put back"), key=f"teach-undo-{one.item_id}"):
                _do(partial(reviews.undo, context.engine(), user, one.item_id), say("{part} is back", part=one.part))


def _go_live(product: Product, version_id: int, user: User) -> None:
    with st.popover(say("Go live"), icon=":material/rocket_launch:"):
        why = st.text_input(say("Why"), key="teach-why", placeholder=say("looked at the calibration images"))
        if st.button(say("Promote"), key="teach-promote", disabled=not why.strip()):
            digest = context.settings().decision_hash
            promote = partial(models.promote, context.engine(), user, version_id, why, digest)
            if context.act(promote, say("{name} is live", name=product.name)):
                context.live().notify_promotion(product.id)
                st.rerun()


def _do(work: Callable[..., object], done: str) -> None:
    """Does what a button asks for, and draws the page anew where that was done."""
    if context.act(work, done):
        st.rerun()
