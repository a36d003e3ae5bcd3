"""A product's second model on the Models page: what scores beside what decides, on which share, and what came of it."""

from __future__ import annotations

import streamlit as st

from agent.settings import Settings
from agent.store.watches import Watch
from dashboard import context


def block(found: list[Watch]) -> None:
    """Draws it.

    Args:
        found: the product's, newest first.
    """
    st.subheader("Second scoring")
    st.caption(shares(context.settings()))
    if not found:
        return
    newest, zone = found[0], context.settings().timezone
    if newest.state == "untrusted" and newest.closed_at is None:
        st.error(f"**No trusted model**, {newest.title}: {newest.told}. What either flags goes to review.")
    elif newest.closed_at is None:
        scoring = "enough parts are drawn, reviews are awaited" if newest.full else f"{newest.share:.1%} of the parts"
        st.info(f"**{newest.title}** ({scoring}): {newest.told}")
    rows = [
        {
            "watch": one.id,
            "models": one.title,
            "share": f"{one.share:.1%}",
            "opened": one.opened_at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S"),
            "outcome": outcome(one),
            "why": one.told,
        }
        for one in found
    ]
    st.dataframe(rows, hide_index=True)


def shares(settings: Settings) -> str:
    """Which parts are scored twice, by the settings."""
    shadow, watch = settings.shadow, settings.watch
    after = f"{watch.share:.1%} of the parts after a promotion, {watch.parts:,} of them" if watch.share else "no watch"
    before = f"{shadow.share:.1%} before one, {shadow.parts:,} of them" if shadow.share else "no shadow"
    return f"Parts that two models score: {after}; {before}."


def outcome(watch: Watch) -> str:
    """What came of it, in a word or two."""
    if watch.kind == "shadow" and watch.state == "kept":
        return "promoted"
    return {"untrusted": "no trusted model", "rolled_back": "rolled back"}.get(watch.state, watch.state)
