"""Filters of a page: each choice stands in the address."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, time, timedelta, tzinfo

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from agent.settings import utc_now
from agent.store import products
from agent.store.products import Product
from dashboard import context


def product() -> Product | None:
    """The product that a page is about; None, and said so, where there is none."""
    with context.reading() as conn:
        found = {one.name: one for one in products.all(conn)}
    if not found:
        st.info("There are no products yet. Add one: `goodpart products add NAME`")
        return None
    return found[st.selectbox("Product", list(found), key="product", bind="query-params")]


def pick(place: DeltaGenerator, label: str, choices: Collection[str], help: str = "") -> str | None:
    """One of some choices; None: all."""
    found = place.selectbox(
        label, list(choices), index=None, placeholder="all", key=label.lower(), bind="query-params", help=help or None
    )
    return str(found) if found else None


def day(place: DeltaGenerator, label: str, zone: tzinfo, more: int) -> datetime | None:
    """The beginning of the chosen day, or of the one so many days after it."""
    today = utc_now().astimezone(zone).date()
    key = label.lower().replace(" ", "-")
    found = place.date_input(label, value=None, max_value=today, key=key, bind="query-params")
    if found is None:
        return None
    return datetime.combine(found + timedelta(days=more), time(), zone).astimezone(UTC)
