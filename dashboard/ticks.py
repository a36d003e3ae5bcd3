"""Which parts are ticked for one decision: kept by id, so that a tick stays where newer parts push its box away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from agent.store.items import Item
from dashboard import context


def ticked() -> set[int]:
    """The ids of those that the acting user has ticked."""
    user = context.actor()
    found: set[int] = st.session_state.setdefault(f"ticked-{user.id if user else 0}", set())
    return found


def box(place: DeltaGenerator, label: str, parts: Sequence[Item], key: str) -> None:
    """Draws a box that stands for those of these parts that can be judged; set where all of them are ticked."""
    ids = open_of(parts)
    if ids and context.may("operator"):
        st.session_state[key] = ticked().issuperset(ids)
        place.checkbox(label, key=key, on_change=_changed, args=(key, ids))


def tick(ids: Iterable[int]) -> None:
    """Ticks these, too."""
    ticked().update(ids)


def untick() -> None:
    """Ticks none."""
    ticked().clear()


def open_of(parts: Sequence[Item]) -> tuple[int, ...]:
    """The ids of those of these parts that can be judged."""
    return tuple(one.id for one in parts if one.state != "closed")


def _changed(key: str, ids: tuple[int, ...]) -> None:
    if st.session_state[key]:
        ticked().update(ids)
    else:
        ticked().difference_update(ids)
