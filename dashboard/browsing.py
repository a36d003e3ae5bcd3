"""Samples of a product as a grid: found by what is known of them, or the defect bank alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

import streamlit as st

from agent.store import sample_search, stations, users, withdrawals
from agent.store.sample_search import REVOKED, Found, Wanted
from agent.store.samples import STATES
from dashboard import context
from dashboard.filters import day, pick
from dashboard.parts import ROW, picture
from dashboard.samples import NAMES, ORIGINS, state

PAGE = 24
MOST = 10_000  # counted at most

Look = Callable[[int], None]


def samples(product_id: int, look: Look) -> None:
    """Draws the filters and what they find.

    Args:
        product_id: of the product.
        look: shows one sample, by its id.
    """
    with context.reading() as conn:
        station_ids = {one.name: one.id for one in stations.all(conn, retired=True)}
        people = {one.name: one.id for one in users.all(conn, disabled=True)}
    first, second, third = st.columns(4), st.columns(4), st.columns(4)
    role = pick(first[0], "Role", NAMES)
    stands = pick(first[1], "State", (*STATES, REVOKED))
    origin = pick(first[2], "Origin", ORIGINS, help="import: a folder; flagged, audit: a reviewed part")
    station = pick(first[3], "Station", station_ids)
    serial = second[0].text_input("Serial", placeholder="all", key="serial", bind="query-params").strip()
    lot = second[1].text_input("Lot", placeholder="all", key="lot", bind="query-params").strip()
    reason = second[2].text_input("Defect", placeholder="all", key="reason", bind="query-params").strip()
    by = pick(second[3], "Added by", people)
    zone = context.settings().timezone
    since, until = day(third[0], "Added from day", zone, 0), day(third[1], "Added to day", zone, 1)
    wanted = Wanted(
        product_id=product_id, role=role, state=stands, origin=origin, reason=reason or None,
        station_id=station_ids.get(station or ""), added_by=people.get(by or ""), serial=serial or None,
        lot=lot or None, since=since, until=until,
    )  # fmt: skip
    _found(wanted, look, "No sample is like that.")


def bank(product_id: int, look: Look) -> None:
    """Draws the defect bank."""
    least = context.settings().gate.min_defects
    st.caption(
        f"Confirmed defects. A challenger that loses them is rejected; with fewer than {least} the gate asks a person. "
        "Proposals are compared with them. One leaves by two people: look at it, and ask for it to be taken out."
    )
    first = st.columns(4)
    reason = first[0].text_input("Defect", placeholder="all", key="reason", bind="query-params").strip()
    origin = pick(first[1], "Origin", ORIGINS)
    wanted = Wanted(
        product_id=product_id, role="defect", state="accepted", reason=reason or None, origin=origin
    )  # fmt: skip
    _found(wanted, look, "There is no such defect in the bank.")


def _found(wanted: Wanted, look: Look, none: str) -> None:
    pages = int(st.session_state.get(f"pages-{wanted}", 1))
    with context.reading() as conn:
        found = sample_search.search(conn, wanted, pages * PAGE)
        n = sample_search.count(conn, wanted, MOST)
        names = {user.id: user.name for user in users.all(conn, disabled=True)}
        asked = {one.sample_id for one in withdrawals.all(conn, wanted.product_id)}
    if not found:
        st.info(none)
        return
    more = " or more" if n == MOST else ""
    shown = f", {len(found)} of them shown" if len(found) < n else ""
    st.markdown(f"{n:,}{more} sample{'s' * (n != 1)}, the newest first{shown}")
    for at in range(0, len(found), ROW):
        for column, one in zip(st.columns(ROW), found[at : at + ROW], strict=False):
            with column:
                st.html(card(one, names, one.sample.id in asked))
                st.button("Look", key=f"look-{one.sample.id}", on_click=look, args=(one.sample.id,))
    if n > len(found) and st.button("Show older ones"):
        st.session_state[f"pages-{wanted}"] = pages + 1
        st.rerun()


def card(found: Found, names: Mapping[int, str], asked: bool = False) -> str:
    """A sample's picture, and what it is; every text is escaped."""
    one = found.sample
    full = one.blob_sha256
    name = one.serial or f"sample {one.id}"
    role = (one.reason or "defect") if one.role == "defect" else NAMES[one.role]
    by = names.get(one.added_by or 0)
    said = [ORIGINS[one.origin] + (f", {by}" if by else "")]
    said += [found.station] if found.station else []
    said += [f"{one.created_at.astimezone(context.settings().timezone):%Y-%m-%d}"]
    said += [state(one)] if state(one) != "in use" else []
    said += ["asked to be taken out"] if asked else []
    shown = picture(found.thumbnail_sha256 or full, f"picture of {name}", "width:100%", full)
    return (
        f"{shown}<div><b>{escape(name)}</b> {escape(role)}<br>"
        f"<span class='faint small'>{escape(' · '.join(said))}</span></div>"
    )
