"""Dead letters on the Health page: which there are, what was kept of one, publishing them again, discarding them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal
from uuid import uuid4

import streamlit as st

from agent.service import dead_letters as service
from agent.service.dead_letters import MOST, PREVIEW, REPLAY
from agent.settings import utc_now
from agent.store import audit, commands, dead_letters, products, stations, users
from agent.store.commands import Command
from agent.store.dead_letters import DeadLetter
from agent.store.errors import NotFound
from dashboard import context, letters
from dashboard.fragments import fragment
from dashboard.parts import picture
from dashboard.tables import plain, table

LIMIT = 25
SHOWN = 3  # finished replays
Look = Literal["primary", "secondary"]


def show() -> None:
    """Draws the section."""
    st.subheader("Dead letters")
    with context.reading() as conn:
        piles, named = dead_letters.piles(conn), dead_letters.stations(conn)
    if not piles:
        st.caption("None: every frame could be decoded and named its station and product.")
        return
    st.html(table(letters.piles(piles)))
    _asked()
    first, second, third = st.columns(3)
    pick = partial(st.selectbox, index=None, placeholder="all", bind="query-params")
    with first:
        reason = pick("Reason", [one.reason for one in piles], key="reason")
    with second:
        station = pick("Station as named", named, key="named")
    with third:
        state = pick("State", ["waiting", "replayed", "discarded"], key="state")
    with context.reading() as conn:
        found = dead_letters.recent(conn, LIMIT, reason=reason, station=station, state=state)
        waiting = dead_letters.count_waiting(conn, reason, station)
        busy = {one for each in commands.waiting(conn, [REPLAY]) for one in each.args["ids"]}
    st.html(table(letters.letters(found, context.settings().timezone)))
    st.caption(f"The newest {len(found)}. Waiting: {plain(letters.which(waiting, reason, station))}.")
    if context.may("engineer") and waiting:
        _all(reason, station, busy)
    _one(busy)


def _asked() -> None:
    with context.reading() as conn:
        under_way = commands.waiting(conn, [REPLAY, PREVIEW])
    # Without anything under way nothing changes by itself.
    fragment(run_every="2s" if under_way else None)(_commands)([one.id for one in under_way])


def _commands(before: Sequence[int]) -> None:
    with context.reading() as conn:
        under_way = commands.waiting(conn, [REPLAY, PREVIEW])
        ended = [one for one in commands.latest(conn, [REPLAY], SHOWN) if one.state not in commands.PENDING]
        names = {one.id: one.name for one in users.all(conn, disabled=True)}
    if [one.id for one in under_way] != list(before):
        st.rerun()  # what it changed is drawn by others
    for one in [*under_way, *ended]:
        _tell(one, letters.told(one, names, utc_now()))


def _tell(command: Command, told: letters.Told) -> None:
    if told.share is not None:
        st.progress(told.share, plain(told.words))
        return
    {"info": st.info, "warning": st.warning, "error": st.error, "success": st.success}[told.level](plain(told.words))
    if rows := letters.refused(command):
        with st.expander(f"The {len(rows)} that were refused"):
            st.html(table(rows))


def _all(reason: str | None, station: str | None, busy: set[int]) -> None:
    """What an engineer does with all that wait, as many as go at once."""
    with context.reading() as conn:
        every = dead_letters.waiting_ids(conn, reason, station, MOST, but=busy)
        kept = dead_letters.waiting_ids(conn, reason, station, MOST, kept=True, but=busy)
        n = dead_letters.count_waiting(conn, reason, station, kept=True)
    st.markdown(
        f"**All that wait**{plain(letters.of(reason, station))}: {n:,} with bytes to publish. {MOST:,} go at once."
    )
    _acts(kept, every, "all")


def _one(busy: set[int]) -> None:
    """Draws one letter that was asked for by its number."""
    number = st.number_input(
        "Look at dead letter No.", min_value=1, value=None, step=1, placeholder="a number", key="letter",
        bind="query-params",
    )  # fmt: skip
    if number is None:
        return
    try:
        with context.reading() as conn:
            letter = dead_letters.get(conn, number)
            replays = audit.recent(conn, 1, action=REPLAY, subject=service.subject([number]))
            last = next((one for one in commands.latest(conn, [PREVIEW], MOST) if one.args["ids"] == [number]), None)
    except NotFound as error:
        st.warning(plain(str(error)))
        return
    left, right = st.columns((2, 1))
    left.html(f"<div class='facts'>{table(letters.facts(letter))}</div>")
    with right:
        _picture(letter, last)
    if letter.state != "waiting":
        st.caption(f"It was {letters.state(letter, context.settings().timezone)}{plain(letters.became(replays))}.")
    elif letter.id in busy:
        st.caption("An agent was asked to publish it.")
    elif context.may("engineer"):
        _acts([letter.id], [letter.id], f"one-{letter.id}")


def _picture(letter: DeadLetter, last: Command | None) -> None:
    user = context.actor()
    if letter.preview_sha256:
        st.html(picture(letter.preview_sha256, f"picture of dead letter {letter.id}", "width:100%"))
    elif letter.blob_sha256 is None:
        st.caption("Its bytes are not there: there is nothing to see.")
    elif last and last.state in commands.PENDING:
        st.caption("An agent was asked to draw it.")
    else:
        if last and last.state == "failed":
            st.warning(plain(f"It gives no picture: {(last.result or {}).get('problem')}"))
        if user and context.may("engineer") and st.button("Show what was kept", icon=":material/image:"):
            ask = partial(service.ask_preview, context.engine(), user, letter.id)
            if context.act(ask, "an agent draws it"):
                st.rerun()


def _acts(published: Sequence[int], discarded: Sequence[int], key: str) -> None:
    """Publish again, and discard, each after a second look."""
    user = context.actor()
    with st.container(horizontal=True):
        with st.popover("Publish again", icon=":material/replay:", disabled=not published):
            station, product = _choices(key)
            n = letters.which(len(published), None, None)
            meant = _meant(f"Publish {n}", published, f"replay-{key}", off=not published, type="primary")
            if user and meant:
                ask = partial(service.ask_replay, context.engine(), user, meant, station=station, product=product)
                _act(ask, meant, "an agent publishes {}")
        with st.popover("Discard", icon=":material/delete:", disabled=not discarded):
            st.caption("Nobody can publish them afterwards, and their bytes are let go. Headers and hash stay.")
            why = st.text_input("Why", key=f"discard-why-{key}", placeholder="frames of a test")
            n = letters.which(len(discarded), None, None)
            meant = _meant(f"Discard {n}", discarded, f"discard-{key}", off=not (why.strip() and discarded))
            if user and meant:
                _act(partial(service.discard, context.engine(), user, meant, why), meant, "{} discarded")


def _meant(label: str, ids: Sequence[int], key: str, *, off: bool, type: Look = "secondary") -> Sequence[int]:
    """Draws a button; where it was pressed, the letters that it was drawn for: by now others may wait, too."""
    place = f"meant-{key}"
    # The last one is in the key: a second press does not fall upon those that came meanwhile.
    st.button(
        label, key=f"{key}-to-{max(ids, default=0)}", type=type, disabled=off,
        on_click=st.session_state.__setitem__, args=(place, tuple(ids)),
    )  # fmt: skip
    meant: tuple[int, ...] = st.session_state.pop(place, ())
    return meant


def _choices(key: str) -> tuple[str | None, str | None]:
    """Station and product in place of what the frames say."""
    with context.reading() as conn:
        places = [one.name for one in stations.all(conn)]
        made = [one.name for one in products.all(conn)]
    pick = partial(st.selectbox, index=None, placeholder="as the frames say")
    chosen = pick("Station", places, key=f"station-{key}"), pick("Product", made, key=f"product-{key}")
    st.caption("Each becomes a new frame, whose id follows from the dead letter: published twice, it is a duplicate.")
    return chosen


def _act(work: Callable[..., object], ids: Sequence[int], done: str) -> None:
    # For what is on screen now: a second press of the same button is the same act.
    once = st.session_state.setdefault("letters-once", uuid4().hex)
    key = f"{once}-{ids[0]}-{ids[-1]}-{len(ids)}"
    if context.act(lambda *, now, **_: work(key=key, now=now), done.format(letters.which(len(ids), None, None))):
        del st.session_state["letters-once"]
        st.rerun()
