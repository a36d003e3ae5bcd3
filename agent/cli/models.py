"""`goodpart models`."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from sqlalchemy import Connection

from agent.cli import looks
from agent.cli.common import Acting, CommandError, Common, find_product, new_key, show
from agent.cli.progress import bars
from agent.service import models as service
from agent.service import watches as watching
from agent.settings import utc_now
from agent.store import certificates, lesson, registry, runs, watches
from agent.store.blobs import open_blobs
from agent.store.engine import reading
from agent.store.registry import ModelVersion
from agent.store.runs import TrainingRun

app = App(name="models", help="Versions, certificates and runs. Example: goodpart models list --product flange")


@app.command(name="list")
def list_(*, product: str, json: bool = False, common: Common = Common()) -> None:
    """List a product's model versions. Example: goodpart models list --product flange

    `second` is the share of the parts that a version scores beside the champion, for a shadow or a watch.
    """
    with reading(common.database()) as conn:
        found = find_product(conn, product)
        beside = watches.active(conn, found.id)
        second = {beside.other_version_id: beside.share} if beside else {}
        rows = [
            (f"v{one.number}", one.state, one.teacher, one.artifact_sha256[:12], second.get(one.id), one.created_at,
             one.reason)
            for one in registry.versions(conn, found.id)
        ]  # fmt: skip
    columns = ["version", "state", "teacher", "artifact", "second", "created_at", "reason"]
    show(columns, rows, as_json=json, empty="no models yet")


@app.command(name="runs")
def runs_(*, product: str, json: bool = False, common: Common = Common()) -> None:
    """List a product's training runs. Example: goodpart models runs --product flange

    `left` says how each process that did not end its run left it, such as one that was killed.
    """
    with reading(common.database()) as conn:
        rows = [
            (run.id, run.trigger, run.state, run.attempts, run.phase, _percent(run), run.eta_s, run.loss,
             run.started_at, run.reason, run.held_back, "; ".join(run.ends) or None)
            for run in runs.all(conn, find_product(conn, product).id)
        ]  # fmt: skip
    columns = [
        "run", "trigger", "state", "attempts", "phase", "percent", "eta_s", "loss", "started_at", "reason", "held_back",
        "left",
    ]  # fmt: skip
    show(columns, rows, as_json=json, empty="no runs yet")


@app.command
def calibration(
    version: int, /, *, product: str, out: Path | None = None, json: bool = False, common: Common = Common()
) -> None:
    """List the calibration parts that scored highest: a defect among them would be the threshold.

    Look at them before you trust a certificate; a part that is none of the good ones is withdrawn by two people, and
    goodpart models recertify makes the certificate anew. Example: goodpart models calibration 3 --product flange

    Args:
        version: its number.
        product: which product.
        out: a folder for their pictures: a PNG a part, with the heatmap beside it.
        json: print a JSON list.
    """
    with reading(common.database()) as conn:
        found = _version(conn, product, version)
        issued = certificates.of_version(conn, found.id)
        top = lesson.top_calibration(conn, found.id)
    threshold = issued[0].record["review_threshold"] if issued else None
    rows = [
        (one.sample_id, one.serial, one.station, one.frames, one.item_id, one.score, threshold, one.usable,
         one.blob_sha256)
        for one in top
    ]  # fmt: skip
    columns = ["sample", "part", "station", "frames", "item", "score", "threshold", "usable", "blob"]
    if out is not None:
        settings = common.settings()
        looks.write(out, top, open_blobs(settings.blobs), max_megapixels=settings.pipeline.max_megapixels)
    show(columns, rows, as_json=json, empty="no scores are on record: this version was made before they were kept")


@app.command
def recertify(
    version: int,
    /,
    *,
    product: str,
    reason: str,
    rescore: Annotated[bool, Parameter(negative=())] = False,
    json: bool = False,
    acting: Acting = Acting(),
) -> None:
    """Certify a version anew, without the calibration parts that were withdrawn since.

    Example: goodpart models recertify 3 --product flange --reason "part S-17 is scratched"

    Args:
        version: its number.
        product: which product.
        reason: why, for the record.
        rescore: score the calibration parts again, as this machine and config.toml would score the line: after a change
            of engine, precision or libraries no certificate speaks of what scores, and parts are `uncertified`.
        json: print JSON.
    """
    from agent.live import open_live
    from agent.retrain import recertifying
    from agent.retrain.bench import Bench
    from agent.retrain.rescoring import rescore as scored_again

    engine, settings = acting.database(), acting.settings()
    with reading(engine) as conn:
        found = _version(conn, product, version)
    rescored = None
    if rescore:
        with bars() as on_progress:
            rescored = scored_again(Bench(engine, open_blobs(settings.blobs), settings, utc_now), found.id, on_progress)
    made = recertifying.recertify(
        engine, acting.actor(engine), found.id, reason, rescored=rescored, key=new_key(), now=utc_now()
    )
    if made.live:
        open_live(settings.redis.url).notify_promotion(found.product_id)
    if json:
        record = {"dropped": made.dropped, "live": made.live, "certificate": made.certificate.to_dict()}
        print(json_module.dumps(record, indent=2))
        return
    less = f", without {made.dropped} calibration images" if made.dropped else ""
    print(f"{product} v{version}{less}; {made.certificate.describe(made.rests_on)}")
    if made.live:
        print("it is live; running agents swap within a second")


@app.command
def promote(version: int, /, *, product: str, reason: str, acting: Acting = Acting()) -> None:
    """Make a candidate version the champion. Example: goodpart models promote 3 --product flange --reason reviewed"""
    engine = acting.database()
    settings = acting.settings()
    with reading(engine) as conn:
        found = _version(conn, product, version)
    service.promote(
        engine, acting.actor(engine), found.id, reason, settings.decision_hash,
        key=new_key(), now=utc_now(), watch_share=settings.watch.share,
    )  # fmt: skip
    print(f"{product} v{version} is the champion; running agents swap within a second")


@app.command
def shadow(version: int, /, *, product: str, share: float | None = None, acting: Acting = Acting()) -> None:
    """Let a candidate score parts beside the champion first. Example: goodpart models shadow 3 --product flange

    It is promoted after shadow.parts of them, unless it flags more than its certificate allows.

    Args:
        version: a candidate.
        product: which product.
        share: of the parts; by default shadow.share, or watch.share where that is 0.
    """
    engine = acting.database()
    settings = acting.settings()
    with reading(engine) as conn:
        found = _version(conn, product, version)
    wanted = share if share is not None else settings.shadow.share or settings.watch.share
    made = watching.shadow(engine, acting.actor(engine), found.id, wanted, key=new_key(), now=utc_now())
    print(f"{product} v{version} scores {made.share:.1%} of the parts beside v{made.number} (watch {made.id})")


@app.command
def reject(version: int, /, *, product: str, reason: str, acting: Acting = Acting()) -> None:
    """Say that a candidate will not be promoted. Example: goodpart models reject 3 --product flange --reason slow"""
    engine = acting.database()
    with reading(engine) as conn:
        found = _version(conn, product, version)
    service.reject(engine, acting.actor(engine), found.id, reason, key=new_key(), now=utc_now())
    print(f"{product} v{version} is rejected")


@app.command
def rollback(*, product: str, reason: str, acting: Acting = Acting()) -> None:
    """Go back to the version before. Example: goodpart models rollback --product flange --reason blurred"""
    engine = acting.database()
    with reading(engine) as conn:
        found = find_product(conn, product)
    live = service.rollback(engine, acting.actor(engine), found.id, reason, key=new_key(), now=utc_now())
    print(f"{product} runs v{live.number} again; running agents swap within a second")


def _percent(run: TrainingRun) -> float | None:
    return 100 * run.step / run.steps if run.steps else None


def _version(conn: Connection, product: str, number: int) -> ModelVersion:
    for one in registry.versions(conn, find_product(conn, product).id):
        if one.number == number:
            return one
    raise CommandError(f"{product} has no version v{number}; see: goodpart models list --product {product}")
