"""What every command shares: the configuration, the open database, the acting user, tables and JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection, Engine

from agent import settings as settings_module
from agent.settings import Settings
from agent.store import products, users
from agent.store.engine import check_revision, open_engine, reading

DEFAULT_CONFIG = Path("config.toml")
console = Console()


class CommandError(Exception):
    """A command that cannot run as asked; the message says what to do."""


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every command."""

    config: Annotated[Path | None, Parameter(help="Settings file (default: config.toml here, if there is one).")] = None

    @property
    def path(self) -> Path | None:
        """The settings file in use; None where there is none."""
        return self.config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)

    def settings(self) -> Settings:
        """The settings; raises SettingsError."""
        return settings_module.load(self.path, os.environ)

    def database(self) -> Engine:
        """The open database at the present revision; raises StoreError."""
        engine = open_engine(self.settings().database.url)
        check_revision(engine)
        return engine


@Parameter(name="*")
@dataclass(frozen=True)
class Acting(Common):
    """Options of commands that change something: who does it."""

    by: Annotated[str | None, Parameter(name="--as", help="The user who acts (default: your login name).")] = None

    def actor(self, engine: Engine) -> users.User:
        """The acting user; raises CommandError where there is no such user."""
        name = self.by or self._login()
        with reading(engine) as conn:
            found = users.find(conn, name)
            known = [user.name for user in users.all(conn)]
        if found:
            return found
        if not known:
            raise CommandError("there are no users yet; add the first: goodpart users add NAME --role admin")
        raise CommandError(f"there is no user {name!r}; say who acts with --as NAME (users: {', '.join(known)})")

    def somebody(self, engine: Engine) -> users.User | None:
        """As `actor`, for what needs nobody: None where nobody is named and no user has the login name."""
        if self.by:
            return self.actor(engine)
        with reading(engine) as conn:
            return users.find(conn, self._login())

    @staticmethod
    def _login() -> str:
        return os.environ.get("USER") or os.environ.get("LOGNAME") or ""


def find_product(conn: Connection, name: str) -> products.Product:
    """The product of that name; raises CommandError where there is none."""
    found = products.find(conn, name)
    if found is None:
        raise CommandError(f"there is no product {name!r}; see: goodpart products list")
    return found


def new_key() -> str:
    """An idempotency key for one run of a command."""
    return f"cli-{uuid4()}"


def show(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, as_json: bool, empty: str = "none") -> None:
    """Prints rows as a table, or as JSON objects keyed by the columns."""
    listed = [list(row) for row in rows]
    if as_json:
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in listed], default=_plain, indent=2))
        return
    if not listed:
        console.print(empty)
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in listed:
        table.add_row(*(Text("" if cell is None else _plain(cell)) for cell in row))  # data is no markup
    console.print(table)


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
