"""Undo at the review desk: what comes back stays on screen until the person goes on, and how far back it reaches."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from agent.service import bulk, reviews
from agent.settings import utc_now
from agent.store import claims, items, stations, users
from agent.store.engine import reading, writing
from tests.ui.plant import parts, until
from tests.ui.shop import Shop, press, saved


def another_station(shop: Shop, name: str, count: int, first: int) -> None:
    """With so many open parts."""
    made = shop.served.line
    with writing(made.engine) as conn:
        other = stations.add(conn, name, product_id=made.product_id, now=utc_now()).id
    new = parts(made, shop.served.blobs, count, 1000 * shop.number + first, station_id=other)
    with writing(made.engine) as conn:
        items.add_all(conn, new)


def test_what_an_undo_brings_back_stays_on_screen_whatever_the_filter(page: Page, shop: Shop) -> None:
    made, name = shop.served.line, f"other-{shop.number}"
    another_station(shop, name, 2, 500)
    shop.open(page, station=name)
    elsewhere = press(page, "n")
    saved(page)
    shop.open(page)
    expect(page.locator(".said li")).to_have_count(1)
    page.keyboard.press("z")
    saved(page)
    for number in range(13, 15):  # the server has its say
        more = parts(made, shop.served.blobs, 1, 1000 * shop.number + number, station_id=shop.station_id)
        with writing(made.engine) as conn:
            items.add_all(conn, more)
        expect(page.locator(".desk")).to_have_attribute("data-left", str(number))
        assert page.locator(".desk").get_attribute("data-item") == str(elsewhere)
    with reading(made.engine) as conn:
        operator = users.named(conn, f"operator-{shop.number}")
        assert elsewhere in claims.held(conn, claims.Desk(operator.id))
    press(page, "d")
    page.keyboard.press("1")
    until(lambda: shop.item(elsewhere).decision == "defect")
    saved(page)
    assert len(shop.queue()) == 14, "no other part was hit"
    page.keyboard.press("z")
    saved(page)
    assert press(page, "ArrowRight") == elsewhere
    expect(page.locator(".strip .next")).to_have_count(10)  # passed over, it goes back to the queue
    with reading(made.engine) as conn:
        assert elsewhere not in claims.held(conn, claims.Desk(operator.id, station_id=shop.station_id))
    page.get_by_role("combobox", name="Station").click()
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    expect(page.locator(".head")).to_contain_text(name)
    there = press(page, "n")  # without a click: another filter gives the keys back to the desk
    until(lambda: (shop.item(there).station, shop.item(there).decision) == (name, "normal"))


def test_a_reload_leaves_what_came_back_on_screen_whatever_the_filter(page: Page, shop: Shop) -> None:
    made, name = shop.served.line, f"kept-{shop.number}"
    another_station(shop, name, 1, 600)
    desk, (first, second, *_) = page.locator(".desk"), shop.queue()
    shop.open(page, station=name)
    elsewhere = str(press(page, "n"))
    saved(page)
    shop.open(page)
    page.keyboard.press("z")
    saved(page)
    with reading(made.engine) as conn:
        operator, engineer = (users.named(conn, f"{role}-{shop.number}") for role in ("operator", "engineer"))
    for _ in range(2):
        page.reload()
        expect(desk).to_have_attribute("data-item", elsewhere)
        page.locator(".strip .next").nth(10).wait_for()  # the server lists it beside the ten
        assert made.item(int(elsewhere)).claimed_by == operator.name
    press(page, "ArrowRight")
    expect(page.locator(".strip .next")).to_have_count(10)
    page.reload()
    expect(desk).to_have_attribute("data-item", str(first.id))
    assert press(page, "n") == first.id
    saved(page)
    page.keyboard.press("z")
    saved(page)
    expect(desk).to_have_attribute("data-item", str(first.id))
    page.goto("about:blank")
    with writing(made.engine) as conn:  # it lapsed, and somebody else got it
        claims.clear(conn, first.id)
        assert claims.hold(conn, first.id, engineer.id, utc_now() + claims.LONGEST / 2, utc_now())
    page.go_back()
    expect(desk).to_have_attribute("data-item", str(second.id))
    expect(page.locator(".head")).not_to_contain_text("Somebody else")


def test_what_is_on_screen_stays_there_though_somebody_else_judges_it(page: Page, shop: Shop) -> None:
    made, (first, second, *_) = shop.served.line, shop.queue()
    shop.open(page)
    with writing(made.engine) as conn:
        claims.clear(conn, first.id)
    reviews.decide(made.engine, made.engineer, first.id, "normal", key=f"shop-{shop.number}", now=utc_now())
    expect(page.locator(".head")).to_contain_text("Somebody else has this part, or it is judged")
    assert press(page, "u") == first.id
    expect(page.locator(".desk")).to_have_attribute("data-item", str(second.id))
    expect(page.locator(".status")).to_contain_text("closed as normal already")
    expect(page.locator(".head")).not_to_contain_text("Somebody else")
    saved(page)
    assert [shop.item(one.id).state for one in (first, second)] == ["closed", "open"]


@pytest.mark.parametrize("shop", [26], indirect=True)
def test_every_verdict_of_the_shift_is_found_and_those_of_many_at_once_are_one_entry(page: Page, shop: Shop) -> None:
    made, (single, again, *many) = shop.served.line, shop.queue()[:24]
    with reading(made.engine) as conn:
        operator = users.named(conn, f"operator-{shop.number}")

    def alone(item_id: int, key: str) -> None:
        asked = (made.engine, operator, item_id, "defect", "dent")
        reviews.decide(*asked, key=f"{key}-{shop.number}", now=utc_now())

    alone(single.id, "one")
    at_once = [again.id, *(one.id for one in many)]
    bulk.decide(made.engine, operator, at_once, "normal", key=f"many-{shop.number}", now=utc_now())
    shop.open(page)
    rows = page.locator(".said li")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("23 parts at once: normal")
    page.keyboard.press("z")
    expect(page.locator(".status")).to_contain_text("Your last verdict was of 23 parts at once")
    reviews.undo(made.engine, operator, again.id, own=True, hold=False, key=f"back-{shop.number}", now=utc_now())
    alone(again.id, "again")
    page.get_by_role("button", name="Undo normal of 2").click()  # 23, or 22 already: what is left comes back
    until(lambda: all(shop.item(one.id).state == "open" for one in many))
    expect(page.locator(".judged")).to_contain_text("22 parts are back in the queue")
    expect(page.locator(".desk")).to_have_attribute("data-left", "24")
    assert shop.item(again.id).decision == "defect", "judged since, it stays"
    page.get_by_role("button", name=f"Undo dent of part {single.serial}").click()
    expect(page.locator(".desk")).to_have_attribute("data-item", str(single.id))
    until(lambda: shop.item(single.id).state == "open")
    saved(page)
    expect(rows).to_have_count(1)


@pytest.mark.parametrize("shop", [26], indirect=True)
def test_older_verdicts_stand_on_pages_behind(page: Page, shop: Shop) -> None:
    made, judged = shop.served.line, shop.queue()[:24]
    with reading(made.engine) as conn:
        operator = users.named(conn, f"operator-{shop.number}")
    for one in judged:
        reviews.decide(made.engine, operator, one.id, "normal", key=f"{one.id}-{shop.number}", now=utc_now())
    shop.open(page)
    rows = page.locator(".said li")
    older, newer = (page.get_by_role("button", name=name) for name in ("Older", "Newer"))
    expect(rows).to_have_count(20)
    expect(newer).to_have_count(0)
    older.click()
    expect(rows).to_have_count(4)
    expect(older).to_have_count(0)
    page.get_by_role("button", name=f"Undo normal of part {judged[0].serial}").click()
    expect(page.locator(".desk")).to_have_attribute("data-item", str(judged[0].id))
    until(lambda: shop.item(judged[0].id).state == "open")
    expect(rows).to_have_count(3)
    newer.click()
    expect(rows).to_have_count(20)
    page.keyboard.press("z")
    until(lambda: shop.item(judged[-1].id).state == "open")
    expect(rows).to_have_count(20)
    saved(page)
    assert press(page, "n") == judged[-1].id
    expect(page.locator(".desk")).to_have_attribute("data-item", str(judged[0].id))
