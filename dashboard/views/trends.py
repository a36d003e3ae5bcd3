"""Trends for the quality manager: rates over time and what broke them, causes, and what thresholds would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import streamlit as st

from agent.store.marks import Mark
from dashboard import charts, context, gallery, tables, thresholds, trending
from dashboard.asking import Asked, ask
from dashboard.findings import find
from dashboard.spc import RULES
from dashboard.style import CSS
from dashboard.trending import MEASURES, Counts, Measure, rate

SIGNALS, ROWS = 10, 20  # shown at most


def show() -> None:
    """Draws the page."""
    st.html(f"<style>{CSS}</style>")
    st.title("Trends")
    asked = ask()
    with context.reading() as conn:
        found = find(conn, asked)
    if not found.points:
        st.info(f"No frame in the last {asked.window}. Choose a longer window; the page Line says which stations send.")
        return
    series = found.series
    _totals(sum(series.values(), Counts()))
    _control(asked, series, found.marks)
    _rates(asked.by, found.rates)
    left, right = st.columns(2)
    with left:
        _reasons(found.reasons)
    with right:
        st.subheader("Frames by verdict")
        st.altair_chart(charts.verdicts(found.points, asked.bucket))
    if found.agreement.pairs:
        agreed = found.agreement
        st.caption(
            f"Of {agreed.pairs:,} parts that two people judged they agreed on {agreed.agreed:,} "
            f"({rate(agreed.agreed, agreed.pairs)})."
        )
    if asked.scope.product_id is not None:
        thresholds.show(asked, found)
    st.caption(
        f"Times in {asked.zone.key}. What was judged stands at the time of the part, not of its review; a decision "
        "that was undone or overridden is not counted."
    )


def _totals(whole: Counts) -> None:
    shown = [("Inspected", f"{whole.inspected:,}", "frames")]
    for measure in MEASURES.values():
        part, n = measure.of(whole)
        shown.append((measure.title, rate(part, n), f"{part:,} of {n:,}"))
    for column, (name, value, words) in zip(st.columns(len(shown)), shown, strict=True):
        column.metric(name, value, border=True)
        column.caption(words)


def _control(asked: Asked, series: trending.Series, marks: Sequence[Mark]) -> None:
    measure = MEASURES[asked.measure]
    st.subheader(measure.title)
    left, middle, right = st.columns((1, 1, 3))
    averaged = left.segmented_control("Chart", ["p'", "EWMA"], default="p'", key="chart", bind="query-params") == "EWMA"
    base = middle.selectbox("Limits from", list(trending.BASES), key="base", bind="query-params")
    rules = right.multiselect(
        "Run rules", list(RULES), default=[1, 2], format_func=lambda one: f"{one}: {RULES[one].words}", key="rules",
        disabled=averaged,
    )  # fmt: skip
    starts, counts, chart = trending.charted(series, measure, rules, averaged=averaged, base=base)
    if chart is None:
        st.info(f"Nothing to draw: no {measure.words} in the last {asked.window}.")
        return
    drawn = charts.control(starts, counts, chart, marks, asked.bucket, measure.title.lower())
    event = st.altair_chart(drawn, on_select="rerun", selection_mode=charts.PICKED, key="control")
    n = sum(point.n for point in chart.points)
    st.caption(
        f"{measure.words.capitalize()}, n = {n:,} in {len(starts)} buckets. Centre {chart.centre:.2%}; limits at three "
        f"standard deviations, {chart.sigma_z:.2f} times the binomial ones. A click on a point shows its parts."
    )
    told = trending.signals(starts, counts, chart, asked.bucket)
    if told:
        more = f"\n\nand {len(told) - SIGNALS} earlier" if len(told) > SIGNALS else ""
        st.warning("\n".join(f"- {line}" for line in told[:SIGNALS]) + more)
    if marks:
        with st.expander(f"What happened meanwhile ({len(marks)})"):
            rows = [{"Time": f"{one.at:%Y-%m-%d %H:%M}", "Kind": one.kind, "What": one.words} for one in marks]
            st.html(tables.table(rows))
    picked = event["selection"].get(charts.PICKED) if event else None
    if picked:
        gallery.show(asked, datetime.fromtimestamp(picked[0]["at"], UTC))


def _rates(by: str, rates: Mapping[str, Counts]) -> None:
    st.subheader(f"Rates by {by}")
    # Not as Markdown: a lot's name comes from a frame's header.
    st.html(tables.table([_row(by, name, counts) for name, counts in list(rates.items())[:ROWS]]))
    if len(rates) > ROWS:
        st.caption(f"The {ROWS} with the most flagged frames of {len(rates)}.")


def _row(by: str, name: str, counts: Counts) -> dict[str, object]:
    def words(measure: Measure) -> str:
        part, n = measure.of(counts)
        return f"{rate(part, n)} ({part:,} of {n:,})" if n else "—"

    return {by.capitalize(): name, **{measure.title: words(measure) for measure in MEASURES.values()}}


def _reasons(rows: Sequence[tuple[str, int, float]]) -> None:
    st.subheader("Defects by reason")
    if rows:
        st.altair_chart(charts.pareto(rows))
        st.caption(f"n = {sum(n for _, n, _ in rows):,} defects.")
    else:
        st.info("No part of this window has been judged a defect yet.")
