"""Samples: what waits for a second person, what models learn from and are measured on, and which models saw it."""

from __future__ import annotations

import streamlit as st

from agent.settings import utc_now
from agent.store import epochs
from agent.store.coverage import Weeks
from agent.store.products import Product
from dashboard import browsing, charts, clocks, context, coverage, filters, tracing, waiting
from dashboard.samples import NAMES, ROLES
from dashboard.style import CSS
from dashboard.tables import plain, table
from dashboard.words import later, opening, say

ALL, BANK, COVERAGE, ONE = later("All samples"), later("Defect bank"), later("Coverage"), later("One sample")
SECTIONS = (later("Waiting"), ALL, BANK, COVERAGE, ONE)  # as they stand in the address
WEEKS = (4, 12, 26)
MOST = 12  # thin places that are named
DIGITS = 15  # of a number that a browser and the database hold exactly


def show() -> None:
    """Draws the page."""
    st.title(say("Samples"))
    clocks.tell()
    st.html(f"<style>{CSS}</style>")
    product = filters.product()
    if product is None:
        return
    section = filters.switch(st.container(), "show", say("Show"), SECTIONS)
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
    number = st.number_input(say("Sample"), 1, value=None, key="sample", placeholder=say("its number"))
    if number is None:
        st.info(say("Give a sample's number, or look at one of those that are found."))
        return
    st.query_params["sample"] = str(int(number))  # by hand: a bound one that a press on Look sets does not reach it
    tracing.show(product.id, int(number))


def _coverage(product: Product) -> None:
    left, right = st.columns(2)
    many = left.segmented_control(say("Weeks"), WEEKS, default=12, required=True, key="weeks", bind="query-params")
    role = filters.switch(right, "covered", say("Role"), coverage.ROLES, lambda one: say(NAMES[one]))
    settings, now = context.settings(), utc_now()
    weeks = Weeks.until(now, int(many or 12), settings.timezone, settings.plant.shifts)
    with context.reading() as conn:
        epoch = epochs.calibrating(conn, product.id, epochs.asked(product, settings.certificate))
        found = coverage.read(conn, product.id, epoch, weeks, now)
    _thin(coverage.thin(found), weeks)
    if cells := coverage.weekly(found, role):
        st.markdown(
            say(
                "**{role} samples by week** that begins on that Monday",
                role=opening(say(NAMES[role])),
            )
        )
        st.altair_chart(charts.coverage(cells, say("week")))
        st.markdown(say("**By hour of the plant's day**, from its first shift on"))
        st.altair_chart(charts.coverage(coverage.hourly(found, role), say("hour")))
        st.caption(
            say(
                "Orange: the product ran there, and there are no samples, or far fewer than as many frames elsewhere "
                "gave."
            )
        )
    st.markdown(say("**What the next training run would take**, of all time"))
    if rows := coverage.by_station(found):
        st.html(table(rows))
    else:
        st.caption(say("Nothing: there are no samples in use."))
    rows = [{later("Role"): say(NAMES[one]), later("What it is for"): say(words)} for one, words in ROLES.items()]
    st.html(table(rows))


def _thin(said: list[str], weeks: Weeks) -> None:
    if not said:
        st.success(say("No station's shift of these {n} weeks is missing from the samples.", n=weeks.count))
        return
    rest = [say("and {n} more", n=len(said) - MOST)] if len(said) > MOST else []
    head = say("Thin in these {n} weeks:", n=weeks.count)
    st.warning("\n".join([head, "", *(f"- {plain(one)}" for one in [*said[:MOST], *rest])]))
