"""Proposals that wait for a second person, each beside the defects that it resembles."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from html import escape

import streamlit as st

from agent.service import samples as service
from agent.store import proposals, sample_search, samples, users
from agent.store.drawing import Drawing
from agent.store.sample_search import Found, Wanted
from agent.store.samples import Sample
from dashboard import clocks, context
from dashboard.barred import barred
from dashboard.codes import named
from dashboard.gallery import link_to_part
from dashboard.parts import picture
from dashboard.samples import held, may_not_accept
from dashboard.tables import plain
from dashboard.words import later, say

PAGE = 10
RESEMBLES = later("The confirmed defects it resembles most")
RULES = {
    "quarantined": later(
        "Each is called good by one person already. What the check clears trains by itself; what it holds up waits for "
        "a second one."
    ),
    "always": later("Each is called good by one person already, and always waits for a second one."),
    "never": later(
        "Each is called good by one person already. What the check clears trains by itself; the rest is refused."
    ),
}


def show(product_id: int) -> None:
    """Draws what waits: what is held up first, oldest first."""
    pages = int(st.session_state.get(f"held-{product_id}", 1))
    with context.reading() as conn:
        counted, missing = proposals.counts(conn, product_id), proposals.missing(conn, product_id)
        names = {user.id: user.name for user in users.all(conn, disabled=True)}
        shown = list[Found]()
        for state in ("quarantined", "proposed"):
            wanted = Wanted(product_id=product_id, role="train", state=state)
            if left := pages * PAGE - len(shown):
                shown += sample_search.search(conn, wanted, left, oldest_first=True)
        near = sample_search.some(conn, {one for found in shown for one in nearest(found.sample)})
        roles = {found.sample.id: samples.roles_of_part(conn, found.sample) for found in shown}
    waiting, held_up = counted.get("proposed", 0), counted.get("quarantined", 0)
    st.markdown(
        say(
            "**{held_up:,}** wait for a second person, **{waiting:,}** for the quarantine check; {refused:,} were "
            "refused.",
            held_up=held_up,
            waiting=waiting,
            refused=counted.get("refused", 0),
        )
    )
    st.caption(say(RULES[context.settings().samples.second_person]))
    if missing:
        st.caption(
            say(
                "The stream has changed, so good parts look unlike the normals known from before. Once {missing} more "
                "of those that came since are accepted, the others are compared with them.",
                missing=missing,
            )
        )
    for found in shown:
        with st.container(border=True):
            _one(found, names, near, roles[found.sample.id])
    if held_up + waiting > len(shown) and st.button(say("Show later ones"), key="later-proposals"):
        st.session_state[f"held-{product_id}"] = pages + 1
        st.rerun()


def nearest(one: Sample) -> list[int]:
    """The defects of the bank that it resembles most, by id."""
    return list((one.quarantine or {}).get("nearest", ()))


def _one(found: Found, names: Mapping[int, str], near: Mapping[int, Found], roles: set[str]) -> None:
    one, zone = found.sample, clocks.zone()
    left, said, right = st.columns((1, 2, 1.5))
    left.html(_picture(found, say("proposed as good"), "100%"))
    why, numbers = held(one)
    part = link_to_part(one.serial, serial=one.serial) if one.serial else escape(say("a part without a serial"))
    seen = f", {escape(found.station or '')}, {found.seen_at.astimezone(zone):%Y-%m-%d %H:%M}" if found.seen_at else ""
    by, at = names.get(one.added_by or 0, say("the agent")), f"{one.created_at.astimezone(zone):%Y-%m-%d %H:%M}"
    said.html(
        f"<b>{escape(say('Sample {id}', id=one.id))}</b>: {part}{seen}<br>"
        f"{escape(say('Called good by {name}, {at}.', name=by, at=at))}"
        f"<div style='margin-top:.5rem'>{escape(why)}</div><div class='faint small'>{escape(numbers)}</div>"
    )
    with said:
        decide(one, roles)
    with right:
        resembles(one, near)


def resembles(one: Sample, near: Mapping[int, Found]) -> None:
    """Draws the defects that the check found nearest; none where it compared with none."""
    like = [
        _picture(near[at], named(near[at].sample.reason or "defect"), "calc(33% - 8px)")
        for at in nearest(one)
        if at in near
    ]
    if like:
        st.html(f"<div class='faint small'>{escape(say(RESEMBLES))}</div>{''.join(like)}")


def decide(one: Sample, roles: set[str]) -> None:
    """Draws the second person's buttons; what they may not do is disabled, with the reason in words.

    Args:
        one: a proposal that is not accepted.
        roles: that samples of its part have.
    """
    user, engine, engineer = context.actor(), context.engine(), barred("engineer")
    problem = may_not_accept(one, user, engineer, roles)
    with st.container(horizontal=True, vertical_alignment="center"):
        good = st.button(say("Good: let it train"), key=f"accept-{one.id}", disabled=problem is not None)
        if good and user:
            settings = context.settings()
            drawn = Drawing(settings.audit, settings.certificate)
            accept = partial(service.accept, engine, user, one.id, drawn=drawn)
            if context.act(accept, say("sample {id} trains", id=one.id)):
                st.rerun()
        if one.state != "refused":
            with st.popover(say("Refuse"), disabled=engineer is not None, key=f"refusing-{one.id}"):
                why = st.text_input(say("Why"), key=f"refuse-why-{one.id}", placeholder=say("there is a scratch"))
                pressed = st.button(say("Refuse it"), key=f"refuse-{one.id}", disabled=not why.strip())
                if pressed and user and context.act(partial(service.refuse, engine, user, one.id, why), say("refused")):
                    st.rerun()
    if problem:
        st.caption(plain(problem))


def _picture(found: Found, caption: str, width: str) -> str:
    full = found.sample.blob_sha256
    shown = picture(found.thumbnail_sha256 or full, say("sample {id}", id=found.sample.id), "width:100%", full)
    return (
        f"<figure style='display:inline-block;vertical-align:top;width:{width};margin:0 6px 0 0'>{shown}"
        f"<figcaption class='small'>{escape(caption)}</figcaption></figure>"
    )
