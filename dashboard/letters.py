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
from dashboard.alerts import since
from dashboard.codes import shown
from dashboard.histories import record
from dashboard.words import later, retold, say, several

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
            later("Reason"): shown(one.reason),
            later("Waiting"): f"{one.waiting:,}",
            later("Replayed"): f"{one.replayed:,}",
            later("Discarded"): f"{one.discarded:,}",
        }
        for one in found
    ]


def letters(found: Sequence[DeadLetter], zone: tzinfo) -> Rows:
    """A row a dead letter."""
    return [
        {
            later("No."): one.id,
            later("When"): f"{one.created_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
            later("Station"): one.station or "",
            later("Reason"): shown(one.reason),
            later("Detail"): retold(one.told),
            later("Bytes"): say("kept") if one.blob_sha256 else say("none"),
            later("State"): state(one, zone),
        }
        for one in found
    ]


def state(one: DeadLetter, zone: tzinfo) -> str:
    """What became of it, and when."""
    at = one.discarded_at or one.replayed_at
    return shown(one.state) if at is None else f"{shown(one.state)} {at.astimezone(zone):%Y-%m-%d %H:%M}"


def became(replays: Sequence[Event]) -> str:
    """Which frame its last replay made of it; "" where it was never published."""
    return "".join(", " + say("as frame {frame_id} of {station}, {product}", **one.detail) for one in replays[:1])


def facts(one: DeadLetter) -> Rows:
    """Everything that came with it, a name and a value each."""
    where = record(one.stream_id, one.partition, one.offset)
    own = [(say("Why"), retold(one.told)), (say("Record"), where), (say("SHA-256 of its bytes"), one.value_sha256)]
    theirs = [(say("header {name}", name=name), value) for name, value in one.headers]
    return [{later("What"): name, later("Value"): value} for name, value in [*own, *theirs]]


def which(n: int, reason: str | None, station: str | None) -> str:
    """So many of a reason and a station, in words."""
    return several("{n:,} dead letter", "{n:,} dead letters", n) + of(reason, station)


def of(reason: str | None, station: str | None) -> str:
    """Which ones, in words; "" for all."""
    if reason and station:
        return " " + say("of {reason} at {station}", reason=shown(reason), station=station)
    if reason:
        return " " + say("of {reason}", reason=shown(reason))
    return " " + say("at {station}", station=station) if station else ""


def told(command: Command, names: Mapping[int, str], now: datetime) -> Told:
    """How a command stands."""
    ids, came = command.args["ids"], command.result or {}
    whose = say("dead letter {id}", id=ids[0]) if len(ids) == 1 else which(len(ids), None, None)
    asked = {"name": names.get(command.by, say("somebody")), "since": since(command.created_at, now)}
    if command.kind == PREVIEW:
        title = say("Picture of {letters}, asked by {name} {since}", letters=whose, **asked)
    else:
        title = say("Replay of {letters}, asked by {name} {since}", letters=whose, **asked)
    if command.state in commands.PENDING:
        return _under_way(title, command, came, len(ids))
    if by := came.get("cancelled_by"):
        words = say(
            "{title}: cancelled by {by}, {n:,} published before", title=title, by=by, n=came.get("published", 0)
        )
        return Told(words, "info")
    if command.state == "failed":
        why = came.get("problem") or say("No reason given")
        return Told(say("{title}: failed. {why}", title=title, why=why), "error")
    if command.kind == PREVIEW:
        return Told(say("{title}: done", title=title), "success")
    published, refused = came.get("published", 0), came.get("refused", 0)
    if refused:
        both = {"published": published, "refused": refused}
        return Told(say("{title}: {published:,} published, {refused:,} refused", title=title, **both), "warning")
    return Told(say("{title}: {published:,} published", title=title, published=published), "success")


def _under_way(title: str, command: Command, came: Mapping[str, object], n: int) -> Told:
    if came.get("waits"):
        return Told(say("{title}: it waits, and goes on by itself. {why}", title=title, why=came["waits"]), "warning")
    if command.state == "queued":
        words = say("{title}: it waits for an agent. Without one it goes on waiting: goodpart agent", title=title)
        return Told(words, "info")
    if command.kind == PREVIEW:
        return Told(say("{title}: an agent draws it", title=title), "info")
    done = n - int(str(came.get("left", n)))
    return Told(say("{title}: {done:,} of {n:,} done", title=title, done=done, n=n), "info", share=done / n)


def refused(command: Command) -> Rows:
    """Which letters of a replay could not be published, and why."""
    problems = (command.result or {}).get("problems", ())
    return [{later("No."): letter_id, later("Why it was not published"): words} for letter_id, words in problems]
