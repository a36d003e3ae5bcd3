"""Champion and challenger side by side: the parts of a watch or shadow that only one of them flags."""

from __future__ import annotations

from html import escape

import streamlit as st

from agent.store import disagreements, watches
from agent.store.disagreements import Disagreement, Split
from agent.store.watches import Watch
from dashboard import context
from dashboard.parts import picture

ROW, PAGE = 4, 16


def show(product_id: int) -> None:
    """Draws them; nothing where two models never scored the same parts."""
    with context.reading() as conn:
        found = {one.id: one for one in watches.all(conn, product_id)}
    if not found:
        return
    st.subheader("Where champion and challenger disagree")
    left, right = st.columns(2)
    chosen = left.selectbox(
        "Second scoring", list(found), key="compared", format_func=lambda one: f"{found[one].title} ({one})"
    )
    watch = found[chosen]
    with context.reading() as conn:
        split = disagreements.split(conn, watch.id)
    only = right.segmented_control(
        "Flagged by", [watch.number, watch.other_number], default=watch.number, required=True,
        format_func=lambda number: f"only v{number} ({_only(split, number == watch.other_number)})",
        key=f"flagged-by-{watch.id}",
    )  # fmt: skip
    st.caption(words(watch, split))
    by_other = only == watch.other_number
    pages = int(st.session_state.get(f"disagreeing-{watch.id}-{by_other}", 1))
    with context.reading() as conn:
        shown = disagreements.page(conn, watch.id, by_other=by_other, limit=pages * PAGE + 1)
    if not shown:
        st.info(f"No judged part was flagged by v{only} alone.")
    for at in range(0, min(len(shown), pages * PAGE), ROW):
        for column, one in zip(st.columns(ROW), shown[at : min(at + ROW, pages * PAGE)], strict=False):
            column.html(card(one, watch))
    if len(shown) > pages * PAGE and st.button("Show older disagreements"):
        st.session_state[f"disagreeing-{watch.id}-{by_other}"] = pages + 1
        st.rerun()


def words(watch: Watch, split: Split) -> str:
    """What the two models made of the same parts, with its n."""
    text = (
        f"Of {split.parts:,} parts that both scored, {split.decides_only:,} were flagged by v{watch.number} only, "
        f"{split.other_only:,} by v{watch.other_number} only, {split.both:,} by both."
    )
    if split.waiting:
        text += f" {split.waiting:,} of these wait for review, and show here once they are judged."
    return text


def card(one: Disagreement, watch: Watch) -> str:
    """A frame, its heatmap by the model that flagged it, both verdicts and what people said; every text is escaped."""
    plain = one.preview_sha256 or one.frame_sha256
    shown = [sha256 for sha256 in (plain, one.overlay_sha256) if sha256]
    pictures = "".join(picture(sha256, one.part, f"width:{100 // len(shown)}%;vertical-align:top") for sha256 in shown)
    said = ((watch.number, one.flagged, one.score), (watch.other_number, one.other_flagged, one.other_score))
    seen = f"{one.event_at.astimezone(context.settings().timezone):%m-%d %H:%M}"
    return (
        f"{pictures or '<i>its pictures were let go</i>'}<div><b>{escape(one.part)}</b> "
        f"<span class='faint small'>{escape(one.station)} {seen}</span><br>"
        f"{' · '.join(_verdict(*each) for each in said)}<br>people: <b>{escape(one.decision or 'not judged')}</b></div>"
    )


def _verdict(number: int, flagged: bool, score: float | None) -> str:
    return f"v{number} {'<b>flags</b>' if flagged else 'passes'}{'' if score is None else f' ({score:.3g})'}"


def _only(split: Split, by_other: bool) -> str:
    return f"{split.other_only if by_other else split.decides_only:,}"
