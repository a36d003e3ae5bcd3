"""Champion and challenger side by side: the parts of a watch or shadow that only one of them flags."""

from __future__ import annotations

from html import escape

import streamlit as st

from agent.store import disagreements, watches
from agent.store.disagreements import Disagreement, Split
from agent.store.watches import Watch
from dashboard import clocks, context
from dashboard.codes import shown
from dashboard.parts import picture
from dashboard.words import retold, say

ROW, PAGE = 2, 16


def show(product_id: int) -> None:
    """Draws them; nothing where two models never scored the same parts."""
    with context.reading() as conn:
        found = {one.id: one for one in watches.all(conn, product_id)}
    if not found:
        return
    st.subheader(say("Where champion and challenger disagree"))
    left, right = st.columns(2)
    chosen = left.selectbox(
        say("Second scoring"),
        list(found),
        key="compared",
        format_func=lambda one: f"{retold(found[one].title)} ({one})",
    )
    watch = found[chosen]
    with context.reading() as conn:
        split = disagreements.split(conn, watch.id)
    only = right.segmented_control(
        say("Flagged by"), [watch.number, watch.other_number], default=watch.number, required=True,
        format_func=lambda one: say("only v{number} ({n})", number=one, n=_only(split, one == watch.other_number)),
        key=f"flagged-by-{watch.id}",
    )  # fmt: skip
    st.caption(words(watch, split))
    by_other = only == watch.other_number
    pages = int(st.session_state.get(f"disagreeing-{watch.id}-{by_other}", 1))
    with context.reading() as conn:
        shown = disagreements.page(conn, watch.id, by_other=by_other, limit=pages * PAGE + 1)
    if not shown:
        st.info(say("No judged part was flagged by v{only} alone.", only=only))
    for at in range(0, min(len(shown), pages * PAGE), ROW):
        for column, one in zip(st.columns(ROW), shown[at : min(at + ROW, pages * PAGE)], strict=False):
            column.html(card(one, watch))
    if len(shown) > pages * PAGE and st.button(say("Show older disagreements"), key=f"older-{watch.id}"):
        st.session_state[f"disagreeing-{watch.id}-{by_other}"] = pages + 1
        st.rerun()


def words(watch: Watch, split: Split) -> str:
    """What the two models made of the same parts, with its n."""
    text = say(
        "Of {parts:,} parts that both scored, {decides_only:,} were flagged by v{number} only, "
        "{other_only:,} by v{other} only, {both:,} by both.",
        parts=split.parts, decides_only=split.decides_only, number=watch.number, other_only=split.other_only,
        other=watch.other_number, both=split.both,
    )  # fmt: skip
    if split.waiting:
        text += " " + say("{n:,} of these wait for review, and show here once they are judged.", n=split.waiting)
    return text


def card(one: Disagreement, watch: Watch) -> str:
    """A frame, its heatmap by either model, both verdicts and what people said; every text is escaped."""
    heats = (one.overlay_sha256, one.other_overlay_sha256)
    if one.other_flagged:  # it is the first of the two
        heats = heats[::-1]
    numbers = (watch.number, watch.other_number)
    named = [(one.preview_sha256 or one.frame_sha256, one.part)]
    named += [
        (sha256, say("{part}, heat of v{number}", part=one.part, number=number))
        for sha256, number in zip(heats, numbers, strict=True)
    ]
    kept = [(sha256, name) for sha256, name in named if sha256]
    whose = [say("frame"), *(say("heat of v{number}", number=number) for number in numbers)]
    under = [f"<span>{escape(one)}</span>" for one, (sha256, _) in zip(whose, named, strict=True) if sha256]
    pictures = "".join(picture(sha256, name, f"width:{100 // len(kept)}%;vertical-align:top") for sha256, name in kept)
    said = ((watch.number, one.flagged, one.score), (watch.other_number, one.other_flagged, one.other_score))
    seen = f"{one.event_at.astimezone(clocks.zone()):%m-%d %H:%M}"
    gone = f"<i>{escape(say('its pictures were let go'))}</i>"
    judged = shown(one.decision) if one.decision else say("not judged")
    people = escape(say("people: {said}")).format(said=f"<b>{escape(judged)}</b>")
    return (
        f"{pictures or gone}<div class='under faint small'>{''.join(under)}</div><div><b>{escape(one.part)}</b> "
        f"<span class='faint small'>{escape(one.station)} {seen}</span><br>"
        f"{' · '.join(_verdict(*each) for each in said)}<br>{people}</div>"
    )


def _verdict(number: int, flagged: bool, score: float | None) -> str:
    said = f"<b>{escape(say('flags'))}</b>" if flagged else escape(say("passes"))
    return f"v{number} {said}{'' if score is None else f' ({score:.3g})'}"


def _only(split: Split, by_other: bool) -> str:
    return f"{split.other_only if by_other else split.decides_only:,}"
