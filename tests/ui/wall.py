"""The live side of a plant without an agent: what one would say and write every few seconds while people look."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Event, Thread

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from agent.demo import render
from agent.live import Glance, RedisLive, glance_of
from agent.pipeline import pictures
from agent.pipeline.stats import Stats
from agent.settings import utc_now
from agent.store import offsets, runs, speed, stations, trends
from agent.store.buckets import minute
from agent.store.engine import reading, writing
from agent.store.install import install_of
from agent.store.rows import insert_sums
from agent.store.stations import Station
from agent.store.tables import rollup_minute, training_run
from tests.ui.floor import heat, sums, usual_rate

AGENT = "line-1:4711"
STATS = Stats(
    agent=AGENT, received=61_240, inspected=61_212, not_inspected=19, dead_lettered=6, duplicate=3, flagged=1284, lag=2,
    rate=3.1, p99_ms=412.0, in_flight=2, partitions=(0, 1), ready=True, problems={},
)  # fmt: skip
EVERY_S = 2.0
_KEYS = sa.select(
    *(rollup_minute.c[name] for name in ("station_id", "product_id", "lot", "deployment_id"))
).distinct()  # fmt: skip
NOW = timedelta(minutes=1)  # a station whose last frame is older has stopped


class Wall:
    """The agent's side: it lives, its running stations see parts, its training goes on."""

    def __init__(self, engine: Engine, live: RedisLive) -> None:
        self._engine, self._live, self._began = engine, live, utc_now()
        with reading(engine) as conn:
            self._install = install_of(conn).install_id
            known = stations.all(conn)
            self._runs = [one for one in known if one.last_frame_at and self._began - one.last_frame_at < NOW]
            self._lags = {(one.stream_id, one.partition): one.partition for one in offsets.partitions(conn)}
            self._keys = {one.station_id: dict(one._mapping) for one in conn.execute(_KEYS)}
        self._counted, self._beats = dict.fromkeys(self._keys, 0), 0
        self._glances = {one.id: _glance(one) for one in self._runs if one.status == "ok"}

    def beat(self) -> None:
        """Once."""
        now = utc_now()
        self._live.presence(AGENT, STATS.to_dict())
        with writing(self._engine) as conn:
            for one in self._runs:
                seen = now - timedelta(seconds=one.id % 3)
                stations.set_status(conn, one.id, one.status, one.failures_in_row, seen, now)
                self._count(conn, one, now)
            speed.note(conn, self._lags, {}, now)
            running = sa.update(training_run).where(training_run.c.id.in_([one.id for one in runs.running(conn)]))
            conn.execute(running.values(heartbeat_at=now))
        shown = deque(self._glances.values())
        shown.rotate(self._beats)
        for station_id, webp in zip(self._glances, shown, strict=True):
            seen = now - timedelta(seconds=station_id % 3)
            self._live.show(glance_of(self._install, station_id), Glance(seen, True, webp))
        self._beats += 1

    def _count(self, conn: Connection, one: Station, now: datetime) -> None:
        """The frames since the last beat, at the usual rate."""
        due = int(usual_rate(one.id) * ((now - self._began) / timedelta(minutes=1))) - self._counted[one.id]
        if due and one.status == "ok":
            self._counted[one.id] += due
            row = {**self._keys[one.id], "start": minute(now), **sums(due, 0.0)}
            conn.execute(insert_sums(conn, rollup_minute, trends.KEY, trends.SUMS), row)


@contextmanager
def hung(engine: Engine, url: str, every_s: float = EVERY_S) -> Iterator[None]:
    """Inside, the plant lives: it has something new every so many seconds."""
    live, done = RedisLive(url), Event()
    wall = Wall(engine, live)

    def beats() -> None:
        while not done.is_set():
            wall.beat()
            done.wait(every_s)

    thread = Thread(target=beats, name="wall")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        live.close()


def _glance(one: Station) -> bytes:
    shot, mask = render.picture("stain" if one.id % 6 == 4 else None, 0.9, (one.id, 8))
    return pictures.glance(shot, heat(mask, one.id))
