"""The history of one part: every inspection of it, with what decided, and what people said. Pure but for its query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from sqlalchemy import Connection

from agent.store import dead_letters, inspections, items, products, registry, replays, samples, stations
from agent.store.inspections import Inspection
from agent.store.items import Headers, Item
from agent.store.registry import Deployment
from agent.store.replays import Replay
from agent.store.reviews import Review
from agent.store.samples import Sample
from dashboard.codes import named, shown
from dashboard.words import later, retold, say

HIDDEN = later("hidden until the part is judged")
LARGEST = 2**63, 2**31, 2**63  # no stream, partition or offset is as large
Place = tuple[int, int, int]  # stream id, partition, offset


@dataclass(frozen=True, slots=True)
class Look:
    """One inspection of the part.

    Attributes:
        frame: what became of it: its inspection, or the item that was made of it where that is no longer kept.
        station: its name.
        product: likewise.
        deployment: what decided; None where nothing did.
        item: where people may look at it.
        samples: that its review made.
        replays: what came of its decision made again, the newest first.
        hidden: whether verdict, score and reviews are kept from people, since a view of the part still waits in the
            queue: one that is shown would tell whether the part was drawn.
        headers: of its record; None where they were not kept.
        letter: the number of the dead letter that was kept of it; None while that would tell what is hidden.
    """

    frame: Inspection | Item
    station: str
    product: str
    deployment: Deployment | None
    item: Item | None
    samples: tuple[Sample, ...]
    replays: tuple[Replay, ...]
    hidden: bool
    headers: Headers | None
    letter: int | None

    @property
    def gone(self) -> bool:
        """Whether its inspection is no longer kept."""
        return isinstance(self.frame, Item)


def key_of(one: Inspection | Item) -> str:
    """The name of an inspection, or of an item's, in an address: without a plus, which would be read as a space."""
    moment = one.event_at.astimezone(UTC).replace(tzinfo=None)
    return f"{one.stream_id}-{one.partition}-{one.offset}@{moment.isoformat()}Z"


def permalink(one: Inspection | Item, site: str) -> str:
    """The address of an inspection, or of an item's; `site` is the dashboard's own."""
    return f"{site}/part?inspection={key_of(one)}"


def find(conn: Connection, *, serial: str | None = None, inspection: str | None = None) -> list[Look]:
    """The looks at a part, newest first: all of a serial, or the one of a key; [] where nothing is known of it."""
    asked = None if serial else _of_key(conn, inspection or "")
    found = _of_serial(conn, serial or (asked.serial if asked else None))
    if asked:
        found.setdefault(_place(asked), asked)
    shown = [asked] if asked else sorted(found.values(), key=lambda one: one.event_at, reverse=True)
    kept = items.of_records(conn, list(found))
    decided = registry.deployments_of(conn, {one.deployment_id for one in shown if one.deployment_id})
    station_names = {station.id: station.name for station in stations.all(conn, retired=True)}
    product_names = {product.id: product.name for product in products.all(conn, retired=True)}
    added = samples.of_items(conn, [item.id for item in kept.values()])
    again = replays.of_records(conn, [_record(one) for one in shown])
    hidden = any(one.state != "closed" for one in kept.values())
    headers = items.headers(conn, [item.id for item in kept.values()])
    # That there is one tells that the frame failed.
    letters = {} if hidden else dead_letters.of_records(conn, [_place(one) for one in shown])
    return [
        Look(
            one, station_names[one.station_id], product_names[one.product_id], decided.get(one.deployment_id or 0),
            item, tuple(added.get(item.id, ())) if item else (), tuple(again.get(_record(one), ())), hidden,
            headers.get(item.id if item else 0, letter.headers if letter else None), letter.id if letter else None,
        )
        for one in shown
        for item, letter in [(kept.get(_place(one)), letters.get(_place(one)))]
    ]  # fmt: skip


def _place(one: Inspection | Item) -> Place:
    return one.stream_id, one.partition, one.offset


def _record(one: Inspection | Item) -> replays.Record:
    return one.event_at, *_place(one)


def _of_serial(conn: Connection, serial: str | None) -> dict[Place, Inspection | Item]:
    """What is known of a part by place: an item outlives its frame's inspection."""
    if not serial:
        return {}
    found: list[Inspection | Item] = [*items.of_serial(conn, serial), *inspections.of_serial(conn, serial)]
    return {_place(one): one for one in found}


def _of_key(conn: Connection, key: str) -> Inspection | Item | None:
    place, _, moment = key.partition("@")
    try:
        stream, partition, offset = map(int, place.split("-"))
        event_at = datetime.fromisoformat(moment.replace(" ", "+"))  # older addresses have a plus
        if event_at.tzinfo is None:
            return None
        event_at = event_at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    if any(one >= most for one, most in zip((stream, partition, offset), LARGEST, strict=True)):
        return None
    if found := inspections.at(conn, event_at, stream, partition, offset):
        return found
    item = items.at(conn, stream, partition, offset)
    return item if item and item.event_at == event_at else None


def facts(look: Look, zone: tzinfo) -> list[dict[str, object]]:
    """What is known of an inspection, a name and a value each."""
    one = look.frame
    hidden = say(HIDDEN)
    rows: list[tuple[str, object]] = [
        (say("Serial"), one.serial),
        (say("Product"), look.product),
        (say("Verdict"), hidden if look.hidden else shown(one.verdict)),
        (say("Why"), None if look.hidden or one.reason is None else named(one.reason)),
        (say("Score"), hidden if look.hidden else _number(one.score, ".7g")),
        (say("Thresholds"), hidden if look.hidden else _thresholds(look)),
        (say("p-value"), hidden if look.hidden else _number(one.p_value, ".4f")),
        (say("Decided by"), _decider(look.deployment)),
        (say("Station"), look.station),
        (say("Lot"), one.lot),
        (say("Frame"), one.frame_id),
        (say("Seen"), _time(one.event_at, zone)),
        *(_course(one, zone) if isinstance(one, Inspection) else [(say("Inspection"), say("no longer kept"))]),
        (say("Record"), record(one.stream_id, one.partition, one.offset)),
    ]
    return [{later("What"): name, later("Value"): value} for name, value in rows if value is not None]


def _course(one: Inspection, zone: tzinfo) -> list[tuple[str, object]]:
    """When what happened to a frame: what only its inspection knows."""
    return [
        (say("Captured"), _time(one.captured_at, zone) if one.captured_at else None),
        (say("Decided"), _time(one.decided_at, zone) + (f" ({say('late')})" if one.late else "")),
        (say("From event to decision"), _milliseconds(one.latency_ms, ".0f")),
        (say("Of that in the model"), _milliseconds(one.score_ms, ".1f")),
        (say("Clock"), say("the camera's differs from ours by more than it may") if one.clock_suspect else None),
    ]


def _thresholds(look: Look) -> str | None:
    """Those that the score was held against; None where none decided."""
    if look.frame.score is None or look.frame.reason == "uncertified" or look.deployment is None:
        return None
    certificate = look.deployment.certificate or {}
    review, reject = (_number(certificate.get(f"{name}_threshold"), ".7g") for name in ("review", "reject"))
    if review is None:
        return None
    if reject is None:
        return say("review above {review}, no reject", review=review)
    return say("review above {review}, reject above {reject}", review=review, reject=reject)


def headers(look: Look) -> list[dict[str, object]]:
    """What came with its record, as it came: a name and a value each, in text that shows what is none."""
    return [{later("Header"): _shown(name), later("Value"): _shown(value)} for name, value in look.headers or ()]


def _shown(text: str) -> str:
    """In one line, from left to right: control characters and marks of direction as escapes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


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


def replayed(look: Look, zone: tzinfo) -> list[dict[str, object]]:
    """What came of its decision made again, newest first; nothing while that would tell what is hidden."""
    return [
        {
            later("When"): _time(one.at, zone),
            later("Who"): one.user or "",
            later("Result"): shown(one.agreement),
            later("Made by"): _maker(one),
            later("Verdict"): shown(one.verdict) + (f" ({named(one.reason)})" if one.reason else ""),
            later("Score"): _number(one.score, ".7g") or "",
            later("Engine"): one.engine or "",
        }
        for one in (() if look.hidden else look.replays)
    ]


def _maker(one: Replay) -> str:
    if one.number is None:
        return say("nothing: no model decided")
    if one.live:
        return say("v{number}, which was live", number=one.number)
    return say("v{number}, which had decided", number=one.number)


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
