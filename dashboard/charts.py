"""Charts from series of the store. Pure: data in, chart out.

Streamlit shows a chart's data as a table with a CSV: names that people or frames gave are
`sheets.safe` in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, time, timedelta
from typing import cast

import altair as alt
import pandas as pd

from agent.store.buckets import DAY, FIXED, HOUR, Bucket
from agent.store.marks import Mark
from agent.store.score_bins import Decided, Histogram, edges
from agent.store.trends import FlagPoint
from dashboard import descriptions
from dashboard.codes import MARKS, named, shown
from dashboard.coverage import Cell
from dashboard.sheets import safe
from dashboard.spc import Chart
from dashboard.trending import FORMATS, SMALL, broken, share
from dashboard.words import later, retold, say

HEIGHT = 260
BARS = 320  # pixels that bars share
FEW = 20  # buckets: over less time Vega would divide them, and label the parts alike
WIDTHS: Mapping[str, timedelta] = {**FIXED, "shift": 8 * HOUR, "day": DAY}
PICKED = "picked"
STEADY, BREAKS = later("within the rules"), later("breaks a rule")
VERDICTS = {"pass": "#15803d", "review": "#d97706", "reject": "#b91c1c", "not_inspected": "#64748b"}


def control(
    starts: Sequence[datetime], counts: Sequence[int], chart: Chart, marks: Sequence[Mark], bucket: Bucket, title: str
) -> alt.LayerChart:
    """A control chart: values, centre, limits, what breaks a rule, and what happened meanwhile.

    A click on a point selects its `at`, POSIX seconds, in the parameter `PICKED`. Times are shown in the timezone that
    they carry.
    """
    frame = pd.DataFrame(
        [
            {
                "start": start.replace(tzinfo=None), "at": int(start.timestamp()), "value": point.value, "n": point.n,
                "count": count, "lower": point.lower, "upper": point.upper, "centre": chart.centre,
                "rate": share(point.value), "from": share(point.lower), "to": share(point.upper),
                "signal": broken(point) or say(STEADY), "broken": bool(point.rules),
            }
            for start, count, point in zip(starts, counts, chart.points, strict=True)
        ]
    )  # fmt: skip
    frame["state"] = frame["broken"].map({False: say(STEADY), True: say(BREAKS)})
    x = alt.X("start:T", title=None, axis=_times(bucket, starts))
    small = all(max(point.value, point.upper) < SMALL for point in chart.points)
    axis = alt.Axis(labelExpr="format(datum.value * 1e6, '~g') + ' ppm'") if small else alt.Axis(format="%")
    y = alt.Y("value:Q", title=title, axis=axis)
    base = alt.Chart(frame, height=HEIGHT)
    band = base.mark_area(opacity=0.12, interpolate="step", color="#64748b").encode(x=x, y="lower:Q", y2="upper:Q")
    middle = base.mark_line(strokeDash=[4, 4], color="#64748b").encode(x=x, y="centre:Q")
    line = base.mark_line(color="#2563eb", opacity=0.6).encode(x=x, y=y)
    states = alt.Scale(domain=[say(STEADY), say(BREAKS)], range=["#2563eb", "#b91c1c"])
    shapes = alt.Scale(domain=[say(STEADY), say(BREAKS)], range=["circle", "diamond"])
    points = (
        base.mark_point(filled=True, opacity=1)
        .encode(
            x=x, y=y,
            color=alt.Color("state:N", title=None, scale=states, legend=alt.Legend(orient="top")),
            shape=alt.Shape("state:N", title=None, scale=shapes),
            size=alt.condition("datum.broken", alt.value(130), alt.value(45)),
            tooltip=[
                _tip("start:T", say("start")), _tip("rate:N", say("value")), _tip("count:Q", say("count")),
                _tip("n:Q", say("n")), _tip("signal:N", say("signal")), _tip("from:N", say("lower")),
                _tip("to:N", say("upper")),
            ],
        )
        .add_params(alt.selection_point(name=PICKED, fields=["at"], toggle=False))
    )  # fmt: skip
    told = descriptions.control(title, starts, chart, bucket)
    return _layered(band, middle, line, points, *([_marks(marks)] if marks else []), description=told)


def _times(bucket: Bucket, at: Sequence[datetime], form: str = "") -> alt.Axis:
    """An axis of times, with a tick for each bucket where there are few."""
    plain = sorted({one.replace(tzinfo=None) for one in at})
    few = bool(plain) and plain[-1] - plain[0] < FEW * WIDTHS[bucket]
    ticks = [
        alt.DateTime(year=one.year, month=one.month, date=one.day, hours=one.hour, minutes=one.minute) for one in plain
    ]
    return alt.Axis(format=form or FORMATS[bucket], values=ticks if few else alt.Undefined)


def _tip(field: str, title: str, form: str = "") -> alt.Tooltip:
    return alt.Tooltip(field, title=title, format=form or alt.Undefined)


def _marks(marks: Sequence[Mark]) -> alt.Chart:
    rows = [(mark.at.replace(tzinfo=None), shown(mark.kind), safe(retold(mark.words))) for mark in marks]
    frame = pd.DataFrame(rows, columns=["at", "kind", "what"])
    dashes = alt.Scale(domain=[shown(one) for one in MARKS], range=[[1, 0], [6, 3], [2, 2]])
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_rule(size=2, color="#7c3aed")
        .encode(
            x="at:T",
            strokeDash=alt.StrokeDash("kind:N", title=None, scale=dashes, legend=alt.Legend(orient="top")),
            tooltip=[_tip("at:T", say("at")), _tip("kind:N", say("kind")), _tip("what:N", say("what"))],
        )
    )
    return chart


def verdicts(points: Sequence[FlagPoint], bucket: Bucket) -> alt.Chart:
    """Frames by verdict over time, stacked."""
    rows = [
        {"time": point.start.replace(tzinfo=None), "group": shown(verdict), "amount": frames}
        for point in points
        for verdict, frames in (
            ("pass", point.passed), ("review", point.review), ("reject", point.reject),
            ("not_inspected", point.not_inspected),
        )
    ]  # fmt: skip
    colours = {shown(verdict): colour for verdict, colour in VERDICTS.items()}
    told = descriptions.verdicts(points, bucket)
    return _stacked(rows, say("verdict"), say("frames"), colours, bucket, told)


def pareto(rows: Sequence[tuple[str, int, float]], window: str) -> alt.LayerChart:
    """Defects by reason, the most frequent first, and the share of each with all before it; of the last `window`."""
    frame = pd.DataFrame([(safe(named(reason)), *rest) for reason, *rest in rows], columns=["reason", "parts", "share"])
    x = alt.X("reason:N", sort=list(frame["reason"]), title=None)
    base = alt.Chart(frame, height=HEIGHT).encode(
        tooltip=[
            _tip("reason:N", say("reason")), _tip("parts:Q", say("parts")), _tip("share:Q", say("share"), ".1%"),
        ]
    )  # fmt: skip
    bars = base.mark_bar(color="#b91c1c").encode(x=x, y=alt.Y("parts:Q", title=say("defects")))
    shares = base.mark_line(point=True, color="#64748b").encode(
        x=x, y=alt.Y("share:Q", title=say("cumulative"), axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1]))
    )
    return _layered(bars, shares, own_axes=True, description=descriptions.pareto(rows, window))


def _layered(*layers: alt.Chart, description: str, own_axes: bool = False) -> alt.LayerChart:
    chart: alt.LayerChart = alt.LayerChart(layer=list(layers), description=description)
    return cast(alt.LayerChart, chart.resolve_scale(y="independent")) if own_axes else chart


def quantiles(
    days: Mapping[Decided, Histogram], shares: Sequence[float], marks: Sequence[Mark]
) -> alt.Chart | alt.LayerChart:
    """Quantiles of the severities of each day: the middles of the bins they lie in, whose edges the tooltip tells.

    A line ends where another model or certificate decides: from there on a severity is another unit.
    """
    rows = [
        (datetime.combine(day, time()), decided, f"{one:.0%}", sum(ends) / 2, *ends, found.n)
        for (day, decided), found in days.items()
        for one in shares
        for ends in [found.quantile(one)]
        if ends is not None
    ]
    frame = pd.DataFrame(rows, columns=["day", "decided", "quantile", "severity", "from", "to", "n"])
    told = descriptions.quantiles(days, shares)
    chart: alt.Chart = (
        alt.Chart(frame, height=HEIGHT, description=told)
        .mark_line(point=True)
        .encode(
            x=alt.X("day:T", title=None, axis=_times("day", list(frame["day"]), "%m-%d")),
            y=alt.Y("severity:Q", title=say("severity"), scale=alt.Scale(type="symlog")),
            color=alt.Color("quantile:N", title=None, legend=alt.Legend(orient="top")),
            strokeDash=alt.StrokeDash("quantile:N", legend=None),
            detail="decided:N",
            tooltip=[
                _tip("day:T", say("day")),
                _tip("quantile:N", say("quantile")),
                _tip("from:Q", say("from"), ".3g"),
                _tip("to:Q", say("to"), ".3g"),
                _tip("n:Q", say("n")),
            ],
        )
    )
    if not marks:
        return chart
    layered = _layered(chart, _marks(marks), description=told)
    return cast(alt.LayerChart, layered.resolve_scale(strokeDash="independent"))


def losses(points: Sequence[Sequence[float]]) -> alt.Chart:
    """A training run's loss over its steps, on a logarithmic axis."""
    frame = pd.DataFrame(points, columns=["step", "loss"])
    chart: alt.Chart = (
        alt.Chart(frame[frame["loss"] > 0], height=HEIGHT, description=descriptions.losses(points))
        .mark_line()
        .encode(
            x=alt.X("step:Q", title=say("step")),
            y=alt.Y("loss:Q", title=say("loss"), scale=alt.Scale(type="log")),
            tooltip=[_tip("step:Q", say("step")), _tip("loss:Q", say("loss"), ".4g")],
        )
    )
    return chart


def severities(found: Histogram, window: str) -> alt.Chart:
    """How many frames of these days lie in each bin of severity, on an axis on which bins are about equally wide."""
    below, above = say("below"), say("above")
    rows = [(*edges(number), above if number >= 0 else below, n) for number, n in sorted(found.counts.items())]
    frame = pd.DataFrame(rows, columns=["from", "to", "side", "frames"])
    scale = alt.Scale(domain=[below, above], range=[VERDICTS["pass"], VERDICTS["review"]])
    chart: alt.Chart = (
        alt.Chart(frame, height=HEIGHT, description=descriptions.severities(found, window))
        .mark_rect()
        .encode(
            x=alt.X(
                "from:Q",
                title=say("severity"),
                scale=alt.Scale(type="symlog"),
                axis=alt.Axis(grid=False, labelFlush=True),  # or the last one is cut where it ends with the chart
            ),
            x2="to:Q",
            y=alt.Y("frames:Q", title=say("frames")),
            y2=alt.datum(0),
            color=alt.Color("side:N", title=None, scale=scale, legend=alt.Legend(orient="top")),
            tooltip=[
                _tip("from:Q", say("from"), ".3g"),
                _tip("to:Q", say("to"), ".3g"),
                _tip("frames:Q", say("frames")),
            ],
        )
    )
    return chart


def coverage(cells: Sequence[Cell], title: str) -> alt.LayerChart:
    """Samples by station and time as a heatmap with their numbers; what is thin has a frame.

    Args:
        cells: in the order of their times.
        title: of the axis of times.
    """
    frame = pd.DataFrame([asdict(one) | {"station": safe(one.station)} for one in cells])
    tips = [
        _tip("station:N", say("station")), _tip("when:N", title), _tip("samples:Q", say("samples")),
        _tip("frames:Q", say("frames")),
    ]  # fmt: skip
    x = alt.X("when:N", title=title, sort=list(dict.fromkeys(frame["when"])), axis=alt.Axis(labelAngle=0))
    base = alt.Chart(frame, height=alt.Step(30)).encode(x=x, y=alt.Y("station:N", title=None), tooltip=tips)
    shades = alt.Scale(range=["#dbeafe", "#1e40af"])
    cell = base.mark_rect().encode(color=alt.Color("samples:Q", scale=shades, legend=None))
    dark = f"datum.samples > {frame['samples'].max() / 2}"  # opaque shades: they are read alike in light and in dark
    numbers = alt.condition(dark, alt.value("#ffffff"), alt.value("#111827"))
    text = base.mark_text(fontSize=12).encode(text="samples:Q", color=numbers)
    framed = base.transform_filter("datum.thin").mark_rect(filled=False, stroke="#d97706", strokeWidth=2.5)
    return _layered(cell, framed, text, description=descriptions.coverage(cells, title))


def _stacked(
    rows: Sequence[Mapping[str, object]], group: str, amount: str, colours: Mapping[str, str] | None, bucket: Bucket,
    description: str,
) -> alt.Chart:  # fmt: skip
    frame = pd.DataFrame(rows, columns=["time", "group", "amount"])
    scale = alt.Scale(domain=list(colours), range=list(colours.values())) if colours else alt.Undefined
    chart: alt.Chart = (
        alt.Chart(frame, height=HEIGHT, description=description)
        .mark_bar(size=max(2, min(24, BARS // max(1, frame["time"].nunique()))))
        .encode(
            x=alt.X("time:T", title=None, axis=_times(bucket, list(frame["time"]))),
            y=alt.Y("sum(amount):Q", title=amount),
            color=alt.Color("group:N", title=None, scale=scale, legend=alt.Legend(orient="top")),
            tooltip=[_tip("time:T", say("time")), _tip("group:N", group), _tip("sum(amount):Q", amount)],
        )
    )
    return chart
