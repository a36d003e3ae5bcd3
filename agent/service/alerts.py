"""Acknowledging an alert: somebody has seen it. For operators."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.alerts.base import EVENTS
from agent.service.acts import Done, perform
from agent.store import alerts
from agent.store.alerts import Alert
from agent.store.engine import reading
from agent.store.users import User


def acknowledge(engine: Engine, actor: User, alert_id: int, *, key: str, now: datetime) -> Alert:
    """Records who has seen it. A condition stays open until it is over; an event ends with this.

    Raises:
        PermissionDenied: the actor's role is too low.
        NotFound: there is no such alert.
        Conflict: it is over, or somebody was faster.
    """

    def work(conn: Connection, actor: User) -> Done:
        event = alerts.get(conn, alert_id).kind in EVENTS
        seen = alerts.acknowledge(conn, alert_id, actor.id, event=event, now=now)
        return Done({}, f"alert:{alert_id}", {"kind": seen.kind, "subject": seen.subject})

    request = {"alert_id": alert_id}
    perform(engine, actor, "alert.acknowledge", request, work, least="operator", key=key, now=now)
    with reading(engine) as conn:
        return alerts.get(conn, alert_id)
