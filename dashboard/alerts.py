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

ICONS = {"error": "✖", "warning": "⚠️"}


def ago(then: datetime | None, now: datetime) -> str:
    """A moment as an age: `4 s`, `3 min`, `2 h`, `5 d`."""
    if then is None:
        return "never"
    seconds = max(0, int((now - then).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def line(alert: Alert, names: Mapping[int, str], now: datetime) -> str:
    """One alert as HTML; every text is escaped."""
    often = f", {alert.n} times" if alert.n > 1 else ""
    by = alert.acknowledged_by
    seen = f" · {escape(names.get(by, 'somebody'))} has seen it" if by is not None else ""
    return (
        f"<div class='alert {alert.level}'><span class='pill {alert.level}'>{ICONS[alert.level]} {alert.level}</span> "
        f"<b>{escape(alert.kind.replace('_', ' '))}</b> {escape(alert.words)} "
        f"<span class='faint'>for {ago(alert.opened_at, now)}{often}{seen}</span></div>"
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
        if wanted and place.button("Acknowledge", key=f"acknowledge-{alert.id}") and _acknowledge(alert.id):
            st.rerun(scope="fragment")


def _acknowledge(alert_id: int) -> bool:
    actor = context.actor()
    return actor is not None and context.act(
        lambda **given: service.acknowledge(context.engine(), actor, alert_id, **given), "acknowledged"
    )


def by_subject(found: Sequence[Alert]) -> dict[str, set[str]]:
    """The kinds that are open, by subject."""
    kinds: dict[str, set[str]] = {}
    for alert in found:
        kinds.setdefault(alert.subject, set()).add(alert.kind)
    return kinds
