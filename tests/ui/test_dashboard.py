"""The dashboard in a real browser: what its pages show, and what their buttons do."""

from __future__ import annotations

import csv
import re
from datetime import UTC
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, expect

from agent.service import reviews as deciding
from agent.settings import utc_now
from agent.store import alerts, inspections, item_vectors, products, score_bins, stations, users
from agent.store.engine import reading, writing
from tests.ui.plant import FRAME, HOSTILE, MADE, PARTS, Served, open_items
from tests.ui.walk import at_rest
from tests.vectors import spot

# How much of what surrounds an element shows only a part of what it holds.
CUTS = """one => {
    let count = 0;
    for (let at = one.parentElement; at && at !== document.documentElement; at = at.parentElement)
        count += getComputedStyle(at).overflowY !== "visible" && at.scrollHeight > at.clientHeight + 1;
    return count;
}"""


def test_every_page_shows_its_numbers_without_an_exception(page: Page, served: Served) -> None:
    wanted = {
        "": ["press-1", "flange", "Redis"],
        "trends": ["Flag rate", "20.00%", "12 of 60"],
        "shift": ["What happened", "12 parts wait for a review now", "20.00%"],
        "health": ["Every frame has one outcome", "0 received = 0 inspected", "There was none."],
        "triage": ["12 parts, the newest first", "part-3", HOSTILE],
        "review": [HOSTILE, f"lot {HOSTILE}"],
        "part": ["Give a part's serial"],
        f"part?{urlencode({'serial': HOSTILE})}": ["1 inspection, newest first", HOSTILE, FRAME],
        "trends?by=lot": ["(no lot)"],
        "samples": ["What the check clears trains by itself"],
        "samples?show=All+samples": ["No sample is like that."],
        "samples?show=Coverage": ["What the next training run would take"],
        "models": ["No model is live", "Retrain now"],
        "teach": ["No product is being taught", "From the parts of station"],
    }
    for name, texts in wanted.items():
        page.goto(f"{served.url}/{name}{'&' if '?' in name else '?'}user=engineer")
        for text in texts:
            expect(page.get_by_text(text).first).to_be_visible()
        expect(page.locator("[data-testid=stException]")).to_have_count(0)
        expect(page.locator(MADE)).to_have_count(0)  # a frame's headers stay text
    page.goto(f"{served.url}/models?user=operator")
    expect(page.get_by_text("Engineers retrain, promote and roll back here.")).to_be_visible()


def test_an_engineer_lets_a_station_run_another_product(page: Page, served: Served) -> None:
    with writing(served.line.engine) as conn:
        made = products.add(conn, "bracket", now=utc_now())
    page.goto(f"{served.url}/?user=engineer")
    page.get_by_role("button", name="Change over").click()
    confirm = page.get_by_role("button", name="Confirm")
    for label, choice in (("Station", "press-1"), ("Runs from now on", "bracket")):
        expect(confirm).to_be_disabled()
        page.get_by_role("combobox", name=label).click()
        page.get_by_role("option", name=choice).click()
    confirm.click()
    expect(page.get_by_text("press-1 runs bracket")).to_be_visible()
    with reading(served.line.engine) as conn:
        assert stations.get(conn, served.line.station_id).product_id == made.id
    page.goto(f"{served.url}/?user=operator")
    expect(page.get_by_text("press-1").first).to_be_visible()
    expect(page.get_by_role("button", name="Change over")).to_have_count(0)


def test_an_alert_stands_on_top_until_an_operator_has_seen_it(page: Page, served: Served) -> None:
    with writing(served.line.engine) as conn:
        for kind, subject in (("data_gap", "partition:t/0"), ("station_silent", "station:press-1")):
            alerts.raise_(
                conn, kind, subject, "<b>look</b>", level="error", detail={}, event=kind == "data_gap", now=utc_now()
            )
    page.goto(f"{served.url}/?user=viewer")
    expect(page.locator(".alert.error")).to_have_count(2)
    expect(page.locator(".alert").first).to_contain_text("<b>look</b>")
    expect(page.locator(".tile[data-level=stop] .state")).to_have_text("silent")
    expect(page.locator(".banner[data-level=stop]")).to_contain_text("1 station needs somebody; data gap")
    expect(page.locator(".banner")).to_contain_text("press-1: silent")
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)
    page.goto(f"{served.url}/?user=operator")
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(2)
    for left in (1, 0):
        page.get_by_role("button", name="Acknowledge").first.click()
        expect(page.get_by_role("button", name="Acknowledge")).to_have_count(left)
    expect(page.locator(".alert")).to_have_count(1)
    expect(page.locator(".alert")).to_contain_text("operator has seen it")


def test_the_scores_of_a_product_say_what_another_threshold_would_have_flagged(page: Page, served: Served) -> None:
    made, now = served.line, utc_now()
    page.goto(f"{served.url}/trends?product=flange&user=engineer")
    expect(page.get_by_text("No frame of these days was scored under a certificate.")).to_be_visible()
    with writing(made.engine) as conn:
        deployed = made.deploy(conn, 1)
        scored = [
            made.inspection(n, event_at=now, deployment_id=deployed, severity=0.7 if n < PARTS else -1.5)
            for n in range(60)
        ]
        score_bins.add_inspections(conn, scored, UTC)
    page.reload()
    expect(page.get_by_text("12 of 60 frames would have been flagged")).to_be_visible()
    page.get_by_label("Were the threshold at severity").fill("-1.5")
    page.keyboard.press("Enter")
    expect(page.get_by_text("12 to 60 of 60 frames would have been flagged")).to_be_visible()
    rules = page.get_by_role("combobox", name="Run rules")
    rules.click()
    rules.press_sequentially("two of three")
    page.get_by_role("option", name="two of three").click()
    expect(page).to_have_url(re.compile(r"rules=1(,|%2C)2(,|%2C)5"))
    expect(page).to_have_url(re.compile(r"threshold=-1\.5"))
    page.goto(page.url)  # as a link would
    expect(page.get_by_text("12 to 60 of 60 frames would have been flagged")).to_be_visible()
    expect(page.get_by_test_id("stMultiSelectTagsContainer").locator("[data-tag]")).to_have_count(3)
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_a_point_of_a_trend_opens_its_parts(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/trends?user=engineer&by=lot")
    expect(page.locator("table.line")).to_contain_text("(no lot)20.00% (12 of 60)")
    at_rest(page)
    point = page.locator("[data-testid=stVegaLiteChart]").first.locator("path[aria-roledescription=point]")
    point.first.click(force=True)
    expect(page.get_by_text(f"({PARTS} of {PARTS} shown)")).to_be_visible()
    expect(page.get_by_role("link", name=f"All {PARTS} in Triage")).to_be_visible()
    page.get_by_role("link", name="part-3", exact=True).click()
    expect(page.get_by_text("1 inspection, newest first")).to_be_visible()
    expect(page.get_by_text("hidden until the part is judged").first).to_be_visible()
    expect(page.get_by_role("img", name="frame of part-3")).to_be_visible()
    at_rest(page)
    with page.expect_download() as started:
        page.get_by_role("button", name="Download the frame").click()
    assert started.value.path().read_bytes().startswith(b"\x89PNG")
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_a_trend_is_told_in_words_and_opens_its_parts_by_keys(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/trends?user=engineer")
    at_rest(page)
    chart = page.locator("[data-testid=stVegaLiteChart]").first
    expect(chart).to_have_attribute("aria-label", re.compile("^Flag rate, .*, n = 60 in 1 buckets"))
    page.locator("summary", has_text="Parts of a point").focus()
    page.keyboard.press("Enter")
    points = page.get_by_role("combobox", name="Point, the newest first")
    expect(points).to_be_visible()
    page.wait_for_function("!document.getAnimations().length")  # a list closes where what it stands in moves
    page.keyboard.press("Tab")
    expect(points).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"({PARTS} of {PARTS} shown)")).to_be_visible()
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_a_search_stands_in_the_address_and_its_sheet_runs_no_formula(page: Page, served: Served) -> None:
    made, first = served.line, open_items(served.line)[0]
    deciding.decide(made.engine, made.operator, first.id, "defect", "=1+1", key="k", now=utc_now())
    page.goto(f"{served.url}/triage?user=engineer&decision=defect")
    expect(page.get_by_text("1 part, the newest first")).to_be_visible()
    at_rest(page)
    with page.expect_download() as started:
        page.get_by_role("button", name="CSV").click()
    (row,) = csv.DictReader(started.value.path().read_text().splitlines())
    assert (row["Serial"], row["Reason"], row["Reviewer"]) == (first.serial, "'=1+1", "operator")
    page.get_by_label("Reason").fill("dent")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No part is like that")).to_be_visible()
    expect(page).to_have_url(re.compile("reason=dent"))


def test_one_cause_is_judged_at_once_and_taken_back(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/triage?user=operator&state=open")
    boxes = page.get_by_text("judge", exact=True)
    for at in range(2):
        expect(page.get_by_text(f"{at} ticked;")).to_be_visible()
        at_rest(page)
        expect(boxes).to_have_count(PARTS)
        boxes.nth(at).click()
    expect(page.get_by_text("2 ticked;")).to_be_visible()
    page.get_by_role("radio", name="defect").click()
    page.get_by_role("button", name="Judge …").click()
    page.get_by_role("button", name="Judge 2 parts as defect: scratch").click()
    expect(page.get_by_text("2 parts were judged as defect: scratch.")).to_be_visible()
    assert len(open_items(served.line)) == PARTS - 2
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("2 parts are as they were")).to_be_visible()
    assert len(open_items(served.line)) == PARTS
    page.get_by_text("all that match", exact=True).click()
    page.get_by_role("button", name="Judge …").click()
    page.get_by_role("button", name=f"Judge {PARTS} parts as").click()
    expect(page.get_by_text(f"{PARTS} parts were judged")).to_be_visible()
    assert open_items(served.line) == []
    page.goto(f"{served.url}/triage?user=viewer")
    expect(page.get_by_text("part-3")).to_be_visible()
    expect(page.get_by_role("button", name="Judge …")).to_have_count(0)


def test_parts_of_one_cause_are_a_row_that_is_judged_at_once(page: Page, served: Served) -> None:
    made = served.line
    with writing(made.engine) as conn:
        kept = {n: spot(2, 2, noise=n) if n in (1, 4, 7, 8) else spot(n, 13 - n) for n in range(PARTS - 1)}
        item_vectors.add_all(conn, made.stream_id, 0, kept)
    page.goto(f"{served.url}/triage?user=operator&state=open")
    page.get_by_text("Group by similar heatmap").click()
    expect(page).to_have_url(re.compile("grouped=true"))
    expect(page.get_by_text("4 alike · flange · press-1")).to_be_visible()
    expect(page.get_by_text("1 not comparable: no model scored them")).to_be_visible()
    row = page.locator(".row").first
    expect(row.get_by_role("link", name=re.compile("^part-"))).to_have_text(["part-1", "part-4", "part-7", "part-8"])
    expect(row.get_by_role("img", name="mean heatmap of the group")).to_be_visible()
    page.get_by_text("Select this group (4)").click()
    page.get_by_role("radio", name="defect").click()
    page.get_by_role("button", name="Judge …").click()
    page.get_by_role("button", name="Judge 4 parts as defect: scratch").click()
    expect(page.get_by_text("4 parts were judged as defect: scratch.")).to_be_visible()
    expect(page.get_by_text("4 alike")).to_have_count(0)
    left = {HOSTILE, *(f"part-{n}" for n in range(1, PARTS) if n not in (1, 4, 7, 8))}
    assert {one.serial for one in open_items(made)} == left
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("4 parts are as they were")).to_be_visible()
    assert len(open_items(made)) == PARTS
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_an_admin_adds_a_user_and_the_audit_trail_says_so(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/audit?user=operator")
    expect(page.get_by_text("This page is for engineers and admins.")).to_be_visible()
    expect(page.get_by_role("link", name="Audit")).to_have_count(0)
    expect(page.get_by_text("Check the chain")).to_have_count(0)
    page.goto(f"{served.url}/audit?user=engineer")
    expect(page.get_by_text("Admins add users")).to_be_visible()
    page.goto(f"{served.url}/audit?user=admin")
    page.get_by_label("New user").fill("<b>ada</b>")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("table.line").last).to_contain_text("<b>ada</b>")
    expect(page.locator("table.line").first).to_contain_text("user.add")
    with reading(served.line.engine) as conn:
        assert users.named(conn, "<b>ada</b>").role == "viewer"
    page.get_by_role("button", name="Check the chain").click()
    expect(page.get_by_text("The chain is whole")).to_be_visible()


def test_blobs_that_are_no_pictures_are_not_served(served: Served) -> None:
    item = open_items(served.line)[0]
    with urlopen(f"{served.url}/blob/{item.frame_sha256}") as answer:
        assert answer.headers["Content-Type"] == "image/png"
    for path in (f"/blob/{item.heatmap_sha256}", "/blob/" + "0" * 64, "/blob/..%2f..%2fgoodpart.db", "/heatmap/zz"):
        with pytest.raises(HTTPError) as caught:
            urlopen(f"{served.url}{path}")
        assert caught.value.code in (400, 404)
        caught.value.close()


def test_the_address_that_a_part_prints_opens_it_in_the_viewers_time(browser: Browser, served: Served) -> None:
    tokyo = browser.new_context(timezone_id="Asia/Tokyo")
    page = tokyo.new_page()
    page.goto(f"{served.url}/part?serial=part-3&user=viewer")
    address = page.locator("code", has_text="?inspection=").inner_text()
    page.goto(address)
    expect(page.get_by_role("img", name="frame of part-3")).to_be_visible()
    expect(page.get_by_text("Times in Asia/Tokyo")).to_have_count(1)
    with reading(served.line.engine) as conn:
        (seen,) = inspections.of_serial(conn, "part-3")
    local = seen.event_at.astimezone(ZoneInfo("Asia/Tokyo"))
    expect(page.get_by_role("cell", name=f"{local:%Y-%m-%d %H:%M:%S}").first).to_be_visible()
    page.goto(address.replace("Z", "+00:00") + "&user=viewer")  # as it was printed once
    expect(page.get_by_role("img", name="frame of part-3")).to_be_visible()
    tokyo.close()


def test_a_shift_prints_whole_and_without_what_one_presses(page: Page, served: Served) -> None:
    page.set_viewport_size({"width": 1280, "height": 240})  # less than the page needs
    page.goto(f"{served.url}/shift?user=engineer")
    at_rest(page)
    expect(page.locator("table.line").first).to_be_visible()
    assert page.locator("table.line").last.evaluate(CUTS) > 0, "on screen the page scrolls"
    page.emulate_media(media="print")
    for menu in ("[data-testid=stSidebar]", ".st-key-filters"):
        expect(page.locator(menu)).to_be_hidden()
    expect(page.locator("table.line").first).to_be_visible()
    assert page.locator("table.line").last.evaluate(CUTS) == 0
