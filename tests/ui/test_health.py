"""The page Health in a real browser: dead letters are looked at, published again and discarded."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from agent.service.dead_letters import PREVIEW, REPLAY
from agent.settings import utc_now
from agent.store import commands, dead_letters
from agent.store.dead_letters import NewDeadLetter
from agent.store.engine import reading, writing
from tests.databases import Line
from tests.ui.plant import Served, open_items


def _letters(made: Line, count: int, **changes: Any) -> None:
    given: dict[str, Any] = {
        "station": "press-9", "reason": "bad_header", "detail": "station 'press-9' is not registered",
        "headers": [("ce_source", "press-9"), ("ce_id", "<b>x</b>")], "value_sha256": "a" * 64, "counted": True,
        "created_at": utc_now(),
    } | changes  # fmt: skip
    with writing(made.engine) as conn:
        letters = [
            NewDeadLetter(stream_id=made.stream_id, partition=0, offset=900 + n, blob_sha256=_frame(made), **given)
            for n in range(count)
        ]
        dead_letters.add_all(conn, letters)


def _frame(made: Line) -> str | None:
    return open_items(made)[0].frame_sha256


def test_dead_letters_are_published_again_and_discarded(page: Page, served: Served) -> None:
    made = served.line
    _letters(made, 3)
    page.goto(f"{served.url}/health?user=viewer")
    expect(page.get_by_text("Waiting: 3 dead letters")).to_be_visible()
    expect(page.get_by_role("button", name="Publish again")).to_have_count(0)
    page.goto(f"{served.url}/health?user=engineer&letter=1")
    expect(page.get_by_text("<b>x</b>")).to_be_visible()
    page.get_by_role("button", name="Show what was kept").click()
    expect(page.get_by_text("Picture of dead letter 1, asked by engineer")).to_be_visible()
    with writing(made.engine) as conn:  # as an agent does it
        asked = commands.next(conn, [PREVIEW])
        assert asked and dead_letters.keep_preview(conn, 1, open_items(made)[0].preview_sha256 or "")
        commands.finish(conn, asked.id, result={}, now=utc_now())
    expect(page.get_by_role("img", name="picture of dead letter 1")).to_be_visible()
    expect(page.get_by_role("button", name="Discard")).to_have_count(2)
    page.get_by_role("button", name="Discard").last.click()
    expect(page.get_by_role("button", name="Discard 1 dead letter")).to_be_disabled()
    page.get_by_label("Why").fill("a test")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Discard 1 dead letter").click()
    expect(page.get_by_text("It was discarded")).to_be_visible()
    page.get_by_role("button", name="Publish again").click()
    page.get_by_role("combobox", name="Station", exact=True).click()
    page.get_by_role("option", name="press-1").click()
    page.get_by_role("button", name="Publish 2 dead letters").dblclick()
    expect(page.get_by_text("Replay of 2 dead letters, asked by engineer")).to_be_visible()
    expect(page.get_by_role("button", name="Publish again")).to_be_disabled()
    with writing(made.engine) as conn:
        (asked,) = commands.waiting(conn, [REPLAY])
        assert asked.args == {"ids": [2, 3], "station": "press-1", "product": None}
        assert commands.next(conn, [REPLAY])
        commands.tell(conn, asked.id, {"published": 1, "refused": 0, "left": 1, "problems": []})
    expect(page.get_by_text("1 of 2 done")).to_be_visible()
    with writing(made.engine) as conn:
        dead_letters.replayed(conn, 2, utc_now())
        came = {"published": 1, "refused": 1, "left": 0, "problems": [[3, "it has no model"]]}
        commands.finish(conn, asked.id, result=came, now=utc_now())
    expect(page.get_by_text("1 published, 1 refused")).to_be_visible()
    page.get_by_text("The 1 that were refused").click()
    expect(page.get_by_text("it has no model")).to_be_visible()
    with reading(made.engine) as conn:
        assert dead_letters.states(conn, [1, 2, 3]) == {1: "discarded", 2: "replayed", 3: "waiting"}
        assert len(commands.latest(conn, [REPLAY], 9)) == 1, "a double click asks once"
    page.get_by_role("button", name="Publish again").click()
    page.get_by_role("button", name="Publish 1 dead letter").click()
    page.get_by_role("button", name="Cancel this replay").click()
    expect(page.get_by_text("cancelled by engineer, 0 published before")).to_be_visible()
    expect(page.get_by_role("button", name="Publish again")).to_be_enabled()
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
