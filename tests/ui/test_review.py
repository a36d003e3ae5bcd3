"""The review desk in a real browser: fast keys, two people at once, undo, zoom, and what an audit item gives away."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Browser, Page, Route, WebSocket, expect

from agent.service import claims
from agent.settings import utc_now
from agent.store import item_vectors, samples, users
from agent.store.engine import reading, writing
from dashboard.components.module import HERE, spoken
from dashboard.components.review import WORDS
from tests.ui.plant import PARTS, until
from tests.ui.shop import NOTE, Shop, on_screen, press, said, saved
from tests.vectors import spot

PRESSES, PACE = 60, 100  # milliseconds between two


def test_an_operator_approves_a_part_and_sees_its_score_only_then(page: Page, shop: Shop) -> None:
    shop.open(page)
    first = shop.queue()[0]
    desk = page.locator(".desk")
    expect(desk).to_have_attribute("data-item", str(first.id))
    expect(page.locator(".desk .count")).to_have_text(f"{PARTS} to review")
    expect(page.locator(".strip .next")).to_have_count(10)
    assert "13.5" not in desk.inner_text(), "the score must stay hidden until the verdict"
    page.keyboard.press("n")
    expect(desk).not_to_have_attribute("data-item", str(first.id))
    until(lambda: shop.item(first.id).decision == "normal")
    expect(page.locator(".judged")).to_contain_text("score 13.50 · p 0.01 · review")
    expect(page.locator(".judged")).to_contain_text("proposed for training")
    with reading(shop.served.line.engine) as conn:
        (sample,) = samples.of_item(conn, first.id)
    assert (sample.role, sample.state) == ("train", "proposed")


def test_undo_reaches_back_over_ones_verdicts_of_this_shift(page: Page, shop: Shop) -> None:
    shop.open(page)
    first = press(page, "d")
    expect(page.get_by_text("Which defect?")).to_be_visible()
    page.keyboard.press("1")
    second, third = press(page, "n"), press(page, "u")
    until(lambda: shop.item(third).state == "escalated")
    assert shop.item(first).reviews[-1].reason == "scratch"
    saved(page)
    page.reload()
    expect(page.locator(".said li")).to_have_count(3)
    page.get_by_role("button", name=f"Undo scratch of part part-{1000 * shop.number}").click()
    until(lambda: shop.item(first).state == "open")
    expect(page.locator(".desk")).to_have_attribute("data-item", str(first))
    press(page, "z")
    until(lambda: shop.item(third).state == "open")
    expect(page.locator(".desk")).to_have_attribute("data-item", str(third))
    expect(page.locator(".said li")).to_have_count(1)
    assert shop.item(second).decision == "normal"


@pytest.mark.parametrize("shop", [PRESSES + 5], indirect=True)
def test_sixty_fast_presses_are_sixty_verdicts_each_on_the_item_on_screen(page: Page, shop: Shop) -> None:
    page.add_init_script(NOTE)
    shop.open(page)
    for _ in range(20 * PRESSES):  # one that finds no picture yet decides nothing: a slow machine needs more of them
        if len(on_screen(page)) == PRESSES:
            break
        page.keyboard.press("n")
        page.wait_for_timeout(PACE)  # whatever is on screen by then
    saved(page)
    assert len(set(on_screen(page))) == PRESSES
    assert said(shop) == dict.fromkeys(on_screen(page), "normal")


def test_keys_that_come_faster_than_pictures_decide_nothing_unseen(page: Page, shop: Shop) -> None:
    page.add_init_script(NOTE)
    shop.open(page)
    for _ in range(2 * PARTS):
        page.keyboard.press("n")
    saved(page)
    assert said(shop) == dict.fromkeys(on_screen(page), "normal")


def test_a_part_whose_picture_cannot_be_loaded_takes_no_verdict_but_unsure(page: Page, shop: Shop) -> None:
    first, second, third = shop.queue()[:3]

    def outage(route: Route) -> None:
        if str(first.preview_sha256) in route.request.url:
            route.continue_()
        else:
            route.fulfill(status=503, body="the database is away")

    page.route("**/blob/*", outage)
    shop.open(page)
    press(page, "n")
    desk = page.locator(".desk")
    expect(desk).to_have_attribute("data-item", str(second.id))
    expect(page.locator(".stage")).to_contain_text("only Unsure is accepted")
    expect(page.locator("button.normal")).to_be_disabled()
    for key in ("n", "d", "1"):
        page.keyboard.press(key)
    expect(page.locator(".status")).to_contain_text("only Unsure is accepted")
    expect(page.get_by_text("Which defect?")).to_be_hidden()
    expect(desk).to_have_attribute("data-item", str(second.id))
    page.keyboard.press("u")
    expect(desk).to_have_attribute("data-item", str(third.id))
    expect(page.locator(".stage")).to_contain_text("only Unsure is accepted")
    page.unroute("**/blob/*")
    assert press(page, "n") == third.id, "the picture comes by itself once the outage is over"
    saved(page)
    assert said(shop) == {first.id: "normal", third.id: "normal"}
    assert [shop.item(second.id).state, shop.item(second.id).decision] == ["escalated", None]


@pytest.mark.parametrize("shop", [30], indirect=True)
def test_a_desk_that_holds_many_parts_fetches_the_next_few(page: Page, shop: Shop) -> None:
    with reading(shop.served.line.engine) as conn:
        user = users.named(conn, f"operator-{shop.number}")
    claims.take(shop.served.line.engine, user, station_id=shop.station_id, limit=30, now=utc_now())
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url) if "/heatmap/" in request.url else None)
    shop.open(page)
    expect(page.locator(".strip .next")).to_have_count(30)
    shown = {press(page, "ArrowRight") for _ in range(12)} | {press(page, "n")}
    saved(page)
    assert len(shown) == 13
    assert len(fetched) == len(set(fetched)) <= 20, "those that were on screen, the one that is, six more; each once"


def test_pictures_on_screen_are_kept_and_fetched_again_a_few_times(page: Page) -> None:
    asked: list[str] = []

    def outage(route: Route) -> None:
        asked.append(route.request.url.rsplit("/", 1)[1])
        route.fulfill(status=503) if "blob" in route.request.url else route.fulfill(body="", content_type="text/html")

    page.route("**/*", outage)
    page.goto("http://desk.test/page")
    page.add_script_tag(path=HERE / "desk/heatmap.js")
    page.evaluate("""() => new Promise((done) => {
        let failures = 0;
        const changed = () => { if (++failures === 9) setTimeout(done, 100); };
        window.pictures = new Pictures(changed, { most: 4, tries: 3, pause: 10 });
        pictures.show(["/blob/shown"]);
        for (const name of "abcde") pictures.get(`/blob/${name}`);
    })""")
    assert sorted(asked[1:]) == [*"abcde", *["shown"] * 4], "what is off screen is not fetched again"
    assert page.evaluate("[...pictures.kept.keys()]") == [f"/blob/{name}" for name in ("shown", *"cde")]
    page.evaluate("""() => new Promise((done) => {
        pictures.changed = done;
        pictures.show(["/blob/e"]);
    })""")
    assert asked[10:11] == ["e"], "what failed ahead is fetched anew as it comes on screen"


def test_two_people_at_once_hold_different_items(browser: Browser, shop: Shop) -> None:
    pages = [browser.new_context().new_page() for _ in range(2)]
    shown: list[set[int]] = [set(), set()]
    for page, user in zip(pages, ("operator", "engineer"), strict=True):
        shop.open(page, user)
    for _ in range(PARTS // 2 - 4):
        for page, seen in zip(pages, shown, strict=True):
            seen.add(press(page, "n"))
    for page in pages:
        saved(page)
        page.context.close()
    assert len(shown[0]) == len(shown[1]) == PARTS // 2 - 4 and not shown[0] & shown[1]
    assert {item: stack[0].user.split("-")[0] for item, stack in shop.closed().items()} == {
        **dict.fromkeys(shown[0], "operator"), **dict.fromkeys(shown[1], "engineer"),
    }  # fmt: skip


def test_zoom_place_and_view_stay_from_part_to_part(page: Page, shop: Shop) -> None:
    shop.open(page)
    stage = page.locator(".stage")
    for key in ("v", "v", "+", "+", "Shift+ArrowRight", "]", "]"):
        page.keyboard.press(key)
    expect(stage.locator(".layer")).to_have_count(2)
    expect(page.locator(".views .opacity")).to_have_text("80 %")
    looks = [stage.get_attribute("data-zoom"), stage.get_attribute("data-centre")]
    assert looks[0] == "2.25" and looks[1] != "0.500 0.500"
    places = [one.get_attribute("style") for one in stage.locator(".layer").all()]
    assert places[0] == places[1], "both pictures show the same place"
    before = press(page, "n")
    expect(page.locator(".desk")).not_to_have_attribute("data-item", str(before))
    expect(stage.locator(".layer")).to_have_count(2)
    assert [stage.get_attribute("data-zoom"), stage.get_attribute("data-centre")] == looks
    assert [one.get_attribute("style") for one in stage.locator(".layer").all()] == places
    page.keyboard.press("0")
    expect(stage).to_have_attribute("data-zoom", "1.00")
    stage.locator(".pane").first.hover()
    page.mouse.wheel(0, -200)
    expect(stage).not_to_have_attribute("data-zoom", "1.00")
    page.mouse.down()
    page.mouse.move(100, 300)
    page.mouse.up()
    expect(stage).not_to_have_attribute("data-centre", "0.500 0.500")


def test_next_and_back_pass_over_parts_without_a_verdict(page: Page, shop: Shop) -> None:
    shop.open(page)
    first, second = press(page, "ArrowRight"), press(page, "ArrowRight")
    third = press(page, "ArrowLeft")
    assert len({first, second, third}) == 3
    assert press(page, "n") == second
    expect(page.locator(".desk")).to_have_attribute("data-item", str(third))
    assert shop.item(first).state == "open"


def test_verdicts_wait_in_the_browser_while_the_database_is_away(page: Page, shop: Shop) -> None:
    shop.open(page)
    with writing(shop.served.line.engine) as conn:
        conn.exec_driver_sql("ALTER TABLE claim RENAME TO claim_away")
    first = press(page, "n")
    expect(page.locator(".trouble")).to_contain_text("kept here and sent again")
    expect(page.locator(".pending")).to_have_text("1 unsaved")
    page.reload()
    expect(page.locator(".pending")).to_have_text("1 unsaved")
    with writing(shop.served.line.engine) as conn:
        conn.exec_driver_sql("ALTER TABLE claim_away RENAME TO claim")
    until(lambda: shop.item(first).decision == "normal")
    saved(page)
    expect(page.locator(".trouble")).to_have_text("")


def test_nothing_tells_an_audit_item_from_others_before_its_verdict(page: Page, shop: Shop) -> None:
    flagged, audited = (one.id for one in shop.queue()[:2])
    with writing(shop.served.line.engine) as conn:
        conn.exec_driver_sql(f"UPDATE item SET kind = 'audit', verdict = 'pass', p_value = 0.7 WHERE id = {audited}")
    frames: list[str] = []

    def keep(data: bytes | str) -> None:
        frames.append(data if isinstance(data, str) else data.decode("utf-8", "replace"))

    def listen(socket: WebSocket) -> None:
        socket.on("framereceived", keep)

    page.on("websocket", listen)
    shop.open(page)
    shapes = []
    for item_id in (flagged, audited):
        page.locator(f".desk[data-ready='1'][data-item='{item_id}']").wait_for()
        item = shop.item(item_id)
        text = (
            page.locator(".head").inner_html() + page.locator(".stage").inner_html() + page.locator(".bar").inner_html()
        )
        for own in (item.preview_sha256, item.serial):
            text = text.replace(str(own), "·")
        shapes.append(text)
        page.keyboard.press("ArrowRight")
    assert shapes[0] == shapes[1]
    told = [json.JSONDecoder().raw_decode(frame[frame.index('{"user"') :])[0] for frame in frames if '{"user"' in frame]
    assert [data.pop("words") for data in told] == [spoken(WORDS)] * len(told), "the same whatever is shown"
    cards = {one["id"]: one for data in told for one in data["items"]}
    assert cards[flagged].keys() == cards[audited].keys()
    assert {name for name, value in cards[audited].items() if value != cards[flagged][name]} == {
        "id", "serial", "frame", "thumbnail", "heatmap",
    }  # fmt: skip
    for word in ("audit", "flagged", "p_value", "severity", "score", "kind", "verdict", "watched", "pass"):
        assert not any(word in json.dumps(data) for data in told), word


def test_the_nearest_accepted_normals_stand_beside_a_part_once_its_picture_is_there(page: Page, shop: Shop) -> None:
    made, (first, second, *others) = shop.served.line, shop.queue()
    looks = {first.offset: (1, 0), others[0].offset: (1, 1), others[1].offset: (1, 0.1), others[2].offset: (0, 1)}
    with writing(made.engine) as conn:
        vectors = {offset: spot(2, 2, its) for offset, its in looks.items()}
        item_vectors.add_all(conn, made.stream_id, 0, vectors)
        for one in others[:3]:
            assert one.frame_sha256
            new = samples.NewSample(
                made.product_id, "train", "flagged", one.frame_sha256, one.frame_sha256, item_id=one.id
            )
            samples.add(conn, new, utc_now())
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(shop.url)))
    shop.open(page)
    beside = page.get_by_role("img", name="Accepted normal")
    expect(beside).to_have_count(3)
    told = [one.get_attribute("alt") for one in beside.all()]
    assert told == [f"Accepted normal {others[n].serial}" for n in (1, 0, 2)]
    frame = f"/blob/{first.preview_sha256}"
    assert asked.index(frame) < asked.index(f"/normals/{first.id}"), "the part comes first"
    assert f"/normals/{second.id}" not in asked, "nothing is asked for what is not on screen"
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("None was scored as this part was.")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(beside).to_have_count(3)
    assert asked.count(f"/normals/{first.id}") == 1
    page.route("**/normals/*", lambda route: route.abort())
    page.reload()
    expect(page.get_by_text("They cannot be loaded.")).to_be_visible()
    press(page, "n")
    until(lambda: shop.item(first.id).decision == "normal")


def test_a_viewer_looks_but_does_not_decide(page: Page, shop: Shop) -> None:
    shop.open(page, "viewer")
    page.keyboard.press("n")
    expect(page.locator("button.normal")).to_be_disabled()
    expect(page.get_by_text("You may look.")).to_be_visible()
    assert len(shop.queue()) == PARTS


def test_the_keys_are_shown(page: Page, shop: Shop) -> None:
    shop.open(page)
    assert [one.inner_text() for one in page.locator(".bar kbd").all()] == ["N", "D", "U", "Z", "?"]
    page.keyboard.press("?")
    expect(page.get_by_text("Zoom in, out, whole picture")).to_be_visible()
    page.keyboard.press("n")
    page.keyboard.press("Escape")
    expect(page.get_by_text("Zoom in, out, whole picture")).to_be_hidden()
    assert len(shop.queue()) == PARTS, "keys decide nothing behind the list of keys"


@pytest.mark.parametrize("shop", [1], indirect=True)
def test_an_empty_queue_says_so(page: Page, shop: Shop) -> None:
    shop.open(page)
    press(page, "n")
    expect(page.get_by_text("Nothing to review. The queue is empty.")).to_be_visible()


@pytest.mark.parametrize("shop", [1], indirect=True)
def test_what_even_an_engineer_is_unsure_of_waits_for_another(page: Page, shop: Shop) -> None:
    shop.open(page)
    item = press(page, "u")
    expect(page.get_by_text("Nothing to review. The queue is empty.")).to_be_visible()
    shop.open(page, "engineer")
    expect(page.locator(".head")).to_contain_text(f"operator-{shop.number}: unsure")
    press(page, "u")
    until(lambda: len(shop.item(item).reviews) == 2)
    expect(page.get_by_text("Nothing to review. The queue is empty.")).to_be_visible()
    page.keyboard.press("z")
    expect(page.locator(".head")).to_contain_text(f"operator-{shop.number}: unsure")
    press(page, "n")
    until(lambda: shop.item(item).decision == "normal")
