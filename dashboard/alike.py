"""Parts that look alike as rows of thumbnails, each of which is selected at once."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
import streamlit as st
from PIL import Image

from agent.store import item_vectors
from agent.store.item_vectors import Vector
from agent.store.items import Item
from dashboard import busy, context, ticks
from dashboard.codes import shown
from dashboard.gallery import link
from dashboard.grouping import ALIKE, ALONE, Group, Part, cells, groups
from dashboard.parts import picture
from dashboard.tables import plain
from dashboard.words import say, several

ROWS = 20  # drawn at first, and with each press more
HEAT = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))  # dark to hot, as on the page Review


def show(found: Sequence[Item]) -> list[Item]:
    """Draws the groups that these make, each with a box for all its parts that can be judged; what it has drawn."""
    with busy.at(say("Comparing {n:,} parts", n=len(found))):
        with context.reading() as conn:
            vectors = item_vectors.of_items(conn, [one.id for one in found])
        made = groups([Part(one.id, one.station_id, one.product_id, vectors.get(one.id)) for one in found])
    items = {one.id: one for one in found}
    many = sum(one.kind == ALIKE for one in made)
    st.caption(
        several(
            "{n} group of parts that look alike, the largest first; a row goes on to the right.",
            "{n} groups of parts that look alike, the largest first; a row goes on to the right.",
            many,
        )
    )
    rows = int(st.session_state.get("group-rows", ROWS))
    for group in made[:rows]:
        _row(group, [items[one] for one in group.ids], [vectors[one] for one in group.ids if one in vectors])
    if len(made) > rows and st.button(say("Show more groups"), key="more-groups"):
        st.session_state["group-rows"] = rows + ROWS
        st.rerun()
    return [items[one] for group in made[:rows] for one in group.ids]


def _row(group: Group, parts: Sequence[Item], vectors: Sequence[Vector]) -> None:
    head = st.container(horizontal=True, vertical_alignment="center")
    where = f" · {plain(parts[0].product)} · {plain(parts[0].station)}" if group.kind == ALIKE else ""
    head.markdown(f"**{_many(group)}**{where}")
    st.html(f"<div class='row'>{_heat(vectors) if group.kind == ALIKE else ''}{''.join(map(_figure, parts))}</div>")
    if group.kind == ALIKE:
        ids = ticks.open_of(parts)
        n = len(ticks.ticked().intersection(ids))
        label = say("Select this group ({n})", n=len(ids))
        if 0 < n < len(ids):
            label = say("Select this group ({n}, {ticked} of them ticked)", n=len(ids), ticked=n)
        # Of other parts it is another group: a box is not set for what was not there when it was.
        ticks.box(head, label, parts, f"group-{hash(group.ids)}")


def _many(group: Group) -> str:
    n = len(group.ids)
    if group.kind == ALIKE:
        return several("{n} alike", "{n} alike", n)
    if group.kind == ALONE:
        return several("{n} like no other", "{n} like no other", n)
    return several("{n} not comparable: no model scored them", "{n} not comparable: no model scored them", n)


def _figure(one: Item) -> str:
    full = one.preview_sha256 or one.frame_sha256
    name = say("picture of {name}", name=one.serial or one.frame_id)
    drawn = picture(one.thumbnail_sha256 or full, name, "", full) if full else ""
    return f"<figure>{drawn}<figcaption>{link(one)}<br>{escape(shown(one.decision or one.state))}</figcaption></figure>"


def _heat(vectors: Sequence[Vector]) -> str:
    """Where the heat of a group lies on average."""
    mean = np.mean([cells(one) for one in vectors], axis=0)
    at = np.linspace(0, 1, len(HEAT))
    colours = np.stack([np.interp(mean, at, channel) for channel in np.array(HEAT).T], axis=-1)
    out = io.BytesIO()
    Image.fromarray(colours.round().astype(np.uint8)).save(out, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    image = f"<img src='{source}' alt='{escape(say('mean heatmap of the group'))}' class='fill'>"
    return f"<figure>{image}<figcaption>{escape(say('mean heatmap'))}</figcaption></figure>"
