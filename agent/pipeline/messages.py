"""Messages between the intake and the recorder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.frame import StreamKey
from agent.pipeline.claims import Early, Granted
from agent.pipeline.gap import Cut
from agent.pipeline.work import Lane, Work
from agent.sources.base import Bounds, Place


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """The intake wants these partitions; `number` tells its answers apart.

    `partitions` is how many the log has; `stored_before` are offsets that the recorder told it before it read the
    bounds, `cuts` what the source told. `ends` are those of all partitions, where a topic's first run begins there.
    """

    number: int
    key: StreamKey
    partitions: int
    bounds: Mapping[int, Bounds]
    stored_before: Mapping[int, int]
    cuts: Mapping[int, Cut]
    ends: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Arrived:
    """These frames were read, in this order."""

    lane: Lane
    works: Sequence[Work]


@dataclass(frozen=True, slots=True)
class Idle:
    """Everything before `place` was handed out: what no frame came of (markers, compaction) is done too."""

    lane: Lane
    place: Place


@dataclass(frozen=True, slots=True)
class Gone:
    """Partitions that are not ours any more; `lost` ones may be another's already."""

    partitions: frozenset[int]
    lost: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """A claim granted, or to be asked for again, for the request of that number."""

    number: int
    claimed: Granted | Early


@dataclass(frozen=True, slots=True)
class Void:
    """This lane's claim is void. `ours`: no other agent has the partition, so it may be claimed again at once."""

    lane: Lane
    ours: bool


Message = ClaimRequest | Arrived | Idle | Gone | Work | None
