"""Watches the cameras of the stations whose frames are recorded here: frozen, black, blinded or blurred."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from agent.alerts.base import Alarms
from agent.metrics import Metrics
from agent.phrases import Phrase
from agent.pipeline.patience import Patience
from agent.pipeline.station_watch import PROBLEMS, Change, StationWatch
from agent.pipeline.work import Lane, Place, Work
from agent.store import camera_history
from agent.store.alerts import station_subject
from agent.store.camera_history import Key, Usual
from agent.store.engine import reading, writing


@dataclass(frozen=True, slots=True)
class _Watched:
    station_id: int
    watch: StationWatch


class CameraWatch:
    """Raises and clears alarms; frames are decided as ever.

    A station's watch begins with its first frame after its partition was claimed, with what the database says is usual
    there. A station whose frames come in several partitions has no order: each partition is watched by itself.
    """

    def __init__(
        self, engine: Engine, alarms: Alarms, metrics: Metrics, patience: Patience, clock: Callable[[], datetime]
    ) -> None:
        self._engine, self._alarms, self._metrics = engine, alarms, metrics
        self._patience, self._clock = patience, clock
        self._lock = threading.Lock()
        self._lanes: dict[Lane, dict[str, _Watched]] = {}  # by station; only the recorder's thread adds and removes

    def feed(self, works: Sequence[Work]) -> None:
        """Takes recorded frames of one lane, in their order and without duplicates. On the recorder's thread.

        Raises:
            AbandonedError: the agent stops at once.
        """
        for work in works:
            if work.place and work.place.station not in self._lanes.get(work.lane, {}):
                self._begin(work.lane, work.place)
        with self._lock:
            for work in works:
                self._take(work)

    def forget(self, lane: Lane) -> None:
        """The lane is another's from here on. On the recorder's thread."""
        with self._lock:
            stations = self._lanes.pop(lane, {})
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

    def _take(self, work: Work) -> None:
        if work.place and work.measures:
            watched = self._lanes[work.lane][work.place.station]
            for change in watched.watch.look(work.measures, work.place.product_id):
                self._tell(work.place.station, change)

    def _tell(self, station: str, change: Change) -> None:
        self._metrics.camera_problem.labels(station, change.problem).set(change.raised)
        subject = station_subject(station)
        if change.raised:
            words = Phrase("station {station}: {problem}", station=station, problem=change.words)
            self._alarms.raised(change.problem, subject, words, **change.detail)
        else:
            self._alarms.cleared(change.problem, subject)
