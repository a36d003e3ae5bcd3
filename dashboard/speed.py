"""How far behind the partitions are, and how long frames take in each stage, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from agent.store.speed import STAGES, Latency
from dashboard.words import later, say

FRESH = timedelta(minutes=2)  # an older lag says nothing of now
TREND = timedelta(minutes=15)
HOUR = timedelta(hours=1)
BARS = "▁▂▃▄▅▆▇█"
TALL = 100  # frames at least that make the tallest bar
FEW = 16  # frames: a change of fewer is none

WHAT = {
    "decode": later("read from the log, waited for its turn, decoded"),
    "score": later("waited for a batch, scored and judged"),
    "evidence": later("pictures drawn and stored, of frames that are kept"),
    "record": later("waited for the frames before it, committed"),
    "decision": later("sent to the topic of decisions, acknowledged"),
}
Points = Sequence[tuple[datetime, int]]  # by minute, oldest first


def lag(points: Points, now: datetime) -> str:
    """The lag now; "unknown" where no agent said so lately."""
    return f"{points[-1][1]:,}" if _fresh(points, now) else say("unknown")


def trend(points: Points, now: datetime) -> str:
    """Where the lag goes, in words, and its last hour as a line of bars."""
    if not _fresh(points, now):
        return ""
    last = [(at, n) for at, n in points if at >= now - TREND]
    (first, before), (end, after) = last[0], last[-1]
    minutes = (end - first).total_seconds() / 60
    change = after - before
    if minutes < 2 or abs(change) < max(FEW, before // 10):
        words = say("steady")
    elif change > 0:
        words = say("grows by {n:,.0f} a minute", n=change / minutes)
    else:
        words = say("shrinks by {n:,.0f} a minute", n=-change / minutes)
    return f"{bars(points, now)} {words}"


def bars(points: Points, now: datetime, count: int = 12) -> str:
    """The last hour, as so many bars of the highest lag in each; a gap where nobody said it."""
    step, start = HOUR / count, now - HOUR
    highest = [max((n for at, n in points if start + i * step <= at < start + (i + 1) * step), default=None)
               for i in range(count)]  # fmt: skip
    top = max((n for n in highest if n is not None), default=0)
    return "".join(" " if n is None else BARS[round(n / max(top, TALL) * (len(BARS) - 1))] for n in highest)


def stages(found: Mapping[str, Latency]) -> list[dict[str, object]]:
    """A row a stage, in the order in which frames pass them."""
    return [
        {
            later("Stage"): say(stage),
            later("What happens"): say(WHAT[stage]),
            later("Frames"): f"{found[stage].n:,}",
            later("Half within"): _time(found[stage].p50),
            later("95 % within"): _time(found[stage].p95),
        }
        for stage in STAGES
        if stage in found
    ]


def _fresh(points: Points, now: datetime) -> bool:
    return bool(points) and now - points[-1][0] <= FRESH


def _time(ms: float) -> str:
    if ms >= 10_000:
        return say("{n} s", n=f"{ms / 1000:,.0f}")
    return say("{n} ms", n=f"{ms:.1f}" if ms < 10 else f"{ms:,.0f}")
