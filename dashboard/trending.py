"""What the Trends page says, worked out from series of the store. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, tzinfo
from typing import Any

from agent.store.buckets import Bucket, nominal
from agent.store.closings import INSPECTED, Judged
from agent.store.item_search import FLAGGED
from agent.store.lots import REST
from agent.store.marks import Mark
from agent.store.rows import added
from agent.store.trends import FlagPoint, Totals
from dashboard import spc
from dashboard.codes import shown
from dashboard.spc import RULES, Chart, Point
from dashboard.words import later, retold, say

SMALL = 0.001
MOMENT = "%Y-%m-%d %H:%M"
FORMATS: Mapping[Bucket, str] = {
    "minute": "%H:%M", "quarter": "%H:%M", "hour": "%m-%d %H:%M", "shift": "%m-%d %H:%M", "day": "%Y-%m-%d",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Counts:
    """Parts of one bucket, station, lot or shift.

    Attributes:
        inspected: frames with a verdict.
        flagged: of those, sent to review or rejected.
        judged: flagged parts that people have judged.
        false_calls: of those, normal.
        defects: parts that people judged to be defects, flagged or audited.
    """

    inspected: int = 0
    flagged: int = 0
    judged: int = 0
    false_calls: int = 0
    defects: int = 0

    def __add__(self, other: Counts) -> Counts:
        return added(self, other)


@dataclass(frozen=True, slots=True)
class Measure:
    """A rate: its name as a title and at an axis, both counts in words, and what is counted, of how many.

    `parts` are the filters of the page Triage that find what is counted.
    """

    title: str
    axis: str
    words: str
    of: Callable[[Counts], tuple[int, int]]
    parts: Mapping[str, str]


BASES = {
    later("all buckets"): 1.0,
    later("the first half"): 0.5,
    later("the first quarter"): 0.25,
}  # share of the buckets
MEASURES = {
    later("flagged"): Measure(
        later("Flag rate"),
        later("flag rate"),
        later("flagged of inspected frames"),
        lambda one: (one.flagged, one.inspected),
        {"verdict": FLAGGED},
    ),
    later("false calls"): Measure(
        later("False-call rate"),
        later("false-call rate"),
        later("normal of judged flagged parts"),
        lambda one: (one.false_calls, one.judged),
        {"verdict": FLAGGED, "decision": "normal"},
    ),
    later("defects"): Measure(
        later("Confirmed-defect rate"),
        later("confirmed-defect rate"),
        later("defects of inspected frames"),
        lambda one: (one.defects, one.inspected),
        {"decision": "defect"},
    ),
}
Series = Mapping[datetime, Counts]
Named = Mapping[str, datetime]


def series(
    points: Sequence[FlagPoint],
    judged: Mapping[datetime, Judged],
    start_of: Callable[[datetime], datetime],
) -> dict[datetime, Counts]:
    """The counts of each bucket by its start, UTC, oldest first.

    By local times the hour that comes twice in autumn would be one: those that differ in their fold are equal.

    Args:
        points: verdicts by bucket.
        judged: what people said, by quarter.
        start_of: maps a quarter's start to its bucket's, UTC.
    """
    found: dict[datetime, Counts] = defaultdict(Counts)
    for point in points:
        found[point.start.astimezone(UTC)] += Counts(point.inspected, point.flagged)
    for start, one in judged.items():
        found[start_of(start)] += Counts(0, 0, one.flagged, one.false_calls, one.defects)
    return dict(sorted(found.items()))


def charted(
    found: Series, measure: Measure, rules: Sequence[int], *, zone: tzinfo, averaged: bool, base: str
) -> tuple[list[datetime], list[int], Chart | None]:
    """The buckets in which the measure is a proportion, its counts there, and their control chart.

    Args:
        found: counts by bucket.
        measure: one of `MEASURES`.
        rules: run rules to look for.
        zone: the plant's.
        averaged: an EWMA chart; else Laney's p'.
        base: one of `BASES`: which buckets give centre and limits.

    Returns:
        Starts in plant time, counts and chart; no chart where the measure is a proportion in no bucket.
    """
    rows = [(start.astimezone(zone), *measure.of(counts)) for start, counts in found.items()]
    # A part can be a defect that was never inspected.
    rows = [(start, count, size) for start, count, size in rows if 0 < size >= count]
    if not rows:
        return [], [], None
    starts, counts, sizes = (list(column) for column in zip(*rows, strict=True))
    first = max(1, round(BASES[base] * len(starts)))
    chart = spc.ewma(counts, sizes, base=first) if averaged else spc.laney(counts, sizes, rules, base=first)
    return starts, counts, chart


def signals(starts: Sequence[datetime], counts: Sequence[int], chart: Chart, bucket: Bucket) -> list[str]:
    """The points that break a rule, in words, newest first."""
    return [
        say(
            "{time}: {count:,} of {n:,}, {rules}",
            time=start.strftime(FORMATS[bucket]), count=count, n=point.n, rules=broken(point),
        )
        for start, count, point in zip(starts, counts, chart.points, strict=True)
        if point.rules
    ][::-1]  # fmt: skip


def openable(starts: Sequence[datetime], bucket: Bucket) -> Named:
    """The buckets by their names, newest first. The hour that comes twice in autumn tells its offset from UTC, too."""
    names = [start.strftime(FORMATS[bucket]) for start in starts]
    seen = Counter(names)
    told = [name if seen[name] == 1 else f"{name} {start:%z}" for name, start in zip(names, starts, strict=True)]
    return dict(zip(told[::-1], starts[::-1], strict=True))


def meanwhile(marks: Sequence[Mark], own: tzinfo | None) -> list[dict[str, str]]:
    """What happened as a table, in the plant's time as the chart has it; beside it in the viewer's, where another."""
    return [
        {
            later("Time"): f"{one.at:{MOMENT}}",
            **({later("Your time"): f"{one.at.astimezone(own):{MOMENT}}"} if own else {}),
            later("Kind"): shown(one.kind),
            later("What"): retold(one.words),
        }
        for one in marks
    ]


def broken(point: Point) -> str:
    """The rules that a point breaks, in words; "" for none."""
    return "; ".join(say(RULES[one].words) for one in point.rules)


def grouped(
    totals: Mapping[Any, Totals], judged: Mapping[Any, Judged], names: Mapping[Any, str] | None = None
) -> dict[str, Counts]:
    """Counts by name, the most flagged first.

    Args:
        totals: inspected and flagged frames by key.
        judged: what people said, by key. A key without totals is a lot that has no sums of its own.
        names: of the keys; None: they are lots.
    """
    found: dict[str, Counts] = defaultdict(Counts)
    for key, sums in totals.items():
        found[_name(key, names)] += Counts(sums.inspected, sums.flagged)
    for key, one in judged.items():
        known = key if key in totals else REST
        if known in totals or names is None:
            found[_name(known, names)] += Counts(0, 0, one.flagged, one.false_calls, one.defects)
    return dict(sorted(found.items(), key=lambda row: (-row[1].flagged, row[0])))


def _name(key: Hashable, names: Mapping[Any, str] | None) -> str:
    if names is not None:
        return names.get(key, say("no. {id}", id=key))
    return {"": say("(no lot)"), REST: say("(other lots)")}.get(str(key), str(key))


def by_shift(found: Series, zone: tzinfo, shifts: Sequence[time]) -> dict[str, Counts]:
    """Counts of shifts summed over the days, by when they begin."""
    sums: dict[str, Counts] = defaultdict(Counts)
    for start, counts in found.items():
        sums[f"{nominal(start, zone, shifts):%H:%M}"] += counts
    return dict(sorted(sums.items()))


def pareto(closed: Mapping[tuple[str, str, str], int]) -> list[tuple[str, int, float]]:
    """Reasons of defects, the most frequent first: each with its count and the share of it and all before.

    Args:
        closed: how many items were closed by kind, decision and reason.
    """
    counted = Counter[str]()
    for (kind, decision, reason), n in closed.items():
        if decision == "defect" and kind in INSPECTED:
            counted[reason or "none"] += n
    rows, so_far = [], 0
    for reason, n in sorted(counted.items(), key=lambda row: (-row[1], row[0])):
        so_far += n
        rows.append((reason, n, so_far / counted.total()))
    return rows


def rate(part: int, whole: int) -> str:
    """A share in words; a dash where there is nothing to have a share of."""
    return share(part / whole) if whole else "—"


def share(value: float) -> str:
    """A share, 0 .. 1, in percent; one below `SMALL`, which two decimals would cut to nothing, in parts per million."""
    if value == 0 or value >= SMALL:
        return f"{value:.2%}"
    million = value * 1e6
    return say("{n} ppm", n=f"{million:.0f}" if million >= 100 else f"{million:.3g}")
