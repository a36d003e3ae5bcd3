"""Reasons of models, words of epochs and watches and details of dead letters are kept with what they were made of.

So that pages say them in the plant's language. A watch had that among its numbers, which what is counted replaces.

Revision ID: 0027
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

TABLES = ("deployment", "model_version", "epoch", "dead_letter", "watch")
WATCH = sa.table("watch", sa.column("id"), sa.column("made", sa.JSON(none_as_null=True)), sa.column("numbers", sa.JSON))
WHY = "why"


def upgrade() -> None:
    """Adds the columns; of rows from before only a watch's is known."""
    for name in TABLES:
        op.add_column(name, sa.Column("made", sa.JSON()))
    for row in _counted():
        numbers = {name: value for name, value in row.numbers.items() if name != WHY}
        _change(row.id, made=row.numbers.get(WHY), numbers=numbers)


def downgrade() -> None:
    """Drops them; a watch's goes back among its numbers."""
    for row in _counted():
        _change(row.id, numbers={**row.numbers, WHY: row.made})
    for name in TABLES:
        op.drop_column(name, "made")


def _counted() -> list[Any]:
    return [row for row in op.get_bind().execute(sa.select(WATCH)) if row.numbers]


def _change(watch_id: int, **changes: Any) -> None:
    op.execute(sa.update(WATCH).where(WATCH.c.id == watch_id).values(changes))
