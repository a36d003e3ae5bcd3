"""Filters of a page: each choice stands in the address, as a code or a name, whatever words the page shows for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from agent.settings import utc_now
from agent.store import products
from agent.store.products import Product
from dashboard import context
from dashboard.words import later, say

ALL = later("all")
NONE = "none"


def product() -> Product | None:
    """The product that a page is about; None, and said so, where there is none."""
    with context.reading() as conn:
        found = {one.name: one for one in products.all(conn)}
    if not found:
        st.info(say("There are no products yet. Add one: `goodpart products add NAME`"))
        return None
    return found[st.selectbox(say("Product"), list(found), key="product", bind="query-params")]


def typed(place: DeltaGenerator, key: str, label: str, placeholder: str) -> str:
    """A text, without the space around it; "" asks for nothing.

    Anybody can write an address: a character that PostgreSQL refuses even to look for becomes one found nowhere.
    """
    found = place.text_input(label, placeholder=placeholder, key=key, bind="query-params")
    return found.strip().replace("\0", "\ufffd")


def pick(place: DeltaGenerator, key: str, label: str, names: Collection[str]) -> str | None:
    """One of some names, such as stations; None: all."""
    found = place.selectbox(label, list(names), index=None, placeholder=say(ALL), key=key, bind="query-params")
    return str(found) if found else None


def one_or_all(place: DeltaGenerator, key: str, label: str, names: Collection[str], all: str = ALL) -> str:
    """One of some names, or the first choice, `all`: the address never holds what stands there at first."""
    return str(
        place.selectbox(
            label, [all, *names], key=key, bind="query-params", format_func=lambda one: say(one) if one == all else one,
            label_visibility="visible" if all == ALL else "collapsed",
        )
    )  # fmt: skip


def pick_code(
    place: DeltaGenerator,
    key: str,
    label: str,
    codes: Collection[str],
    shown: Callable[[str], str] = say,
    help: str | None = None,
) -> str | None:
    """One of some codes, which people see as `shown`; None: all."""
    with in_address(key, codes, None):
        found = place.selectbox(
            label, list(codes), index=None, placeholder=say(ALL), key=key, help=help, format_func=shown
        )
    return str(found) if found else None


def choose(place: DeltaGenerator, key: str, label: str, codes: Collection[str]) -> str:
    """One of some codes, at first the first one."""
    options = list(codes)
    with in_address(key, codes, options[0]):
        return str(place.selectbox(label, options, key=key, format_func=say))


def switch(
    place: DeltaGenerator, key: str, label: str, codes: Collection[str], shown: Callable[[str], str] = say
) -> str:
    """As `choose`, with all of them in sight."""
    options = list(codes)
    with in_address(key, codes, options[0]):
        found = place.segmented_control(label, options, required=True, key=key, format_func=shown)
    return str(found or options[0])


@contextmanager
def in_address(key: str, codes: Collection[str], first: str | None) -> Iterator[None]:
    """Keeps in the address what a widget of codes has chosen, unless it is the first choice.

    Streamlit's own binding writes what people see, which is another word in another language.
    """
    if st.session_state.get(key, "") not in (*codes, first):  # at first, or another page's choice of the same name
        asked = st.query_params.get(key)
        st.session_state[key] = asked if asked in codes else first
    yield
    found = st.session_state[key]
    if found == first:
        st.query_params.pop(key, None)
    elif st.query_params.get(key) != found:
        st.query_params[key] = found


def some(
    place: DeltaGenerator, key: str, label: str, codes: Collection[int], first: Collection[int],
    shown: Callable[[int], str], *, disabled: bool = False,
) -> list[int]:  # fmt: skip
    """Some of some numbers, at first `first`; in the address with commas between them."""
    if key not in st.session_state:
        asked = st.query_params.get(key, "")
        known = [one for one in codes if str(one) in asked.split(",")]
        st.session_state[key] = known if known or asked == NONE else list(first)
    found = place.multiselect(label, list(codes), key=key, format_func=shown, disabled=disabled)
    if set(found) == set(first):
        st.query_params.pop(key, None)
    else:
        st.query_params[key] = ",".join(map(str, sorted(found))) or NONE
    return sorted(found)


def day(place: DeltaGenerator, key: str, label: str, zone: tzinfo, more: int) -> datetime | None:
    """The beginning of the chosen day, or of the one so many days after it."""
    found = _date(place, key, label, zone)
    return None if found is None else _at(found + timedelta(days=more), time(), zone)


def moment(
    places: Sequence[DeltaGenerator], key: str, labels: tuple[str, str], zone: ZoneInfo, more: int
) -> datetime | None:
    """As `day`, or at a time of the chosen day: at the first of two such times in autumn, where `more`, at the second.

    Args:
        places: for the day, and for the time.
        key: `-day` and `-time` behind it.
        labels: of both.
        zone: of the days.
        more: as `day`, where no time is chosen.
    """
    found = _date(places[0], f"{key}-day", labels[0], zone)
    chosen = places[1].time_input(
        labels[1], value=None, key=f"{key}-time", bind="query-params",
        help=say("in {zone}, of the day beside it; without a time: the whole day", zone=zone.key),
    )  # fmt: skip
    if found is None:
        return None
    if chosen is None:
        return _at(found + timedelta(days=more), time(), zone)
    return _at(found, chosen.replace(fold=min(more, 1)), zone)


def _date(place: DeltaGenerator, key: str, label: str, zone: tzinfo) -> date | None:
    today = utc_now().astimezone(zone).date()
    return place.date_input(label, value=None, max_value=today, key=key, bind="query-params")


def _at(day: date, clock: time, zone: tzinfo) -> datetime:
    return datetime.combine(day, clock, zone).astimezone(UTC)
