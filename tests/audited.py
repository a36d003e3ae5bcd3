"""A line whose audited parts are drawn, reviewed and admitted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from agent.retrain.admission import Admission
from agent.service import reviews
from agent.store import epochs, samples, windows
from agent.store.engine import reading, writing
from agent.store.epochs import Epoch
from agent.store.windows import Window
from tests.alarms import Noted
from tests.databases import Line
from tests.streams import settings as stream_settings

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
NEEDED = 12  # for a review rate of 0.3
OVER = 25.5  # hours: the first day's window has ended, and its frames are too old to be scored
OFFSETS = count(1)
Place = tuple[str, str | None]  # role, cause of the epoch


def at(hours: float) -> datetime:
    return MIDNIGHT + timedelta(hours=hours)


class Plant:
    """A line whose product has imported images, audited parts, and the chore."""

    def __init__(self, here: Line, folder: Path, **sections: Any) -> None:
        self.here, self.alarms = here, Noted(here.engine)
        given = {"certificate": {"review_rate": 0.3}, "pipeline": {"max_age_s": 3600}, **sections}
        self.settings = stream_settings(folder, **given)
        self.admission = Admission(here.engine, self.settings, self.alarms)
        with writing(here.engine) as conn:
            epochs.open(conn, here.product_id, "import", "imported images", now=at(-48))

    def draw(self, hours: float, serial: str | None = None, **changes: Any) -> int:
        """A drawn part's frame, not reviewed yet."""
        given = {"kind": "audit", "verdict": "pass", "event_at": at(hours), "serial": serial, **changes}
        with writing(self.here.engine) as conn:
            return self.here.add_item(conn, next(OFFSETS), **given).id

    def say(self, item_id: int, decision: str = "normal", key: str = "") -> None:
        """An engineer decides; unsure is what an operator says, so that another person decides then."""
        reason, by = "crack" if decision == "defect" else None, self.here.engineer
        reviews.decide(
            self.here.engine, self.here.operator if decision == "unsure" else by, item_id, decision, reason,
            key=key or f"{item_id}-{decision}", now=at(24),
        )  # fmt: skip

    def undo(self, item_id: int, key: str = "") -> None:
        reviews.undo(self.here.engine, self.here.engineer, item_id, key=key or f"{item_id}-undo", now=at(24))

    def look(self, hours: float = OVER) -> None:
        self.alarms.now = at(hours)
        self.admission.check(at(hours))

    def cut(self, hours: float, cause: str = "camera") -> Epoch:
        with writing(self.here.engine) as conn:
            return epochs.open(conn, self.here.product_id, cause, "new lamp", now=at(hours))

    @property
    def placed(self) -> dict[int, Place]:
        """Role and epoch of each item's sample that is not revoked; no epoch while it waits."""
        with reading(self.here.engine) as conn:
            causes = {one.id: one.cause for one in epochs.of_product(conn, self.here.product_id)}
            found = samples.all(conn, self.here.product_id)
        return {
            one.item_id: (one.role, causes[one.epoch_id] if one.epoch_id else None)
            for one in found
            if one.item_id and one.role != "defect"
        }

    @property
    def admitted(self) -> list[Window]:
        with reading(self.here.engine) as conn:
            return windows.admitted(conn, self.here.product_id)
