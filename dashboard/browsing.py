"""Samples of a product as a grid: found by what is known of them, or the defect bank alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

import streamlit as st

from agent.store import sample_search, stations, users, withdrawals
from agent.store.sample_search import REVOKED, Found, Wanted
from agent.store.samples import STATES
from dashboard import context
from dashboard.codes import named
from dashboard.filters import day, pick, pick_code, typed
from dashboard.parts import ROW, picture
from dashboard.samples import NAMES, ORIGINS, in_use, state
from dashboard.words import say, several

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
    role = pick_code(first[0], "role", say("Role"), NAMES)
    stands = pick_code(first[1], "state", say("State"), (*STATES, REVOKED))
    told = say("import: a folder; flagged, audit: a reviewed part")
    origin = pick_code(first[2], "origin", say("Origin"), ORIGINS, help=told)
    station = pick(first[3], "station", say("Station"), station_ids)
    serial = typed(second[0], "serial", say("Serial"), say("all"))
    lot = typed(second[1], "lot", say("Lot"), say("all"))
    reason = typed(second[2], "reason", say("Defect"), say("all"))
    by = pick(second[3], "added by", say("Added by"), people)
    zone = context.settings().timezone
    since = day(third[0], "added-from-day", say("Added from day"), zone, 0)
    until = day(third[1], "added-to-day", say("Added to day"), zone, 1)
    wanted = Wanted(
        product_id=product_id, role=role, state=stands, origin=origin, reason=reason or None,
        station_id=station_ids.get(station or ""), added_by=people.get(by or ""), serial=serial or None,
        lot=lot or None, since=since, until=until,
    )  # fmt: skip
    _found(wanted, look, say("No sample is like that."))


def bank(product_id: int, look: Look) -> None:
    """Draws the defect bank."""
    least = context.settings().gate.min_defects
    st.caption(
        say(
            "Confirmed defects. A challenger that loses them is rejected; with fewer than {least} the gate asks a "
            "person. Proposals are compared with them. One leaves by two people: look at it, and ask for it to be "
            "taken out.",
            least=least,
        )
    )
    first = st.columns(4)
    reason = typed(first[0], "reason", say("Defect"), say("all"))
    origin = pick_code(first[1], "origin", say("Origin"), ORIGINS)
    wanted = Wanted(
        product_id=product_id, role="defect", state="accepted", reason=reason or None, origin=origin
    )  # fmt: skip
    _found(wanted, look, say("There is no such defect in the bank."))


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
    text = several("{n:,} sample, the newest first", "{n:,} samples, the newest first", n)
    if n == MOST:
        text = say("{n:,} or more samples, the newest first", n=n)
    st.markdown(text + (", " + say("{n} of them shown", n=len(found)) if len(found) < n else ""))
    for at in range(0, len(found), ROW):
        for column, one in zip(st.columns(ROW), found[at : at + ROW], strict=False):
            with column:
                st.html(card(one, names, one.sample.id in asked))
                st.button(say("Look"), key=f"look-{one.sample.id}", on_click=look, args=(one.sample.id,))
    if n > len(found) and st.button(say("Show older ones"), key="older-samples"):
        st.session_state[f"pages-{wanted}"] = pages + 1
        st.rerun()


def card(found: Found, names: Mapping[int, str], asked: bool = False) -> str:
    """A sample's picture, and what it is; every text is escaped."""
    one = found.sample
    full = one.blob_sha256
    name = one.serial or say("sample {id}", id=one.id)
    role = named(one.reason or "defect") if one.role == "defect" else say(NAMES[one.role])
    by = names.get(one.added_by or 0)
    said = [say(ORIGINS[one.origin]) + (f", {by}" if by else "")]
    said += [found.station] if found.station else []
    said += [f"{one.created_at.astimezone(context.settings().timezone):%Y-%m-%d}"]
    said += [] if in_use(one) else [state(one)]
    said += [say("asked to be taken out")] if asked else []
    drawn = picture(found.thumbnail_sha256 or full, say("picture of {name}", name=name), "width:100%", full)
    return (
        f"{drawn}<div><b>{escape(name)}</b> {escape(role)}<br>"
        f"<span class='faint small'>{escape(' · '.join(said))}</span></div>"
    )
