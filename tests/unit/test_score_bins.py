"""Score bins: counts that say what the inspections say, and what can be told from them."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.frame import Envelope, Record, StreamKey
from agent.pipeline.commit import commit
from agent.pipeline.work import Lane, Outcome, Place, Work
from agent.settings import Settings
from agent.store import offsets, score_bins, stations
from agent.store.engine import reading, writing
from agent.store.lots import Lots
from agent.store.score_bins import Histogram, bin_of, day_of, edges
from agent.store.tables import inspection, score_bin
from tests.databases import NOW, Line, line

each_database = pytest.mark.usefixtures("each_database")
BERLIN = ZoneInfo("Europe/Berlin")
SEVERITY = st.floats(allow_nan=False) | st.floats(-5, 5)


@given(st.lists(SEVERITY, min_size=1, max_size=40), SEVERITY, st.floats(0, 1))
def test_what_a_histogram_says_of_thresholds_and_quantiles_holds_for_the_scores(
    scores: list[float], threshold: float, share: float
) -> None:
    found = Histogram(Counter(map(bin_of, scores)))
    assert found.n == len(scores)
    least, most = found.flagged_at(threshold)
    assert least <= sum(score > threshold for score in scores) <= most
    assert most - least == sum(bin_of(score) == bin_of(threshold) for score in scores)
    wanted = sorted(scores)[max(1, math.ceil(share * len(scores))) - 1]
    assert found.quantile(share) == edges(bin_of(wanted))


@given(SEVERITY)
def test_a_severity_lies_between_the_edges_of_its_bin(severity: float) -> None:
    low, high = edges(bin_of(severity))
    clipped = max(-score_bins.LIMIT, min(score_bins.LIMIT, severity))
    assert low <= clipped or math.isclose(low, clipped)  # asinh and sinh round
    assert clipped <= high or math.isclose(clipped, high)
    assert edges(bin_of(severity) + 1)[0] == high


def test_bins_are_those_of_the_contract_and_what_is_beyond_every_scale_stays_in_the_outermost() -> None:
    assert [bin_of(one) for one in (0.0, -1e-300, 1.0, -1.0, 3.5)] == [0, -1, 14, -15, 31]
    assert bin_of(math.inf) == bin_of(1e300) == bin_of(1e6) == 232
    assert bin_of(-math.inf) == bin_of(-1e7) == -233
    assert Histogram({}).quantile(0.5) is None
    assert Histogram({}).flagged_at(0) == (0, 0)


FRAME = st.tuples(
    st.integers(0, 1),  # station
    st.integers(0, 1),  # deployment
    st.one_of(st.none(), st.sampled_from([0.0, 0.01, -0.01, 1.0, 1e9]), st.floats(-9, 9)),
    st.integers(-40, 40),  # hours
)


@each_database
@settings(max_examples=15, deadline=None)
@given(commits=st.lists(st.lists(FRAME, min_size=1, max_size=12), max_size=4), zone=st.sampled_from([UTC, BERLIN]))
def test_the_bins_count_what_the_inspections_say(
    commits: list[list[tuple[int, int, float | None, int]]], zone: ZoneInfo
) -> None:
    """Whatever is committed in whichever portions: bins are sums over rows."""
    with TemporaryDirectory() as folder, line(Path(folder)) as here:
        with writing(here.engine) as conn:
            other = stations.add(conn, "press-2", now=NOW).id
            deployments = [here.deploy(conn, number) for number in (1, 2)]
            claim = offsets.claim(conn, here.stream_id, 0, holder="me", start=0, now=NOW)
        wanted = Settings.model_validate({"plant": {"timezone": str(zone)}})
        lane = Lane(StreamKey("cluster", "topic-id", "goodpart.frames"), claim)
        for frames in commits:
            works = [
                _work(
                    here, lane, lane.claim.next_offset + n, (here.station_id, other)[s], deployments[d], severity, hours
                )
                for n, (s, d, severity, hours) in enumerate(frames)
            ]
            with writing(here.engine) as conn:
                lane.claim = commit(conn, lane, works, Lots(9, zone), wanted, NOW).claim
        with reading(here.engine) as conn:
            rows, bins = list(conn.execute(sa.select(inspection))), list(conn.execute(sa.select(score_bin)))
            whole = score_bins.histogram(conn, here.product_id, date(2026, 2, 27), date(2026, 3, 6))
            mine = score_bins.histogram(conn, here.product_id, NOW.date(), NOW.date(), other, deployments[1])
    assert len(rows) == sum(map(len, commits))
    scored = [row for row in rows if row.severity is not None]
    places = [
        (row.event_at.astimezone(zone).date(), row.station_id, row.product_id, row.deployment_id, bin_of(row.severity))
        for row in scored
    ]
    assert {tuple(row[:-1]): row.n for row in bins} == Counter(places)
    assert whole.counts == Counter(place[-1] for place in places)
    assert mine.counts == Counter(p[-1] for p in places if p[:2] == (NOW.date(), other) and p[3] == deployments[1])


def _work(
    here: Line, lane: Lane, offset: int, station: int, deployment: int, severity: float | None, hours: int
) -> Work:
    place = Place(station, "press", here.product_id, "flange", 0.0)
    envelope = Envelope(f"f{offset}", "press", None, None, None, None, "image/png", None, None)
    record = Record(0, offset, NOW, None, (), b"")
    at = NOW + timedelta(hours=hours)
    work = Work(lane, record, at, 0.0, envelope=envelope, place=place)
    work.outcome = Outcome("pass", NOW, score=1.0, severity=severity, deployment_id=deployment)
    return work


@pytest.mark.parametrize(
    ("moment", "zone", "day"),
    [
        ("2026-03-28T22:59:59+00:00", "Europe/Berlin", "2026-03-28"),
        ("2026-03-28T23:00:00+00:00", "Europe/Berlin", "2026-03-29"),  # a day of 23 hours
        ("2026-03-29T21:59:59+00:00", "Europe/Berlin", "2026-03-29"),
        ("2026-03-29T22:00:00+00:00", "Europe/Berlin", "2026-03-30"),
        ("2026-10-24T22:00:00+00:00", "Europe/Berlin", "2026-10-25"),  # a day of 25 hours
        ("2026-10-25T22:59:59+00:00", "Europe/Berlin", "2026-10-25"),
        ("2026-10-25T23:00:00+00:00", "Europe/Berlin", "2026-10-26"),
        ("2026-01-01T18:14:59+00:00", "Asia/Kathmandu", "2026-01-01"),
        ("2026-01-01T18:15:00+00:00", "Asia/Kathmandu", "2026-01-02"),
        ("9999-12-31T23:59:59+00:00", "Asia/Tokyo", "9999-12-31"),
    ],
)
def test_a_frame_belongs_to_the_plants_day(moment: str, zone: str, day: str) -> None:
    assert day_of(datetime.fromisoformat(moment), ZoneInfo(zone)) == date.fromisoformat(day)
