"""Trends for the quality manager: rates over time and what broke them, causes, and what thresholds would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import streamlit as st

from agent.store.marks import Mark
from agent.store.scopes import EVERYTHING
from dashboard import busy, charts, context, gallery, tables, thresholds, trending
from dashboard.asking import Asked, ask
from dashboard.codes import shown
from dashboard.filters import choose, some
from dashboard.findings import find
from dashboard.spc import RULES
from dashboard.style import CSS
from dashboard.trending import MEASURES, Counts, Measure, rate, share
from dashboard.words import later, opening, retold, say

SIGNALS, ROWS = 10, 20  # shown at most


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
    _control(asked, series, found.marks)
    _rates(asked.by, found.rates)
    left, right = st.columns(2)
    with left:
        _reasons(found.reasons)
    with right:
        st.subheader(say("Frames by verdict"))
        st.altair_chart(charts.verdicts(found.points, asked.bucket))
    if found.agreement.pairs:
        agreed = found.agreement
        st.caption(
            say(
                "Of {pairs:,} parts that two people judged they agreed on {agreed:,} ({rate}).",
                pairs=agreed.pairs,
                agreed=agreed.agreed,
                rate=rate(agreed.agreed, agreed.pairs),
            )
        )
    if asked.products:
        thresholds.show(asked, found)
    st.caption(
        say(
            "Times in {zone}. What was judged stands at the time of the part, not of its review; a decision that was "
            "undone or overridden is not counted.",
            zone=asked.zone.key,
        )
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


def _control(asked: Asked, series: trending.Series, marks: Sequence[Mark]) -> None:
    measure = MEASURES[asked.measure]
    st.subheader(say(measure.title))
    left, middle, right = st.columns((1, 1, 3))
    averaged = (
        left.segmented_control(say("Chart"), ["p'", "EWMA"], default="p'", key="chart", bind="query-params") == "EWMA"
    )
    base = choose(middle, "base", say("Limits from"), trending.BASES)
    rules = some(
        right, "rules", say("Run rules"), RULES, (1, 2), lambda one: f"{one}: {say(RULES[one].words)}",
        disabled=averaged,
    )  # fmt: skip
    starts, counts, chart = trending.charted(series, measure, rules, zone=asked.zone, averaged=averaged, base=base)
    if chart is None:
        words, window = say(measure.words), say(asked.window)
        st.info(say("Nothing to draw: no {words} in the last {window}.", words=words, window=window))
        return
    drawn = charts.control(starts, counts, chart, marks, asked.bucket, say(measure.axis))
    event = st.altair_chart(drawn, on_select="rerun", selection_mode=charts.PICKED, key="control")
    n = sum(point.n for point in chart.points)
    st.caption(
        say(
            "{counted}, n = {n:,} in {buckets} buckets. Centre {centre}; limits at three standard deviations, "
            "{sigma_z:.2f} times the binomial ones. A click on a point shows its parts.",
            counted=opening(say(measure.words)),
            n=n,
            buckets=len(starts),
            centre=share(chart.centre),
            sigma_z=chart.sigma_z,
        )
    )
    told = trending.signals(starts, counts, chart, asked.bucket)
    if told:
        more = "\n\n" + say("and {n} earlier", n=len(told) - SIGNALS) if len(told) > SIGNALS else ""
        st.warning("\n".join(f"- {line}" for line in told[:SIGNALS]) + more)
    if marks:
        with st.expander(say("What happened meanwhile ({n})", n=len(marks))):
            rows = [
                {
                    later("Time"): f"{one.at:%Y-%m-%d %H:%M}",
                    later("Kind"): shown(one.kind),
                    later("What"): retold(one.words),
                }
                for one in marks
            ]
            st.html(tables.table(rows))
    picked = event["selection"].get(charts.PICKED) if event else None
    if picked:
        gallery.show(asked, datetime.fromtimestamp(picked[0]["at"], UTC))


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


def _reasons(rows: Sequence[tuple[str, int, float]]) -> None:
    st.subheader(say("Defects by reason"))
    if rows:
        st.altair_chart(charts.pareto(rows))
        st.caption(say("n = {n:,} defects.", n=sum(n for _, n, _ in rows)))
    else:
        st.info(say("No part of this window has been judged a defect yet."))
