"""What a trend is asked of: a product, a station, a lot, or all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Table


@dataclass(frozen=True, slots=True)
class Scope:
    """Only the rows of these; None: of all."""

    product_id: int | None = None
    station_id: int | None = None
    lot: str | None = None

    def of(self, table: Table) -> list[sa.ColumnElement[bool]]:
        """What holds of these rows of a table that has all three."""
        wanted = (("product_id", self.product_id), ("station_id", self.station_id), ("lot", self.lot))
        return [table.c[name] == value for name, value in wanted if value is not None]

    def within(self, query: sa.Select[Any], table: Table, rows: sa.ColumnElement[bool]) -> sa.Select[Any]:
        """The query on a rollup, for these and for a stretch of it."""
        return query.where(rows, *self.of(table))


EVERYTHING = Scope()
