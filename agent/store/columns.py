"""The words that tables are written with: metadata, types and recurring columns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, MetaData
from sqlalchemy.engine import Dialect

from agent.phrases import MADE

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)


class Utc(sa.types.TypeDecorator[datetime]):
    """A point in time: aware UTC in Python, `timestamptz` on PostgreSQL, naive UTC text on SQLite."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any]:
        # In one step: every frame's transaction has hundreds of these.
        return _text if dialect.name == "sqlite" else _utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("a naive datetime cannot be stored: give it a timezone")
    return value.astimezone(UTC)


def _text(value: datetime | None) -> str | None:
    value = _utc(value)
    # Without the offset, as SQLAlchemy's own type writes and reads it.
    return None if value is None else value.isoformat(" ", "microseconds")[:26]


# SQLite only auto-increments INTEGER PRIMARY KEY.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Big = sa.BigInteger()
Sha = sa.String(64)
Word = sa.String(64)
Name = sa.String(200)


def row_id() -> Column[int]:
    """A primary key that counts."""
    return Column("id", Id, primary_key=True, autoincrement=True)


def refers(name: str, target: str, **options: Any) -> Column[Any]:
    """A column that refers to `target` (table.column); one of blobs has an index, for the sweeper."""
    kind, index = (Sha, True) if target == "blob.sha256" else (Id, None)
    return Column(name, kind, ForeignKey(target), **{"nullable": False, "index": index, **options})


def one_of(column: str, *words: str) -> sa.CheckConstraint:
    """The column holds one of these words."""
    listed = ", ".join(f"'{word}'" for word in words)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


def made() -> Column[Any]:
    """What the words of its row were made of, as `made_of` gives it; NULL where that is not known, as of a person's."""
    return Column(MADE, sa.JSON(none_as_null=True))


def position() -> list[Column[Any]]:
    """Where in which stream a frame was."""
    return [
        refers("stream_id", "stream.id"),
        Column("partition", sa.Integer, nullable=False),
        Column("offset", Big, nullable=False),
    ]
