"""Charts from series of the store. Pure: data in, chart out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

from agent.store.score_bins import Histogram, edges
from agent.store.trends import Bucket, FlagPoint, ReasonPoint

HEIGHT = 260
FORMATS: Mapping[Bucket, str] = {"minute": "%H:%M", "quarter": "%H:%M", "hour": "%m-%d %H:%M", "day": "%Y-%m-%d"}
VERDICTS = {"pass": "#15803d", "review": "#d97706", "reject": "#b91c1c", "not inspected": "#64748b"}


def flag_rates(series: Mapping[str, Sequence[FlagPoint]], bucket: Bucket) -> alt.Chart:
    """Flag rate over time, one line a name; times are shown in the timezone that they carry."""
    frame = pd.DataFrame(
        [
            {"time": point.start.replace(tzinfo=None), "rate": point.rate, "name": name, "inspected": point.inspected}
            for name, points in series.items()
            for point in points
            if point.rate is not None
        ],
        columns=["time", "rate", "name", "inspected"],
    )
    chart: alt.Chart = (
        alt.Chart(frame, height=HEIGHT)
        .mark_line(point=True)
        .encode(
            x=alt.X("time:T", title=None, axis=alt.Axis(format=FORMATS[bucket])),
            y=alt.Y("rate:Q", title="flag rate", axis=alt.Axis(format="%"), scale=alt.Scale(domainMin=0)),
            color=alt.Color("name:N", title=None, legend=alt.Legend(orient="top")),
            tooltip=["time:T", "name:N", alt.Tooltip("rate:Q", format=".2%"), "inspected:Q"],
        )
    )
    return chart


def verdicts(points: Sequence[FlagPoint], bucket: Bucket) -> alt.Chart:
    """Frames by verdict over time, stacked."""
    rows = [
        {"time": point.start.replace(tzinfo=None), "verdict": verdict, "frames": frames}
        for point in points
        for verdict, frames in (
            ("pass", point.passed), ("review", point.review), ("reject", point.reject),
            ("not inspected", point.not_inspected),
        )
    ]  # fmt: skip
    return _stacked(rows, "verdict", "frames", VERDICTS, bucket)


def reasons(points: Sequence[ReasonPoint], bucket: Bucket) -> alt.Chart:
    """Reviewed defects by reason over time, stacked."""
    rows = [
        {"time": point.start.replace(tzinfo=None), "reason": point.reason or "none", "parts": point.n}
        for point in points
        if point.decision == "defect"
    ]
    return _stacked(rows, "reason", "parts", None, bucket)


def losses(points: Sequence[Sequence[float]]) -> alt.Chart:
    """A training run's loss over its steps, on a logarithmic axis."""
    frame = pd.DataFrame(points, columns=["step", "loss"])
    chart: alt.Chart = (
        alt.Chart(frame[frame["loss"] > 0], height=HEIGHT)
        .mark_line()
        .encode(
            x=alt.X("step:Q", title="step"),
            y=alt.Y("loss:Q", title="loss", scale=alt.Scale(type="log")),
            tooltip=["step:Q", alt.Tooltip("loss:Q", format=".4g")],
        )
    )
    return chart


def severities(found: Histogram) -> alt.Chart:
    """How many frames lie in each bin of severity, on an axis on which bins are about equally wide."""
    rows = [(*edges(number), "above" if number >= 0 else "below", n) for number, n in sorted(found.counts.items())]
    frame = pd.DataFrame(rows, columns=["from", "to", "side", "frames"])
    scale = alt.Scale(domain=["below", "above"], range=[VERDICTS["pass"], VERDICTS["review"]])
    chart: alt.Chart = (
        alt.Chart(frame, height=HEIGHT)
        .mark_rect()
        .encode(
            x=alt.X("from:Q", title="severity", scale=alt.Scale(type="symlog"), axis=alt.Axis(grid=False)),
            x2="to:Q",
            y=alt.Y("frames:Q", title="frames"),
            y2=alt.datum(0),
            color=alt.Color("side:N", title=None, scale=scale, legend=alt.Legend(orient="top")),
            tooltip=[alt.Tooltip("from:Q", format=".3g"), alt.Tooltip("to:Q", format=".3g"), "frames:Q"],
        )
    )
    return chart


def _stacked(
    rows: Sequence[Mapping[str, object]], group: str, amount: str, colours: Mapping[str, str] | None, bucket: Bucket
) -> alt.Chart:
    frame = pd.DataFrame(rows, columns=["time", group, amount])
    scale = alt.Scale(domain=list(colours), range=list(colours.values())) if colours else alt.Undefined
    chart: alt.Chart = (
        alt.Chart(frame, height=HEIGHT)
        .mark_bar()
        .encode(
            x=alt.X("time:T", title=None, axis=alt.Axis(format=FORMATS[bucket])),
            y=alt.Y(f"sum({amount}):Q", title=amount),
            color=alt.Color(f"{group}:N", title=None, scale=scale, legend=alt.Legend(orient="top")),
            tooltip=["time:T", f"{group}:N", f"sum({amount}):Q"],
        )
    )
    return chart
