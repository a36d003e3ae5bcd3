"""Operators at the review desk: a station of their own, and what they press and see."""

from __future__ import annotations

from dataclasses import dataclass

from playwright.sync_api import Page, expect

from agent.store import reviews
from agent.store.engine import reading
from agent.store.item_search import Wanted, search
from agent.store.items import Item
from tests.ui.plant import Served, open_items

# What a press fell upon: noted before the desk gets it, since listeners of the window that capture come first.
NOTE = """
    window.pressed = [];
    window.addEventListener("keydown", (event) => {
      const find = (root) => root.querySelector(".desk") ??
        [...root.querySelectorAll("*")].map((one) => one.shadowRoot && find(one.shadowRoot)).find(Boolean);
      const desk = find(document);
      if (desk && event.key === "n" && desk.dataset.ready === "1") window.pressed.push(Number(desk.dataset.item));
    }, true);
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """A station with parts of its own, and an operator and an engineer who have judged nothing yet."""

    url: str
    served: Served
    number: int
    station_id: int

    def open(self, page: Page, role: str = "operator", station: str = "") -> None:
        page.goto(f"{self.url}/review?user={role}-{self.number}&station={station or f'press-{self.number}'}")
        page.locator(".desk[data-ready='1']").wait_for()

    def item(self, item_id: int) -> Item:
        return self.served.line.item(item_id)

    def queue(self) -> list[Item]:
        return open_items(self.served.line, self.station_id)

    def closed(self) -> dict[int, list[reviews.Review]]:
        with reading(self.served.line.engine) as conn:
            found = search(conn, Wanted(state="closed"), 500)
        return {one.id: list(one.reviews) for one in found if one.station_id == self.station_id}


def press(page: Page, key: str) -> int:
    """Presses a key once the picture is there; the item that was on screen."""
    desk = page.locator(".desk[data-ready='1']")
    desk.wait_for()
    item = int(desk.get_attribute("data-item") or 0)
    page.keyboard.press(key)
    return item


def on_screen(page: Page) -> list[int]:
    """What presses of N fell upon, one after the other."""
    return list(page.evaluate("window.pressed"))


def said(shop: Shop) -> dict[int, str]:
    """Everything that was said of each closed item."""
    return {item: " ".join(one.decision for one in stack) for item, stack in shop.closed().items()}


def saved(page: Page) -> None:
    expect(page.locator(".desk")).to_have_attribute("data-unsaved", "0")
