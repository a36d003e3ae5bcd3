"""What decided of a product, version by version, and what any two differ in; a section of the page Audit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo

import streamlit as st

from agent.store import audit, products, registry, setting_versions
from dashboard import clocks, context, versions
from dashboard.tables import table
from dashboard.words import say

CHANGES = 200  # of a product's settings
SHOWN = 20


def show(names: Mapping[int, str]) -> None:
    """Draws it; `names` of people by their id."""
    st.subheader(say("What decides"))
    with context.reading() as conn:
        known = {one.name: one.id for one in products.all(conn, retired=True)}
    name = st.selectbox(
        say("Product"), list(known), index=None, placeholder=say("of which"), key="decided", bind="query-params"
    )
    if name is None:
        st.caption(say("Choose a product: thresholds, rates, model and configuration, version by version."))
        return
    with context.reading() as conn:
        deployments = registry.deployments(conn, known[name])
        settings = setting_versions.all(conn)
        changes = audit.recent(conn, CHANGES, action="product.change", subject=f"product:{known[name]}")
    found = versions.history(deployments, settings, changes, names)
    if not found:
        st.info(say("Nothing has decided of it yet."))
        return
    zone, shown = clocks.zone(), int(st.session_state.get("deciders-shown", SHOWN))
    st.html(table(versions.rows(found[:shown], zone)))
    if len(found) > shown and st.button(say("Show earlier ones"), key="earlier-deciders"):
        st.session_state["deciders-shown"] = shown + SHOWN
        st.rerun()
    _compare({_name(one, zone): one for one in found if one.fields})


def _name(one: versions.Version, zone: tzinfo) -> str:
    return say("{what}, since {at}", what=one.what, at=f"{one.at.astimezone(zone):%Y-%m-%d %H:%M:%S}")


def _compare(found: Mapping[str, versions.Version]) -> None:
    if len(found) < 2:
        return
    left, right = st.columns(2)
    before = left.selectbox(say("Compare"), list(found), index=1, key="compared-from")
    after = right.selectbox(say("with"), list(found), index=0, key="compared-to")
    rows = versions.differences(found[before].fields, found[after].fields)
    if rows:
        st.html(table(rows))
    else:
        st.caption(say("Both say the same."))
