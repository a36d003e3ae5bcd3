"""Where nobody has said when a station is silent, no alert comes: the doctor and the list say so, and how to set it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.cli import checks, main, silence
from agent.settings import Settings
from agent.store import stations
from agent.store.engine import reading, writing
from dashboard import floor
from tests.databases import NOW, Line, line

Said = Callable[..., str]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """A line whose one station, press-1, has no time of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USER", "admin")
    with line(tmp_path) as here:
        monkeypatch.setenv("GOODPART_DATABASE__URL", here.engine.url.render_as_string(hide_password=False))
        yield here


@pytest.fixture
def goodpart(plant: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """What a command prints."""

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["goodpart", *words])
        with pytest.raises(SystemExit, match="0"):
            main()
        return " ".join(capsys.readouterr().out.split())

    return run


def settings(here: Line, silent_after_s: float = 0.0) -> Settings:
    """The line's, with this time for all stations."""
    url = here.engine.url.render_as_string(hide_password=False)
    return Settings.model_validate({"database": {"url": url}, "alerts": {"silent_after_s": silent_after_s}})


def test_the_list_says_whose_silence_is_not_watched_and_what_watches_it(goodpart: Said) -> None:
    goodpart("stations", "add", "press-2", "--silent-after", "900")
    said = goodpart("stations", "list")
    assert "silence is not watched, no alert comes of a stop at press-1; fix: goodpart stations set" in said
    assert [one["silent_after_s"] for one in json.loads(goodpart("stations", "list", "--json"))] == [0, 900]
    goodpart("stations", "set", "press-1", "--silent-after", "0")
    assert "silence" not in goodpart("stations", "list"), "0 was meant"


def test_the_doctor_has_a_fix_for_silence_that_is_not_watched(plant: Line) -> None:
    assert checks.silence in checks.CHECKS
    found = checks.silence(settings(plant))
    assert (found.ok, found.needed, found.fix) == (False, False, silence.FIX)
    assert found.found.endswith("no alert comes of a stop at press-1")
    assert checks.silence(settings(plant, 600)).ok
    with writing(plant.engine) as conn:
        stations.change(conn, plant.station_id, silent_after_s=0)
    assert checks.silence(settings(plant)).ok, "0 was meant"
    with writing(plant.engine) as conn:
        for number in range(11):
            stations.add(conn, f"x{number:02}", now=NOW)
    assert checks.silence(settings(plant)).found.endswith("at x00, x01, x02, x03, x04, x05, x06, x07 and 3 more")


@pytest.mark.parametrize("configured", [0.0, 900.0])
def test_the_board_knows_the_time_of_all_stations(plant: Line, configured: float) -> None:
    with reading(plant.engine) as conn:
        assert floor.read(conn, settings(plant, configured), {}, NOW).silent_after_s == configured


def test_without_a_database_the_doctor_cannot_say_what_is_watched(tmp_path: Path) -> None:
    nowhere = Settings.model_validate({"database": {"url": f"sqlite:///{tmp_path}/nowhere.db"}})
    found = checks.silence(nowhere)
    assert (found.ok, found.needed, "no database" in found.found) == (False, False, True)
