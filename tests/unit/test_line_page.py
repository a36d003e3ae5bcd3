"""What the Line page says below its board, as text: ages, and alerts without anybody's HTML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from agent.live import Glance, NoLive
from agent.settings import Settings
from agent.store import stations
from agent.store.alerts import Alert
from agent.store.engine import Unreachable, reading
from agent.store.epochs import Epoch
from dashboard import blobs, context
from dashboard.alerts import ago, line
from dashboard.certificates import words
from dashboard.components import andon as board
from dashboard.views import line as line_page
from model.certificate import certify
from tests.databases import NOW, Line

ALERT = Alert(
    7, "station_silent", "station:press-1", "error", "press-1 sends no frames", {}, 1, NOW, NOW, None, None, None, 0,
    None, None,
)  # fmt: skip


def test_a_certificate_says_what_it_rests_on() -> None:
    scores = [n / 100 for n in range(100)]
    record = certify(
        scores, artifact_sha256="a", calibration_sha256="c", fingerprint="f", review_rate=0.05, reject_rate=0.01,
        confidence=0.95,
    ).to_dict()  # fmt: skip
    epoch = Epoch(1, 1, "import", "imported images", False, None, NOW, None)
    assert words(record, epoch).endswith("It rests on the imported images and assumes that the stream looks like them.")
    assert words(record).endswith("It assumes that the stream looks like the calibration images.")


def _page() -> None:
    from dashboard.views import line

    line.show()


def test_the_board_is_told_everything_in_plain_values_and_what_is_wrong_where_the_store_is_away(
    here: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Mapping[str, Any]] = []
    monkeypatch.setattr(board, "draw", drawn.append)
    monkeypatch.setattr(context, "engine", lambda: here.engine)
    monkeypatch.setattr(context, "settings", Settings)
    monkeypatch.setattr(context, "live", NoLive)
    page = AppTest.from_function(_page, default_timeout=30)
    page.session_state["actor"] = here.engineer
    page.run()
    assert not page.exception, page.exception
    (told,) = [json.loads(json.dumps(one)) for one in drawn]
    (tile,) = told["tiles"]
    assert (tile["station"], tile["state"], tile["level"]) == ("press-1", "waiting", "idle")
    assert tile["href"] == "/review?station=press-1&user=engineer"
    assert told["banner"]["words"] == "0 of 1 stations run, 1 waiting"
    assert any("no Redis is configured" in one.value for one in page.warning)

    @contextmanager
    def away() -> Iterator[Connection]:
        raise Unreachable("the database does not answer")
        yield

    monkeypatch.setattr(context, "reading", away)
    page = AppTest.from_function(_board, default_timeout=30)
    page.run()
    assert not page.exception and drawn[-1] == {"trouble": "the database does not answer"}


def test_the_live_view_s_pictures_are_those_of_this_plant_and_one_that_is_away_is_not_asked(
    here: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wall(NoLive):
        def shown(self, places: Sequence[str]) -> dict[str, Glance]:
            assert self.available
            return {places[0]: Glance(NOW, True), "another:1": Glance(NOW, True)}

        def picture(self, place: str) -> bytes | None:
            return b"webp" if place == context.place(here.station_id) else None

    wall = Wall()
    monkeypatch.setattr(context, "_install_id", lambda: "plant")
    monkeypatch.setattr(context, "live", lambda: wall)
    with reading(here.engine) as conn:
        found = stations.all(conn)
    assert line_page._glances(found) == {}
    wall.available = True
    assert line_page._glances(found) == {here.station_id: Glance(NOW, True)}
    client = TestClient(Starlette(routes=blobs.routes()))
    shown = client.get(f"/now/{here.station_id}?at=1")
    assert (shown.content, shown.headers["content-type"]) == (b"webp", "image/webp")
    assert "no-cache" in shown.headers["cache-control"] and client.get("/now/999").status_code == 404


def _board() -> None:
    from dashboard.views import line

    line._board()
    line._below()


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
