"""One frame on its way, and the claim under which it was read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from agent.frame import Envelope, Record, StreamKey
from agent.pipeline.numbering import Numbering
from agent.pipeline.window import Window
from agent.store.changeovers import Span
from agent.store.item_vectors import Vector
from agent.store.offsets import Claim
from agent.store.stations import Station

if TYPE_CHECKING:
    from agent.pipeline.measures import Measures
    from agent.pipeline.pictures import Heatmap
    from agent.pipeline.vectors import Features
    from model.images import Frame

DEAD_LETTER = "dead_letter"
NOT_INSPECTED = "not_inspected"
# Reasons whose bytes are kept for replay and for people, within the quota.
KEPT = frozenset(
    {"bad_header", "undecodable", "too_large", "wrong_size", "model_error", "claim_missing", "claim_corrupt"}
)


@dataclass(frozen=True, slots=True)
class StationState:
    """How a station's frames fare."""

    name: str
    failures: int  # in a row
    blind: bool


@dataclass(slots=True, eq=False)
class Lane:
    """One partition while this agent holds it.

    The recorder owns it; others only read `dropped`, but for `runs` and `sent`.
    """

    key: StreamKey
    claim: Claim
    window: Window[Work] = field(default_factory=Window)
    dropped: bool = False  # its frames are another's now: record none of them
    closing: bool = False  # revoked: what is in flight may still be committed
    moved: float = 0.0  # monotonic seconds: when a frame came into its empty window, or a prefix was recorded
    stations: dict[int, StationState] = field(default_factory=dict)  # as last recorded here, by id
    runs: dict[int, Span] = field(default_factory=dict)  # the directory's: what stations run, by id
    sent: int = 0  # the relay's: decisions of earlier offsets are acknowledged
    partitions: int = 0  # that the log has; 0 where unknown
    numbering: dict[str, Numbering] = field(init=False)  # as last recorded here, or before the claim, by station

    def __post_init__(self) -> None:
        self.numbering = {station: Numbering(number.value) for station, number in self.claim.numbers.items()}

    @property
    def partition(self) -> int:
        """The partition's number."""
        return self.claim.partition


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame belongs: its registered station and product.

    `taught`: the product is being taught, or was: its frames need no model until the first one is loaded. `collects`:
    from this station's parts.
    """

    station_id: int
    station: str
    product_id: int
    product: str
    audit_rate: float
    taught: bool = False
    collects: bool = False


@dataclass(frozen=True, slots=True)
class Second:
    """What a companion made of the frame, whatever was decided; `watch_id` is None where nobody judges it by that."""

    watch_id: int | None
    score: float
    flagged: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one frame. `verdict` is an inspection's, or DEAD_LETTER."""

    verdict: str
    decided_at: datetime
    reason: str | None = None
    detail: str = ""
    score: float | None = None
    p_value: float | None = None
    severity: float | None = None
    deployment_id: int | None = None
    score_ms: float | None = None
    second: Second | None = None

    @property
    def flagged(self) -> bool:
        """Whether the model wants a person to see it."""
        return self.verdict in ("review", "reject")

    @property
    def shown(self) -> bool:
        """Whether it, or its companion, does."""
        return self.flagged or (self.second is not None and self.second.flagged)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Hashes of the blobs that show a frame to people, all of them stored; its pixels' hash, and its vector."""

    kept_at: datetime
    frame: str  # a picture that can be read again: raw pixels as a PNG
    received: str  # the record's value
    heatmap: str | None = None
    preview: str | None = None
    overlay: str | None = None
    thumbnail: str | None = None
    other_overlay: str | None = None
    pixels_sha256: str | None = None  # of the decoded frame; None where there is none
    vector: Vector | None = None

    @property
    def hashes(self) -> set[str]:
        """All of them."""
        drawn = (self.heatmap, self.preview, self.overlay, self.thumbnail, self.other_overlay)
        return {sha256 for sha256 in (self.frame, self.received, *drawn) if sha256}


@dataclass(slots=True, eq=False)
class Work:
    """One frame in flight; exactly one thread holds it at a time."""

    lane: Lane
    record: Record
    event_at: datetime
    arrived: float  # monotonic seconds
    since: float = field(init=False)  # monotonic seconds: when its present stage began
    clock_suspect: bool = False
    envelope: Envelope | None = None
    place: Place | None = None
    station: Station | None = None  # of a dead letter, which has no place: the registered one that it names
    audit: bool = False
    taught: bool = False  # its product is being taught, and no model saw it
    draw: float = 1.0  # it is in a watch's sample where this is below the share
    decoded: bool = False
    glanced: bool = False  # its picture goes to the live view
    claimed: bytes | None = None  # what a claim check named; let go with the pixels
    pixels: Frame | None = None  # let go once nobody needs them any more
    measures: Measures | None = None  # of its pixels; None where it has none
    map: Heatmap | None = None
    map_room: int = 0  # bytes held for a map before there is one
    other_map: Heatmap | None = None  # of the other one of two models that disagree on it
    features: Features | None = None  # of the model whose map that is
    outcome: Outcome | None = None
    evidence: Evidence | None = None

    def __post_init__(self) -> None:
        self.since = self.arrived

    @property
    def payload(self) -> bytes:
        """The frame as its camera sent it."""
        return self.record.value if self.claimed is None else self.claimed

    @property
    def held_bytes(self) -> int:
        """Bytes held beside the record's own: pixels, room for their map, and what was claimed."""
        return (0 if self.pixels is None else int(self.pixels.nbytes)) + self.map_room + len(self.claimed or b"")

    def let_go(self) -> None:
        """Nobody needs more of it than its outcome."""
        self.pixels = self.map = self.other_map = self.features = self.claimed = None
        self.map_room = 0

    @property
    def whose(self) -> tuple[int, str] | None:
        """Id and name of its registered station; None of a dead letter that names none."""
        if self.place:
            return self.place.station_id, self.place.station
        return (self.station.id, self.station.name) if self.station else None

    @property
    def identity(self) -> dict[str, object]:
        """Which frame it is, for the log."""
        return {
            "topic": self.lane.key.topic,
            "partition": self.record.partition,
            "offset": self.record.offset,
            "frame_id": self.envelope.frame_id if self.envelope else None,
            "station": self.whose[1] if self.whose else None,
        }

    def fail(self, reason: str, detail: str, now: datetime, deployment_id: int | None = None) -> None:
        """It cannot be inspected; `deployment_id` is of the model that tried."""
        self.outcome = Outcome(NOT_INSPECTED, now, reason, detail, deployment_id=deployment_id)

    def dead_letter(self, detail: str, now: datetime) -> None:
        """Its headers do not say what it is, or name what is not registered."""
        self.outcome = Outcome(DEAD_LETTER, now, "bad_header", detail)
