"""The calibration parts that a version scored highest, each with its heatmap: a defect among them would be the
threshold. Two people take one out: one asks, another one confirms.
"""

from __future__ import annotations

from html import escape

import streamlit as st

from agent.store import certificates, lesson, users, withdrawals
from agent.store.calibration import Calibrator
from dashboard import context, withdrawing
from dashboard.parts import picture
from dashboard.words import later, say

ROW = 4
HELP = later(
    "One defect among them would be the threshold. A part leaves only as a defect, by two people: one asks, an "
    "engineer confirms; then the version is certified anew."
)


def show(product_id: int, version_id: int) -> None:
    """Draws them; operators may ask, engineers decide."""
    with context.reading() as conn:
        top = lesson.top_calibration(conn, version_id)
        issued = certificates.of_version(conn, version_id)
        asked = {one.sample_id: one for one in withdrawals.all(conn, product_id)}
        names = {user.id: user.name for user in users.all(conn, disabled=True)}
    if not top:
        st.caption(say("No calibration scores are on record: this version was made before they were kept."))
        return
    threshold = issued[0].record["review_threshold"] if issued else None
    st.caption(say(HELP))
    for start in range(0, len(top), ROW):
        for column, one in zip(st.columns(ROW), top[start : start + ROW], strict=False):
            with column:
                st.html(card(one, threshold))
                if one.usable:
                    withdrawing.controls(one.sample_id, "calibration", asked.get(one.sample_id), names)


def card(one: Calibrator, threshold: float | None) -> str:
    """A part's image and the same with its heatmap, and what there is to say of it; every text is escaped."""
    name = one.serial or say("sample {id}", id=one.sample_id)
    shown = [sha256 for sha256 in (one.preview_sha256, one.overlay_sha256) if sha256] or [one.blob_sha256]
    pictures = "".join(picture(sha256, name, f"width:{100 // len(shown)}%;vertical-align:top") for sha256 in shown)
    said = escape(words(one, threshold))
    return f"{pictures}<div><b>{escape(name)}</b><br><span class='faint small'>{said}</span></div>"


def words(one: Calibrator, threshold: float | None) -> str:
    """Its sample, where that is not its name, its score and its place among the others."""
    said = [say("sample {id}", id=one.sample_id)] if one.serial else []
    said.append(say("score {score:.3f}", score=one.score))
    if threshold is not None and one.score >= threshold:
        said.append(say("above the threshold") if one.score > threshold else say("the threshold"))
    if one.station:
        said.append(one.station)
    if one.frames > 1:
        said.append(say("the highest of {n} images", n=one.frames))
    if not one.usable:
        said.append(say("taken out"))
    return " · ".join(said)
