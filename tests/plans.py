"""How a database means to answer the queries of some work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from agent.store.engine import writing


def plans_of(engine: Engine, work: Callable[[Connection], object], asks: str = "SELECT") -> list[str]:
    """A plan for each query that begins with `asks`; on PostgreSQL as if there were too many rows to read them all."""
    asked: list[tuple[str, Any]] = []

    def note(conn: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(asks):
            asked.append((statement, parameters))

    with writing(engine) as conn:
        sa.event.listen(engine, "before_cursor_execute", note)
        work(conn)
        sa.event.remove(engine, "before_cursor_execute", note)
        if conn.dialect.name == "postgresql":
            for way in ("seqscan", "bitmapscan", "sort"):
                conn.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        explain = "EXPLAIN" if conn.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        return [
            "\n".join(row[-1] for row in conn.exec_driver_sql(f"{explain} {statement}", given))
            for statement, given in asked
        ]
