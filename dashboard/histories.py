"""The history of one part: every inspection of it, with what decided, and what people said. Pure but for its query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from sqlalchemy import Connection

from agent.store import inspections, items, registry, samples, stations
from agent.store.inspections import Inspection
from agent.store.items import Item
from agent.store.registry import Deployment
from agent.store.reviews import Review
from agent.store.samples import Sample
from dashboard.codes import named, shown
from dashboard.words import later, retold, say

HIDDEN = later("hidden until the part is judged")


@dataclass(frozen=True, slots=True)
class Look:
    """One inspection of the part.

    Attributes:
        inspection: what became of the frame.
        station: its name.
        deployment: what decided; None where nothing did.
        item: where people may look at it.
        samples: that its review made.
        hidden: whether verdict, score and reviews are kept from people, since a view of the part still waits in the
            queue: one that is shown would tell whether the part was drawn.
    """

    inspection: Inspection
    station: str
    deployment: Deployment | None
    item: Item | None
    samples: tuple[Sample, ...]
    hidden: bool


def key_of(one: Inspection | Item) -> str:
    """The name of an inspection, or of an item's, in an address."""
    return f"{one.stream_id}-{one.partition}-{one.offset}@{one.event_at.isoformat()}"


def find(conn: Connection, *, serial: str | None = None, inspection: str | None = None) -> list[Look]:
    """The looks at a part, newest first: all of a serial, or the one of a key; [] where nothing is known of it."""
    asked = None if serial else _of_key(conn, inspection or "")
    serial = serial or (asked.serial if asked else None)
    found = inspections.of_serial(conn, serial) if serial else [asked] if asked else []
    if asked and asked not in found:
        found.append(asked)
    kept = items.of_records(conn, [(one.stream_id, one.partition, one.offset) for one in found])
    decided = registry.deployments_of(conn, [one.deployment_id for one in found if one.deployment_id])
    names = {station.id: station.name for station in stations.all(conn, retired=True)}
    hidden = any(one.state != "closed" for one in kept.values())
    return [_look(conn, one, kept, decided, names, hidden) for one in found if asked in (None, one)]


def _look(
    conn: Connection,
    one: Inspection,
    kept: Mapping[tuple[int, int, int], Item],
    decided: Mapping[int, Deployment],
    names: Mapping[int, str],
    hidden: bool,
) -> Look:
    item = kept.get((one.stream_id, one.partition, one.offset))
    made = samples.of_item(conn, item.id) if item else []
    return Look(one, names[one.station_id], decided.get(one.deployment_id or 0), item, tuple(made), hidden)


def _of_key(conn: Connection, key: str) -> Inspection | None:
    place, _, moment = key.partition("@")
    try:
        stream, partition, offset = map(int, place.split("-"))
        event_at = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return inspections.at(conn, event_at, stream, partition, offset) if event_at.tzinfo else None


def facts(look: Look, zone: tzinfo) -> list[dict[str, object]]:
    """What is known of an inspection, a name and a value each."""
    one = look.inspection
    hidden = say(HIDDEN)
    rows: list[tuple[str, object]] = [
        (say("Verdict"), hidden if look.hidden else shown(one.verdict)),
        (say("Why"), None if look.hidden or one.reason is None else named(one.reason)),
        (say("Score"), hidden if look.hidden else _number(one.score, ".4g")),
        (say("p-value"), hidden if look.hidden else _number(one.p_value, ".4f")),
        (say("Decided by"), _decider(look.deployment)),
        (say("Station"), look.station),
        (say("Lot"), one.lot),
        (say("Frame"), one.frame_id),
        (say("Seen"), _time(one.event_at, zone)),
        (say("Captured"), _time(one.captured_at, zone) if one.captured_at else None),
        (say("Decided"), _time(one.decided_at, zone) + (f" ({say('late')})" if one.late else "")),
        (say("From event to decision"), _milliseconds(one.latency_ms, ".0f")),
        (say("Of that in the model"), _milliseconds(one.score_ms, ".1f")),
        (say("Clock"), say("the camera's differs from ours by more than it may") if one.clock_suspect else None),
        (say("Record"), record(one.stream_id, one.partition, one.offset)),
    ]
    return [{later("What"): name, later("Value"): value} for name, value in rows if value is not None]


def record(stream: int, partition: int, offset: int) -> str:
    """Where a frame stands in the log, in words."""
    return say(
        "stream {stream}, partition {partition}, offset {offset}", stream=stream, partition=partition, offset=offset
    )


def said(reviews: Sequence[Review], zone: tzinfo) -> list[dict[str, object]]:
    """What people said, oldest first."""
    return [
        {
            later("When"): _time(one.created_at, zone),
            later("Who"): one.user,
            later("Decision"): shown(one.decision),
            later("Reason"): named(one.reason or ""),
            later("Note"): one.note or "",
        }
        for one in reviews
    ]


def _decider(deployment: Deployment | None) -> str:
    if deployment is None:
        return say("nothing: no model decided")
    return say("v{number}, promoted because: {reason}", number=deployment.number, reason=retold(deployment.told))


def _number(value: float | None, form: str) -> str | None:
    return None if value is None else f"{value:{form}}"


def _milliseconds(value: float | None, form: str) -> str | None:
    return None if value is None else say("{n} ms", n=f"{value:{form}}")


def _time(moment: datetime, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S.%f}"[:-3]
