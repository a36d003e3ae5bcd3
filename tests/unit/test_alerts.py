"""Taking alarms waits for nothing, and loses none."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from agent.alerts import writer as writing_module
from agent.alerts.base import KINDS
from agent.alerts.condition import AGAIN_S, Condition
from agent.alerts.writer import LINES, AlertWriter
from agent.metrics import Metrics
from agent.store import alerts
from agent.store.engine import reading, writing
from agent.store.errors import Unreachable
from tests.alarms import Noted, at, standing
from tests.databases import NOW, Line
from tests.streams import until


def test_the_thread_writes_what_is_said_with_one_line_each(here: Line) -> None:
    metrics = Metrics()
    writer = AlertWriter(here.engine, metrics, clock=lambda: NOW)
    with capture_logs() as logs:
        writer.start()
        writer.raised("disk", "disk:h:/b", "full", level="error", free=float("nan"), where=Path("/b"))
        until(lambda: standing(here.engine))
        writer.raised("disk", "disk:h:/b", "fuller", level="error")
        writer.cleared("disk", "disk:h:/other")
        until(lambda: standing(here.engine)[0].words == "fuller")
        until(lambda: b'goodpart_alerts_open{kind="disk"} 1.0' in metrics.text())
        writer.cleared("disk", "disk:h:/b")
        until(lambda: not standing(here.engine))
        writer.close()
    assert [(one["event"], one["log_level"], one["n"]) for one in logs] == [
        ("alert_opened", "error", 1), ("alert_over", "info", 2),
    ]  # fmt: skip
    assert logs[0]["detail"] == {"free": "NaN", "where": "/b"}
    assert b'goodpart_alerts_open{kind="disk"} 0.0' in metrics.text()
    assert b'goodpart_alerts_open{kind="breaker"} 0.0' in metrics.text()


def test_what_was_said_during_an_outage_is_written_after_it_with_its_own_time(
    here: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [NOW]
    writer = AlertWriter(here.engine, Metrics(), clock=lambda: now[0])
    away = True

    def outage(engine: Engine) -> Any:
        if away:
            raise Unreachable("the database is away")
        return writing(engine)

    monkeypatch.setattr(writing_module, "writing", outage)
    with capture_logs() as logs:
        writer.raised("station_blind", "station:a", "one")
        assert not writer.write()
        now[0] = at(60)
        writer.raised("station_blind", "station:a", "two")
        writer.raised("station_blind", "station:b", "short")
        writer.cleared("station_blind", "station:b")
        assert not writer.write()
        now[0] = at(90)
        writer.raised("data_gap", "partition:t/0", "gap")
        writer.cleared("data_gap", "partition:t/0")
        assert not writer.write()
        away = False
        now[0] = at(120)
        assert writer.write() and writer.write()
    with reading(here.engine) as conn:
        found = {one.subject: one for one in alerts.recent(conn)}
    blind, short, gap = (found[subject] for subject in ("station:a", "station:b", "partition:t/0"))
    assert (blind.n, blind.words, blind.opened_at, blind.closed_at) == (2, "two", NOW, None)
    assert (short.n, short.opened_at, short.closed_at) == (1, at(60), at(60))
    assert gap.closed_at is None, "only a person ends an event"
    assert [one["event"] for one in logs].count("alerts_wait") == 1


def test_nobody_waits_while_the_database_hangs_and_the_queue_is_full(
    here: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hangs(engine: Engine) -> Any:
        entered.set()
        leave.wait(30)
        return writing(engine)

    monkeypatch.setattr(writing_module, "writing", hangs)
    monkeypatch.setattr(writing_module, "MOST", 4)
    monkeypatch.setattr(writing_module, "TOGETHER", 3)
    writer = AlertWriter(here.engine, Metrics(), clock=lambda: NOW)
    with capture_logs() as logs:
        writer.start()
        writer.raised("disk", "disk:first", "w")
        assert entered.wait(10)
        for number in range(6):
            writer.raised("station_silent", f"station:{number}", "w")
        writer.cleared("station_silent", "station:0")
        assert [one["event"] for one in logs] == ["alerts_left_out"]
        writer.close(0.05)
        assert (logs[-1]["event"], logs[-1]["n"]) == ("alerts_not_written", 5)
        leave.set()
        until(lambda: len(standing(here.engine)) == 4)  # the first, and those that fitted but the one that ended


def test_one_that_cannot_be_written_keeps_no_other(here: Line) -> None:
    writer = AlertWriter(here.engine, Metrics(), clock=lambda: NOW)
    with capture_logs() as logs:
        writer.raised("disk", "disk:a", "w", level="dreadful")  # type: ignore[arg-type]
        writer.raised("disk", "disk:b", "w")
        assert writer.write()
    assert [one.subject for one in standing(here.engine)] == ["disk:b"]
    assert {one["event"] for one in logs} == {"alert_lost", "alert_opened"}


def test_what_flaps_fills_no_log(here: Line) -> None:
    now, seconds = [NOW], [0.0]
    writer = AlertWriter(here.engine, Metrics(), clock=lambda: now[0], monotonic=lambda: seconds[0])
    with capture_logs() as logs:
        for _ in range(20):
            writer.raised("disk", "disk:a", "w")
            writer.write()
            now[0] += timedelta(seconds=1)
            writer.cleared("disk", "disk:a")
            writer.write()
            now[0] += timedelta(seconds=1)
        assert len(logs) == LINES
        assert "left out" in logs[-1]["note"]
        seconds[0] = 601
        writer.raised("disk", "disk:a", "w")
        writer.write()
        assert logs[-1]["event"] == "alert_opened" and "note" not in logs[-1]
    with reading(here.engine) as conn:
        assert len(alerts.recent(conn)) == 1


def test_a_lasting_condition_is_said_again_now_and_then() -> None:
    said, seconds = Noted(), [0.0]
    condition = Condition(said, "partition_stalled", "agent:h", monotonic=lambda: seconds[0])
    condition.look(None)
    assert said.take() == []
    for seconds[0] in (0, 5, 10, AGAIN_S):
        condition.look("stands still")
    condition.look(None)
    condition.look(None)
    raised, cleared = ((what, "partition_stalled", "agent:h") for what in ("raised", "cleared"))
    assert said.take() == [raised, raised, cleared]


def test_the_docs_say_what_each_kind_means() -> None:
    page = (Path(__file__).parents[2] / "docs" / "stream.md").read_text(encoding="utf-8")
    rows = page[page.index("| kind | subject |") :].split("\n\n")[0].splitlines()[2:]
    assert {kind for row in rows for kind in re.findall(r"`(\w+)`", row.split("|")[1])} == KINDS
