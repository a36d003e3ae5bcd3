"""A line without threads: one database file, a source that never waits, and agents whose loops turn when told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import sqlalchemy as sa

from agent.frame import Record
from agent.health import Health
from agent.live import NoLive
from agent.metrics import Metrics
from agent.pipeline.patience import Patience
from agent.pipeline.run import Parts, Pipeline
from agent.pipeline.work import Work
from agent.settings import utc_now
from agent.sources.base import Decision, SourceUnreachableError
from agent.sources.memory import MemoryDecisions, MemorySource
from agent.store import stations, watches
from agent.store.engine import open_engine, reading, writing
from agent.store.install import install_of
from agent.store.local_blobs import MemoryBlobs
from tests.databases import database
from tests.streams import (
    seed,
    settings,
)

PARTITIONS, MOST = 2, 3  # of the log at first, and later
IN_FLIGHT = 5
SHARE = 0.5  # of the parts that the model before scores too


# An alert counts what it is told of while it is open, and keeps the numbers of the last.
EACH_GAP = (
    "CREATE TABLE each_gap (station TEXT, last INTEGER, number INTEGER)",
    *(
        f"CREATE TRIGGER gap_{name} AFTER {event} ON alert WHEN NEW.kind = 'sequence_gap' BEGIN INSERT INTO each_gap "
        "SELECT substr(NEW.subject, 9), json_extract(NEW.detail, '$.last'), json_extract(NEW.detail, '$.number'); END"
        for name, event in (("opened", "INSERT"), ("counted", "UPDATE OF n"))
    ),
)


class Plant:
    """One database file for all examples, each of which begins with the same line: an engine learns its statements."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "goodpart.db"
        with database(folder) as engine:
            self.before = seed(engine, MemoryBlobs(), artifact=b"before")
            self.seeded = seed(engine, MemoryBlobs(), watch_share=SHARE)
            with writing(engine) as conn:
                for statement in EACH_GAP:
                    conn.exec_driver_sql(statement)
                stations.add(conn, "s3", product_id=self.seeded.product_id, now=utc_now())
            with reading(engine) as conn:
                self.install = install_of(conn)
                (self.watch,) = watches.all_active(conn)
        self._data = self.file.read_bytes()
        self.settings = settings(folder, pipeline={"queue_frames": IN_FLIGHT, "batch_size": 2, "blind_after": 3})
        self.engine = open_engine(f"sqlite:///{self.file}")
        # No power is cut here.
        sa.event.listen(self.engine, "connect", lambda one, _: one.execute("PRAGMA synchronous = OFF").close())
        self.metrics = Metrics()

    def renew(self) -> None:
        """The line as it was at first."""
        self.engine.dispose()
        for name in ("-wal", "-shm"):
            self.file.with_name(self.file.name + name).unlink(missing_ok=True)
        self.file.write_bytes(self._data)


@dataclass
class Stepped(MemorySource):
    """Never waits; hands out `again` what it has handed out before, as a fetch that was under way at a seek does."""

    again: list[Record] = field(default_factory=list)

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        again, self.again = self.again, []
        return [*again, *super().poll(0.0, max_records)]

    @property
    def held(self) -> set[int]:
        return {*self._places}


class Failing(MemoryDecisions):
    """A topic that takes `left` more messages and then breaks off."""

    left: int | None = None

    def publish(self, decisions: Sequence[Decision]) -> None:
        super().publish(decisions[: self.left])
        if self.left is not None:
            raise SourceUnreachableError("the connection broke")


class Said:
    """Alarms of all agents, as they are said."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.open: set[tuple[str, str]] = set()

    def raised(self, kind: str, subject: str, words: str, *, level: str = "warning", **detail: Any) -> None:
        self.kinds.add(kind)
        self.open.add((kind, subject))

    def cleared(self, kind: str, subject: str) -> None:
        self.open.discard((kind, subject))


class Agent:
    """A pipeline whose loops turn when they are told to. What stops at an outage ends at once: `patience` has none."""

    def __init__(self, line: Any) -> None:
        self.health, impatient = Health(monotonic=lambda: line.seconds), Event()
        impatient.set()
        plant = line.plant
        self.source = Stepped(line.log, auto=False)
        self.sink = Failing()
        self.sink.published = line.published
        given = Parts(
            settings=plant.settings,
            engine=plant.engine,
            store=line.blobs,
            source=self.source,
            sink=self.sink,
            provider=line.provider,
            live=NoLive(),
            health=self.health,
            metrics=plant.metrics,
            patience=Patience(self.health, plant.metrics, impatient, line.rng),
            install=plant.install,
            agent=f"agent-{next(line.names)}",
            clock=line.clock,
            rng=line.rng,
            alarms=line.said,
            monotonic=lambda: line.seconds,
        )
        self.pipeline = Pipeline(given)
        self.waiting: list[tuple[Callable[[Work], None], Work]] = []

    def read(self) -> None:
        self.pipeline._intake.turn()

    def record(self) -> None:
        self.pipeline._recorder.turn(0)

    def relay(self) -> None:
        self.pipeline._relay.turn(0)

    def work(self, which: int) -> bool:
        """One frame goes one stage further; False where none is under way."""
        line = self.pipeline
        stages = (
            (line._undecoded, line._decode_one),
            (line._decoded, lambda work: line._score_batch([work])),
            (line._decided, line._keep_one),
        )
        for queue, stage in stages:
            while not queue.empty():
                if work := queue.get():
                    self.waiting.append((stage, work))
        if not self.waiting:
            return False
        stage, work = self.waiting.pop(which % len(self.waiting))
        stage(work)
        return True

    def round(self) -> None:
        """Everything once, and all work that is there."""
        self.read()
        self.record()
        while self.work(0):
            pass
        self.record()
        self.relay()

    @property
    def in_flight(self) -> int:
        return self.pipeline._budget.frames
