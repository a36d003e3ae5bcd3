"""What Alembic runs for each command: on the connection that agent.store.migrate gives it."""

from __future__ import annotations

from alembic import context

from agent.store.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("migrations run by: goodpart db upgrade")
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
    compare_server_default=True,
    # SQLite's DDL is transactional where, as here, the transaction is begun before it.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
