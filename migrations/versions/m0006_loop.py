"""The learning loop: epochs, audit windows, proposals, withdrawals, teaching, watches and drift.

Revision ID: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError
from sqlalchemy import Column

from migrations.pieces import BIG, ID, NAME, UTC_TIME, WORD, check, foreign, primary

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = ("drift", "shadow_score", "watch", "taught", "teaching", "calibration_score", "withdrawal", "audit_window")
RUNS = "'queued', 'running', 'promoted', 'rejected', 'needs_person', 'failed', 'cancelled'"
EPOCHS = """
    INSERT INTO epoch (product_id, cause, words, cuts, opened_at)
    SELECT product_id, 'import', 'imported images', FALSE, min(created_at) FROM sample
    WHERE role IN ('calibration', 'holdout') AND origin = 'import' GROUP BY product_id
"""
JOIN = """
    UPDATE sample SET epoch_id = (SELECT epoch.id FROM epoch WHERE epoch.product_id = sample.product_id)
    WHERE role IN ('calibration', 'holdout') AND origin = 'import'
"""
CERTIFIED = """
    UPDATE certificate SET epoch_id = (SELECT min(epoch.id) FROM epoch JOIN model_version ON
        model_version.product_id = epoch.product_id WHERE model_version.id = certificate.model_version_id)
"""


def upgrade() -> None:
    """Makes the tables and columns. Imported calibration samples become those of an epoch; audited ones wait for their
    windows, as any others do.
    """
    _epochs()
    _columns()
    for statement in (EPOCHS, JOIN, CERTIFIED):
        op.execute(statement)
    _samples()
    _watches()
    _drift()


def downgrade() -> None:
    """Drops them; refused where there is what the older schema cannot hold."""
    bind = op.get_bind()
    if bind.execute(sa.text("SELECT 1 FROM item WHERE kind = 'teach'")).first():
        raise CommandError("there are parts of a product that is being taught; revision 0005 cannot hold such items")
    waiting = "SELECT 1 FROM sample WHERE state <> 'accepted' AND revoked_at IS NULL"
    if bind.execute(sa.text(waiting)).first():
        raise CommandError("there are proposals that nobody accepted; in revision 0005 they would train: revoke them")
    for table in TABLES:
        op.drop_table(table)
    op.drop_index("ix_item_product_id_kind_event_at", "item")
    with op.batch_alter_table("item") as item:
        item.drop_column("watched")
        item.drop_constraint(op.f("ck_item_kind"), type_="check")
        item.create_check_constraint(op.f("ck_item_kind"), "kind IN ('flagged', 'audit', 'failed')")
    op.drop_index("ix_sample_epoch_id", "sample")
    with op.batch_alter_table("sample") as sample:
        sample.drop_constraint(op.f("ck_sample_state"), type_="check")
        sample.drop_constraint(op.f("fk_sample_epoch_id_epoch"), type_="foreignkey")
        sample.drop_constraint(op.f("fk_sample_accepted_by_user"), type_="foreignkey")
        for column in ("epoch_id", "state", "quarantine", "accepted_by", "accepted_at"):
            sample.drop_column(column)
    with op.batch_alter_table("certificate") as certificate:
        certificate.drop_constraint(op.f("fk_certificate_epoch_id_epoch"), type_="foreignkey")
        certificate.drop_column("epoch_id")
    with op.batch_alter_table("model_version") as version:
        version.drop_constraint(op.f("fk_model_version_parent_id_model_version"), type_="foreignkey")
        version.drop_column("parent_id")
    op.execute("UPDATE training_run SET state = 'needs_person' WHERE state = 'shadow'")
    with op.batch_alter_table("training_run") as run:
        run.drop_constraint(op.f("ck_training_run_state"), type_="check")
        run.create_check_constraint(op.f("ck_training_run_state"), f"state IN ({RUNS})")
        run.drop_column("losses")
        run.drop_column("attempts")
    op.drop_table("epoch")


def _epochs() -> None:
    op.create_table(
        "epoch",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("product_id", ID, nullable=False),
        Column("cause", WORD, nullable=False),
        Column("words", sa.Text, nullable=False),
        Column("cuts", sa.Boolean, nullable=False),
        Column("by", ID),
        Column("opened_at", UTC_TIME, nullable=False),
        Column("closed_at", UTC_TIME),
        foreign("epoch", "product_id", "product.id"),
        foreign("epoch", "by", "user.id"),
        check("epoch", "cause", "cause IN ('import', 'teach', 'stream', 'drift', 'camera', 'person')"),
        primary("epoch", "id"),
    )
    is_open = sa.text("closed_at IS NULL")
    op.create_index(
        "uq_epoch_open", "epoch", ["product_id"], unique=True, sqlite_where=is_open, postgresql_where=is_open
    )
    op.create_table(
        "audit_window",
        Column("product_id", ID, nullable=False),
        Column("starts_at", UTC_TIME, nullable=False),
        Column("ends_at", UTC_TIME, nullable=False),
        Column("drawn", sa.Integer, nullable=False),
        Column("normal", sa.Integer, nullable=False),
        Column("defect", sa.Integer, nullable=False),
        Column("admitted_at", UTC_TIME, nullable=False),
        foreign("audit_window", "product_id", "product.id"),
        primary("audit_window", "product_id", "starts_at"),
    )


def _columns() -> None:
    with op.batch_alter_table("sample") as sample:
        sample.add_column(Column("epoch_id", ID))
        sample.add_column(Column("state", WORD, nullable=False, server_default="accepted"))
        sample.add_column(Column("quarantine", sa.JSON))
        sample.add_column(Column("accepted_by", ID))
        sample.add_column(Column("accepted_at", UTC_TIME))
        sample.create_foreign_key(op.f("fk_sample_epoch_id_epoch"), "epoch", ["epoch_id"], ["id"])
        sample.create_foreign_key(op.f("fk_sample_accepted_by_user"), "user", ["accepted_by"], ["id"])
        states = "state IN ('proposed', 'quarantined', 'accepted', 'refused')"
        sample.create_check_constraint(op.f("ck_sample_state"), states)
    op.create_index("ix_sample_epoch_id", "sample", ["epoch_id"])
    with op.batch_alter_table("certificate") as certificate:
        certificate.add_column(Column("epoch_id", ID))
        certificate.create_foreign_key(op.f("fk_certificate_epoch_id_epoch"), "epoch", ["epoch_id"], ["id"])
    with op.batch_alter_table("model_version") as version:
        version.add_column(Column("parent_id", ID))
        name = op.f("fk_model_version_parent_id_model_version")
        version.create_foreign_key(name, "model_version", ["parent_id"], ["id"])
    with op.batch_alter_table("training_run") as run:
        run.add_column(Column("losses", sa.JSON))
        run.add_column(Column("attempts", sa.Integer, nullable=False, server_default="0"))
        run.drop_constraint(op.f("ck_training_run_state"), type_="check")
        run.create_check_constraint(op.f("ck_training_run_state"), f"state IN ({RUNS}, 'shadow')")
    with op.batch_alter_table("item") as item:
        item.add_column(Column("watched", sa.Boolean, nullable=False, server_default=sa.false()))
        item.drop_constraint(op.f("ck_item_kind"), type_="check")
        item.create_check_constraint(op.f("ck_item_kind"), "kind IN ('flagged', 'audit', 'failed', 'teach')")
    op.create_index("ix_item_product_id_kind_event_at", "item", ["product_id", "kind", "event_at"])


def _samples() -> None:
    op.create_table(
        "withdrawal",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("sample_id", ID, nullable=False),
        Column("reason", sa.Text, nullable=False),
        Column("asked_by", ID, nullable=False),
        Column("asked_at", UTC_TIME, nullable=False),
        Column("decided_by", ID),
        Column("decision", WORD),
        Column("decided_at", UTC_TIME),
        foreign("withdrawal", "sample_id", "sample.id"),
        foreign("withdrawal", "asked_by", "user.id"),
        foreign("withdrawal", "decided_by", "user.id"),
        check("withdrawal", "decision", "decision IN ('confirmed', 'refused')"),
        primary("withdrawal", "id"),
    )
    op.create_index("ix_withdrawal_sample_id", "withdrawal", ["sample_id"])
    op.create_table(
        "calibration_score",
        Column("model_version_id", ID, nullable=False),
        Column("sample_id", ID, nullable=False),
        Column("score", sa.Float, nullable=False),
        foreign("calibration_score", "model_version_id", "model_version.id"),
        foreign("calibration_score", "sample_id", "sample.id"),
        primary("calibration_score", "model_version_id", "sample_id"),
    )
    op.create_table(
        "teaching",
        Column("product_id", ID, nullable=False),
        Column("station_id", ID, nullable=False),
        Column("parts", sa.Integer, nullable=False),
        Column("state", WORD, nullable=False),
        Column("by", ID, nullable=False),
        Column("started_at", UTC_TIME, nullable=False),
        Column("ended_at", UTC_TIME),
        foreign("teaching", "product_id", "product.id"),
        foreign("teaching", "station_id", "station.id"),
        foreign("teaching", "by", "user.id"),
        check("teaching", "state", "state IN ('collecting', 'looking', 'training', 'done', 'cancelled')"),
        primary("teaching", "product_id"),
    )
    op.create_table(
        "taught",
        Column("item_id", ID, nullable=False),
        Column("oddness", sa.Float, nullable=False),
        foreign("taught", "item_id", "item.id"),
        primary("taught", "item_id"),
    )


def _watches() -> None:
    op.create_table(
        "watch",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("product_id", ID, nullable=False),
        Column("kind", WORD, nullable=False),
        Column("deployment_id", ID, nullable=False),
        Column("model_version_id", ID, nullable=False),
        Column("certificate_id", ID),
        Column("share", sa.Float, nullable=False),
        Column("state", WORD, nullable=False),
        Column("words", sa.Text),
        Column("numbers", sa.JSON),
        Column("opened_at", UTC_TIME, nullable=False),
        Column("closed_at", UTC_TIME),
        foreign("watch", "product_id", "product.id"),
        foreign("watch", "deployment_id", "deployment.id"),
        foreign("watch", "model_version_id", "model_version.id"),
        foreign("watch", "certificate_id", "certificate.id"),
        check("watch", "kind", "kind IN ('shadow', 'watch')"),
        check("watch", "state", "state IN ('open', 'kept', 'rolled_back', 'untrusted', 'ended')"),
        primary("watch", "id"),
    )
    is_open = sa.text("state = 'open'")
    op.create_index(
        "uq_watch_open", "watch", ["product_id"], unique=True, sqlite_where=is_open, postgresql_where=is_open
    )
    op.create_table(
        "shadow_score",
        Column("watch_id", ID, nullable=False),
        Column("stream_id", ID, nullable=False),
        Column("partition", sa.Integer, autoincrement=False, nullable=False),
        Column("offset", BIG, autoincrement=False, nullable=False),
        Column("event_at", UTC_TIME, nullable=False),
        Column("station_id", ID, nullable=False),
        Column("part", NAME, nullable=False),
        Column("flagged", sa.Boolean, nullable=False),
        Column("other_flagged", sa.Boolean, nullable=False),
        Column("score", sa.Float),
        Column("other_score", sa.Float),
        foreign("shadow_score", "watch_id", "watch.id"),
        foreign("shadow_score", "stream_id", "stream.id"),
        foreign("shadow_score", "station_id", "station.id"),
        primary("shadow_score", "watch_id", "stream_id", "partition", "offset"),
    )


def _drift() -> None:
    op.create_table(
        "drift",
        Column("product_id", ID, nullable=False),
        Column("station_id", ID, nullable=False),
        Column("epoch_id", ID, nullable=False),
        Column("deployment_id", ID, nullable=False),
        Column("stream", sa.Integer, nullable=False),
        Column("n", BIG, nullable=False),
        Column("log_wealth", sa.Float, nullable=False),
        Column("state", sa.JSON, nullable=False),
        Column("began_at", UTC_TIME, nullable=False),
        Column("read_until", UTC_TIME, nullable=False),
        Column("stream_id", ID, nullable=False),
        Column("partition", sa.Integer, nullable=False),
        Column("offset", BIG, nullable=False),
        Column("alarmed_at", UTC_TIME),
        Column("alarm", sa.JSON),
        Column("updated_at", UTC_TIME, nullable=False),
        foreign("drift", "product_id", "product.id"),
        foreign("drift", "station_id", "station.id"),
        foreign("drift", "epoch_id", "epoch.id"),
        foreign("drift", "deployment_id", "deployment.id"),
        foreign("drift", "stream_id", "stream.id"),
        primary("drift", "product_id", "station_id"),
    )
