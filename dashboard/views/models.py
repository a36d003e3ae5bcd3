"""Models: what is live and what it promises, the versions, the training runs and what the gate said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st

from agent.service import models, retrain
from agent.store import ancestry, drift, epochs, products, registry, runs, samples, stations, teachings, watches
from agent.store.epochs import Epoch
from agent.store.products import Product
from agent.store.registry import Deployment, ModelVersion
from agent.store.runs import TrainingRun
from dashboard import calibration, charts, context, drifts, recertifying
from dashboard import watches as second
from dashboard.certificates import words
from dashboard.recertifying import Due
from dashboard.style import CSS
from dashboard.tables import plain


def show() -> None:
    """Draws the page."""
    st.title("Models")
    st.html(f"<style>{CSS}</style>")
    with context.reading() as conn:
        found = {product.name: product for product in products.all(conn)}
    if not found:
        st.info("There are no products yet. Add one: `goodpart products add NAME`")
        return
    product = found[st.selectbox("Product", list(found), key="product", bind="query-params")]
    _product(product)
    _calibration(product)


@st.fragment(run_every="3s")
def _product(product: Product) -> None:
    with context.reading() as conn:
        live = registry.live(conn, product.id)
        teaching = teachings.find(conn, product.id)
        epoch = epochs.of_certificate(conn, live.certificate_id) if live else None
        asked = epochs.asked(product, context.settings().certificate)
        lapse, calibrating = epochs.lapsed(conn, product.id, asked), epochs.calibrating(conn, product.id, asked)
        versions = registry.versions(conn, product.id)
        recent = runs.all(conn, product.id, limit=20)
        reports = {run.id: report.words for run in recent if (report := runs.report_of(conn, run.id))}
        ready = samples.counts(conn, product.id, calibrating.id if calibrating else None)
        drifting, reference = drift.all(conn, product.id), drift.references(conn).get(product.id)
        places = {one.id: one.name for one in stations.all(conn, retired=True)}
        unclean = ancestry.spoiled(conn, live.model_version_id) if live else []
        watched = watches.all(conn, product.id)
        due = recertifying.read(conn, product.id)
    _live(live, epoch, unclean, taught=teaching is not None and teaching.unfinished)
    if lapse:
        st.warning(f"The certificate has lapsed: {plain(lapse.words)}.")
    drifts.block(drifting, reference, places)
    for column, (role, n) in zip(st.columns(len(ready)), ready.items(), strict=True):
        column.metric(f"{role} samples", n, border=True, help="what the next training run would take, before its caps")
    recertifying.tell(due)
    _actions(product, versions, live, due)
    second.block(watched)
    st.subheader("Training runs")
    _runs(recent, reports)
    st.subheader("Versions")
    _versions(versions)


def _live(live: Deployment | None, epoch: Epoch | None, unclean: Sequence[int], *, taught: bool) -> None:
    if live is None and taught:
        st.info("No model is live: it is being taught, and its frames go to review. See the page Teach.")
        return
    if live is None:
        st.warning("No model is live: frames of this product are not inspected (`no_model`).")
        return
    since = live.live_from.astimezone(context.settings().timezone)
    st.success(f"**v{live.number}** is live since {since:%Y-%m-%d %H:%M:%S}: {live.reason}")
    st.markdown(words(live.certificate, epoch))
    if unclean:
        listed = ", ".join(map(str, unclean[:10])) + (" and more" if len(unclean) > 10 else "")
        st.warning(
            f"v{live.number} learnt from {len(unclean)} samples that are good normals no more ({listed}): "
            "train a clean one, from fresh weights"
        )


def _actions(product: Product, versions: Sequence[ModelVersion], live: Deployment | None, due: Due) -> None:
    if not context.may("engineer"):
        st.caption("Engineers retrain, promote and roll back here.")
        return
    candidates = [one for one in versions if one.state == "candidate"]
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Retrain now", icon=":material/model_training:", key="retrain"):
            cold = bool(st.session_state.get("cold"))
            ask = partial(retrain.request, context.engine(), _user(), product.id, cold=cold)
            context.act(ask, "a run is queued")
        st.checkbox("From fresh weights", key="cold", help="Nothing of a revoked sample stays in them.")
        with st.popover("Promote a candidate", disabled=not candidates):
            _promote(product, candidates)
        with st.popover("Roll back", disabled=live is None):
            _roll_back(product)
        recertifying.button(due, _user(), "recertify")


def _promote(product: Product, candidates: Sequence[ModelVersion]) -> None:
    number = st.selectbox("Version", [one.number for one in candidates], key="candidate")
    why = st.text_input("Why", key="promote-why")
    if st.button("Promote", key="promote", disabled=not why.strip()):
        version = next(one for one in candidates if one.number == number)
        settings = context.settings()
        promote = partial(
            models.promote, context.engine(), _user(), version.id, why, settings.decision_hash,
            watch_share=settings.watch.share,
        )  # fmt: skip
        context.act(promote, "promoted")
        context.live().notify_promotion(product.id)


def _roll_back(product: Product) -> None:
    why = st.text_input("Why", key="rollback-why")
    if st.button("Roll back", key="rollback", disabled=not why.strip()):
        context.act(partial(models.rollback, context.engine(), _user(), product.id, why), "rolled back")
        context.live().notify_promotion(product.id)


def _user() -> Any:
    return context.actor()


def _runs(recent: Sequence[TrainingRun], reports: Mapping[int, str]) -> None:
    for run in recent:
        if run.state in ("queued", "running"):
            share = run.step / run.steps if run.steps else 0.0
            eta = "" if run.eta_s is None else f" · {run.eta_s:.0f} s left"
            loss = "" if run.loss is None else f" · loss {run.loss:.4f}"
            name = f"run {run.id}, attempt {run.attempts}" if run.attempts > 1 else f"run {run.id}"
            bar, cancel = st.columns((6, 1), vertical_alignment="center")
            bar.progress(min(share, 1.0), f"{name}: {run.phase or run.state} {run.step}/{run.steps}{loss}{eta}")
            if context.may("engineer"):
                with cancel.popover("Cancel"):
                    _cancel(run)
    zone = context.settings().timezone
    rows = [
        {
            "run": run.id,
            "trigger": run.trigger,
            "state": run.state,
            "started": run.started_at.astimezone(zone).strftime("%m-%d %H:%M:%S") if run.started_at else "",
            "why": " ".join(filter(None, (reports.get(run.id) or run.reason, run.held_back))),
        }
        for run in recent
    ]
    if not recent:
        st.caption("none yet")
        return
    st.dataframe(rows, hide_index=True)
    if judged := next((run for run in recent if run.id in reports), None):
        with st.expander(f"What the gate said of run {judged.id}"):
            st.markdown("\n".join(f"- {one}" for one in reports[judged.id].split("; ")))
    newest = next((run for run in recent if run.losses), None)
    if newest and newest.losses:
        with st.expander(f"Loss of run {newest.id}"):
            st.altair_chart(charts.losses(newest.losses))


def _cancel(run: TrainingRun) -> None:
    why = st.text_input("Why", key=f"cancel-why-{run.id}")
    if st.button("Cancel the run", key=f"cancel-{run.id}", disabled=not why.strip()):
        end = partial(retrain.cancel, context.engine(), _user(), run.id, reason=why)
        context.act(end, f"run {run.id} is cancelled; its process ends at its next step")


@st.fragment(run_every="5s")
def _calibration(product: Product) -> None:
    """What a version's certificate rests on, for one that decides or may."""
    with context.reading() as conn:
        found = {
            one.number: one for one in registry.versions(conn, product.id) if one.state in ("candidate", "champion")
        }
    if not found:
        return
    st.subheader("Calibration parts that scored highest")
    waits = 0 if next(iter(found.values())).state == "candidate" else None
    number = st.selectbox(
        "Of version", list(found), index=waits, key="looked-at", placeholder="choose one",
        format_func=lambda one: f"v{one} · {found[one].state}",
    )  # fmt: skip
    if number is not None:
        calibration.show(product.id, found[number].id)


def _versions(versions: Sequence[ModelVersion]) -> None:
    zone = context.settings().timezone
    rows = [
        {
            "version": f"v{one.number}",
            "state": one.state,
            "teacher": one.teacher,
            "images": one.manifest.get("settings", {}).get("images"),
            "made": one.created_at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S"),
            "artifact": one.artifact_sha256[:12],
            "why": one.reason or "",
        }
        for one in reversed(versions)
    ]
    if rows:
        st.dataframe(rows, hide_index=True)
    else:
        st.caption("none yet")
