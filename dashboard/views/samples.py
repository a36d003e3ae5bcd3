"""Samples: what waits for a second person, what models learn from and are measured on, and which models saw it."""

from __future__ import annotations

import streamlit as st

from agent.settings import utc_now
from agent.store import epochs
from agent.store.coverage import Weeks
from agent.store.products import Product
from dashboard import browsing, charts, context, coverage, filters, tracing, waiting
from dashboard.samples import NAMES, ROLES
from dashboard.style import CSS
from dashboard.tables import plain, table

ALL, BANK, COVERAGE, ONE = "All samples", "Defect bank", "Coverage", "One sample"
SECTIONS = ("Waiting", ALL, BANK, COVERAGE, ONE)  # as they stand in the address
WEEKS = (4, 12, 26)
MOST = 12  # thin places that are named
DIGITS = 15  # of a number that a browser and the database hold exactly


def show() -> None:
    """Draws the page."""
    st.title("Samples")
    st.html(f"<style>{CSS}</style>")
    product = filters.product()
    if product is None:
        return
    section = st.segmented_control(
        "Show", SECTIONS, default=SECTIONS[0], required=True, key="show", bind="query-params"
    )
    if section == ALL:
        browsing.samples(product.id, _look)
    elif section == BANK:
        browsing.bank(product.id, _look)
    elif section == COVERAGE:
        _coverage(product)
    elif section == ONE:
        _one(product)
    else:
        waiting.show(product.id)


def _look(sample_id: int) -> None:
    st.session_state["show"], st.session_state["sample"] = ONE, sample_id


def _one(product: Product) -> None:
    asked = st.query_params.get("sample", "")
    if "sample" not in st.session_state and asked.isdecimal() and len(asked) <= DIGITS:
        st.session_state["sample"] = max(1, int(asked))
    number = st.number_input("Sample", 1, value=None, key="sample", placeholder="its number")
    if number is None:
        st.info("Give a sample's number, or look at one of those that are found.")
        return
    st.query_params["sample"] = str(int(number))  # by hand: a bound one that a press on Look sets does not reach it
    tracing.show(product.id, int(number))


def _coverage(product: Product) -> None:
    left, right = st.columns(2)
    many = left.segmented_control("Weeks", WEEKS, default=12, required=True, key="weeks", bind="query-params")
    role = right.segmented_control(
        "Role", coverage.ROLES, default="train", required=True, key="covered", bind="query-params",
        format_func=NAMES.__getitem__,
    )  # fmt: skip
    settings, now = context.settings(), utc_now()
    weeks = Weeks.until(now, int(many or 12), settings.timezone, settings.plant.shifts)
    with context.reading() as conn:
        epoch = epochs.calibrating(conn, product.id, epochs.asked(product, settings.certificate))
        found = coverage.read(conn, product.id, epoch, weeks, now)
    _thin(coverage.thin(found), weeks)
    if cells := coverage.weekly(found, role or "train"):
        st.markdown(f"**{NAMES[role or 'train'].capitalize()} samples by week** that begins on that Monday")
        st.altair_chart(charts.coverage(cells, "week"))
        st.markdown("**By hour of the plant's day**, from its first shift on")
        st.altair_chart(charts.coverage(coverage.hourly(found, role or "train"), "hour"))
        st.caption(
            "Orange: the product ran there, and there are no samples, or far fewer than as many frames elsewhere gave."
        )
    st.markdown("**What the next training run would take**, of all time")
    if rows := coverage.by_station(found):
        st.html(table(rows))
    else:
        st.caption("Nothing: there are no samples in use.")
    st.html(table([{"Role": NAMES[role], "What it is for": words} for role, words in ROLES.items()]))


def _thin(said: list[str], weeks: Weeks) -> None:
    if not said:
        st.success(f"No station's shift of these {weeks.count} weeks is missing from the samples.")
        return
    rest = [f"and {len(said) - MOST} more"] if len(said) > MOST else []
    st.warning(
        "\n".join([f"Thin in these {weeks.count} weeks:", "", *(f"- {plain(one)}" for one in [*said[:MOST], *rest])])
    )
