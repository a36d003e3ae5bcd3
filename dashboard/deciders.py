"""What decided of a product, version by version, and what any two differ in; a section of the page Audit."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from agent.store import audit, products, registry, setting_versions
from dashboard import context, versions
from dashboard.tables import table

CHANGES = 200  # of a product's settings
SHOWN = 20


def show(names: Mapping[int, str]) -> None:
    """Draws it; `names` of people by their id."""
    st.subheader("What decides")
    with context.reading() as conn:
        known = {one.name: one.id for one in products.all(conn, retired=True)}
    name = st.selectbox("Product", list(known), index=None, placeholder="of which", key="decided", bind="query-params")
    if name is None:
        st.caption("Choose a product: thresholds, rates, model and configuration, version by version.")
        return
    with context.reading() as conn:
        deployments = registry.deployments(conn, known[name])
        settings = setting_versions.all(conn)
        changes = audit.recent(conn, CHANGES, action="product.change", subject=f"product:{known[name]}")
    found = versions.history(deployments, settings, changes, names)
    if not found:
        st.info("Nothing has decided of it yet.")
        return
    zone, shown = context.settings().timezone, int(st.session_state.get("deciders-shown", SHOWN))
    st.html(table(versions.rows(found[:shown], zone)))
    if len(found) > shown and st.button("Show earlier ones", key="earlier-deciders"):
        st.session_state["deciders-shown"] = shown + SHOWN
        st.rerun()
    _compare({f"{one.what}, since {one.at.astimezone(zone):%Y-%m-%d %H:%M:%S}": one for one in found if one.fields})


def _compare(found: Mapping[str, versions.Version]) -> None:
    if len(found) < 2:
        return
    left, right = st.columns(2)
    before = left.selectbox("Compare", list(found), index=1, key="compared-from")
    after = right.selectbox("with", list(found), index=0, key="compared-to")
    rows = versions.differences(found[before].fields, found[after].fields)
    if rows:
        st.html(table(rows))
    else:
        st.caption("Both say the same.")
