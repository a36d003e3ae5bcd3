"""Charts in words, for a screen reader: what is drawn, of what time and how many, and what stands out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from agent.store.buckets import Bucket
from agent.store.score_bins import Decided, Histogram
from agent.store.trends import FlagPoint
from dashboard.codes import named, shown
from dashboard.coverage import Cell
from dashboard.spc import Chart
from dashboard.trending import FORMATS, share
from dashboard.words import opening, say

MOST = 5  # reasons


def control(title: str, starts: Sequence[datetime], chart: Chart, bucket: Bucket) -> str:
    """Of a control chart of one bucket or more."""
    last = chart.points[-1]
    return say(
        "{title}, {window}, n = {n:,} in {buckets} buckets. Centre {centre}; the newest is {value}, limits {lower} to "
        "{upper}; points that break a rule: {broken}.",
        title=opening(title), window=_window(starts, bucket), n=sum(one.n for one in chart.points),
        buckets=len(starts), centre=share(chart.centre), value=share(last.value), lower=share(last.lower),
        upper=share(last.upper), broken=sum(bool(one.rules) for one in chart.points),
    )  # fmt: skip


def verdicts(points: Sequence[FlagPoint], bucket: Bucket) -> str:
    """Of frames by verdict over time."""
    sums = {
        "pass": sum(one.passed for one in points), "review": sum(one.review for one in points),
        "reject": sum(one.reject for one in points), "not_inspected": sum(one.not_inspected for one in points),
    }  # fmt: skip
    return say(
        "Frames by verdict, {window}, n = {n:,}: {counts}.",
        window=_window([one.start for one in points], bucket), n=sum(sums.values()),
        counts=", ".join(f"{shown(verdict)} {n:,}" for verdict, n in sums.items()),
    )  # fmt: skip


def pareto(rows: Sequence[tuple[str, int, float]], window: str) -> str:
    """Of defects by reason in the last `window`."""
    return say(
        "Defects by reason in the last {window}, n = {n:,}, the most frequent first: {reasons}.",
        window=window, n=sum(n for _, n, _ in rows),
        reasons=", ".join(f"{named(reason)} {n:,}" for reason, n, _ in rows[:MOST]),
    )  # fmt: skip


def quantiles(days: Mapping[Decided, Histogram], shares: Sequence[float]) -> str:
    """Of quantiles of severities by day."""
    newest = days[max(days)]
    ends = [(one, newest.quantile(one)) for one in shares]
    return say(
        "Quantiles of severity by day, {since} to {until}, n = {n:,} frames; the newest: {values}.",
        since=min(days)[0], until=max(days)[0], n=sum(one.n for one in days.values()),
        values=", ".join(f"{one:.0%} {sum(found) / 2:.3g}" for one, found in ends if found),
    )  # fmt: skip


def losses(points: Sequence[Sequence[float]]) -> str:
    """Of a training run's loss over its steps."""
    (first, began), (last, ended) = points[0], points[-1]
    return say(
        "Loss of the training, n = {n:,} points: {began:.4g} at step {first:,.0f}, {ended:.4g} at step {last:,.0f}.",
        n=len(points), began=began, first=first, ended=ended, last=last,
    )  # fmt: skip


def severities(found: Histogram, window: str) -> str:
    """Of frames by severity on the days of `window`."""
    above = sum(n for number, n in found.counts.items() if number >= 0)
    return say(
        "Frames by severity, {window}, n = {n:,}: {below:,} below the threshold, {above:,} above.",
        window=window, n=found.n, below=found.n - above, above=above,
    )  # fmt: skip


def coverage(cells: Sequence[Cell], title: str) -> str:
    """Of samples by station and time; `title` names the times."""
    return say(
        "Samples by station and {title}, {since} to {until}, n = {n:,} of {stations} stations; thin places: {thin}.",
        title=title, since=cells[0].when, until=cells[-1].when, n=sum(one.samples for one in cells),
        stations=len({one.station for one in cells}), thin=sum(one.thin for one in cells),
    )  # fmt: skip


def _window(starts: Sequence[datetime], bucket: Bucket) -> str:
    form = FORMATS[bucket]
    return say("{since} to {until}", since=min(starts).strftime(form), until=max(starts).strftime(form))
