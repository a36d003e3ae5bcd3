"""Triage: the parts that people look at, found by what is known of them, as a grid and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import tzinfo

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from agent.service.bulk import MOST as MOST_AT_ONCE
from agent.store import products, registry, stations, users
from agent.store.item_search import FLAGGED, Wanted, count, open_ones, search
from agent.store.items import Item
from agent.store.reviews import standing
from dashboard import alike, busy, context, gallery, judging, sheets, ticks
from dashboard.filters import moment, pick, pick_code, typed
from dashboard.style import CSS
from dashboard.words import say, several

PAGE = 24
MOST = 10_000  # counted, and written as CSV, at most
STATES, DECISIONS = ("open", "escalated", "closed"), ("normal", "defect")
VERDICTS = (FLAGGED, "pass", "review", "reject")


def show() -> None:
    """Draws the page."""
    st.html(f"<style>{CSS}</style>")
    st.title(say("Triage"))
    wanted = _wanted()
    grouped = st.toggle(
        say("Group by similar heatmap"), key="grouped", bind="query-params",
        help=say(
            "one cause is one action; the newest {n} are compared, those of one station and product only",
            n=MOST_AT_ONCE,
        ),
    )  # fmt: skip
    judging.way_back()
    with busy.at(say("Searching")), context.reading() as conn:
        found, n = search(conn, wanted, MOST_AT_ONCE if grouped else PAGE), count(conn, wanted, MOST)
    if not found:
        st.info(say("No part is like that. Audited parts show here once they are judged."))
        return
    left, right = st.columns((3, 1), vertical_alignment="center")
    left.markdown(_counted(n, len(found)))
    right.download_button(
        say("CSV, the newest {n:,}", n=MOST) if n == MOST else say("CSV"), lambda: _csv(wanted),
        file_name="parts.csv", mime="text/csv", icon=":material/download:", on_click="ignore", key="csv",
    )  # fmt: skip
    place = st.container()
    if grouped:
        shown = alike.show(found)
    else:
        gallery.grid(found, _box)
        shown = found + _older(wanted, found[-1], n)
    with place:
        _bar(wanted, shown)


def _counted(n: int, here: int) -> str:
    text = several("{n:,} part, the newest first", "{n:,} parts, the newest first", n)
    if n == MOST:
        text = say("{n:,} or more parts, the newest first", n=n)
    return text + (", " + say("{n} of them shown", n=here) if n > here else "")


def _box(place: DeltaGenerator, one: Item) -> None:
    ticks.box(place, say("judge"), [one], f"tick-{one.id}")


def _bar(wanted: Wanted, shown: Sequence[Item]) -> None:
    with context.reading() as conn:
        ticked = open_ones(conn, wanted, ticks.ticked(), MOST_AT_ONCE)
        n = 0 if wanted.state == "closed" else count(conn, _still(wanted), MOST)
    words = say("{n:,} or more", n=n) if n == MOST else f"{n:,}"
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
    if n > pages * PAGE and st.button(say("Show older ones"), key="older-parts"):
        st.session_state[f"pages-{wanted}"] = pages + 1
        st.rerun()
    return shown


def _wanted() -> Wanted:
    """Draws the filters; every choice stands in the address."""
    with context.reading() as conn:
        product_ids = {one.name: one.id for one in products.all(conn, retired=True)}
        station_ids = {one.name: one.id for one in stations.all(conn, retired=True)}
        people = {one.name: one.id for one in users.all(conn, disabled=True)}
        versions = {
            f"{name} v{one.number}": one.id
            for name, product_id in product_ids.items()
            for one in registry.versions(conn, product_id)
        }
    first, second, third, fourth = (st.columns(4) for _ in range(4))
    product = pick(first[0], "product", say("Product"), product_ids)
    station = pick(first[1], "station", say("Station"), station_ids)
    lot = typed(first[2], "lot", say("Lot"), say("all"))
    state = pick_code(first[3], "state", say("State"), STATES)
    decision = pick_code(second[0], "decision", say("Decision"), DECISIONS)
    reason = typed(second[1], "reason", say("Reason"), say("all"))
    reviewer = pick(second[2], "reviewer", say("Reviewer"), people)
    version = pick(second[3], "model", say("Model"), versions)
    told = say("of the model; found once the part is judged, but for what is flagged: that waits for people")
    verdict = pick_code(third[0], "verdict", say("Verdict"), VERDICTS, help=told)
    least = _number(third[1], "severity-from", say("Severity from"))
    most = _number(third[2], "severity-to", say("Severity to"))
    zone = context.settings().timezone
    since = moment(fourth[:2], "from", (say("From day"), say("From time")), zone, 0)
    until = moment(fourth[2:], "to", (say("To day"), say("To time")), zone, 1)
    return Wanted(
        product_id=product_ids.get(product or ""), station_id=station_ids.get(station or ""), lot=lot or None,
        since=since, until=until, state=state, decision=decision, reason=reason or None, verdict=verdict,
        least=least, most=most, version_id=versions.get(version or ""), reviewer_id=people.get(reviewer or ""),
    )  # fmt: skip


def _number(place: DeltaGenerator, key: str, label: str) -> float | None:
    help = say("0 is the threshold that decided; found once the part is judged")
    return place.number_input(
        label, value=None, step=0.1, placeholder=say("any"), key=key, bind="query-params", help=help
    )


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
