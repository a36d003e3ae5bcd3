"""This installation: its id, and the secret that draws roles and audits."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import columns, read
from agent.store.tables import install


@dataclass(frozen=True, slots=True)
class Install:
    """The one row of its table, made by the first migration."""

    install_id: str
    secret: bytes = field(repr=False)
    created_at: datetime

    @property
    def group_id(self) -> str:
        """The consumer group, where kafka.group_id names none: two databases never share one."""
        return f"goodpart.{self.install_id}"


def install_of(conn: Connection) -> Install:
    """The installation that this database belongs to."""
    return read(Install, conn.execute(sa.select(*columns(install, Install))).one())
