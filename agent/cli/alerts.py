"""`goodpart alerts`."""

from __future__ import annotations

from cyclopts import App

from agent.cli.common import Acting, Common, new_key, show
from agent.service import alerts as service
from agent.settings import utc_now
from agent.store import alerts, users
from agent.store.engine import reading

app = App(name="alerts", help="What somebody must look at. Example: goodpart alerts list")


@app.command(name="list")
def list_(*, all: bool = False, json: bool = False, common: Common = Common()) -> None:
    """List open alerts, errors first. Example: goodpart alerts list --json

    Args:
        all: the newest 200 instead, those that are over too.
        json: print one JSON list.
    """
    with reading(common.database()) as conn:
        found = alerts.recent(conn, 200) if all else alerts.standing(conn)
        names = {user.id: user.name for user in users.all(conn, disabled=True)}
    rows = [
        (
            one.id, one.level, one.state, one.kind, one.subject, one.n, one.opened_at, one.closed_at,
            names.get(one.acknowledged_by) if one.acknowledged_by else None, one.words,
        )
        for one in found
    ]  # fmt: skip
    columns = [
        "id", "level", "state", "kind", "subject", "n", "opened_at", "closed_at", "acknowledged_by", "words",
    ]  # fmt: skip
    show(columns, rows, as_json=json, empty="no alerts" if all else "no open alerts")


@app.command
def acknowledge(alert_id: int, *, acting: Acting = Acting()) -> None:
    """Say that you have seen an alert. Example: goodpart alerts acknowledge 3

    Args:
        alert_id: as goodpart alerts list shows it.
    """
    engine = acting.database()
    done = service.acknowledge(engine, acting.actor(engine), alert_id, key=new_key(), now=utc_now())
    print(
        f"acknowledged alert {alert_id}; it {'stays open until it is over' if done.closed_at is None else 'is closed'}"
    )
