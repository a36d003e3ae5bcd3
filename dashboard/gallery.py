"""The parts that a point of a trend stands for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from html import escape
from urllib.parse import urlencode

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from agent.store.buckets import end_of
from agent.store.item_search import Wanted, search
from agent.store.items import Item
from dashboard import context
from dashboard.asking import Asked
from dashboard.codes import shown
from dashboard.histories import key_of
from dashboard.parts import ROW, picture
from dashboard.trending import FORMATS
from dashboard.words import say

PARTS = 24  # shown at most


def show(asked: Asked, start: datetime) -> None:
    """Draws the parts of the bucket that starts there: those that were flagged or judged."""
    found = seen(asked, start)
    st.markdown(
        say(
            "**Parts of {time}** ({n} shown)",
            time=start.astimezone(asked.zone).strftime(FORMATS[asked.bucket]),
            n=len(found),
        )
    )
    if not found:
        st.info(say("None was kept: nothing was flagged."))
    grid(found)


def seen(asked: Asked, start: datetime) -> list[Item]:
    """The newest items of a bucket."""
    scope = asked.scope
    wanted = Wanted(
        product_id=scope.product_id, station_id=scope.station_id, lot=scope.lot, since=start,
        until=end_of(start, asked.bucket, asked.zone, asked.shifts),
    )  # fmt: skip
    with context.reading() as conn:
        return search(conn, wanted, PARTS)


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
    return _link("part", name, **asked)


def link_to_all(serial: str) -> str:
    """A sentence with a link to all views of a part."""
    return escape(say("All of the part: {link}")).format(link=link_to_part(serial, serial=serial))


def link_to_letter(letter_id: int) -> str:
    """A sentence with a link to a dead letter on the page Health."""
    number = _link("health", str(letter_id), letter=str(letter_id))
    return escape(say("What came is kept as dead letter {link}.")).format(link=number)


def _link(page: str, name: str, **asked: str) -> str:
    user = context.actor()
    address = urlencode(asked | ({"user": user.name} if user else {}))
    return f"<a href='/{page}?{escape(address)}' target='_self'>{escape(name)}</a>"
