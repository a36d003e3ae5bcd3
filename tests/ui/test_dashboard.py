"""The dashboard in a real browser: people look, decide by keyboard, and the database holds exactly what they said."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from threading import Event
from time import monotonic
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sqlalchemy import Engine

from agent.demo.server import free_port
from agent.settings import environment, load, utc_now
from agent.store import (
    alerts,
    inspections,
    items,
    products,
    proposals,
    reviews,
    samples,
    score_bins,
    stations,
    trends,
    users,
)
from agent.store.blobs import keep
from agent.store.engine import reading, writing
from agent.store.items import Item
from agent.store.local_blobs import LocalBlobs
from tests.databases import Line, line

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
PARTS = 12
pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium here (Debian: apt-get install chromium): that the pages work in a browser stays unproven",
)


@dataclass(frozen=True, slots=True)
class Served:
    """A served dashboard and the line behind it."""

    url: str
    line: Line


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    context.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with line(tmp_path) as made:
        seed(made, LocalBlobs(tmp_path / "blobs"))
        with serving(made.engine, tmp_path) as url:
            yield Served(url, made)


class serving:  # noqa: N801
    """Runs `goodpart dashboard` on a free port while the block runs."""

    def __init__(self, engine: Engine, folder: Path):
        port = free_port()
        settings = load(
            None,
            {
                "GOODPART_DATABASE__URL": str(engine.url), "GOODPART_BLOBS__DIRECTORY": str(folder / "blobs"),
                "GOODPART_DASHBOARD__PORT": str(port), "GOODPART_REDIS__URL": f"redis://127.0.0.1:{free_port()}/0",
            },
        )  # fmt: skip
        self.url = f"http://127.0.0.1:{port}"
        self._environ = {**os.environ, **environment(settings)}
        self._log = folder / "dashboard.log"

    def __enter__(self) -> str:
        with self._log.open("wb") as out:
            command = [sys.executable, "-m", "agent.cli", "dashboard"]
            self._process = subprocess.Popen(command, env=self._environ, stdout=out, stderr=out)
        until(self._answers, lambda: self._log.read_text())
        return self.url

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        assert self._process.wait(20) == 0, self._log.read_text()

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            with urlopen(f"{self.url}/_stcore/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


def until(condition: Callable[[], bool], say: Callable[[], str] = lambda: "", seconds: float = 40.0) -> None:
    end, pause = monotonic() + seconds, Event()
    while not condition():
        if monotonic() > end:
            pytest.fail(f"not reached in {seconds} s {say()}")
        pause.wait(0.05)


def seed(made: Line, blobs: LocalBlobs) -> None:
    rng = np.random.default_rng(0)
    now = utc_now()
    rows = [
        made.inspection(n, "review" if n < PARTS else "pass", event_at=now, decided_at=now, serial=f"part-{n}")
        for n in range(60)
    ]
    new = []
    for n in range(PARTS):
        frame = cv2.imencode(".png", rng.integers(0, 255, (90, 120, 3), np.uint8))[1].tobytes()
        webp = cv2.imencode(".webp", rng.integers(0, 255, (90, 120, 3), np.uint8))[1].tobytes()
        heat = io.BytesIO()
        np.save(heat, rng.random((32, 32)).astype(np.float16))
        kept = [
            keep(made.engine, blobs, data, kind, utc_now())
            for data, kind in (
                (frame, "image/png"), (webp, "image/webp"), (webp, "image/webp"),
                (heat.getvalue(), "application/x-npy"),
            )
        ]  # fmt: skip
        new.append(
            made.new_item(
                n, frame_sha256=kept[0], preview_sha256=kept[1], overlay_sha256=kept[2], heatmap_sha256=kept[3],
                serial=f"part-{n}", score=13.5 + n, event_at=now, lot="<b>L7</b> ![x](http://x)",
            )
        )  # fmt: skip
    with writing(made.engine) as conn:
        inspections.add_all(conn, rows)
        trends.add_inspections(conn, rows)
        items.add_all(conn, new)


def open_items(made: Line) -> list[Item]:
    with reading(made.engine) as conn:
        return items.queue(conn, limit=100)


def review(page: Page, served: Served, user: str = "operator") -> None:
    page.goto(f"{served.url}/review?user={user}")
    page.locator(".desk img").first.wait_for()


def test_an_operator_approves_a_part_and_it_leaves_the_queue(page: Page, served: Served) -> None:
    review(page, served)
    first = open_items(served.line)[0]
    desk = page.locator(".desk")
    expect(desk).to_have_attribute("data-item", str(first.id))
    expect(page.locator(".desk .count")).to_have_text(f"{PARTS} to review")
    assert "13.5" not in desk.inner_text(), "the score must stay hidden until the verdict"
    for image in page.locator(".desk img").all():
        page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())
    page.keyboard.press("n")
    expect(desk).not_to_have_attribute("data-item", str(first.id))
    until(lambda: first.id not in [item.id for item in open_items(served.line)])
    expect(page.locator(".desk .last")).to_contain_text("score 13.50")
    assert served.line.item(first.id).decision == "normal"
    with reading(served.line.engine) as conn:
        (sample,) = samples.all(conn, served.line.product_id, state=None)
    assert (sample.role, sample.state) == ("train", "proposed")


def test_a_defect_gets_its_reason_and_undo_brings_the_part_back(page: Page, served: Served) -> None:
    review(page, served)
    first = open_items(served.line)[0]
    page.keyboard.press("d")
    expect(page.get_by_text("Which defect?")).to_be_visible()
    page.keyboard.press("1")
    until(lambda: served.line.item(first.id).decision == "defect")
    assert served.line.item(first.id).reviews[-1].reason == "scratch"
    page.keyboard.press("z")
    until(lambda: served.line.item(first.id).state == "open")
    expect(page.locator(".desk")).to_have_attribute("data-item", str(first.id))


def test_fast_keys_give_each_part_exactly_one_review(page: Page, served: Served) -> None:
    review(page, served)
    for _ in range(PARTS + 3):
        page.keyboard.press("n")
    until(lambda: not open_items(served.line))
    expect(page.get_by_text("The queue is empty")).to_be_visible()
    with reading(served.line.engine) as conn:
        counted = {item.id: len(reviews.of_item(conn, item.id)) for item in items.closed(conn)}
    assert list(counted.values()) == [1] * PARTS


def test_a_viewer_looks_but_does_not_decide(page: Page, served: Served) -> None:
    review(page, served, "viewer")
    page.keyboard.press("n")
    expect(page.locator("button.normal")).to_be_disabled()
    expect(page.get_by_text("You may look.")).to_be_visible()
    assert len(open_items(served.line)) == PARTS


def test_two_operators_at_once_leave_one_review_a_part(browser: Browser, served: Served) -> None:
    pages = [browser.new_context().new_page() for _ in range(2)]
    for page in pages:
        review(page, served)
    for _ in range(PARTS):
        for page in pages:
            page.keyboard.press("n")
    until(lambda: not open_items(served.line))
    for page in pages:
        page.context.close()
    with reading(served.line.engine) as conn:
        assert {len(reviews.of_item(conn, item.id)) for item in items.closed(conn)} == {1}


def test_every_page_shows_its_numbers_without_an_exception(page: Page, served: Served) -> None:
    wanted = {
        "": ["press-1", "flange", "Redis"],
        "trends": ["Flag rate", "20.00%", "12 of 60"],
        "shift": ["What happened", "12 parts wait for a review now", "20.00%"],
        "part": ["Give a part's serial"],
        "models": ["No model is live", "Retrain now"],
        "teach": ["No product is being taught", "From the parts of station"],
    }
    for name, texts in wanted.items():
        page.goto(f"{served.url}/{name}?user=engineer")
        for text in texts:
            expect(page.get_by_text(text).first).to_be_visible()
        expect(page.locator("[data-testid=stException]")).to_have_count(0)
    page.goto(f"{served.url}/models?user=operator")
    expect(page.get_by_text("Engineers retrain, promote and roll back here.")).to_be_visible()


def test_a_second_person_lets_a_proposal_train_beside_the_defects_it_resembles(page: Page, served: Served) -> None:
    made = served.line
    picture = open_items(made)[0].frame_sha256
    assert picture
    with writing(made.engine) as conn:
        known = samples.add(
            conn, samples.NewSample(made.product_id, "defect", "import", picture, "d" * 64, reason="scratch"), utc_now()
        )
        new = samples.NewSample(
            made.product_id, "train", "flagged", picture, "e" * 64, added_by=made.operator.id, state="proposed"
        )
        held = samples.add(conn, new, utc_now())
        found = {"words": "looks more like a defect", "nearest": [known.id]}
        proposals.move(
            conn, held.id, "quarantined", expected=["proposed"], by=None, quarantine=found, now=utc_now()
        )  # fmt: skip
    page.goto(f"{served.url}/models?user=operator")
    expect(page.get_by_text("looks more like a defect")).to_be_visible()
    expect(page.get_by_role("button", name="Good: let it train")).to_have_count(0)
    page.goto(f"{served.url}/models?user=engineer")
    expect(page.get_by_text("approved by operator")).to_be_visible()
    expect(page.get_by_text("scratch")).to_be_visible()
    page.get_by_role("button", name="Good: let it train").click()
    expect(page.get_by_text("Proposed for training")).to_have_count(0)
    with reading(made.engine) as conn:
        assert (samples.get(conn, held.id).state, samples.get(conn, held.id).accepted_by) == (
            "accepted",
            made.engineer.id,
        )
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


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
    expect(page.locator("table.line .pill.silent")).to_have_text("silent")
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
    expect(page.get_by_text("12 to 12 of 60 frames would have been flagged")).to_be_visible()
    page.get_by_label("Were the threshold at severity").fill("-1.5")
    page.keyboard.press("Enter")
    expect(page.get_by_text("12 to 60 of 60 frames would have been flagged")).to_be_visible()
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_a_point_of_a_trend_opens_its_parts(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/trends?user=engineer&by=lot")
    expect(page.locator("table.line")).to_contain_text("(no lot)20.00% (12 of 60)")
    point = page.locator("[data-testid=stVegaLiteChart]").first.locator("path[aria-roledescription=point]")
    point.first.click(force=True)
    expect(page.get_by_text(f"({PARTS} shown)")).to_be_visible()
    page.get_by_role("link", name="part-3", exact=True).click()
    expect(page.get_by_text("1 inspection, newest first")).to_be_visible()
    expect(page.get_by_text("hidden until the part is judged").first).to_be_visible()
    expect(page.get_by_role("img", name="frame of part-3")).to_be_visible()
    with page.expect_download() as started:
        page.get_by_role("button", name="Download the frame").click()
    assert started.value.path().read_bytes().startswith(b"\x89PNG")
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_an_admin_adds_a_user_and_the_audit_trail_says_so(page: Page, served: Served) -> None:
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
    page.goto(f"{served.url}/audit?user=viewer&action=review.decide")
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_blobs_that_are_no_pictures_are_not_served(served: Served) -> None:
    item = open_items(served.line)[0]
    with urlopen(f"{served.url}/blob/{item.frame_sha256}") as answer:
        assert answer.headers["Content-Type"] == "image/png"
    for path in (f"/blob/{item.heatmap_sha256}", "/blob/" + "0" * 64, "/blob/..%2f..%2fgoodpart.db", "/heatmap/zz"):
        with pytest.raises(HTTPError) as caught:
            urlopen(f"{served.url}{path}")
        assert caught.value.code in (400, 404)
        caught.value.close()
