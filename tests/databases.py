"""Databases for tests: migrated once a session, then copied; and a small line to put frames on."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from agent.frame import StreamKey
from agent.store import engine as store_engine
from agent.store import items, offsets, products, registry, stations, users
from agent.store.engine import open_engine, reading, upgrade, writing
from agent.store.inspections import Inspection
from agent.store.items import Item, NewItem
from agent.store.tables import blob, install
from tests.postgresql import PostgreSQL

NOW = datetime(2026, 3, 2, 10, 7, 30, tzinfo=UTC)
SECRET = bytes(32)  # what is drawn for the audit is the same in each run


_server: PostgreSQL | None = None


@contextmanager
def on(server: PostgreSQL) -> Iterator[None]:
    """Inside, `database` and `line` are on PostgreSQL.

    It is patient with this process: on a busy machine a test may stand still for longer than an agent that is alive.
    """
    global _server
    _server = server
    patient = f"{store_engine.POSTGRESQL_OPTIONS} -c idle_in_transaction_session_timeout=60000"
    try:
        with patch.object(store_engine, "POSTGRESQL_OPTIONS", patient):
            yield
    finally:
        _server = None


@cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "template.db"
        _upgraded(f"sqlite:///{file}")
        return file.read_bytes()


@cache
def _postgresql_template(server: PostgreSQL) -> str:
    server.execute("CREATE DATABASE template")
    _upgraded(server.url("template"))
    return "template"


def _upgraded(url: str) -> None:
    engine = open_engine(url)
    upgrade(engine)
    with writing(engine) as conn:
        conn.execute(sa.update(install).values(secret=SECRET))
    engine.dispose()


def empty_url(folder: Path, name: str = "goodpart") -> str:
    """The URL of a database without tables."""
    return f"sqlite:///{folder / name}.db" if _server is None else _created(_server, "template1")


def new_url(folder: Path) -> str:
    """The URL of a new database at the newest revision."""
    if _server is not None:
        return _created(_server, _postgresql_template(_server))
    file = folder / "goodpart.db"
    file.write_bytes(_template())
    return f"sqlite:///{file}"


def _created(server: PostgreSQL, template: str) -> str:
    name = f"t{uuid4().hex}"
    # Without fsync copied files cost less than pages written to the log.
    server.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    return server.url(name)


@contextmanager
def database(folder: Path) -> Iterator[Engine]:
    """An empty database at the newest revision, in `folder` or on the server that `on` names."""
    server, engine = _server, open_engine(new_url(folder))
    try:
        yield engine
    finally:
        engine.dispose()
        if server is not None:
            server.drop(str(engine.url.database))


@dataclass(frozen=True, slots=True)
class Line:
    """One user of each role, a product on one station, and a claimed partition."""

    engine: Engine
    admin: users.User
    engineer: users.User
    operator: users.User
    viewer: users.User
    product_id: int
    station_id: int
    stream_id: int

    def new_item(self, offset: int, **changes: Any) -> NewItem:
        """A flagged frame; `blob_of` its offset must be there."""
        given: dict[str, Any] = {
            "stream_id": self.stream_id, "partition": 0, "offset": offset, "event_at": NOW, "frame_id": f"f{offset}",
            "station_id": self.station_id, "product_id": self.product_id, "kind": "flagged", "verdict": "review",
            "score": 2.5, "p_value": 0.01, "severity": 0.7, "frame_sha256": sha(offset), "created_at": NOW,
        }  # fmt: skip
        return NewItem(**(given | changes))

    def add_item(self, conn: Connection, offset: int, **changes: Any) -> Item:
        """Adds `new_item` and its blob."""
        add_blob(conn, offset)
        items.add_all(conn, [self.new_item(offset, **changes)])
        found = items.at(conn, self.stream_id, 0, offset)
        assert found is not None
        return found

    def deploy(self, conn: Connection, number: int) -> int:
        """Promotes a new model, whose artifact is the blob of that number; the id of what decides now."""
        version = registry.add_version(
            conn, product_id=self.product_id, artifact_sha256=add_blob(conn, number), teacher="none", manifest={},
            now=NOW,
        )  # fmt: skip
        return registry.promote(
            conn, version_id=version.id, certificate_id=None, config_hash="0" * 64, reason="test", by=None, now=NOW
        ).id

    def item(self, item_id: int) -> Item:
        """The item as it is now."""
        with reading(self.engine) as conn:
            return items.get(conn, item_id)

    def inspection(self, offset: int, verdict: str = "pass", **changes: Any) -> Inspection:
        """An inspection of the frame at that offset."""
        given: dict[str, Any] = {
            "event_at": NOW + timedelta(seconds=offset), "stream_id": self.stream_id, "partition": 0, "offset": offset,
            "frame_id": f"f{offset}", "station_id": self.station_id, "product_id": self.product_id, "serial": None,
            "lot": None, "verdict": verdict, "reason": None, "score": 1.0, "p_value": 0.5, "severity": 0.0,
            "deployment_id": None, "captured_at": NOW, "decided_at": NOW, "latency_ms": 20.0, "score_ms": 10.0,
            "late": False, "clock_suspect": False,
        }  # fmt: skip
        return Inspection(**(given | changes))


@contextmanager
def line(folder: Path) -> Iterator[Line]:
    """A database with a small line."""
    with database(folder) as engine:
        with writing(engine) as conn:
            admin, engineer, operator, viewer = (users.add(conn, r, r, NOW) for r in reversed(users.ROLES))
            product = products.add(conn, "flange", now=NOW)
            station = stations.add(conn, "press-1", product_id=product.id, now=NOW)
            stream_id = offsets.stream_id(conn, StreamKey("cluster", "topic-id", "goodpart.frames"), NOW)
        yield Line(engine, admin, engineer, operator, viewer, product.id, station.id, stream_id)


def sha(number: int) -> str:
    """The hash of the blob of that number."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def add_blob(conn: Connection, number: int) -> str:
    """The row of a stored blob."""
    row = {"bytes": 1, "media_type": "image/png", "state": "stored", "touched_at": NOW}
    conn.execute(sa.insert(blob).values(sha256=sha(number), **row))
    return sha(number)
