"""What the Line page says, as text: statuses, ages, and alerts without anybody's HTML."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agent.alerts.base import KINDS
from agent.store.alerts import Alert
from agent.store.epochs import Epoch
from agent.store.stations import Station
from dashboard.alerts import ago, by_subject, line
from dashboard.certificates import words
from dashboard.views.line import rows_of, status_of, table
from model.certificate import certify
from tests.databases import NOW

STATION = Station(1, "press-1", None, None, "ok", None, 0, NOW, None, NOW, None)
ALERT = Alert(
    7, "station_silent", "station:press-1", "error", "press-1 sends no frames", {}, 1, NOW, NOW, None, None, None, 0,
    None, None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("kinds", "status"),
    [
        ((), "ok"),
        (("flag_rate",), "ok"),
        (("camera_saturated", "camera_black"), "black"),
        (("camera_black", "station_silent"), "silent"),
        (("station_silent", "station_blind", "camera_frozen"), "blind"),
    ],
)
def test_a_station_shows_the_worst_that_stands(kinds: tuple[str, ...], status: str) -> None:
    assert set(kinds) <= KINDS
    assert status_of(STATION, kinds, NOW) == status


def test_without_an_alert_a_station_may_be_new_or_quiet() -> None:
    assert status_of(replace(STATION, status="blind"), (), NOW) == "blind"
    assert status_of(replace(STATION, last_frame_at=None), (), NOW) == "new"
    assert status_of(replace(STATION, last_frame_at=None), ("station_silent",), NOW) == "silent"
    assert status_of(STATION, (), NOW + timedelta(minutes=2)) == "ok"
    assert status_of(STATION, (), NOW + timedelta(minutes=2, seconds=1)) == "quiet"


def test_a_row_gets_the_alerts_of_its_own_station() -> None:
    other = replace(ALERT, subject="station:press-2", kind="station_blind")
    kinds = by_subject([ALERT, other, replace(ALERT, kind="flag_rate")])
    long = "n" * 250
    (row,) = rows_of([STATION], {}, {}, {}, kinds, NOW)
    assert row.status == "silent"
    assert "<span class='pill silent'>silent</span>" in table([row])
    (row,) = rows_of([replace(STATION, name=long)], {}, {}, {}, kinds, NOW)
    assert row.status == "ok"


def test_a_station_shows_a_model_whose_certificate_has_lapsed() -> None:
    station = replace(STATION, product_id=1)
    rows = [rows_of([station], {}, {1: "p"}, {1: "v3"}, {}, NOW, lapsed)[0] for lapsed in ((), (1,), (2,))]
    assert [row.model for row in rows] == ["v3", "v3, lapsed", "v3"]


def test_a_certificate_says_what_it_rests_on() -> None:
    scores = [n / 100 for n in range(100)]
    record = certify(
        scores, artifact_sha256="a", calibration_sha256="c", fingerprint="f", review_rate=0.05, reject_rate=0.01,
        confidence=0.95,
    ).to_dict()  # fmt: skip
    epoch = Epoch(1, 1, "import", "imported images", False, None, NOW, None)
    assert words(record, epoch).endswith("It rests on the imported images and assumes that the stream looks like them.")
    assert words(record).endswith("It assumes that the stream looks like the calibration images.")


def test_an_alert_is_one_line_of_words_colour_and_icon() -> None:
    now = NOW + timedelta(minutes=3, seconds=20)
    said = line(ALERT, {}, now)
    assert "✖ error" in said and "alert error" in said and "station silent" in said
    assert "for 3 min</span>" in said
    seen = line(replace(ALERT, level="warning", n=4, acknowledged_by=2), {2: "<kim>"}, now)
    assert "⚠️ warning" in seen and "for 3 min, 4 times · &lt;kim&gt; has seen it" in seen
    bad = line(replace(ALERT, words="<script>x</script>"), {}, now)
    assert "<script>" not in bad


@pytest.mark.parametrize(("seconds", "said"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (90_000, "1 d")])
def test_ages(seconds: int, said: str) -> None:
    assert ago(NOW, NOW + timedelta(seconds=seconds)) == said
    assert ago(None, NOW) == "never"
