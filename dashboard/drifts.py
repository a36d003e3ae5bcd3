"""Drift: what speaks for a change of a product's scores, station by station."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log

import streamlit as st

from agent.store.drift import Reference, Standing, odds
from dashboard import context
from model.statistics import look_delta


def block(found: Sequence[Standing], reference: Reference | None, places: Mapping[int, str]) -> None:
    """One line a station; nothing where none is watched under what decides now."""
    mine = [one for one in found if one.of(reference)]
    if found and reference is None:
        st.caption("Drift: not watched until the next model is certified on parts from after the change.")
    for one in mine:
        st.caption(_line(one, places.get(one.station_id, str(one.station_id))))


def _line(one: Standing, place: str) -> str:
    settings = context.settings()
    since = one.began_at.astimezone(settings.timezone)
    limit = -log(look_delta(settings.drift.alpha, one.stream))
    text = (
        f"Drift at {place}: evidence {one.evidence} after {one.n:,} parts since {since:%Y-%m-%d %H:%M}; "
        f"it alarms at {odds(limit)}."
    )
    if one.alarm and one.alarmed_at:
        at = one.alarmed_at.astimezone(settings.timezone)
        text += f" **Alarm at {at:%Y-%m-%d %H:%M}**: {odds(one.alarm['log_e'])} after {one.alarm['n']:,} parts."
    return text
