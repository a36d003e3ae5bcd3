"""How fast the line is and how far behind: counted in bins, added up over agents, said in words."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hot_window import Pruner
from agent.metrics import Metrics
from agent.pipeline.stages import Stages
from agent.settings import Retention
from agent.store import speed as stored
from agent.store.engine import open_engine, reading, writing
from agent.store.speed import Latency, bin_of, upper
from dashboard import speed
from tests.databases import NOW, Line

each_database = pytest.mark.usefixtures("each_database")
MINUTE = timedelta(minutes=1)


@given(st.floats(0, 1e8))
def test_the_end_of_a_bin_is_at_most_a_tenth_above_what_lies_in_it(ms: float) -> None:
    end = upper(bin_of(ms))
    assert ms <= end * (1 + 1e-9) + 1e-9
    assert end <= 1.0906 * (1 + ms)
    assert bin_of(-5) == 0


@each_database
def test_times_of_two_agents_add_up(here: Line) -> None:
    times = np.random.default_rng(0).lognormal(3, 1, 2000)
    agents = [Stages(Metrics()), Stages(Metrics())]
    for n, ms in enumerate(times):
        agents[n % 2].took("score", ms / 1000)
    for agent in agents:
        agent.note(here.engine, {}, NOW)
        agent.note(here.engine, {}, NOW)  # nothing more
    with writing(here.engine) as conn:
        stored.note(conn, {}, {("score", 300): 1}, NOW - timedelta(hours=2))
    with reading(here.engine) as conn:
        found = stored.latencies(conn, NOW - timedelta(hours=1))["score"]
    assert found.n == 2000
    for share, said in ((0.5, found.p50), (0.95, found.p95)):
        true = float(np.quantile(times, share, method="inverted_cdf"))
        assert true <= said <= 1.1 * true + 0.1


@each_database
def test_the_newest_lag_of_a_minute_stays_and_all_goes_after_a_day(here: Line) -> None:
    place = (here.stream_id, 0)
    for back, n in ((26 * 60, 1), (3, 7), (3, 9), (0, 4)):
        with writing(here.engine) as conn:
            stored.note(conn, {place: n}, {("decode", 1): 1}, NOW - back * MINUTE)
    start = NOW.replace(second=0)
    with reading(here.engine) as conn:
        assert stored.lags(conn, NOW - timedelta(hours=1)) == {place: [(start - 3 * MINUTE, 9), (start, 4)]}
        assert stored.latencies(conn, NOW - timedelta(days=2))["decode"].n == 4
    Pruner(here.engine, Retention())(NOW)
    with reading(here.engine) as conn:
        assert len(stored.lags(conn, NOW - timedelta(days=2))[place]) == 2
        assert stored.latencies(conn, NOW - timedelta(days=2))["decode"].n == 3


def test_what_the_database_does_not_take_is_noted_later(here: Line, tmp_path: Path) -> None:
    stages = Stages(Metrics())
    stages.took("record", 0.01)
    away = open_engine(f"sqlite:///{tmp_path / 'without tables.db'}")
    stages.note(away, {}, NOW)
    away.dispose()
    stages.note(here.engine, {}, NOW)
    with reading(here.engine) as conn:
        assert stored.latencies(conn, NOW - MINUTE)["record"].n == 1


def test_many_threads_lose_no_frame(here: Line) -> None:
    stages = Stages(Metrics())

    def work() -> None:
        for _ in range(500):
            stages.took("decode", 0.001)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for _ in range(5):
        stages.note(here.engine, {}, NOW)
    for one in threads:
        one.join()
    stages.note(here.engine, {}, NOW)
    with reading(here.engine) as conn:
        assert stored.latencies(conn, NOW - MINUTE)["decode"].n == 2000


def _points(*lags: int) -> list[tuple[datetime, int]]:
    return [(NOW - (len(lags) - 1 - n) * MINUTE, lag) for n, lag in enumerate(lags)]


@pytest.mark.parametrize(
    ("lags", "words"),
    [
        ((0, 0, 0, 0), "steady"),
        ((10, 12, 20, 14), "steady"),
        ((1000, 1020, 1040, 1080), "steady"),
        ((0, 100, 200, 300), "grows by 100 a minute"),
        ((4000, 3000, 2000, 1000), "shrinks by 1,000 a minute"),
        ((5000,), "steady"),
        ((9000, *range(16)), "steady"),  # what was before the last quarter hour does not count
    ],
)
def test_where_a_lag_goes_is_said(lags: tuple[int, ...], words: str) -> None:
    points = _points(*lags)
    assert speed.trend(points, NOW).endswith(f" {words}")
    assert speed.lag(points, NOW) == f"{lags[-1]:,}"
    late = NOW + timedelta(minutes=3)
    assert (speed.lag(points, late), speed.trend(points, late)) == ("unknown", "")


def test_bars_show_the_last_hour_with_its_gaps() -> None:
    points = [(NOW - timedelta(minutes=58), 0), (NOW - timedelta(minutes=3), 800), (NOW - timedelta(minutes=1), 400)]
    assert speed.bars(points, NOW) == "▁          █"
    assert speed.bars([], NOW).strip() == ""
    assert speed.bars([(NOW - timedelta(minutes=1), 20)], NOW).strip() == "▂", "a small lag is a small bar"


def test_stages_are_told_in_the_order_in_which_frames_pass_them() -> None:
    found = {"record": Latency(9, 3.14, 25_000), "decode": Latency(10, 12.0, 220.0)}
    rows = speed.stages(found)
    assert [(row["Stage"], row["Half within"], row["95 % within"]) for row in rows] == [
        ("decode", "12 ms", "220 ms"), ("record", "3.1 ms", "25 s"),
    ]  # fmt: skip
    assert set(speed.WHAT) == set(stored.STAGES)
