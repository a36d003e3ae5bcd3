"""In whose time a single time stamp is told: the viewer's. Days and shifts are the plant's, whoever looks."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from dashboard import context
from dashboard.words import say


def zone() -> ZoneInfo:
    """The viewer's timezone, as their browser says; the plant's where it says none that is known here."""
    try:
        return ZoneInfo(st.context.timezone or "")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return context.settings().timezone


def tell() -> None:
    """Names the viewer's timezone, once on a page of time stamps, where it is another than the plant's."""
    own, plant = zone(), context.settings().timezone
    if own.key != plant.key:
        st.caption(say("Times in {zone}; the plant's days and shifts are in {plant}.", zone=own.key, plant=plant.key))
