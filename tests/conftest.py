"""Servers that tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import databases, postgresql


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.PostgreSQL]:
    with postgresql.postgresql() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def each_database(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs a module's tests once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        yield
        return
    with databases.on(request.getfixturevalue("postgresql_server")):
        yield
