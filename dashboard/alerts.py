"""Open alerts as the Line page shows them: what is wrong, since when, how often, and who has seen it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape

import streamlit as st

from agent.service import alerts as service
from agent.store import users
from agent.store.alerts import Alert
from dashboard import context
from dashboard.codes import shown
from dashboard.words import later, retold, say, several

ICONS = {"error": "✖", "warning": "⚠️"}
AGES = ((86_400, later("{n} d")), (3_600, later("{n} h")), (60, later("{n} min")))


def ago(then: datetime | None, now: datetime) -> str:
    """A moment as an age: `4 s`, `3 min`, `2 h`, `5 d`."""
    if then is None:
        return say("never")
    seconds = max(0, int((now - then).total_seconds()))
    for size, age in AGES:
        if seconds >= size:
            return say(age, n=seconds // size)
    return say("{n} s", n=seconds)


def since(then: datetime | None, now: datetime) -> str:
    """How long ago a moment was: `3 min ago`."""
    return say("never") if then is None else say("{age} ago", age=ago(then, now))


def line(alert: Alert, names: Mapping[int, str], now: datetime) -> str:
    """One alert as HTML; every text is escaped."""
    said = say("for {age}", age=ago(alert.opened_at, now))
    if alert.n > 1:
        said = several("for {age}, {n} time", "for {age}, {n} times", alert.n, age=ago(alert.opened_at, now))
    if (by := alert.acknowledged_by) is not None:
        said += " · " + say("{name} has seen it", name=names.get(by, say("somebody")))
    pill = escape(f"{ICONS[alert.level]} {shown(alert.level)}")
    words = escape(retold(alert.told))
    return (
        f"<div class='alert {alert.level}'><span class='pill {alert.level}'>{pill}</span> "
        f"<b>{escape(shown(alert.kind))}</b> {words} <span class='faint'>{escape(said)}</span></div>"
    )


def show(found: Sequence[Alert], now: datetime) -> None:
    """Draws the open ones, with a button for whoever may acknowledge; nothing where there are none."""
    names: dict[int, str] = {}
    if any(one.acknowledged_by for one in found):
        with context.reading() as conn:
            names = {user.id: user.name for user in users.all(conn, disabled=True)}
    for alert in found:
        place = st.container(horizontal=True, vertical_alignment="center")
        place.html(line(alert, names, now))
        wanted = alert.acknowledged_at is None and context.may("operator")
        if wanted and place.button(say("Acknowledge"), key=f"acknowledge-{alert.id}") and _acknowledge(alert.id):
            st.rerun(scope="fragment")


def _acknowledge(alert_id: int) -> bool:
    actor = context.actor()
    return actor is not None and context.act(
        lambda **given: service.acknowledge(context.engine(), actor, alert_id, **given), say("acknowledged")
    )
