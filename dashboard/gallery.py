"""The parts that a point of a trend stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, time, timedelta
from html import escape
from urllib.parse import urlencode

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from agent.store.buckets import end_of
from agent.store.item_search import Wanted, count, search
from agent.store.items import Item
from dashboard import context
from dashboard.asking import Asked
from dashboard.codes import shown
from dashboard.histories import key_of
from dashboard.parts import ROW, picture
from dashboard.trending import FORMATS, MEASURES
from dashboard.words import say

PARTS = 24  # shown at most
MOST = 10_000  # counted at most


def show(asked: Asked, start: datetime) -> None:
    """Draws the newest parts that a point counts, and a link to all of them."""
    wanted = behind(asked, start)
    with context.reading() as conn:
        found, n = search(conn, wanted, PARTS), count(conn, wanted, MOST)
    at, kind = start.astimezone(asked.zone).strftime(FORMATS[asked.bucket]), say(asked.measure)
    st.markdown(say("**{time}, {kind}** ({n} of {all:,} shown)", time=at, kind=kind, n=len(found), all=n))
    if not found:
        st.info(say("None is listed: none was counted, or people have yet to judge another view of each."))
        return
    grid(found)
    every = say("All {n:,} in Triage", n=n) if n < MOST else say("All of them in Triage")
    st.html(link_to("triage", every, in_triage(asked, wanted)))


def behind(asked: Asked, start: datetime) -> Wanted:
    """Which parts the point of that bucket counts."""
    scope, parts = asked.scope, MEASURES[asked.measure].parts
    return Wanted(
        product_id=scope.product_id, station_id=scope.station_id, lot=scope.lot, since=start,
        until=end_of(start, asked.bucket, asked.zone, asked.shifts), verdict=parts.get("verdict"),
        decision=parts.get("decision"),
    )  # fmt: skip


def in_triage(asked: Asked, wanted: Wanted) -> dict[str, str]:
    """How the page Triage is asked for the same: its filters by their keys."""
    scope = asked.scope
    of = {
        "product": asked.products.get(scope.product_id or 0), "station": asked.stations.get(scope.station_id or 0),
        "lot": scope.lot, "verdict": wanted.verdict, "decision": wanted.decision,
    }  # fmt: skip
    return {key: value for key, value in of.items() if value} | dict(_span(asked, wanted))


def _span(asked: Asked, wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Days of which no time is said are whole: one that ends at midnight ends with the day before."""
    for key, moment in (("from", wanted.since), ("to", wanted.until)):
        if moment is None:
            continue
        at = moment.astimezone(asked.zone)
        whole = at.time() == time()
        yield f"{key}-day", f"{at - timedelta(days=whole and key == 'to'):%Y-%m-%d}"
        if not whole:
            yield f"{key}-time", f"{at:%H:%M}"


def grid(found: Sequence[Item], below: Callable[[DeltaGenerator, Item], None] = lambda place, one: None) -> None:
    """Draws items as cards, each with `below` under it."""
    for at in range(0, len(found), ROW):
        for column, one in zip(st.columns(ROW), found[at : at + ROW], strict=False):
            _part(column, one)
            below(column, one)


def _part(column: DeltaGenerator, one: Item) -> None:
    name = one.serial or one.frame_id
    full = one.preview_sha256 or one.frame_sha256
    if full:
        column.html(picture(one.thumbnail_sha256 or full, say("picture of {name}", name=name), "width:100%", full))
    said = f"{one.station} · {shown(one.decision or one.state)}"
    column.html(f"{link(one)}<div class='faint small'>{escape(said)}</div>")


def link(one: Item) -> str:
    """Its serial, or its frame's id, as a link to the page of the part."""
    if one.serial:
        return link_to_part(one.serial, serial=one.serial)
    return link_to_part(one.frame_id, inspection=key_of(one))


def link_to_part(name: str, **asked: str) -> str:
    """A link to the page Part, which finds a part by its serial or by an inspection."""
    return link_to("part", name, asked)


def link_to_all(serial: str) -> str:
    """A sentence with a link to all views of a part."""
    return escape(say("All of the part: {link}")).format(link=link_to_part(serial, serial=serial))


def link_to_letter(letter_id: int) -> str:
    """A sentence with a link to a dead letter on the page Health."""
    number = link_to("health", str(letter_id), {"letter": str(letter_id)})
    return escape(say("What came is kept as dead letter {link}.")).format(link=number)


def link_to(page: str, name: str, asked: Mapping[str, str]) -> str:
    """A link under that name to a page that is asked this in its address."""
    user = context.actor()
    address = urlencode({**asked, **({"user": user.name} if user else {})})
    return f"<a href='/{page}?{escape(address)}' target='_self'>{escape(name)}</a>"
