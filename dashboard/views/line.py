"""The line now: a tile for each station; below it the open alerts, the agents and the books, and changeovers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import lru_cache, partial
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from agent.live import Glance
from agent.service import stations as service
from agent.settings import utc_now
from agent.store import alerts as stored_alerts
from agent.store import offsets, products, stations
from agent.store.buckets import quarter
from agent.store.errors import StoreError
from agent.store.stations import Station
from agent.store.users import User
from dashboard import accounts, alerts, andon, context, floor
from dashboard.andon import Tile
from dashboard.components import andon as board
from dashboard.style import CSS
from dashboard.words import later, retold, say

NO_STATIONS = later("There are no stations yet. Add one: `goodpart stations add NAME --product PRODUCT`")


# A board on a wall is calm: no sign of each renewal, no more room for the title than it needs.
CALM = """
[data-testid=stMainBlockContainer] { padding-top: 3rem; } [data-testid=stStatusWidget] { display: none; }
h1 { font-size: 1.8rem !important; padding: 0.3rem 0 0.6rem !important; }
"""


def show() -> None:
    """Draws the page; the board renews itself every two seconds, what is below it every five."""
    st.html(f"<style>{CSS}{CALM}</style>")
    st.title(say("Line"))
    _board()
    _below()
    user = context.actor()
    if user is not None and context.may("engineer"):
        _changeover(user)


@st.fragment(run_every="2s")
def _board() -> None:
    now = utc_now()
    try:
        usual = _usual(quarter(now))
        with context.reading() as conn:
            found = floor.read(conn, context.settings(), usual, now)
    except StoreError as error:
        board.draw({"trouble": retold(error.phrase)})
        return
    if not found.stations:
        st.info(say(NO_STATIONS))
        return
    tiles = andon.tiles(replace(found, glances=_glances(found.stations)), now)
    top = andon.banner(tiles, found.standing)
    states = {one: say(one) for one in andon.STATES}
    shown = {"icons": andon.ICONS, "states": states, "banner": asdict(top), "tiles": [_drawn(one) for one in tiles]}
    # Streamlit passes on only what differs from before: without the time a plant at rest renews nothing.
    board.draw({**shown, "at": now.isoformat()})


@lru_cache(1)
def _usual(until: datetime) -> Mapping[int, float]:
    """The stations' usual rates; read once in a quarter hour."""
    with context.reading() as conn:
        return floor.usual_rates(conn, until)


def _glances(found: Sequence[Station]) -> Mapping[int, Glance]:
    """What the live view shows of the stations. One that is away is not waited for: what is below the board asks it."""
    live = context.live()
    if not live.available:
        return {}
    places = {context.place(one.id): one.id for one in found}
    return {places[place]: glance for place, glance in live.shown(list(places)).items() if place in places}


def _drawn(tile: Tile) -> dict[str, Any]:
    user = context.actor()
    asked = {"station": tile.station} | ({"user": user.name} if user else {})
    return {**asdict(tile), "level": tile.level, "href": f"/review?{urlencode(asked)}"}


@st.fragment(run_every="5s")
def _below() -> None:
    try:
        with context.reading() as conn:
            counts, standing = offsets.totals(conn), stored_alerts.standing(conn)
    except StoreError:
        return  # the board says so
    st.subheader(say("Open alerts"))
    alerts.show(standing, utc_now())
    if not standing:
        st.caption(say("None."))
    st.subheader(say("Agents"))
    _agents()
    words = accounts.sentence(counts)
    st.caption(words) if counts.balanced else st.error(words, icon=":material/error:")


def _changeover(user: User) -> None:
    with context.reading() as conn:
        found = {station.name: station for station in stations.all(conn)}
        names = {product.name: product.id for product in products.all(conn)}
    with st.popover(say("Change over"), icon=":material/swap_horiz:", disabled=not found or not names):
        station = st.selectbox(say("Station"), list(found), index=None, key="changeover-station")
        product = st.selectbox(say("Runs from now on"), list(names), index=None, key="changeover-product")
        st.caption(
            say("It begins with the next frame that is not recorded yet. Frames that name their product keep it.")
        )
        same = not station or not product or found[station].product_id == names[product]
        if st.button(say("Confirm"), key="changeover", disabled=same) and station and product:
            change = partial(service.change, context.engine(), user, station, product=product)
            context.act(change, say("{station} runs {product}", station=station, product=product))


def _agents() -> None:
    live = context.live()
    agents = live.agents()
    if not live.available:
        st.warning(
            say(
                "{problem}. The line runs; agents and speed cannot be shown.",
                problem=live.problem or say("Redis does not answer"),
            )
        )
        return
    if not agents:
        st.warning(say("No agent says that it lives. Start one: `goodpart agent`"))
        return
    for name, info in sorted(agents.items()):
        st.caption(" · ".join(_agent(name, info)))


def _agent(name: str, info: Mapping[str, Any]) -> Iterator[str]:
    yield say("Agent {name}", name=name)
    problems = "; ".join(info.get("problems", {}).values())
    yield say("ready") if info.get("ready") else say("not ready: {problems}", problems=problems)
    if (rate := info.get("rate")) is not None:
        yield say("{n:.1f} frames/s", n=rate)
    if (p99 := info.get("p99_ms")) is not None:
        yield say("p99 latency {n:.0f} ms", n=p99)
    if (lag := info.get("lag")) is not None:
        yield say("lag {n}", n=lag)
