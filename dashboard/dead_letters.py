"""Dead letters on the Health page: which there are, what was kept of one, publishing them again, discarding them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, cast, get_args
from uuid import uuid4

import streamlit as st

from agent.service import dead_letters as service
from agent.service.dead_letters import MOST, PREVIEW, REPLAY
from agent.settings import utc_now
from agent.store import audit, commands, dead_letters, products, stations, users
from agent.store.commands import Command
from agent.store.dead_letters import DeadLetter, State
from agent.store.errors import NotFound
from dashboard import clocks, codes, context, letters
from dashboard.filters import pick, pick_code
from dashboard.fragments import fragment
from dashboard.parts import picture
from dashboard.tables import plain, table
from dashboard.words import later, retold, say

LIMIT = 25
SHOWN = 3  # finished replays
Look = Literal["primary", "secondary"]


def show() -> None:
    """Draws the section."""
    st.subheader(say("Dead letters"))
    with context.reading() as conn:
        piles, named = dead_letters.piles(conn), dead_letters.stations(conn)
    if not piles:
        st.caption(say("None: every frame could be decoded and named its station and product."))
        return
    st.html(table(letters.piles(piles)))
    _asked()
    first, second, third = st.columns(3)
    reason = pick_code(first, "reason", say("Reason"), [one.reason for one in piles], shown=codes.named)
    station = pick(second, "named", say("Station as named"), named)
    state = cast(State | None, pick_code(third, "state", say("State"), get_args(State)))
    with context.reading() as conn:
        found = dead_letters.recent(conn, LIMIT, reason=reason, station=station, state=state)
        waiting = dead_letters.count_waiting(conn, reason, station)
        busy = service.busy(conn)
    st.html(table(letters.letters(found, clocks.zone())))
    st.caption(
        say("The newest {n}. Waiting: {which}.", n=len(found), which=plain(letters.which(waiting, reason, station)))
    )
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
        with st.expander(say("The {n} that were refused", n=len(rows))):
            st.html(table(rows))
    user = context.actor()
    if (command.kind, command.state) != (REPLAY, "queued") or user is None or not context.may("engineer"):
        return
    cancel = partial(service.cancel, context.engine(), user, command.id)
    label, icon = say("Cancel this replay"), ":material/close:"
    if st.button(label, icon=icon, key=f"cancel-{command.id}") and context.act(cancel, say("cancelled")):
        st.rerun()


def _all(reason: str | None, station: str | None, busy: set[int]) -> None:
    """What an engineer does with all that wait, as many as go at once."""
    with context.reading() as conn:
        every = dead_letters.waiting_ids(conn, reason, station, MOST, but=busy)
        kept = dead_letters.waiting_ids(conn, reason, station, MOST, kept=True, but=busy)
        n = dead_letters.count_waiting(conn, reason, station, kept=True)
    st.markdown(
        say(
            "**All that wait**{which}: {n:,} with bytes to publish. {most:,} go at once.",
            which=plain(letters.of(reason, station)),
            n=n,
            most=MOST,
        )
    )
    _acts(kept, every, "all")


def _one(busy: set[int]) -> None:
    """Draws one letter that was asked for by its number."""
    number = st.number_input(
        say("Look at dead letter No."), min_value=1, value=None, step=1, placeholder=say("a number"), key="letter",
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
        st.warning(plain(retold(error.phrase)))
        return
    left, right = st.columns((2, 1))
    left.html(f"<div class='facts'>{table(letters.facts(letter))}</div>")
    with right:
        _picture(letter, last)
    if letter.state != "waiting":
        st.caption(
            say(
                "It was {state}{frame}.",
                state=letters.state(letter, clocks.zone()),
                frame=plain(letters.became(replays)),
            )
        )
    elif letter.id in busy:
        st.caption(say("An agent was asked to publish it."))
    elif context.may("engineer"):
        _acts([letter.id], [letter.id], f"one-{letter.id}")


def _picture(letter: DeadLetter, last: Command | None) -> None:
    user = context.actor()
    if letter.preview_sha256:
        name = say("picture of dead letter {id}", id=letter.id)
        st.html(picture(letter.preview_sha256, name, "width:100%"))
    elif letter.blob_sha256 is None:
        st.caption(say("Its bytes are not there: there is nothing to see."))
    elif last and last.state in commands.PENDING:
        st.caption(say("An agent was asked to draw it."))
    else:
        if last and last.state == "failed":
            st.warning(plain(say("It gives no picture: {problem}", problem=(last.result or {}).get("problem"))))
        label, key = say("Show what was kept"), f"preview-{letter.id}"
        if user and context.may("engineer") and st.button(label, icon=":material/image:", key=key):
            ask = partial(service.ask_preview, context.engine(), user, letter.id)
            if context.act(ask, say("an agent draws it")):
                st.rerun()


def _acts(published: Sequence[int], discarded: Sequence[int], key: str) -> None:
    """Publish again, and discard, each after a second look."""
    user = context.actor()
    with st.container(horizontal=True):
        with st.popover(say("Publish again"), icon=":material/replay:", disabled=not published):
            station, product = _choices(key)
            n = letters.which(len(published), None, None)
            label = say("Publish {letters}", letters=n)
            meant = _meant(label, published, f"replay-{key}", off=not published, type="primary")
            if user and meant:
                ask = partial(service.ask_replay, context.engine(), user, meant, station=station, product=product)
                _act(ask, meant, later("an agent publishes {letters}"))
        with st.popover(say("Discard"), icon=":material/delete:", disabled=not discarded):
            st.caption(say("Nobody can publish them afterwards, and their bytes are let go. Headers and hash stay."))
            why = st.text_input(say("Why"), key=f"discard-why-{key}", placeholder=say("frames of a test"))
            n = letters.which(len(discarded), None, None)
            label = say("Discard {letters}", letters=n)
            meant = _meant(label, discarded, f"discard-{key}", off=not (why.strip() and discarded))
            if user and meant:
                _act(partial(service.discard, context.engine(), user, meant, why), meant, later("{letters} discarded"))


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
    pick = partial(st.selectbox, index=None, placeholder=say("as the frames say"))
    station = pick(say("Station"), places, key=f"station-{key}")
    product = pick(say("Product"), made, key=f"product-{key}")
    st.caption(
        say("Each becomes a new frame, whose id follows from the dead letter: published twice, it is a duplicate.")
    )
    return station, product


def _act(work: Callable[..., object], ids: Sequence[int], done: str) -> None:
    """Does it, and says what was `done` to so many `{letters}`."""
    # For what is on screen now: a second press of the same button is the same act.
    once = st.session_state.setdefault("letters-once", uuid4().hex)
    key = f"{once}-{ids[0]}-{ids[-1]}-{len(ids)}"
    words = say(done, letters=letters.which(len(ids), None, None))
    if context.act(lambda *, now, **_: work(key=key, now=now), words):
        del st.session_state["letters-once"]
        st.rerun()
