"""The parts that a point of a trend stands for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html import escape
from urllib.parse import urlencode

import streamlit as st

from agent.store import items
from agent.store.buckets import Bucket, quarter
from agent.store.items import Item
from dashboard import context
from dashboard.asking import Asked
from dashboard.parts import ROW, picture
from dashboard.trending import FORMATS

PARTS = 24  # shown at most
# As long as a bucket can be: a day or a shift may be an hour longer than usual.
LONGEST: dict[Bucket, timedelta] = {
    "minute": timedelta(minutes=1), "quarter": timedelta(minutes=15), "hour": timedelta(hours=1),
    "shift": timedelta(hours=25), "day": timedelta(hours=25),
}  # fmt: skip


def show(asked: Asked, start: datetime) -> None:
    """Draws the parts of the bucket that starts there: those that were flagged or judged."""
    found = seen(asked, start)
    st.markdown(f"**Parts of {start.astimezone(asked.zone).strftime(FORMATS[asked.bucket])}** ({len(found)} shown)")
    if not found:
        st.info("None was kept: nothing was flagged.")
    for at in range(0, len(found), ROW):
        for column, one in zip(st.columns(ROW), found[at : at + ROW], strict=False):
            _part(column, one)


def seen(asked: Asked, start: datetime) -> list[Item]:
    """The first items of a bucket."""
    start, scope = start.astimezone(UTC), asked.scope
    with context.reading() as conn:
        found = items.seen_between(
            conn, start, start + LONGEST[asked.bucket], product_id=scope.product_id, station_id=scope.station_id,
            lot=scope.lot, limit=PARTS,
        )  # fmt: skip
    if asked.bucket in ("minute", "quarter"):
        return found
    return [one for one in found if asked.start_of(quarter(one.event_at)) == start]


def _part(column: st.delta_generator.DeltaGenerator, one: Item) -> None:
    name = one.serial or one.frame_id
    full = one.preview_sha256 or one.frame_sha256
    if full:
        column.html(picture(one.thumbnail_sha256 or full, f"picture of {name}", "width:100%", full))
    column.html(f"{link(one)}<div class='faint small'>{escape(one.station)} · {one.decision or one.state}</div>")


def link(one: Item) -> str:
    """Its serial, or its frame's id, as a link to the page of the part."""
    key = f"{one.stream_id}-{one.partition}-{one.offset}@{one.event_at.isoformat()}"
    user = context.actor()
    asked = {"serial": one.serial} if one.serial else {"inspection": key}
    address = urlencode(asked | ({"user": user.name} if user else {}))
    return f"<a href='/part?{escape(address)}' target='_self'>{escape(one.serial or one.frame_id)}</a>"
