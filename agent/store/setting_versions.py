"""The settings that can change a verdict, each time an agent starts with other ones than the last that started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import columns, read_all, serialise
from agent.store.tables import setting_version

LOCK = 0x73657474  # "sett"


@dataclass(frozen=True, slots=True)
class SettingVersion:
    """`settings` are Settings.deciding, by section; `config_hash` is what deployments name them by."""

    id: int
    config_hash: str
    settings: Mapping[str, Mapping[str, Any]]
    created_at: datetime


def keep(conn: Connection, config_hash: str, settings: Mapping[str, Any], now: datetime) -> bool:
    """Records the settings of an agent that starts; False where the newest ones are the same."""
    serialise(conn, LOCK)
    newest = sa.select(setting_version.c.config_hash).order_by(setting_version.c.id.desc()).limit(1)
    if conn.execute(newest).scalar_one_or_none() == config_hash:
        return False
    row = {"config_hash": config_hash, "settings": dict(settings), "created_at": now}
    conn.execute(sa.insert(setting_version).values(row))
    return True


def all(conn: Connection) -> list[SettingVersion]:
    """All of them, newest first."""
    query = sa.select(*columns(setting_version, SettingVersion)).order_by(setting_version.c.id.desc())
    return read_all(SettingVersion, conn.execute(query))
