"""The parts that a product is taught from, as cards of thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from agent.store.teachings import View, by_part

PAGE = 24  # cards on one page
ROW = 6


@dataclass(frozen=True, slots=True)
class Card:
    """One part: its frames and how odd it is, by its oddest frame."""

    item_id: int  # of that frame: what a person takes out
    part: str
    oddness: str
    pictures: tuple[str, ...]  # hashes


def cards(views: Sequence[View]) -> list[Card]:
    """A card for each part, in the order of `views`, which has the oddest first."""
    return [
        Card(
            item_id=frames[0].item_id,
            part=part,
            oddness="" if frames[0].oddness is None else f"oddness {frames[0].oddness:.3g}",
            pictures=tuple(one.thumbnail_sha256 or one.preview_sha256 or one.frame_sha256 for one in frames),
        )
        for part, frames in by_part(views).items()
    ]


def pages(count: int) -> int:
    """How many pages so many cards fill; at least one."""
    return max(1, -(-count // PAGE))


def card_html(card: Card) -> str:
    """Its pictures and words; every text is escaped."""
    return "".join(_picture(sha256, card.part) for sha256 in card.pictures) + _words(card.part, card.oddness)


def _words(name: str, more: str) -> str:
    return f"<div><b>{escape(name)}</b><br><span class='faint'>{more}</span></div>"


def _picture(sha256: str, name: str) -> str:
    return f"<img src='/blob/{sha256}' loading='lazy' alt='{escape(name, quote=True)}' style='width:100%'>"
