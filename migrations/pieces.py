"""Types and constraint names that migrations are written with. They never change: a new need gets a new name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BIG = sa.BigInteger()
UTC_TIME = sa.DateTime(timezone=True)
WORD = sa.String(64)
NAME = sa.String(200)


def cut(moment: datetime, minutes: int) -> datetime:
    """When the part of its hour began that is so many minutes long, UTC; a naive moment, as SQLite gives it, is UTC."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware - timedelta(minutes=aware.minute % minutes, seconds=aware.second, microseconds=aware.microsecond)


def primary(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    """The primary key of `table`."""
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def unique(table: str, *columns: str) -> sa.UniqueConstraint:
    """A unique constraint over `columns`."""
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def foreign(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    """A reference from `column` to `target` (table.column)."""
    return sa.ForeignKeyConstraint([column], [target], name=op.f(f"fk_{table}_{column}_{target.partition('.')[0]}"))


def check(table: str, name: str, words: str) -> sa.CheckConstraint:
    """A condition each row holds."""
    return sa.CheckConstraint(words, name=op.f(f"ck_{table}_{name}"))
