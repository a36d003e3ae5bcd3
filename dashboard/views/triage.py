"""Triage: the parts that people look at, found by what is known of them, as a grid and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import tzinfo

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from agent.service.bulk import MOST as MOST_AT_ONCE
from agent.store import products, registry, stations, users
from agent.store.item_search import Wanted, count, open_ones, search
from agent.store.items import Item
from agent.store.reviews import standing
from dashboard import alike, context, gallery, judging, sheets, ticks
from dashboard.filters import day, pick
from dashboard.style import CSS

PAGE = 24
MOST = 10_000  # counted, and written as CSV, at most
STATES, DECISIONS, VERDICTS = ("open", "escalated", "closed"), ("normal", "defect"), ("pass", "review", "reject")


def show() -> None:
    """Draws the page."""
    st.html(f"<style>{CSS}</style>")
    st.title("Triage")
    wanted = _wanted()
    grouped = st.toggle(
        "Group by similar heatmap", key="grouped", bind="query-params",
        help=f"one cause is one action; the newest {MOST_AT_ONCE} are compared, those of one station and product only",
    )  # fmt: skip
    judging.way_back()
    with context.reading() as conn:
        found, n = search(conn, wanted, MOST_AT_ONCE if grouped else PAGE), count(conn, wanted, MOST)
    if not found:
        st.info("No part is like that. Audited parts show here once they are judged.")
        return
    more, newest = (" or more", f", the newest {MOST:,}") if n == MOST else ("", "")
    left, right = st.columns((3, 1), vertical_alignment="center")
    some = f", {len(found)} of them shown" if n > len(found) else ""
    left.markdown(f"{n:,}{more} part{'s' * (n != 1)}, the newest first{some}")
    right.download_button(
        f"CSV{newest}", lambda: _csv(wanted), file_name="parts.csv", mime="text/csv",
        icon=":material/download:", on_click="ignore",
    )  # fmt: skip
    place = st.container()
    if grouped:
        shown = alike.show(found)
    else:
        gallery.grid(found, _box)
        shown = found + _older(wanted, found[-1], n)
    with place:
        _bar(wanted, shown)


def _box(place: DeltaGenerator, one: Item) -> None:
    ticks.box(place, "judge", [one], f"tick-{one.id}")


def _bar(wanted: Wanted, shown: Sequence[Item]) -> None:
    with context.reading() as conn:
        ticked = open_ones(conn, wanted, ticks.ticked(), MOST_AT_ONCE)
        n = 0 if wanted.state == "closed" else count(conn, _still(wanted), MOST)
    words = f"{n:,} or more" if n == MOST else f"{n:,}"
    judging.bar(shown, [one.id for one in ticked], lambda: _open(wanted) if n else [], words)


def _still(wanted: Wanted) -> Wanted:
    return replace(wanted, state=wanted.state or "open")


def _open(wanted: Wanted) -> list[int]:
    """What can be judged of all that match."""
    with context.reading() as conn:
        found = search(conn, _still(wanted), MOST_AT_ONCE)
    return [one.id for one in found]


def _older(wanted: Wanted, last: Item, n: int) -> list[Item]:
    """Draws the pages behind the first one, as many as were asked for; their parts."""
    pages, shown = int(st.session_state.get(f"pages-{wanted}", 1)), list[Item]()
    for _ in range(pages - 1):
        with context.reading() as conn:
            found = search(conn, wanted, PAGE, before=(last.event_at, last.id))
        if not found:
            break
        gallery.grid(found, _box)
        shown += found
        last = found[-1]
    if n > pages * PAGE and st.button("Show older ones"):
        st.session_state[f"pages-{wanted}"] = pages + 1
        st.rerun()
    return shown


def _wanted() -> Wanted:
    """Draws the filters; every choice stands in the address."""
    with context.reading() as conn:
        product_ids = {one.name: one.id for one in products.all(conn)}
        station_ids = {one.name: one.id for one in stations.all(conn, retired=True)}
        people = {one.name: one.id for one in users.all(conn, disabled=True)}
        versions = {
            f"{name} v{one.number}": one.id
            for name, product_id in product_ids.items()
            for one in registry.versions(conn, product_id)
        }
    first, second, third, fourth = st.columns(4), st.columns(4), st.columns(4), st.columns(2)
    product = pick(first[0], "Product", product_ids)
    station = pick(first[1], "Station", station_ids)
    lot = first[2].text_input("Lot", placeholder="all", key="lot", bind="query-params").strip()
    state = pick(first[3], "State", STATES)
    decision = pick(second[0], "Decision", DECISIONS)
    reason = second[1].text_input("Reason", placeholder="all", key="reason", bind="query-params").strip()
    reviewer = pick(second[2], "Reviewer", people)
    version = pick(second[3], "Model", versions)
    verdict = pick(third[0], "Verdict", VERDICTS, help="of the model; found once the part is judged")
    least = _number(third[1], "Severity from")
    most = _number(third[2], "Severity to")
    zone = context.settings().timezone
    since = day(fourth[0], "From day", zone, 0)
    until = day(fourth[1], "To day", zone, 1)
    return Wanted(
        product_id=product_ids.get(product or ""), station_id=station_ids.get(station or ""), lot=lot or None,
        since=since, until=until, state=state, decision=decision, reason=reason or None, verdict=verdict,
        least=least, most=most, version_id=versions.get(version or ""), reviewer_id=people.get(reviewer or ""),
    )  # fmt: skip


def _number(place: DeltaGenerator, label: str) -> float | None:
    help = "0 is the threshold that decided; found once the part is judged"
    key = label.lower().replace(" ", "-")
    return place.number_input(label, value=None, step=0.1, placeholder="any", key=key, bind="query-params", help=help)


def _csv(wanted: Wanted) -> str:
    with context.reading() as conn:
        found = search(conn, wanted, MOST)
    return sheets.to_csv(rows(found, context.settings().timezone))


def rows(found: Sequence[Item], zone: tzinfo) -> list[dict[str, object]]:
    """Items as lines of a sheet: verdict, score and reviewers only of what is closed."""
    return [
        {
            "Seen": f"{one.event_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
            "Serial": one.serial or "",
            "Frame": one.frame_id,
            "Product": one.product,
            "Station": one.station,
            "Lot": one.lot or "",
            "State": one.state,
            "Decision": one.decision or "",
            "Reason": (said[-1].reason or "") if said else "",
            "Reviewer": said[-1].user if said else "",
            "Verdict": one.verdict if one.state == "closed" else "",
            "Score": "" if one.score is None or one.state != "closed" else one.score,
            "Severity": "" if one.severity is None or one.state != "closed" else one.severity,
        }
        for one in found
        for said in [standing(one.reviews) if one.state == "closed" else []]
    ]
