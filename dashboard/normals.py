"""The accepted normals that look most like a part, by the scorer's features: an exact search, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from html import escape
from threading import Lock

import numpy as np
import numpy.typing as npt
from sqlalchemy import Engine

from agent.settings import utc_now
from agent.store import item_vectors, items
from agent.store import normals as stored
from agent.store.engine import reading
from agent.store.normals import Normal
from dashboard.parts import picture
from dashboard.words import say

SHOWN = 3
MOST = 2000  # of a product, the newest
KEPT = timedelta(minutes=5)  # what was read, before it is read anew


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A product's accepted normals in one feature space, and their unit vectors as rows, float32."""

    normals: Sequence[Normal]
    rows: npt.NDArray[np.float32]

    @classmethod
    def of(cls, normals: Sequence[Normal]) -> Known:
        """Those normals, all of one space."""
        return cls(normals, np.array([unit(one.features) for one in normals], np.float32))

    def nearest(self, features: bytes, part: str, most: int = SHOWN) -> list[Normal]:
        """Those with the greatest cosine, one of each other part, the nearest first."""
        if not self.normals:
            return []
        order = np.argsort(-(self.rows @ unit(features)), kind="stable")
        found: dict[str, Normal] = {}
        for one in (self.normals[at] for at in order):
            if one.part != part and len(found) < most:
                found.setdefault(one.part, one)
        return list(found.values())


_LOCK = Lock()
_read: dict[tuple[Engine, int, str], tuple[datetime, Known]] = {}  # one of a product and space, and when


def unit(features: bytes) -> npt.NDArray[np.float32]:
    """A stored unit vector."""
    return np.frombuffer(features, "<f2").astype(np.float32)


def of_item(engine: Engine, item_id: int) -> list[Normal]:
    """The accepted normals that are nearest to an item; none where no model scored it.

    Raises:
        NotFound: there is no such item.
    """
    with reading(engine) as conn:
        item = items.get(conn, item_id)
        vector = item_vectors.of_items(conn, [item_id]).get(item_id)
    if vector is None:
        return []
    known = _known(engine, item.product_id, vector.space, utc_now())
    return known.nearest(vector.features, item.serial or item.frame_id)


def _known(engine: Engine, product_id: int, space: str, now: datetime) -> Known:
    """What was read of late; else it is read anew, by one thread for all, and whatever else is as old is let go."""
    key = (engine, product_id, space)
    with _LOCK:
        for old in [one for one, (at, _) in _read.items() if now - at >= KEPT]:
            del _read[old]
        if key not in _read:
            with reading(engine) as conn:
                _read[key] = now, Known.of(stored.of_product(conn, product_id, space, MOST))
        return _read[key][1]


def to_html(normals: Sequence[Normal], zone: tzinfo) -> str:
    """Their pictures beside one another, each with part and time; every text is escaped."""
    figures = "".join(
        f"<figure>{picture(one.small, say('accepted normal {part}', part=one.part), '', one.full)}<figcaption>"
        f"<b>{escape(one.part)}</b><br>{one.seen_at.astimezone(zone):%Y-%m-%d %H:%M}</figcaption></figure>"
        for one in normals
    )
    return f"<div class='row'>{figures}</div>"
