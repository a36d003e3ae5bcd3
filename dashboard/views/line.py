"""The line now: each station's status, rate and flag rate; the books; which agents live and what is missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from html import escape

import streamlit as st

from agent.service import stations as service
from agent.settings import utc_now
from agent.store import alerts as stored_alerts
from agent.store import epochs, items, offsets, products, registry, stations, teachings, trends
from agent.store.alerts import fitted, station_subject
from agent.store.offsets import Counts
from agent.store.stations import Station
from agent.store.trends import StationRate
from agent.store.users import User
from dashboard import alerts, context
from dashboard.alerts import ago
from dashboard.style import CSS

CAMERA = "camera_"
WINDOW = timedelta(minutes=15)
QUIET = timedelta(minutes=2)  # a station without a frame for so long is shown as quiet, which is no alert


@dataclass(frozen=True, slots=True)
class Row:
    """One station as the table shows it."""

    station: str
    status: str
    product: str
    model: str
    per_minute: float
    flag_rate: float | None
    not_inspected: int
    last: str


def status_of(station: Station, kinds: Collection[str], now: datetime) -> str:
    """The worst that stands open of a station, in one word.

    `blind`, then `silent`, then what its camera suffers from (`frozen`, `black`, ...); without any of them `new` (never
    a frame), `quiet` or `ok`.
    """
    if station.status == "blind" or "station_blind" in kinds:
        return "blind"
    if "station_silent" in kinds:
        return "silent"
    if camera := sorted(kind for kind in kinds if kind.startswith(CAMERA)):
        return camera[0].removeprefix(CAMERA)
    if station.last_frame_at is None:
        return "new"
    return "quiet" if now - station.last_frame_at > QUIET else "ok"


def rows_of(
    found: Sequence[Station], rates: Mapping[int, StationRate], names: Mapping[int, str], models: Mapping[int, str],
    kinds: Mapping[str, Collection[str]], now: datetime, lapsed: Collection[int] = (),
) -> list[Row]:  # fmt: skip
    """The table, one row a station; `models` say what decides and `lapsed` whose certificate lapsed, both by product.

    `kinds` are the open alerts by subject.
    """
    rows = []
    for station in found:
        rate = rates.get(station.id)
        product = station.product_id
        rows.append(
            Row(
                station=station.name,
                status=status_of(station, kinds.get(fitted(station_subject(station.name)), ()), now),
                product=names.get(product, "—") if product is not None else "—",
                model=_model(product, models, lapsed),
                per_minute=(rate.frames if rate else 0) / (WINDOW.total_seconds() / 60),
                flag_rate=rate.flagged / rate.inspected if rate and rate.inspected else None,
                not_inspected=rate.not_inspected if rate else 0,
                last=ago(station.last_frame_at, now),
            )
        )
    return rows


def _model(product: int | None, models: Mapping[int, str], lapsed: Collection[int]) -> str:
    if product is None or product not in models:
        return "none"
    return f"{models[product]}, lapsed" if product in lapsed else models[product]


def show() -> None:
    """Draws the page; it renews itself every two seconds."""
    st.title("Line")
    st.html(f"<style>{CSS}</style>")
    _now()
    user = context.actor()
    if user is not None and context.may("engineer"):
        _changeover(user)


@st.fragment(run_every="2s")
def _now() -> None:
    now = utc_now()
    with context.reading() as conn:
        counts = offsets.totals(conn)
        waiting = items.counts(conn)
        found = stations.all(conn)
        rates = {rate.station_id: rate for rate in trends.station_rates(conn, now - WINDOW)}
        names = {product.id: product.name for product in products.all(conn)}
        models = {one.product_id: "teaching" for one in teachings.all(conn) if one.unfinished}
        models |= {product: f"v{live.number}" for product, live in registry.live_all(conn).items()}
        standing = stored_alerts.standing(conn)
        lapsed = epochs.lapsed_all(conn, context.settings().certificate)
    alerts.show(standing, now)
    _books(counts, waiting.open)
    if not found:
        st.info("There are no stations yet. Add one: `goodpart stations add NAME --product PRODUCT`")
    else:
        st.html(table(rows_of(found, rates, names, models, alerts.by_subject(standing), now, lapsed)))
        st.caption(f"Rates over the last {int(WINDOW.total_seconds() // 60)} minutes.")
    _agents()


def _changeover(user: User) -> None:
    with context.reading() as conn:
        found = {station.name: station for station in stations.all(conn)}
        names = {product.name: product.id for product in products.all(conn)}
    with st.popover("Change over", icon=":material/swap_horiz:", disabled=not found or not names):
        station = st.selectbox("Station", list(found), index=None, key="changeover-station")
        product = st.selectbox("Runs from now on", list(names), index=None, key="changeover-product")
        st.caption("It begins with the next frame that is not recorded yet. Frames that name their product keep it.")
        same = not station or not product or found[station].product_id == names[product]
        if st.button("Confirm", key="changeover", disabled=same) and station and product:
            change = partial(service.change, context.engine(), user, station, product=product)
            context.act(change, f"{station} runs {product}")


def _books(counts: Counts, waiting: int) -> None:
    shown = (
        ("Received", counts.received, None),
        ("Inspected", counts.inspected, "pass, review or reject"),
        ("Not inspected", counts.not_inspected, "never a pass; each has its reason"),
        ("Dead-lettered", counts.dead_lettered, "no station or product could be told"),
        ("Duplicates", counts.duplicate, "sent again by a camera; counted, not decided twice"),
        ("To review", waiting, "open items in the queue"),
    )
    for column, (name, number, words) in zip(st.columns(len(shown)), shown, strict=True):
        column.metric(name, f"{number:,}", help=words, border=True)
    if not counts.balanced:
        st.error("The books do not balance: received is not the sum of the others. Tell the platform team.")


def table(rows: Sequence[Row]) -> str:
    """The stations as HTML; every text is escaped."""
    head = "".join(
        f"<th>{name}</th>"
        for name in ("Station", "Status", "Product", "Model", "Frames/min", "Flag rate", "Not inspected", "Last frame")
    )
    body = "".join(
        f"<tr><td><b>{escape(row.station)}</b></td><td><span class='pill {row.status}'>{row.status}</span></td>"
        f"<td>{escape(row.product)}</td><td>{row.model}</td><td class='n'>{row.per_minute:.1f}</td>"
        f"<td class='n'>{'—' if row.flag_rate is None else f'{row.flag_rate:.1%}'}</td>"
        f"<td class='n'>{row.not_inspected}</td><td class='n'>{row.last}</td></tr>"
        for row in rows
    )
    return f"<table class='line'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _agents() -> None:
    live = context.live()
    agents = live.agents()
    if not live.available:
        st.warning(f"{live.problem or 'Redis does not answer'}. The line runs; agents and speed cannot be shown.")
        return
    if not agents:
        st.warning("No agent says that it lives. Start one: `goodpart agent`")
        return
    for name, info in sorted(agents.items()):
        rate, p99, lag = info.get("rate"), info.get("p99_ms"), info.get("lag")
        ready = "ready" if info.get("ready") else "not ready: " + "; ".join(info.get("problems", {}).values())
        speed = "" if rate is None else f" · {rate:.1f} frames/s"
        latency = "" if p99 is None else f" · p99 latency {p99:.0f} ms"
        st.caption(f"Agent {name} · {ready}{speed}{latency}" + ("" if lag is None else f" · lag {lag}"))
