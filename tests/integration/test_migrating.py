"""A migration beside a program that writes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from agent.store.engine import (
    DatabaseBehind,
    downgrade,
    reading,
    revision,
    writing,
)
from agent.store.tables import blob
from tests.databases import add_blob, line, sha
from tests.streams import until

both = pytest.mark.usefixtures("each_database")
BELOW = "0029"  # a revision below the newest


@both
def test_who_writes_ends_before_the_database_moves_and_writes_no_more_after_it(tmp_path: Path) -> None:
    with line(tmp_path) as here:
        migration = threading.Thread(target=downgrade, args=(here.engine, BELOW))
        with writing(here.engine) as conn:
            migration.start()
            until(lambda: _waits(here.engine))
            add_blob(conn, 1)
        migration.join(30)
        assert revision(here.engine) == BELOW
        with pytest.raises(DatabaseBehind, match="goodpart db upgrade"), writing(here.engine) as conn:
            add_blob(conn, 2)
        with reading(here.engine) as conn:
            assert conn.execute(sa.select(blob.c.sha256)).scalars().all() == [sha(1)]


def _waits(engine: Engine) -> bool:
    """Whether a migration waits for a lock; on SQLite, where nobody can tell, writers take turns anyway."""
    if engine.dialect.name == "sqlite":
        return True
    with reading(engine) as conn:
        return bool(conn.execute(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())
