"""Rows that are only a record of what is over: alerts, commands, dead letters. After a while they may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ColumnElement, Table

from agent.store.tables import alert, command, dead_letter, teaching
from agent.store.teachings import UNFINISHED


@dataclass(frozen=True, slots=True)
class Records:
    """Rows of one table.

    Attributes:
        over_at: when a row was over; it has an index. NULL: it is not.
        only: what else must hold before a row may go.
    """

    over_at: Column[Any]
    only: tuple[ColumnElement[bool], ...]


def _not_the_newest(table: Table) -> ColumnElement[bool]:
    # SQLite gives the id of a deleted row to a new one where none is higher, and ids outlive their rows: the audit
    # trail and receivers of the webhook know alerts, and replays dead letters, by their ids.
    every = table.alias()
    return table.c.id < sa.select(sa.func.max(every.c.id)).scalar_subquery()


def _of_a_teaching() -> ColumnElement[bool]:
    """A teaching that is under way says how its last commands ended."""
    mine = command.c.args["product_id"].as_integer() == teaching.c.product_id
    return sa.exists().where(mine, teaching.c.state.in_(UNFINISHED))


ALL = (
    # What the webhook has still to say of its end is said first.
    Records(alert.c.closed_at, (alert.c.next_attempt_at.is_(None), _not_the_newest(alert))),
    Records(command.c.finished_at, (~_of_a_teaching(), _not_the_newest(command))),
    # One whose bytes are kept can be replayed: it goes after them.
    Records(dead_letter.c.created_at, (dead_letter.c.blob_sha256.is_(None), _not_the_newest(dead_letter))),
)
