"""A share of items is judged by two people, and the queue is quick for one product, one station and one person.

Revision ID: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError
from sqlalchemy import Column

from migrations.pieces import ID, WORD, check

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_item_state_watched_id": ("item", ["state", "watched", "id"]),
    "ix_item_product_id_state_watched_id": ("item", ["product_id", "state", "watched", "id"]),
    "ix_item_station_id_state_watched_id": ("item", ["station_id", "state", "watched", "id"]),
    "ix_review_user_id_id": ("review", ["user_id", "id"]),
    "ix_review_state_created_at": ("review", ["state", "created_at"]),
    "ix_claim_user_id": ("claim", ["user_id"]),
}
STATES = """
    UPDATE review SET state = CASE
        WHEN decision = 'unsure' THEN 'escalated'
        WHEN EXISTS (
            SELECT 1 FROM review later WHERE later.item_id = review.item_id AND later.id > review.id
            AND later.user_id <> review.user_id AND later.decision <> 'undo'
        ) THEN 'open'
        ELSE 'closed' END
    WHERE decision <> 'undo'
"""


def upgrade() -> None:
    """Reviews made so far closed or escalated their items by themselves, but for the first of two people, which only a
    database that was at this revision before has.
    """
    with op.batch_alter_table("item", table_args=_item_checks()) as item:
        item.add_column(Column("judged_by", ID))
        item.create_foreign_key(op.f("fk_item_judged_by_user"), "user", ["judged_by"], ["id"])
    op.add_column("review", Column("state", WORD))
    op.execute(STATES)
    op.drop_index("ix_item_watched", "item")  # partial: whether SQLite used it was a matter of luck
    for name, (table, columns) in INDEXES.items():
        op.create_index(name, table, columns)


def downgrade() -> None:
    """Drops them; refused while an item waits for its second person, since it would be judged by one of them twice."""
    if op.get_bind().execute(sa.text("SELECT 1 FROM item WHERE judged_by IS NOT NULL AND state = 'open'")).first():
        raise CommandError("there are items that wait for a second person; review them, or undo their first reviews")
    for name, (table, _) in INDEXES.items():
        op.drop_index(name, table)
    on_sqlite, on_postgresql = sa.text("watched IS 1"), sa.text("watched IS true")
    op.create_index("ix_item_watched", "item", ["state", "id"], sqlite_where=on_sqlite, postgresql_where=on_postgresql)
    op.drop_column("review", "state")
    with op.batch_alter_table("item", table_args=_item_checks()) as item:
        item.drop_constraint(op.f("fk_item_judged_by_user"), type_="foreignkey")
        item.drop_column("judged_by")


def _item_checks() -> tuple[sa.CheckConstraint, ...]:
    """What SQLite's rebuilt table would lose."""
    return (
        check("item", "kind", "kind IN ('flagged', 'audit', 'failed', 'teach')"),
        check("item", "state", "state IN ('open', 'escalated', 'closed')"),
    )
