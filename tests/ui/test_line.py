"""The Line page in a browser: a tile a station, at any number of stations and width, that says when it is old."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from agent.demo.redis import RedisServer
from agent.settings import utc_now
from agent.store import registry, stations, trends
from agent.store.engine import writing
from agent.store.local_blobs import LocalBlobs
from tests.databases import Line
from tests.ui.floor import furnish
from tests.ui.plant import serving

# What hides a part of its own text, within the board.
CUT = """
    () => {
      const find = (root) => root.querySelector(".board") ??
        [...root.querySelectorAll("*")].map((one) => one.shadowRoot && find(one.shadowRoot)).find(Boolean);
      return [...find(document).querySelectorAll("*")]
        .filter((one) => one.offsetParent && one.scrollWidth > one.clientWidth + 1 && one.clientWidth)
        .map((one) => `${one.className || one.tagName}: ${one.textContent}`);
    }
"""


def _soon() -> datetime:
    """A little ahead, so that no station has stopped before a busy machine has drawn it."""
    return utc_now() + timedelta(minutes=2)


@pytest.mark.parametrize("count", [1, 6, 40])
def test_every_station_has_its_tile_in_its_place_and_nothing_is_cut(
    page: Page, here: Line, tmp_path: Path, count: int
) -> None:
    states = furnish(here, LocalBlobs(tmp_path / "blobs"), count, _soon())
    with serving(here.engine, tmp_path) as url:
        schemes: tuple[tuple[int, Literal["light", "dark"]], ...] = ((1280, "light"), (820, "dark"))
        for width, scheme in schemes:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            page.goto(f"{url}/?user=viewer")
            expect(page.locator(".tile")).to_have_count(count)
            assert page.locator(".tile .station").all_inner_texts() == list(states)
            found = page.locator(".tile").evaluate_all("all => all.map((one) => one.dataset.state)")
            assert found == list(states.values())
            bad = page.locator(".tile:is([data-level=stop], [data-level=warn])")
            expect(page.locator(".banner button")).to_have_count(min(8, bad.count()))
            assert page.evaluate(CUT) == []
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            expect(page.get_by_text("The line runs; agents and speed cannot be shown.")).to_be_visible()


def test_a_renewal_leaves_what_is_there_in_place(page: Page, here: Line, tmp_path: Path) -> None:
    furnish(here, LocalBlobs(tmp_path / "blobs"), 2, _soon())
    with serving(here.engine, tmp_path) as url:
        page.goto(f"{url}/?user=operator")
        tile, picture = page.locator(".tile").first, page.get_by_role("img", name="newest judged picture of press-1")
        expect(picture).to_be_visible()
        assert picture.evaluate("one => one.naturalWidth") == 320
        review = tile.get_by_role("link")
        review.focus()
        picture.evaluate("one => { one.marked = true; }")
        flagged = tile.locator(".facts > div", has_text="Flagged")
        note = flagged.get_attribute("title") or ""
        assert "frames of the last hour" in note
        with writing(here.engine) as conn:
            live = registry.live(conn, here.product_id)
            seen = [here.inspection(9000 + n, event_at=utc_now(), deployment_id=live and live.id) for n in range(500)]
            trends.add_inspections(conn, seen)
            stations.set_status(conn, here.station_id, "blind", 21, utc_now(), utc_now())
        expect(flagged).not_to_have_attribute("title", note)
        expect(tile).to_have_attribute("data-state", "blind")
        expect(tile).to_contain_text("21 frames in a row could not be inspected")
        assert picture.evaluate("one => one.marked")
        expect(review).to_be_focused()
        page.get_by_role("button", name="press-2: stopped").click()
        expect(page.locator(".tile").nth(1)).to_be_focused()
        review.click()
        expect(page.locator(".desk")).to_be_visible()
        assert "station=press-1" in page.url


def test_a_board_that_is_renewed_no_more_says_so(page: Page, here: Line, tmp_path: Path) -> None:
    furnish(here, LocalBlobs(tmp_path / "blobs"), 1, _soon())
    with serving(here.engine, tmp_path) as url:
        page.goto(f"{url}/?user=viewer")
        expect(page.locator(".banner")).to_contain_text("The station runs")
        expect(page.get_by_role("alert").filter(has_text="Nothing here is of now")).to_have_count(0)
    expect(page.get_by_text("Nothing here is of now")).to_contain_text("The dashboard's server does not answer.")
    expect(page.locator(".board")).to_have_attribute("data-old", "1")


def test_a_plant_at_rest_is_no_server_that_is_away(page: Page, here: Line, tmp_path: Path) -> None:
    """Streamlit calls a component only where its data differs, and nothing about a station that rests does."""
    with writing(here.engine) as conn:
        stations.set_status(conn, here.station_id, "ok", 0, utc_now() - timedelta(hours=14.5), utc_now())
    page.clock.install()
    with serving(here.engine, tmp_path) as url:
        page.goto(f"{url}/?user=viewer")
        expect(page.locator(".tile")).to_contain_text("no frame for 14 h")
        page.clock.fast_forward("00:13")
        expect(page.locator(".board")).to_have_attribute("data-old", "0")
        expect(page.get_by_role("alert").filter(has_text="Nothing here is of now")).to_have_count(0)


def test_redis_that_stops_under_an_open_page_is_missed_in_the_list_of_agents_only(
    page: Page, here: Line, tmp_path: Path
) -> None:
    states = furnish(here, LocalBlobs(tmp_path / "blobs"), 3, _soon())
    nobody, away = page.get_by_text("No agent says that it lives"), page.get_by_text("agents and speed cannot be shown")
    with RedisServer() as redis, serving(here.engine, tmp_path, {"GOODPART_REDIS__URL": redis.url}) as url:
        page.goto(f"{url}/?user=viewer")
        expect(nobody).to_be_visible()
        redis.kill()
        expect(away).to_be_visible()
        with writing(here.engine) as conn:  # the board goes on
            stations.add(conn, "press-99", product_id=here.product_id, now=utc_now())
        expect(page.locator(".tile")).to_have_count(len(states) + 1)
        redis.start()
        expect(nobody).to_be_visible()
        expect(away).to_have_count(0)
        expect(page.locator("[data-testid=stException]")).to_have_count(0)
