"""One part: all its inspections, pictures and reviews. The address is a permalink."""

from __future__ import annotations

import streamlit as st

from agent.store import epochs
from agent.store.blobs import BlobMissing, media_type
from agent.store.items import Item
from dashboard import clocks, context, filters, histories, normals
from dashboard.certificates import words
from dashboard.codes import named, shown
from dashboard.gallery import link_to_all, link_to_letter
from dashboard.histories import Look
from dashboard.parts import picture
from dashboard.style import CSS
from dashboard.tables import plain, table
from dashboard.words import say, several

SUFFIXES = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/bmp": "bmp", "image/tiff": "tif"}


def show() -> None:
    """Draws the page."""
    st.html(f"<style>{CSS}</style>")
    st.title(say("Part"))
    clocks.tell()
    asked = filters.typed(st.container(), "serial", say("Serial"), say("of the part"))
    key = None if asked else st.query_params.get("inspection")
    if not asked and not key:
        st.info(say("Give a part's serial. The names under pictures on the pages Trends and Triage lead here, too."))
        return
    with context.reading() as conn:
        found = histories.find(conn, serial=asked or None, inspection=key)
    if not found:
        st.warning(say("No inspection of it is known: look at the serial, or its days are no longer kept."))
        return
    if asked:
        st.caption(several("{n} inspection, newest first.", "{n} inspections, newest first.", len(found)))
    elif serial := found[0].frame.serial:
        st.html(link_to_all(serial))
    if any(look.gone for look in found):
        st.caption(
            say(
                "Inspections stay for {days} days. Of older ones only those that were kept for people show, without "
                "how long they took.",
                days=context.settings().retention.inspections_days,
            )
        )
    for at, look in enumerate(found):
        _look(look, first=at == 0)


def _look(look: Look, *, first: bool) -> None:
    one, zone = look.frame, clocks.zone()
    verdict = say("waits for a review") if look.hidden else shown(one.verdict)
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
            _headers(look)
        if rows := histories.replayed(look, zone):
            st.markdown(say("**Decided again** (`goodpart replay`)"))
            st.html(table(rows))
        site = context.settings().dashboard.origins[0]
        st.caption(say("Permalink: `{address}`", address=histories.permalink(one, site)))


def _pictures(item: Item) -> None:
    name = item.serial or item.frame_id
    kept = (
        (say("frame of {name}", name=name), item.preview_sha256 or item.frame_sha256),
        (say("overlay of {name}", name=name), item.overlay_sha256),
    )
    pictures = [(alt, sha256) for alt, sha256 in kept if sha256]
    if not pictures:
        st.info(say("Its pictures are no longer kept."))
        return
    for column, (alt, sha256) in zip(st.columns(len(pictures)), pictures, strict=True):
        column.html(picture(sha256, alt, "width:100%"))
    if item.frame_sha256:
        _download(item, item.frame_sha256)


def _normals(item: Item) -> None:
    if found := normals.of_item(context.engine(), item.id):
        st.markdown(say("**Nearest accepted normals**"))
        st.html(normals.to_html(found, clocks.zone()))


def _download(item: Item, sha256: str) -> None:
    def content() -> bytes:
        try:
            return context.blobs().get(sha256)
        except BlobMissing:
            return b""

    with context.reading() as conn:
        kind = media_type(conn, sha256)
    st.download_button(
        say("Download the frame"), content, file_name=f"{item.id}.{SUFFIXES.get(kind or '', 'bin')}", mime=kind,
        key=f"download-{item.id}", icon=":material/download:", on_click="ignore",
    )  # fmt: skip


def _headers(look: Look) -> None:
    st.markdown(say("**Headers of its record**"))
    if rows := histories.headers(look):
        st.html(f"<div class='facts'>{table(rows)}</div>")
    else:
        st.caption(say("They are kept of what people look at and of dead letters, not of this one."))
    if look.letter is not None:
        st.html(link_to_letter(look.letter))


def _people(look: Look) -> None:
    if look.hidden:
        st.caption(say("A view of the part waits for a review; what was said shows once all are decided."))
        return
    if look.item is None:
        st.caption(say("Nobody was asked about it."))
        return
    rows = histories.said(look.item.reviews, clocks.zone())
    st.html(table(rows)) if rows else st.caption(say("Nobody has said anything of it yet."))
    for one in look.samples:
        said = ", ".join(named(word) for word in (one.role, one.state, one.reason) if word)
        st.text(say("Sample {id}: {said}", id=one.id, said=said))
