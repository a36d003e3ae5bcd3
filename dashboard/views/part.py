"""One part: all its inspections, pictures and reviews. The address is a permalink."""

from __future__ import annotations

import streamlit as st

from agent.store import epochs
from agent.store.blobs import BlobMissing, media_type
from agent.store.items import Item
from dashboard import context, histories, normals
from dashboard.certificates import words
from dashboard.histories import Look
from dashboard.parts import picture
from dashboard.style import CSS
from dashboard.tables import plain, table

SUFFIXES = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/bmp": "bmp", "image/tiff": "tif"}


def show() -> None:
    """Draws the page."""
    st.html(f"<style>{CSS}</style>")
    st.title("Part")
    asked = st.text_input("Serial", key="serial", bind="query-params", placeholder="of the part").strip()
    key = None if asked else st.query_params.get("inspection")
    if not asked and not key:
        st.info("Give a part's serial. The names under pictures on the pages Trends and Triage lead here, too.")
        return
    with context.reading() as conn:
        found = histories.find(conn, serial=asked or None, inspection=key)
    if not found:
        st.warning("No inspection of it is known: look at the serial, or its days are no longer kept.")
        return
    if asked:
        st.caption(f"{len(found)} inspection{'s' * (len(found) > 1)}, newest first.")
    for at, look in enumerate(found):
        _look(look, first=at == 0)


def _look(look: Look, *, first: bool) -> None:
    one, zone = look.inspection, context.settings().timezone
    verdict = "waits for a review" if look.hidden else one.verdict.replace("_", " ")
    title = f"{one.event_at.astimezone(zone):%Y-%m-%d %H:%M:%S} · {look.station} · {verdict}"
    with st.expander(plain(title), expanded=first):
        if look.item:
            _pictures(look.item)
            _normals(look.item)
        left, right = st.columns(2)
        left.html(table(histories.facts(look, zone)))
        if look.deployment and not look.hidden:
            with context.reading() as conn:
                epoch = epochs.of_certificate(conn, look.deployment.certificate_id)
            left.markdown(words(look.deployment.certificate, epoch))
        with right:
            _people(look)
        st.caption(f"Permalink: `?inspection={histories.key_of(one)}`")


def _pictures(item: Item) -> None:
    name = item.serial or item.frame_id
    kept = (("frame", item.preview_sha256 or item.frame_sha256), ("overlay", item.overlay_sha256))
    shown = [(what, sha256) for what, sha256 in kept if sha256]
    if not shown:
        st.info("Its pictures are no longer kept.")
        return
    for column, (what, sha256) in zip(st.columns(len(shown)), shown, strict=True):
        column.html(picture(sha256, f"{what} of {name}", "width:100%"))
    if item.frame_sha256:
        _download(item, item.frame_sha256)


def _normals(item: Item) -> None:
    if found := normals.of_item(context.engine(), item.id):
        st.markdown("**Nearest accepted normals**")
        st.html(normals.to_html(found, context.settings().timezone))


def _download(item: Item, sha256: str) -> None:
    def content() -> bytes:
        try:
            return context.blobs().get(sha256)
        except BlobMissing:
            return b""

    with context.reading() as conn:
        kind = media_type(conn, sha256)
    st.download_button(
        "Download the frame", content, file_name=f"{item.id}.{SUFFIXES.get(kind or '', 'bin')}", mime=kind,
        key=f"download-{item.id}", icon=":material/download:", on_click="ignore",
    )  # fmt: skip


def _people(look: Look) -> None:
    if look.hidden:
        st.caption("A view of the part waits for a review; what was said shows once all are decided.")
        return
    if look.item is None:
        st.caption("Nobody was asked about it.")
        return
    rows = histories.said(look.item.reviews, context.settings().timezone)
    st.html(table(rows)) if rows else st.caption("Nobody has said anything of it yet.")
    for one in look.samples:
        st.text(f"Sample {one.id}: {one.role}, {one.state}" + (f", {one.reason}" if one.reason else ""))
