"""Models: what is live and what it promises, the versions, the training runs and what the gate said."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from agent.store import (
    ancestry,
    drift,
    epochs,
    lapses,
    next_looks,
    registry,
    runs,
    samples,
    stations,
    teachings,
    watches,
)
from agent.store.epochs import Epoch
from agent.store.products import Product
from agent.store.registry import Deployment, ModelVersion
from dashboard import calibration, clocks, context, disagreements, drifts, filters, promoting, recertifying, training
from dashboard import watches as second
from dashboard.certificates import words
from dashboard.codes import shown
from dashboard.fragments import fragment
from dashboard.style import CSS
from dashboard.tables import plain, table
from dashboard.words import later, opening, retold, say


def show() -> None:
    """Draws the page."""
    st.title(say("Models"))
    clocks.tell()
    st.html(f"<style>{CSS}</style>")
    product = filters.product()
    if product is None:
        return
    _unclean(product)
    _product(product)
    _disagreements(product)
    _calibration(product)


@fragment(run_every="60s")  # it looks at all that a model ever learnt from
def _unclean(product: Product) -> None:
    with context.reading() as conn:
        live = registry.live(conn, product.id)
        unclean = ancestry.spoiled(conn, live.model_version_id) if live else []
    if live and unclean:
        listed = ", ".join(map(str, unclean[:10]))
        if len(unclean) > 10:
            listed = say("{numbers} and more", numbers=listed)
        st.warning(
            say(
                "v{number} learnt from {n} samples that are good normals no more ({listed}): train a clean one, from "
                "fresh weights",
                number=live.number,
                n=len(unclean),
                listed=listed,
            )
        )


@fragment(run_every="3s")
def _product(product: Product) -> None:
    with context.reading() as conn:
        live = registry.live(conn, product.id)
        teaching = teachings.find(conn, product.id)
        epoch = epochs.of_certificate(conn, live.certificate_id) if live else None
        asked = context.settings().certificate
        lapse, look = lapses.of_product(conn, product, asked), next_looks.of_product(conn, product, asked)
        versions = registry.versions(conn, product.id)
        recent = runs.all(conn, product.id, limit=20)
        reports = runs.reports_of(conn, [run.id for run in recent])
        ready = samples.counts(conn, product.id, look.epoch.id if look else None)
        drifting, reference = drift.all(conn, product.id), drift.references(conn).get(product.id)
        places = {one.id: one.name for one in stations.all(conn, retired=True)}
        watched = watches.all(conn, product.id)
        due, newest = recertifying.read(conn, product.id), epochs.current(conn, product.id)
    _live(live, epoch, taught=teaching is not None and teaching.unfinished)
    if lapse:
        st.warning(say("The certificate has lapsed: {words}.", words=plain(retold(lapse.words))))
    drifts.block(drifting, reference, places)
    st.caption(say("Samples that the next training run would take, before its caps"))
    for column, (role, n) in zip(st.columns(len(ready)), ready.items(), strict=True):
        column.metric(shown(role), n, border=True)
    if look and look.waits:
        st.caption(f"{plain(opening(retold(look.waits)))}.")
    recertifying.tell(due)
    promoting.actions(product, versions, live, due, newest)
    second.block(watched)
    st.subheader(say("Training runs"))
    training.show(recent, reports)
    st.subheader(say("Versions"))
    _versions(versions)


def _live(live: Deployment | None, epoch: Epoch | None, *, taught: bool) -> None:
    if live is None and taught:
        st.info(say("No model is live: it is being taught, and its frames go to review. See the page Teach."))
        return
    if live is None:
        st.warning(say("No model is live: frames of this product are not inspected (`no_model`)."))
        return
    since = live.live_from.astimezone(clocks.zone())
    st.success(
        say(
            "**v{number}** is live since {since}: {reason}",
            number=live.number,
            since=f"{since:%Y-%m-%d %H:%M:%S}",
            reason=plain(retold(live.told)),
        )
    )
    st.markdown(words(live.certificate, epoch))


@fragment()
def _disagreements(product: Product) -> None:
    disagreements.show(product.id)


@fragment(run_every="5s")
def _calibration(product: Product) -> None:
    """What a version's certificate rests on, for one that decides or may."""
    with context.reading() as conn:
        found = {
            one.number: one for one in registry.versions(conn, product.id) if one.state in ("candidate", "champion")
        }
    if not found:
        return
    st.subheader(say("Calibration parts that scored highest"))
    waits = 0 if next(iter(found.values())).state == "candidate" else None
    number = st.selectbox(
        say("Of version"), list(found), index=waits, key="looked-at", placeholder=say("choose one"),
        format_func=lambda one: f"v{one} · {shown(found[one].state)}",
    )  # fmt: skip
    if number is not None:
        calibration.show(product.id, found[number].id)


def _versions(versions: Sequence[ModelVersion]) -> None:
    zone = clocks.zone()
    rows = [
        {
            later("version"): f"v{one.number}",
            later("state"): shown(one.state),
            later("teacher"): one.teacher,
            later("images"): one.manifest.get("settings", {}).get("images", ""),
            later("made"): one.created_at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S"),
            later("artifact"): one.artifact_sha256[:12],
            later("why"): retold(one.told or ""),
        }
        for one in reversed(versions)
    ]
    if rows:
        st.html(table(rows, low=True))
    else:
        st.caption(say("none yet"))
