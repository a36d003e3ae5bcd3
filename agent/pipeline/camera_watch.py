"""Watches the cameras of the stations whose frames are recorded here: frozen, black, blinded, blurred, or with gaps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Engine

from agent.alerts.base import Alarms
from agent.metrics import Metrics
from agent.phrases import Phrase
from agent.pipeline.numbering import Jump, Numbering
from agent.pipeline.patience import Patience
from agent.pipeline.station_watch import PROBLEMS, Change, StationWatch
from agent.pipeline.work import Lane, Place, Work
from agent.store import camera_history, offsets
from agent.store.alerts import station_subject
from agent.store.camera_history import Key, Usual
from agent.store.engine import reading, writing

log = structlog.get_logger()
SHARED_S = 86400  # a station that had another partition by then may have it still


@dataclass(frozen=True, slots=True)
class _Watched:
    station_id: int
    watch: StationWatch


class CameraWatch:
    """Raises and clears alarms; frames are decided as ever.

    A station's watch begins with its first frame after its partition was claimed: with what the database says is usual
    there, and with the number of its last frame before the claim, whoever recorded that. A station whose frames come in
    several partitions has no order: its numbers say nothing, and each partition is watched by itself.
    """

    def __init__(
        self, engine: Engine, alarms: Alarms, metrics: Metrics, patience: Patience, clock: Callable[[], datetime]
    ) -> None:
        self._engine, self._alarms, self._metrics = engine, alarms, metrics
        self._patience, self._clock = patience, clock
        self._lock = threading.Lock()
        self._lanes: dict[Lane, dict[str, _Watched]] = {}  # by station; only the recorder's thread adds and removes
        self._numbers: dict[Lane, dict[str, Numbering]] = {}  # the recorder's thread's

    def feed(self, works: Sequence[Work]) -> None:
        """Takes recorded frames of one lane, in their order and without duplicates. On the recorder's thread.

        Raises:
            AbandonedError: the agent stops at once.
        """
        for work in works:
            if work.place and work.place.station not in self._lanes.get(work.lane, {}):
                self._begin(work.lane, work.place)
            self._count(work)
        with self._lock:
            for work in works:
                self._take(work)

    def forget(self, lane: Lane) -> None:
        """The lane is another's from here on. On the recorder's thread."""
        with self._lock:
            stations = self._lanes.pop(lane, {})
        self._numbers.pop(lane, None)
        for station in stations:
            for problem in PROBLEMS:
                self._metrics.camera_problem.remove(station, problem)

    def save(self) -> None:
        """Writes what was learned; what a person made the database forget is forgotten here, too. On any thread.

        What is learned after the last call is lost with the process or the partition: it is learned again.

        Raises:
            AbandonedError: the agent stops at once.
        """
        with self._lock:
            watched = [one for stations in self._lanes.values() for one in stations.values()]
            known = {(one.station_id, measure) for one in watched for measure in one.watch.saved}
            new = {(one.station_id, m): one.watch.usual[m] for one in watched for m in one.watch.unsaved}
            for one in watched:
                one.watch.saved |= one.watch.unsaved
                one.watch.unsaved.clear()
        if not known and not new:
            return
        gone = self._patience.call(lambda: self._write(known, new), "database")
        with self._lock:
            for one in watched:
                if one.station_id in gone:
                    one.watch.forget()

    def _write(self, known: Collection[Key], new: Mapping[Key, Usual]) -> set[int]:
        """Writes, and returns the stations whose history somebody took away: nothing is written of those."""
        with writing(self._engine) as conn:
            kept = camera_history.keys(conn, {station_id for station_id, _ in known})
            gone = {station_id for station_id, measure in known if (station_id, measure) not in kept}
            mine = {key: usual for key, usual in new.items() if key[0] not in gone}
            camera_history.save(conn, mine, self._clock())
            return gone

    def _begin(self, lane: Lane, place: Place) -> None:
        def read() -> dict[str, Usual]:
            with reading(self._engine) as conn:
                return camera_history.of(conn, place.station_id)

        watch = StationWatch(self._patience.call(read, "database"))
        with self._lock:
            self._lanes.setdefault(lane, {})[place.station] = _Watched(place.station_id, watch)

    def _count(self, work: Work) -> None:
        if work.envelope is None or (number := work.envelope.sequence) is None:
            return
        station = work.envelope.station
        if (known := self._numbers.get(work.lane)) is None:
            known = {name: Numbering(before.value) for name, before in work.lane.numbers.items()}
            self._numbers[work.lane] = known
        if work.place:
            known.setdefault(station, Numbering())
        # A dead letter, too, has used up its number.
        if (numbering := known.get(station)) and (jump := numbering.count(number)):
            if self._clock().timestamp() >= numbering.silent_until:
                numbering.silent_until = self._shared_until(work.lane, station)
            if self._clock().timestamp() >= numbering.silent_until:
                self._jumped(station, number, jump)

    def _shared_until(self, lane: Lane, station: str) -> float:
        """Until when another partition, of whichever agent, makes the station one without an order."""

        def read() -> int | None:
            with reading(self._engine) as conn:
                return offsets.numbered_elsewhere(conn, lane.claim, station)

        at = self._patience.call(read, "database")
        return 0.0 if at is None else at + SHARED_S

    def _take(self, work: Work) -> None:
        if work.place and work.measures:
            watched = self._lanes[work.lane][work.place.station]
            for change in watched.watch.look(work.measures, work.place.product_id):
                self._tell(work.place.station, change)

    def _jumped(self, station: str, number: int, jump: Jump) -> None:
        if not jump.missed:
            log.info("camera_began_anew", station=station, last=jump.last, number=number)
            return
        self._metrics.missed_frames.labels(station).inc(jump.missed)
        self._alarms.raised(
            "sequence_gap",
            station_subject(station),
            Phrase(
                "station {station}: {missed} frames were lost between the camera and the broker, after number {last}: "
                "look at the camera's log, its network and its buffer",
                station=station,
                missed=jump.missed,
                last=jump.last,
            ),
            missed=jump.missed,
            last=jump.last,
            number=number,
        )

    def _tell(self, station: str, change: Change) -> None:
        self._metrics.camera_problem.labels(station, change.problem).set(change.raised)
        subject = station_subject(station)
        if change.raised:
            words = Phrase("station {station}: {problem}", station=station, problem=change.words)
            self._alarms.raised(change.problem, subject, words, **change.detail)
        else:
            self._alarms.cleared(change.problem, subject)
