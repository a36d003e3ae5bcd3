"""The parts that a product is taught from, as cards of thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from agent.store.teachings import View, by_part
from dashboard.words import say

PAGE = 24  # cards on one page
ROW = 6


@dataclass(frozen=True, slots=True)
class Card:
    """One part: its frames and how odd it is, by its oddest frame."""

    item_id: int  # of that frame: what a person takes out
    part: str
    oddness: str
    pictures: tuple[tuple[str, str], ...]  # hashes: as small as there is, and in full


def cards(views: Sequence[View]) -> list[Card]:
    """A card for each part, in the order of `views`, which has the oddest first."""
    return [
        Card(
            item_id=frames[0].item_id,
            part=part,
            oddness="" if frames[0].oddness is None else say("oddness {oddness:.3g}", oddness=frames[0].oddness),
            pictures=tuple(map(_sizes, frames)),
        )
        for part, frames in by_part(views).items()
    ]


def pages(count: int) -> int:
    """How many pages so many cards fill; at least one."""
    return max(1, -(-count // PAGE))


def card_html(card: Card) -> str:
    """Its pictures and words; every text is escaped."""
    return "".join(picture(small, card.part, "width:100%", full) for small, full in card.pictures) + _words(
        card.part, card.oddness
    )


def _words(name: str, more: str) -> str:
    return f"<div><b>{escape(name)}</b><br><span class='faint'>{escape(more)}</span></div>"


def _sizes(one: View) -> tuple[str, str]:
    full = one.preview_sha256 or one.frame_sha256
    return one.thumbnail_sha256 or full, full


def picture(sha256: str, name: str, style: str, full: str | None = None) -> str:
    """A picture that opens in full (`full`, else itself) in a tab of its own."""
    return (
        f"<a href='/blob/{full or sha256}' target='_blank'><img src='/blob/{sha256}' loading='lazy' "
        f"alt='{escape(name, quote=True)}' style='{style}'></a>"
    )
