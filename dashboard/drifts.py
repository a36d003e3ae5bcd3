"""Drift: what speaks for a change of a product's scores, station by station."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from math import log

import streamlit as st

from agent.store.drift import Reference, Standing, odds
from dashboard import clocks, context
from dashboard.words import later, say
from model.statistics import look_delta

WAITING = later("Drift: not watched until the next model is certified on parts from after the change.")


def block(found: Sequence[Standing], reference: Reference | None, places: Mapping[int, str]) -> None:
    """Draws a line for each station."""
    settings = context.settings()
    for text in lines(found, reference, places, settings.drift.alpha, clocks.zone()):
        st.caption(text)


def lines(
    found: Sequence[Standing], reference: Reference | None, places: Mapping[int, str], alpha: float, zone: tzinfo
) -> list[str]:
    """A line for each station that is watched under what decides now."""
    if found and reference is None:
        return [say(WAITING)]
    return [_line(one, places[one.station_id], alpha, zone) for one in found if one.of(reference)]


def _line(one: Standing, place: str, alpha: float, zone: tzinfo) -> str:
    limit = odds(-log(look_delta(alpha, one.stream)))
    text = say(
        "Drift at {place}: evidence {evidence} after {n:,} parts since {at}; it alarms at {limit}.",
        place=place, evidence=one.evidence, n=one.n, at=f"{one.began_at.astimezone(zone):%Y-%m-%d %H:%M}", limit=limit,
    )  # fmt: skip
    if one.alarm and one.alarmed_at:
        at, evidence = f"{one.alarmed_at.astimezone(zone):%Y-%m-%d %H:%M}", odds(one.alarm["log_e"])
        text += " " + say(
            "**Alarm at {at}**: {evidence} after {n:,} parts.", at=at, evidence=evidence, n=one.alarm["n"]
        )
    return text
