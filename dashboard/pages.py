"""Which views there are, and the lowest role that each is for. Where a role may not see one, nothing of it is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from agent.service.ranks import may
from agent.store.users import User
from dashboard import barred
from dashboard.views import audit, health, line, models, part, review, samples, shift, teach, trends, triage
from dashboard.words import later, say


@dataclass(frozen=True, slots=True)
class View:
    """One page: its address, its place in the menu, what draws it, and whom it is for."""

    path: str
    title: str
    icon: str
    show: Callable[[], None]
    least: str = "viewer"


VIEWS = (
    View("", later("Line"), "factory", line.show),
    View("review", later("Review"), "rate_review", review.show),
    View("triage", later("Triage"), "grid_view", triage.show),
    View("part", later("Part"), "search", part.show),
    View("trends", later("Trends"), "monitoring", trends.show),
    View("shift", later("Shift"), "assignment", shift.show),
    View("teach", later("Teach"), "school", teach.show, "operator"),
    View("samples", later("Samples"), "photo_library", samples.show, "operator"),
    View("models", later("Models"), "model_training", models.show, "operator"),
    View("health", later("Health"), "monitor_heart", health.show),
    View("audit", later("Audit"), "history", audit.show, "engineer"),
)


def views(user: User | None) -> list[View]:
    """What this user may see; without one, where there are no users yet, what anybody may."""
    return [one for one in VIEWS if (may(user, one.least) if user else one.least == "viewer")]


def offered(user: User | None) -> list[st.Page]:
    """What this user may see, and at the addresses of the others a page that says whom it is for, in no menu."""
    seen = views(user)
    return [page(one) if one in seen else _closed(one) for one in VIEWS]


def _closed(view: View) -> st.Page:
    def show() -> None:
        barred.page(say(view.title), view.least)

    return st.Page(show, title=say(view.title), url_path=view.path, visibility="hidden")


def page(view: View, show: Callable[[], None] | None = None) -> st.Page:
    """The page of a view; `show` draws something else at its address."""
    return st.Page(
        show or view.show,
        title=say(view.title),
        icon=f":material/{view.icon}:",
        url_path=view.path or None,
        default=not view.path,
    )
