"""A product that is taught, as the tests do it."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection

from agent.retrain.due import due
from agent.retrain.looks import take
from agent.service import teach
from agent.settings import Settings
from agent.store import commands, items, leases, lesson, products, runs, teachings
from agent.store.engine import reading, writing
from agent.store.lesson import Lesson
from agent.store.teachings import Teaching
from tests.databases import NOW, Line

LATER = NOW + timedelta(minutes=5)


class Class(Line):
    """A line, and what the tests do with the product `disc`."""

    def start(self, parts: int = 20, key: str = "start", **given: object) -> Teaching:
        wanted = {"name": "disc", "station": "press-1", "actor": self.engineer, **given}
        return teach.start(self.engine, **wanted, parts=parts, key=key, now=NOW)  # type: ignore[arg-type]

    @property
    def disc(self) -> int:
        with reading(self.engine) as conn:
            return products.named(conn, "disc").id

    def lesson(self) -> Lesson:
        with reading(self.engine) as conn:
            found = lesson.find(conn, self.disc)
        assert found is not None
        return found

    def collect(self, count: int, first: int = 0, *, serials: bool = True) -> list[int]:
        """Adds parts and makes the set whole, as the recorder does."""
        with writing(self.engine) as conn:
            made = [self._part(conn, n, serials).id for n in range(first, first + count)]
            teachings.move(conn, self.disc, "looking", NOW, expected=("collecting",))
            commands.add(conn, teachings.LOOK, {"product_id": self.disc}, self.engineer.id, NOW)
        return made

    def _part(self, conn: Connection, n: int, serials: bool) -> items.Item:
        return self.add_item(
            conn, n, kind="teach", product_id=self.disc, score=None, p_value=None, severity=None,
            reason="uncertified", serial=f"part-{n}" if serials else None,
        )  # fmt: skip

    def look(self) -> None:
        """Every item is as odd as its id, as an agent would say."""
        with writing(self.engine) as conn:
            taken = take(conn, NOW)
            assert taken is not None
            teachings.record(conn, {view.item_id: float(view.item_id) for view in teachings.views(conn, self.disc)})
            commands.finish(conn, taken[0].id, result={}, now=NOW)
            leases.release(conn, taken[1], NOW)

    def train(self, key: str = "train") -> None:
        teach.train(self.engine, self.engineer, self.disc, key=key, now=NOW)

    def agent(self) -> int | None:
        """What the scheduler does with the request; the run's id."""
        with writing(self.engine) as conn:
            found = due(conn, Settings(), LATER, None)
            if found is None:
                return None
            made = runs.open(
                conn, product_id=found.product_id, trigger=found.trigger, requested_by=found.requested_by,
                settings={}, now=LATER,
            )  # fmt: skip
            request = commands.of_product(conn, "retrain", self.disc)
            assert request is not None
            commands.finish(conn, request.id, result={"run": made.id}, now=LATER)
            return made.id
