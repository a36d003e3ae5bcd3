"""A product's second model on the Models page: what scores beside what decides, on which share, and what came of it."""

from __future__ import annotations

import streamlit as st

from agent.settings import Settings
from agent.store.watches import Watch
from dashboard import clocks, context
from dashboard.codes import shown
from dashboard.tables import table
from dashboard.words import later, retold, say


def block(found: list[Watch]) -> None:
    """Draws it.

    Args:
        found: the product's, newest first.
    """
    st.subheader(say("Second scoring"))
    st.caption(shares(context.settings()))
    if not found:
        return
    newest, zone = found[0], clocks.zone()
    if newest.state == "untrusted" and newest.closed_at is None:
        st.error(
            say(
                "**No trusted model**, {title}: {told}. What either flags goes to review.",
                title=retold(newest.title),
                told=retold(newest.told),
            )
        )
    elif newest.closed_at is None:
        scoring = say("enough parts are drawn, reviews are awaited")
        if not newest.full:
            scoring = say("{share:.1%} of the parts", share=newest.share)
        st.info(f"**{retold(newest.title)}** ({scoring}): {retold(newest.told)}")
    rows = [
        {
            later("watch"): one.id,
            later("models"): retold(one.title),
            later("share"): f"{one.share:.1%}",
            later("opened"): one.opened_at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S"),
            later("outcome"): outcome(one),
            later("why"): retold(one.told),
        }
        for one in found
    ]
    st.html(table(rows, low=True))


def shares(settings: Settings) -> str:
    """Which parts are scored twice, by the settings."""
    shadow, watch = settings.shadow, settings.watch
    after, before = say("no watch"), say("no shadow")
    if watch.share:
        after = say("{share:.1%} of the parts after a promotion, {n:,} of them", share=watch.share, n=watch.parts)
        if watch.defects:
            after = say("{after} and more until {n:,} confirmed defects came", after=after, n=watch.defects)
    if shadow.share:
        before = say("{share:.1%} before one, {n:,} of them", share=shadow.share, n=shadow.parts)
    return say("Parts that two models score: {after}; {before}.", after=after, before=before)


def outcome(watch: Watch) -> str:
    """What came of it, in a word or two."""
    if watch.kind == "shadow" and watch.state == "kept":
        return say("promoted")
    return say("no trusted model") if watch.state == "untrusted" else shown(watch.state)
