"""Getting in, in a real browser: what is shown to nobody, passwords, PINs, idle terminals, roles."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from agent.service import users as service
from agent.settings import utc_now
from agent.store import audit
from agent.store.engine import reading
from agent.store.local_blobs import LocalBlobs
from dashboard.pages import VIEWS
from tests.databases import Line, line
from tests.ui.plant import Served, open_items, seed, serving, until

WORDS, PIN = "correct horse battery", "2580"


def accounts(made: Line) -> None:
    """A password for each of the line's users."""
    for user in (made.admin, made.engineer, made.operator, made.viewer):
        service.set_password(made.engine, made.admin, user.name, WORDS, key=f"w-{user.id}", now=utc_now())


@pytest.fixture(scope="module")
def guarded(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("guarded")
    with line(folder) as made:
        blobs = LocalBlobs(folder / "blobs")
        seed(made, blobs)
        accounts(made)
        with serving(made.engine, folder) as url:
            yield Served(url, made, blobs)


def sign_in(page: Page, name: str, password: str = WORDS) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    door(page).click()


def door(page: Page) -> Locator:
    """What signs in by a password."""
    return page.get_by_role("button", name="Sign in", exact=True)


def out(page: Page) -> None:
    page.get_by_role("button", name="Sign out or switch user").click()
    expect(door(page)).to_be_visible()


def cookie(page: Page) -> str:
    return next((one["value"] for one in page.context.cookies() if one["name"].startswith("goodpart_session_")), "")


def sent(url: str, value: str) -> dict[str, str]:
    """The header that sends a session's cookie."""
    return {"Cookie": f"goodpart_session_{urlsplit(url).port}={value}"}


def status(url: str, headers: Mapping[str, str], body: bytes | None = None) -> tuple[int, bytes]:
    try:
        with urlopen(Request(url, body, dict(headers))) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


def test_nobody_is_shown_anything_at_any_address_of_a_fresh_server(page: Page, guarded: Served) -> None:
    told: list[str] = []
    page.on("websocket", lambda one: one.on("framereceived", lambda data: told.append(str(data))))
    for view in reversed(VIEWS):  # the first one that anybody asks this server for is not the one it begins with
        page.goto(f"{guarded.url}/{view.path}?user=admin")
        expect(door(page)).to_be_visible()
        expect(page.locator("[data-testid=stSidebarNavLink]")).to_have_count(0)
        expect(page.locator("[data-testid=stException]")).to_have_count(0)
    assert told
    assert not [one for one in told for word in ("press-1", "flange", "part-3", "engineer") if word in one]


def test_a_password_lets_in_and_a_wrong_one_says_nothing(page: Page, guarded: Served) -> None:
    page.goto(f"{guarded.url}/triage")
    for name, password in (("operator", "wrong password"), ("nobody", WORDS)):
        sign_in(page, name, password)
        expect(page.get_by_role("alert").get_by_text("this name and password do not go together")).to_be_visible()
        assert cookie(page) == ""
    sign_in(page, "operator")
    expect(page.get_by_text("part-3")).to_be_visible()  # where they wanted to go
    expect(page.get_by_text("operator · operator")).to_be_visible()
    port = urlsplit(guarded.url).port
    ours = [one for one in page.context.cookies() if one["name"].startswith("goodpart")]
    assert {one["name"] for one in ours} == {f"goodpart_session_{port}", f"goodpart_terminal_{port}"}
    assert all(one["httpOnly"] and one["sameSite"] == "Strict" for one in ours)
    out(page)
    assert cookie(page) == ""
    page.goto(f"{guarded.url}/triage")
    expect(door(page)).to_be_visible()
    expect(page.get_by_text("part-3")).to_have_count(0)
    with reading(guarded.line.engine) as conn:
        told = [(one.action, one.user_id) for one in audit.recent(conn, 2)]
    assert told == [("session.end", guarded.line.operator.id), ("session.open", guarded.line.operator.id)]


def test_another_tab_takes_part_in_a_sign_in_and_in_a_switch_of_users(page: Page, guarded: Served) -> None:
    other = page.context.new_page()
    for one in (page, other):
        one.goto(guarded.url)
        expect(door(one)).to_be_visible()
    sign_in(page, "operator")
    expect(page.get_by_text("operator · operator")).to_be_visible()
    other.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(other.get_by_text("operator · operator")).to_be_visible()
    out(page)
    sign_in(page, "engineer")
    expect(page.get_by_text("engineer · engineer")).to_be_visible()
    other.evaluate("window.dispatchEvent(new Event('focus'))")  # for it may have noticed the sign-out
    expect(other.get_by_text("engineer · engineer")).to_be_visible(timeout=40_000)


def test_what_a_role_may_not_see_is_not_there(page: Page, guarded: Served) -> None:
    page.goto(f"{guarded.url}/audit")
    sign_in(page, "operator")
    expect(page.get_by_role("link", name="Models")).to_be_visible()
    expect(page.get_by_role("link", name="Audit")).to_have_count(0)
    for text in ("Check the chain", "session.open", "New user"):
        expect(page.get_by_text(text)).to_have_count(0)
    expect(page.get_by_text("This page is for engineers and admins.")).to_be_visible()
    out(page)
    sign_in(page, "admin")
    page.get_by_role("link", name="Audit").click()
    expect(page.get_by_text("session.open").first).to_be_visible()


def test_a_change_of_role_takes_effect_on_an_open_page_and_disabling_signs_out(page: Page, guarded: Served) -> None:
    made = guarded.line
    service.add(made.engine, made.admin, "kim", "operator", key="kim", now=utc_now())
    service.set_password(made.engine, made.admin, "kim", WORDS, key="kim-w", now=utc_now())
    page.goto(guarded.url)
    sign_in(page, "kim")
    expect(page.get_by_role("link", name="Models")).to_be_visible()
    service.change_role(made.engine, made.admin, "kim", "viewer", key="kim-r", now=utc_now())
    expect(page.get_by_role("link", name="Models")).to_have_count(0)  # the page draws its table again by itself
    expect(page.get_by_text("kim · viewer")).to_be_visible()
    service.disable(made.engine, made.admin, "kim", key="kim-d", now=utc_now())
    expect(door(page)).to_be_visible()


def test_a_pin_switches_users_on_a_terminal_where_both_signed_in(page: Page, guarded: Served) -> None:
    page.goto(guarded.url)
    expect(page.get_by_label("PIN")).to_have_count(0)
    for name in ("operator", "engineer"):
        sign_in(page, name)
        expect(page.get_by_text(f"{name} · {name}")).to_be_visible()
        page.get_by_text("My PIN for this terminal").click()
        page.locator("details", has_text="My PIN").get_by_label("Password").fill(WORDS)
        page.get_by_label("New PIN").fill(PIN)
        page.get_by_role("button", name="Set it").click()
        expect(page.get_by_text("Your PIN is set")).to_be_visible()
        out(page)
    for name in ("operator", "engineer"):
        page.get_by_role("radio", name=name).check()
        page.get_by_label("PIN").fill("1357")
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_text("this PIN is wrong")).to_be_visible()
        page.get_by_label("PIN").fill(PIN)
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_text(f"{name} · {name}")).to_be_visible()
        out(page)


def test_a_new_password_of_ones_own_signs_out_and_lets_in(page: Page, guarded: Served) -> None:
    made, new = guarded.line, "another horse"
    service.add(made.engine, made.admin, "lou", "viewer", key="lou", now=utc_now())
    service.set_password(made.engine, made.admin, "lou", WORDS, key="lou-w", now=utc_now())
    page.goto(guarded.url)
    sign_in(page, "lou")
    page.get_by_text("My password").click()
    own = page.locator("details", has_text="My password")
    own.get_by_label("Password", exact=True).fill(WORDS)
    own.get_by_label("New password", exact=True).fill(new)
    own.get_by_label("New password again").fill(new + "s")
    own.get_by_role("button").click()
    assert own.locator("input:invalid").count() == 1  # the browser says why, and sends nothing
    own.get_by_label("New password again").fill(new)
    own.get_by_role("button").click()
    expect(door(page)).to_be_visible()
    sign_in(page, "lou")
    expect(page.get_by_role("alert").get_by_text("do not go together")).to_be_visible()
    sign_in(page, "lou", new)
    expect(page.get_by_text("lou · viewer")).to_be_visible()


def test_pictures_are_for_who_is_signed_in(page: Page, guarded: Served) -> None:
    item = open_items(guarded.line)[0]
    picture, heat = f"{guarded.url}/blob/{item.frame_sha256}", f"{guarded.url}/heatmap/{item.heatmap_sha256}"
    page.goto(guarded.url)
    sign_in(page, "viewer")
    expect(page.get_by_text("viewer · ")).to_be_visible()
    mine = cookie(page)
    body, _, mark = mine.partition(".")
    others = [
        {},
        *(sent(guarded.url, one) for one in ("", body, f"{body}.{'0' * len(mark)}", f"A{body[1:]}.{mark}")),
    ]
    for url in (picture, heat, f"{guarded.url}/media/x", f"{guarded.url}/_stcore/metrics", f"{guarded.url}/other"):
        for headers in others:
            assert status(url, headers) == (401, b"sign in first")
    good = sent(guarded.url, mine)
    for url in (picture, heat):
        code, data = status(url, good)
        assert code == 200 and data.startswith(b"\x89PNG")
        kept = {"If-None-Match": f'"{url.rpartition("/")[2]}"'}  # the browser's own copy does, after the gate alone
        assert status(url, good | kept) == (304, b"")
        assert status(url, kept) == (401, b"sign in first")
        with urlopen(Request(url, headers=good)) as answer:
            assert answer.headers["Cache-Control"] == "private, no-cache"
            assert answer.headers["ETag"] == kept["If-None-Match"]
        for wrong in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            code, data = status(url, good | wrong)
            assert code == 403 and b"PNG" not in data
    end = f"{guarded.url}/session/end"
    assert status(end, good, b"{}")[0] == 403  # without an origin no page of ours has asked
    assert status(end, good | {"Origin": guarded.url}, json.dumps({}).encode())[0] == 200
    for url in (picture, heat):
        assert status(url, good)[0] == 401  # the cookie alone is not enough: its session is over


def test_an_idle_terminal_signs_out_by_itself_and_a_board_on_a_wall_does_not(
    page: Page, browser: Browser, tmp_path: Path
) -> None:
    with line(tmp_path) as made, browser.new_context() as wall:
        accounts(made)
        with serving(made.engine, tmp_path, {"GOODPART_DASHBOARD__IDLE_MINUTES": "0.1"}) as url:
            board = wall.new_page()
            board.goto(url)
            sign_in(board, "viewer")
            expect(board.get_by_text("viewer · viewer")).to_be_visible()
            page.goto(url)
            sign_in(page, "operator")
            expect(page.get_by_text("operator · operator")).to_be_visible()
            first = cookie(page)

            def touched() -> bool:
                with page.expect_response("**/session/beat"):
                    page.mouse.move(300, 300)
                    page.mouse.move(310, 310)
                return cookie(page) not in ("", first)

            until(touched)  # it is renewed while somebody is there
            expect(door(page)).to_be_visible()
            assert status(f"{url}/media/x", sent(url, cookie(page))) == (401, b"sign in first")
            assert status(f"{url}/media/x", sent(url, cookie(board)))[0] == 404  # let in: there is no such picture
            expect(board.get_by_text("viewer · viewer")).to_be_visible()
            with reading(made.engine) as conn:
                (last,) = audit.recent(conn, 1)
            assert (last.action, last.detail) == ("session.end", {"why": "idle"})
