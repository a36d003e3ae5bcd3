"""Trends for the quality manager: rates over time and what broke them, causes, and what thresholds would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from agent.store.reviews import Agreement
from agent.store.scopes import EVERYTHING
from dashboard import busy, charts, context, control_charts, tables, thresholds
from dashboard.asking import Asked, ask
from dashboard.findings import find
from dashboard.style import CSS
from dashboard.trending import MEASURES, Counts, Measure, rate
from dashboard.words import opening, say

ROWS = 20  # shown at most


def show() -> None:
    """Draws the page."""
    st.html(f"<style>{CSS}</style>")
    st.title(say("Trends"))
    asked = ask()
    with busy.at(say("Counting")), context.reading() as conn:
        found = find(conn, asked)
    if not found.points:
        st.info(_nothing(asked))
        return
    series = found.series
    _totals(sum(series.values(), Counts()))
    control_charts.show(asked, series, found.marks)
    _rates(asked.by, found.rates)
    left, right = st.columns(2)
    with left:
        _reasons(found.reasons, say(asked.window))
    with right:
        st.subheader(say("Frames by verdict"))
        st.altair_chart(charts.verdicts(found.points, asked.bucket))
        st.caption(say("n = {n:,} frames.", n=sum(one.inspected + one.not_inspected for one in found.points)))
    if words := _agreement(found.agreement, context.settings().review.double):
        st.caption(words)
    if asked.products:
        thresholds.show(asked, found)
    st.caption(
        say(
            "Times in {zone}. What was judged stands at the time of the part, not of its review; a decision that was "
            "undone or overridden is not counted.",
            zone=asked.zone.key,
        )
    )


def _agreement(agreed: Agreement, double: float) -> str:
    if agreed.pairs:
        return say(
            "Of {pairs:,} parts that two people judged they agreed on {agreed:,} ({rate}).",
            pairs=agreed.pairs,
            agreed=agreed.agreed,
            rate=rate(agreed.agreed, agreed.pairs),
        )
    if double:
        return ""
    return say(
        "No part is judged by two people, so nothing says how far they agree: {setting} in config.toml is 0. It is the "
        "share of the parts that a second person judges, too.",
        setting="`[review] double`",
    )


def _nothing(asked: Asked) -> str:
    window = say(asked.window)
    if asked.scope == EVERYTHING:
        return say(
            "No frame in the last {window}. Choose a longer window; the page Line says which stations send.",
            window=window,
        )
    return say(
        "Nothing is counted for this choice in the last {window}. Choose a longer window, or less; of many lots in a "
        "day the later ones are counted together, and cannot be told apart here.",
        window=window,
    )


def _totals(whole: Counts) -> None:
    shown = [(say("Inspected"), f"{whole.inspected:,}", say("frames"))]
    for measure in MEASURES.values():
        part, n = measure.of(whole)
        shown.append((say(measure.title), rate(part, n), say("{part:,} of {n:,}", part=part, n=n)))
    for column, (name, value, words) in zip(st.columns(len(shown)), shown, strict=True):
        column.metric(name, value, border=True)
        column.caption(words)


def _rates(by: str, rates: Mapping[str, Counts]) -> None:
    st.subheader(say("Rates by {by}", by=say(by)))
    # Not as Markdown: a lot's name comes from a frame's header.
    st.html(tables.table([_row(by, name, counts) for name, counts in list(rates.items())[:ROWS]]))
    if len(rates) > ROWS:
        st.caption(say("The {shown} with the most flagged frames of {n}.", shown=ROWS, n=len(rates)))


def _row(by: str, name: str, counts: Counts) -> dict[str, object]:
    def words(measure: Measure) -> str:
        part, n = measure.of(counts)
        return say("{rate} ({part:,} of {n:,})", rate=rate(part, n), part=part, n=n) if n else "—"

    return {opening(by): name, **{measure.title: words(measure) for measure in MEASURES.values()}}


def _reasons(rows: Sequence[tuple[str, int, float]], window: str) -> None:
    st.subheader(say("Defects by reason"))
    if rows:
        st.altair_chart(charts.pareto(rows, window))
        st.caption(say("n = {n:,} defects.", n=sum(n for _, n, _ in rows)))
    else:
        st.info(say("No part of this window has been judged a defect yet."))
