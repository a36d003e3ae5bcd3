"""Who raises alerts: what looks at stations, flag rates and disks now and then."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from scipy import stats

from agent.alerts.disk import AGAIN, GB, DiskWatch, folders
from agent.alerts.flags import AT_LEAST, LEVEL, LOOKS, FlagRates
from agent.alerts.watch import Watch
from agent.store import certificates, registry, stations, trends
from agent.store.engine import reading, writing
from agent.store.tables import rollup_quarter
from model.statistics import binomial_tail, exceeds_rate
from tests.alarms import Noted, at
from tests.databases import NOW, Line, add_blob
from tests.streams import settings

# Stations


class Watching:
    """A watch over the line's one station, and its clock."""

    def __init__(self, here: Line, silent_after_s: float = 60) -> None:
        self.here, self.reads, self.alarms = here, True, Noted(here.engine)
        self.watch = Watch(here.engine, self.alarms, silent_after_s=silent_after_s, reading_frames=lambda: self.reads)

    def look(self, seconds: float) -> list[tuple[str, str]]:
        self.alarms.now = at(seconds)
        self.watch.check(at(seconds))
        return [(what, kind) for what, kind, _ in self.alarms.take()]

    def frame(self, seconds: float, status: str = "ok") -> None:
        with writing(self.here.engine) as conn:
            failures = 20 if status == "blind" else 0
            stations.set_status(conn, self.here.station_id, status, failures, at(seconds), at(seconds))


def test_a_station_without_frames_is_silent_until_the_next_one(here: Line) -> None:
    plant = Watching(here)
    plant.frame(0)
    assert [plant.look(s) for s in (0, 30, 60)] == [[], [], []]
    assert plant.look(75) == [("raised", "station_silent")]
    assert plant.look(90) == []
    plant.frame(100)
    assert plant.look(105) == [("cleared", "station_silent")]
    assert plant.look(170) == [("raised", "station_silent")]


def test_a_station_that_never_sent_is_silent_since_it_was_added(here: Line) -> None:
    plant = Watching(here)
    assert plant.look(0) == []
    assert plant.look(61) == [("raised", "station_silent")]


def test_silence_counts_only_while_frames_are_read(here: Line) -> None:
    plant = Watching(here)
    plant.frame(0)
    plant.look(0)
    plant.reads = False
    assert [plant.look(s) for s in (100, 200)] == [[], []]
    plant.reads = True
    assert [plant.look(s) for s in (300, 350)] == [[], []], "its frames may still wait on the log"
    assert plant.look(361) == [("raised", "station_silent")]
    restarted = Watching(here)
    assert restarted.look(400) == [], "a restart is no frame"
    plant.frame(410)
    assert restarted.look(420) == [("cleared", "station_silent")]


def test_a_camera_whose_clock_is_late_is_not_silent(here: Line) -> None:
    plant = Watching(here)
    for seconds in range(0, 600, 50):
        plant.frame(seconds - 3600)
        assert plant.look(seconds) == []
    assert plant.look(700) == [("raised", "station_silent")]
    plant.frame(700 - 3600)
    assert plant.look(710) == [("cleared", "station_silent")]


@pytest.mark.parametrize(("configured", "own", "expected"), [(60, 0, []), (0, None, []), (0, 30, ["raised"])])
def test_a_station_may_have_a_time_of_its_own(
    here: Line, configured: float, own: float | None, expected: list[str]
) -> None:
    with writing(here.engine) as conn:
        stations.change(conn, here.station_id, silent_after_s=own)
    plant = Watching(here, configured)
    plant.look(0)
    assert [what for what, _ in plant.look(10_000)] == expected


def test_what_a_crash_kept_from_being_said_is_said(here: Line) -> None:
    plant = Watching(here, 0)
    plant.frame(0, "blind")
    assert plant.look(1) == [("raised", "station_blind")]
    assert "20 frames in a row" in plant.alarms.words[-1]
    assert plant.look(2) == []
    plant.frame(3)
    assert plant.look(4) == [("cleared", "station_blind")]


def test_alerts_of_what_is_gone_end(here: Line) -> None:
    plant = Watching(here)
    for kind, subject in (
        ("camera_black", "station:press-1"), ("disk", "disk:old:/b"), ("partition_stalled", "agent:old"),
        ("station_blind", "station:nobody"), ("flag_rate", "station:nobody product:p"),
    ):  # fmt: skip
        plant.alarms.raised(kind, subject, "w")
    plant.alarms.take()
    assert plant.look(1) == [("cleared", "station_blind")]
    assert plant.look(301) == [("raised", "station_silent"), ("cleared", "partition_stalled")]
    with writing(here.engine) as conn:
        stations.change(conn, here.station_id, retired_at=at(400))
    assert sorted(plant.look(401)) == [("cleared", "camera_black"), ("cleared", "station_silent")]
    assert plant.look(90_000) == [("cleared", "disk")]


# The flag rate


@pytest.mark.parametrize(("successes", "n", "rate"), [(0, 10, 0.05), (3, 20, 0.05), (20, 20, 0.5), (130, 1000, 0.1)])
def test_the_binomial_tail_is_the_exact_one(successes: int, n: int, rate: float) -> None:
    assert binomial_tail(successes, n, rate) == pytest.approx(stats.binom.sf(successes - 1, n, rate), rel=1e-9)


def test_looking_more_often_asks_for_more(here: Line) -> None:
    assert exceeds_rate(12, 100, 0.05, level=0.01, looks=1)
    assert not exceeds_rate(12, 100, 0.05, level=0.01, looks=100)
    with pytest.raises(ValueError, match="looks"):
        exceeds_rate(12, 100, 0.05, level=0.01, looks=0)
    with pytest.raises(ValueError, match="successes"):
        binomial_tail(3, 2, 0.05)


def test_a_days_looks_are_wrong_as_seldom_as_it_says() -> None:
    """All looks of a day at one stream that flags just what it may: what each may spend, added up."""
    worst = next(k for k in range(1001) if exceeds_rate(k, 1000, 0.05, level=LEVEL, looks=LOOKS))
    assert LOOKS * stats.binom.sf(worst - 1, 1000, 0.05) <= LEVEL < LOOKS * stats.binom.sf(worst - 3, 1000, 0.05)
    assert LOOKS >= 86_400 / (900 * 0.9)


def deploy(here: Line, number: int) -> int:
    with writing(here.engine) as conn:
        sha = add_blob(conn, number)
        version = registry.add_version(
            conn, product_id=here.product_id, artifact_sha256=sha, teacher="t", manifest={}, now=NOW
        )
        record = {"look": 1, "n": 100, "calibration_sha256": sha, "certified_review_rate": 0.05}
        row = certificates.add(conn, version_id=version.id, record=record, now=NOW)
        return registry.promote(
            conn, version_id=version.id, certificate_id=row, config_hash="c", reason="r", by=None, now=NOW
        ).id


def inspected(here: Line, deployment: int, passed: int, flagged: int, seconds: float = 0) -> None:
    with writing(here.engine) as conn:
        verdicts = ["pass"] * passed + ["review"] * flagged + ["not_inspected"] * 50
        trends.add_inspections(
            conn,
            [here.inspection(0, verdict, event_at=at(seconds), deployment_id=deployment) for verdict in verdicts],
        )


@pytest.mark.usefixtures("each_database")
def test_more_flags_than_certified_are_told_until_they_are_no_more_than_that(here: Line) -> None:
    deployment, alarms = deploy(here, 1), Noted(here.engine)
    certified = [deployment]
    flags = FlagRates(here.engine, alarms, certified=lambda: certified)
    subject = "station:press-1 product:flange"

    def look(hours: float) -> list[str]:
        flags.check(at(3600 * hours))
        assert {(kind, whose) for _, kind, whose in alarms.said} <= {("flag_rate", subject)}
        return [what for what, _, _ in alarms.take()]

    inspected(here, deployment, AT_LEAST - 50, 49)
    assert look(0) == [], "too few to say"
    inspected(here, deployment, 901, 0)
    assert look(0.25) == [], "49 of 1000 is what may be"
    inspected(here, deployment, 0, 30)
    assert look(0.5) == [], "79 of 1030 may come of chance with so many looks"
    inspected(here, deployment, 0, 20)
    assert look(0.75) == ["raised"]
    assert (alarms.detail["flagged"], alarms.detail["inspected"]) == (99, 1050)
    assert alarms.detail["p_value"] == pytest.approx(stats.binom.sf(98, 1050, 0.05))
    assert "pictures drift, or there are more defects" in alarms.words[-1]
    assert look(1) == []
    inspected(here, deployment, 800, 0, 3600)
    assert look(1.25) == [], "99 of 1850 is still more than 5 %"
    inspected(here, deployment, 200, 0, 3600)
    assert look(1.5) == ["cleared"]
    inspected(here, deployment, 0, 400, 2 * 3600)
    assert look(2) == ["raised"]
    certified.clear()
    assert look(2.25) == ["cleared"], "its certificate does not speak of this scorer"
    certified.append(deployment)
    assert look(2.5) == ["raised"]
    certified.append(deploy(here, 2))
    assert look(2.75) == ["cleared"], "another model decides now"
    inspected(here, certified[-1], 100, 100, 2 * 3600)
    assert look(3) == ["raised"]
    assert look(40) == ["cleared"], "no frame in a day"


def test_the_sums_of_a_deployment_leave_out_what_nothing_decided(here: Line) -> None:
    deployment = deploy(here, 1)
    inspected(here, deployment, 3, 2)
    inspected(here, deployment, 1, 0, seconds=-86_400 * 2)
    with writing(here.engine) as conn:
        trends.add_inspections(conn, [here.inspection(0, "not_inspected")])
        assert len(conn.execute(sa.select(rollup_quarter)).all()) == 3
    with reading(here.engine) as conn:
        (found,) = trends.decided_rates(conn, at(-86_400))
    assert (found.deployment_id, found.inspected, found.flagged) == (deployment, 5, 2)


# The disk


def test_a_full_disk_is_told_for_each_host_until_there_is_room_again(here: Line) -> None:
    alarms, free = Noted(here.engine), [10 * GB]
    blobs = Path("/srv/blobs/not/made/yet")
    disk = DiskWatch(here.engine, alarms, host="h", folders=[blobs], limit_gb=5, usage=lambda _: (0, int(free[0])))

    def look(gb: float, seconds: float = 0) -> list[tuple[str, str, str]]:
        free[0], alarms.now = gb * GB, at(seconds)
        disk.check(at(seconds))
        return alarms.take()

    subject = f"disk:h:{blobs}"
    assert look(5) == []
    assert look(4.9) == [("raised", "disk", subject)]
    assert look(5.2, 60) == [], "a little room is not room"
    assert look(5.2, AGAIN.total_seconds()) == [("raised", "disk", subject)]
    assert look(5.6, 4000) == [("cleared", "disk", subject)]
    assert "4.9 GB" in alarms.words[0]


def test_a_disk_that_fills_is_told_before_it_is_full(here: Line) -> None:
    alarms, used = Noted(here.engine), [0.0]
    disk = DiskWatch(
        here.engine, alarms, host="h", folders=[Path("/b")], limit_gb=5, full_days=7,
        usage=lambda _: (int(used[0] * GB), int((500 - used[0]) * GB)),
    )  # fmt: skip

    def look(hours: float, gb: float) -> list[tuple[str, str, str]]:
        used[0], alarms.now = gb, at(hours * 3600)
        disk.check(at(hours * 3600))
        return alarms.take()

    assert [look(hours, 10 * hours) for hours in (0, 1, 2)] == [[], [], []], "too short to say"
    assert look(4, 40) == [("raised", "disk_fills", "disk:h:/b")]
    assert "full in about 1.9 days at today's rate of 240.0 GB a day" in alarms.words[0]
    assert look(4.5, 45) == [], "once"
    assert look(20, 60) == [("raised", "disk_fills", "disk:h:/b")], "again, since it lasts"
    assert look(20.5, 60) == []
    # A day later the rate is that of the last day alone.
    assert look(44.1, 61) == [("cleared", "disk_fills", "disk:h:/b")]
    assert look(45, 20) == [], "it empties"


def test_each_disk_is_looked_at_once(tmp_path: Path) -> None:
    here = {"url": f"sqlite:///{tmp_path / 'goodpart.db'}"}
    assert folders(settings(tmp_path, database=here)) == [tmp_path / "blobs"]
    elsewhere = {"directory": "/proc/blobs"}
    assert folders(settings(tmp_path, database=here, blobs=elsewhere)) == [tmp_path, Path("/proc/blobs")]
    remote = {"url": "s3://bucket/folder"}
    assert folders(settings(tmp_path, database=here, blobs=remote)) == [tmp_path]
    postgresql = {"url": "postgresql+psycopg://db/goodpart"}
    assert folders(settings(tmp_path, database=postgresql, blobs=remote)) == []
    spool = {"kind": "directory", "directory": tmp_path / "spool"}
    assert folders(settings(tmp_path, database=postgresql, blobs=remote, source=spool)) == [tmp_path / "spool"]
    spool["directory"] = "/proc/spool"
    assert folders(settings(tmp_path, database=here, source=spool)) == [Path("/proc/spool"), tmp_path / "blobs"]
