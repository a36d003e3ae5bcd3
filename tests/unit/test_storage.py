"""What is stored and for how long there is room: measured, forecast, said in words."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from agent import upkeep
from agent.alerts.base import NoAlarms
from agent.hot_window import Pruner
from agent.retention import Retention
from agent.settings import Retention as Limits
from agent.store import storage
from agent.store.engine import reading, writing
from agent.store.inventory import total_bytes
from agent.store.local_blobs import LocalBlobs
from agent.store.storage import Stored, measured, note
from dashboard import rooms
from tests.databases import NOW, Line, add_blob
from tests.streams import settings

each_database = pytest.mark.usefixtures("each_database")
GB = 10**9
HOUR = timedelta(hours=1)


@each_database
def test_the_rate_is_that_of_the_last_day(here: Line) -> None:
    def noted(hours: float, held: int, room: int | None = 90 * GB) -> list[Stored]:
        with writing(here.engine) as conn:
            note(conn, "disk:h:/b", held, room, NOW + hours * HOUR)
            return measured(conn, NOW + hours * HOUR)

    assert noted(0, 0) == [Stored("disk:h:/b", 0, 90 * GB, None)]
    assert noted(2.9, GB)[0].growth is None
    (found,) = noted(6, 2 * GB)
    assert found.growth == pytest.approx(8 * GB) and found.days == pytest.approx(90 / 8)
    (found,) = noted(30, 3 * GB)
    assert found.growth == pytest.approx(GB), "a day ago it had 2 GB"
    assert noted(31, 0)[0].days is None
    assert noted(34, 40 * GB, None)[0].days is None
    with reading(here.engine) as conn:
        assert measured(conn, NOW + 37 * HOUR) == [], "nobody measured it for hours"
    Pruner(here.engine, Limits())(NOW + 31 * timedelta(days=1) + 8 * HOUR)
    with reading(here.engine) as conn:
        assert [one.held for one in measured(conn, NOW + 34 * HOUR)] == [40 * GB]


@each_database
def test_blobs_the_database_and_limited_evidence_are_measured(here: Line, tmp_path: Path) -> None:
    with writing(here.engine) as conn:
        for number in range(3):
            here.add_item(conn, number)
        add_blob(conn, 99)
    assert total_bytes(here.engine) == 4
    stopped = threading.Event()
    chores = upkeep.keeping(
        here.engine, LocalBlobs(tmp_path / "blobs"), settings(tmp_path), NoAlarms(), clock=lambda: NOW,
        stopping=stopped.is_set,
    )  # fmt: skip
    next(one for one in chores if one.name == "storage").do(NOW)
    Retention(here.engine, Limits(evidence_gb=1e-8), NoAlarms()).apply(NOW)
    with reading(here.engine) as conn:
        found = {one.subject: one for one in measured(conn, NOW)}
        size = storage.database_bytes(conn)
    assert size > 100_000
    assert found["blobs"] == Stored("blobs", 4, None, None)
    assert found["evidence"] == Stored("evidence", 3, 7, None)
    assert found["database"].held <= size and found["database"].held > 100_000


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (Stored("disk:h:/b", 1, 96 * GB, 8.0 * GB), "full in about 12 days at today's rate"),
        (Stored("disk:h:/b", 1, GB, 8.0 * GB), "full in less than a day at today's rate"),
        (Stored("disk:h:/b", 1, 9 * GB, 8.0 * GB), "full in about 1 day at today's rate"),
        (Stored("disk:h:/b", 1, 10_000 * GB, 8.0 * GB), "full in more than two years at today's rate"),
        (Stored("disk:h:/b", 1, GB, -3.0), "does not fill at today's rate"),
        (Stored("disk:h:/b", 1, GB, None), "known after 3 hours"),
        (Stored("evidence", 1, 96 * GB, 8.0 * GB), "in about 12 days at today's rate the oldest closed are let go"),
        (Stored("evidence", 1, 0, 8.0 * GB), "the oldest closed are let go now"),
        (Stored("blobs", 1, None, 8.0 * GB), "it has no limit of its own"),
    ],
)
def test_a_forecast_is_said_in_words(stored: Stored, words: str) -> None:
    assert words in rooms.forecast(stored)


def test_what_is_stored_is_a_row_each() -> None:
    rows = rooms.rows([Stored("blobs", 1_500_000, None, None), Stored("disk:h:/a:b", 3 * GB, 5 * GB, -2_000_000.0)])
    assert [(row["What"], row["Now"], row["A day"]) for row in rows] == [
        ("Pictures and models", "1.5 MB", ""), ("Disk at /a:b of h", "3.0 GB, 5.0 GB free", "-2.0 MB"),
    ]  # fmt: skip
