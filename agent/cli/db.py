"""`goodpart db`."""

from __future__ import annotations

from cyclopts import App

from agent.cli.common import Common
from agent.store.engine import check_revision, open_engine, revision
from agent.store.engine import upgrade as upgrade_database

app = App(name="db", help="Create, migrate and check the database. Example: goodpart db upgrade")


@app.command
def upgrade(*, common: Common = Common()) -> None:
    """Create the database or bring it to this program's revision. Example: goodpart db upgrade"""
    engine = open_engine(common.settings().database.url)
    upgrade_database(engine)
    print(f"the database is at revision {revision(engine)}")


@app.command
def check(*, common: Common = Common()) -> None:
    """Say whether the database fits this program; exit status 1 if not. Example: goodpart db check"""
    engine = open_engine(common.settings().database.url)
    check_revision(engine)
    print(f"the database is at revision {revision(engine)}, as this program needs")
