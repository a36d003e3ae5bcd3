"""Dead letters in words: how many there are, what one says, and what came of what an agent was asked to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal

from agent.service.dead_letters import PREVIEW
from agent.store import commands
from agent.store.audit import Event
from agent.store.commands import Command
from agent.store.dead_letters import DeadLetter, Pile
from dashboard.alerts import ago

Rows = list[dict[str, object]]
Level = Literal["info", "warning", "error", "success"]


@dataclass(frozen=True, slots=True)
class Told:
    """How a command stands."""

    words: str
    level: Level
    share: float | None = None  # done of it, while it runs


def piles(found: Sequence[Pile]) -> Rows:
    """A row a reason."""
    return [
        {
            "Reason": one.reason.replace("_", " "),
            "Waiting": f"{one.waiting:,}",
            "Replayed": f"{one.replayed:,}",
            "Discarded": f"{one.discarded:,}",
        }
        for one in found
    ]


def letters(found: Sequence[DeadLetter], zone: tzinfo) -> Rows:
    """A row a dead letter."""
    return [
        {
            "No.": one.id,
            "When": f"{one.created_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
            "Station": one.station or "",
            "Reason": one.reason.replace("_", " "),
            "Detail": one.detail,
            "Bytes": "kept" if one.blob_sha256 else "none",
            "State": state(one, zone),
        }
        for one in found
    ]


def state(one: DeadLetter, zone: tzinfo) -> str:
    """What became of it, and when."""
    at = one.discarded_at or one.replayed_at
    return one.state if at is None else f"{one.state} {at.astimezone(zone):%Y-%m-%d %H:%M}"


def became(replays: Sequence[Event]) -> str:
    """Which frame its last replay made of it; "" where it was never published."""
    return "".join(", as frame {frame_id} of {station}, {product}".format(**one.detail) for one in replays[:1])


def facts(one: DeadLetter) -> Rows:
    """Everything that came with it, a name and a value each."""
    where = f"stream {one.stream_id}, partition {one.partition}, offset {one.offset}"
    own = [("Why", one.detail), ("Record", where), ("SHA-256 of its bytes", one.value_sha256)]
    return [{"What": name, "Value": value} for name, value in [*own, *((f"header {n}", v) for n, v in one.headers)]]


def which(n: int, reason: str | None, station: str | None) -> str:
    """So many of a reason and a station, in words."""
    return f"{n:,} dead letter{'s' * (n != 1)}{of(reason, station)}"


def of(reason: str | None, station: str | None) -> str:
    """Which ones, in words; "" for all."""
    return (f" of {reason.replace('_', ' ')}" if reason else "") + (f" at {station}" if station else "")


def told(command: Command, names: Mapping[int, str], now: datetime) -> Told:
    """How a command stands."""
    ids, came = command.args["ids"], command.result or {}
    what = "Picture" if command.kind == PREVIEW else "Replay"
    whose = f"dead letter {ids[0]}" if len(ids) == 1 else f"{len(ids):,} dead letters"
    asked = f"asked by {names.get(command.by, 'somebody')} {ago(command.created_at, now)} ago"
    title = f"{what} of {whose}, {asked}"
    if command.state in commands.PENDING:
        return _under_way(title, command, came, len(ids))
    if command.state == "failed":
        return Told(f"{title}: failed. {came.get('problem') or 'No reason given'}", "error")
    if command.kind == PREVIEW:
        return Told(f"{title}: done", "success")
    refused = came.get("refused", 0)
    words = f"{title}: {came.get('published', 0):,} published" + (f", {refused:,} refused" if refused else "")
    return Told(words, "warning" if refused else "success")


def _under_way(title: str, command: Command, came: Mapping[str, object], n: int) -> Told:
    if came.get("waits"):
        return Told(f"{title}: it waits, and goes on by itself. {came['waits']}", "warning")
    if command.state == "queued":
        return Told(f"{title}: it waits for an agent. Without one it goes on waiting: goodpart agent", "info")
    if command.kind == PREVIEW:
        return Told(f"{title}: an agent draws it", "info")
    done = n - int(str(came.get("left", n)))
    return Told(f"{title}: {done:,} of {n:,} done", "info", share=done / n)


def refused(command: Command) -> Rows:
    """Which letters of a replay could not be published, and why."""
    problems = (command.result or {}).get("problems", ())
    return [{"No.": letter_id, "Why it was not published": words} for letter_id, words in problems]
