"""`goodpart samples`."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from cyclopts import App

from agent.cli.bank import ask
from agent.cli.common import Acting, CommandError, Common, find_product, new_key, show
from agent.cli.progress import bars
from agent.service import samples as service
from agent.service.ranks import require
from agent.settings import utc_now
from agent.store import lineage, products, samples, users
from agent.store.blobs import open_blobs
from agent.store.drawing import Drawing
from agent.store.engine import reading

app = App(
    name="samples",
    help="The images that train and calibrate. Example: goodpart samples import photos/ --product flange",
)


@app.command(name="list")
def list_(
    *,
    product: str,
    state: str | None = None,
    revoked: bool = False,
    json: bool = False,
    common: Common = Common(),
) -> None:
    """List the samples of a product. Example: goodpart samples list --product flange --state quarantined

    Args:
        product: which product.
        state: only those proposed, quarantined (waiting for a second person), accepted or refused.
        revoked: list the revoked ones instead.
        json: print a JSON list.
    """
    if state is not None and state not in samples.STATES:
        raise CommandError(f"{state!r} is not a state; {', '.join(samples.STATES)} are")
    with reading(common.database()) as conn:
        found = find_product(conn, product)
        kept = samples.all(conn, found.id, revoked=revoked, state=state)
        seen = lineage.of_samples(conn, found.id, [one.id for one in kept])
        names = {user.id: user.name for user in users.all(conn, disabled=True)}
    rows = [
        (one.id, one.role, one.state, one.origin, one.epoch_id, one.serial, one.reason, names.get(one.added_by or 0),
         (one.quarantine or {}).get("words"), _numbers(seen[one.id]), one.created_at)
        for one in kept
        if state is None or one.state == state
    ]  # fmt: skip
    columns = ["id", "role", "state", "origin", "epoch", "serial", "reason", "by", "check", "seen_by", "created_at"]
    show(columns, rows, as_json=json, empty="no such samples" if state or revoked else "no samples yet")


def _numbers(seen: Sequence[lineage.Seen]) -> str:
    return " ".join(f"v{one.number}" for one in seen)


@app.command(name="import")
def import_(
    images: Path,
    /,
    *,
    product: str,
    group_by: str | None = None,
    defects: bool = False,
    json: bool = False,
    acting: Acting = Acting(),
) -> None:
    """Import good images as training and calibration samples. Example: goodpart samples import photos/ --product flange

    Args:
        images: folder with train/good/ (MVTec layout) or good/.
        product: which product.
        group_by: which images show one part, so that they are not spread over training and calibration: a regular
            expression on the file name with a group around the serial, such as '(part[0-9]+)_', or a time such as 2s:
            images taken no further apart (by EXIF, else by the files' times).
        defects: import its labelled defects into the defect bank too; then they cannot measure the model any more.
        json: print one JSON object.
    """
    from agent.retrain import importer

    settings = acting.settings()
    engine = acting.database()
    actor = acting.actor(engine)
    with reading(engine) as conn:
        found = products.find(conn, product)
    if found is None:
        raise CommandError(f"there is no product {product!r}; add it: goodpart products add {product}")
    with bars() as on_progress:
        result = importer.import_folder(
            engine, open_blobs(settings.blobs), settings, actor, found, images,
            defects=defects, group_by=group_by, now=utc_now(), on_progress=on_progress,
        )  # fmt: skip
    print(json_module.dumps(result.to_dict(), indent=2) if json else result.describe())


@app.command
def check(*, json: bool = False, acting: Acting = Acting()) -> None:
    """Check the waiting proposals now, which an agent does too. Example: goodpart samples check

    Args:
        json: print one JSON object.
    """
    from agent.retrain import checking

    settings, engine = acting.settings(), acting.database()
    require(acting.actor(engine), "operator", "sample.check")
    with bars() as on_progress:
        moved = checking.check(engine, settings, utc_now, on_progress=on_progress)
    words = ", ".join(f"{count} {state}" for state, count in sorted(moved.items()))
    print(json_module.dumps(moved, indent=2) if json else words or "no proposals wait")


@app.command
def accept(sample: int, /, *, acting: Acting = Acting()) -> None:
    """Let a proposal train, as the second person who looked at it. Example: goodpart samples accept 17"""
    settings, engine = acting.settings(), acting.database()
    drawn = Drawing(settings.audit, settings.certificate)
    service.accept(engine, acting.actor(engine), sample, drawn=drawn, key=new_key(), now=utc_now())
    print(f"accepted sample {sample}; the next training run of its product learns from it")


@app.command
def refuse(sample: int, /, *, reason: str, acting: Acting = Acting()) -> None:
    """Keep a proposal from training. Example: goodpart samples refuse 17 --reason scratched"""
    engine = acting.database()
    service.refuse(engine, acting.actor(engine), sample, reason, key=new_key(), now=utc_now())
    print(f"refused sample {sample}; it trains nothing")


@app.command
def revoke(sample: int, /, *, reason: str = "", json: bool = False, acting: Acting = Acting()) -> None:
    """Take a train sample out of all future training. Example: goodpart samples revoke 17

    Args:
        sample: its id.
        reason: why, for the record.
        json: print one JSON object.
    """
    engine = acting.database()
    done = service.revoke(engine, acting.actor(engine), sample, reason=reason, key=new_key(), now=utc_now())
    if json:
        print(json_module.dumps(asdict(done), indent=2))
        return
    print(f"revoked sample {sample}; the next training run of its product starts without it")
    if done.seen_by:
        print(f"models that learnt from it: {', '.join(f'v{number}' for number in done.seen_by)}")
    if done.live:
        with reading(engine) as conn:
            name = products.get(conn, samples.get(conn, sample).product_id).name
        print(f"v{done.live} of them is live; train a clean one: goodpart retrain --product {name} --cold")


@app.command
def withdraw(sample: int, /, *, reason: str, acting: Acting = Acting()) -> None:
    """Ask for a calibration or hold-out part to be taken out. Example: goodpart samples withdraw 17 --reason scratch

    It leaves as a defect and joins the defect bank, once a second person confirms.

    Args:
        sample: its id.
        reason: the reason code of its defect; `unreadable` where its image cannot be read, which joins no bank.
    """
    ask(sample, reason, acting)


@app.command(name="lineage")
def lineage_(sample: int, /, *, json: bool = False, common: Common = Common()) -> None:
    """Show what used a sample: snapshots, runs, versions, deployments. Example: goodpart samples lineage 17

    Args:
        sample: its id, of a revoked one too.
        json: print one JSON object.
    """
    with reading(common.database()) as conn:
        found = lineage.of_sample(conn, sample)
    if json:
        print(json_module.dumps({**asdict(found), "live": found.live}, default=str, indent=2))
        return
    print(f"snapshots: {', '.join(map(str, found.snapshots)) or 'none'}")
    print(f"training runs: {', '.join(map(str, found.runs)) or 'none'}")
    rows = [
        (f"v{one.number}", one.state, one.role, f"v{one.via}" if one.via else None, *_served(found, one.number))
        for one in found.versions
    ]
    show(["version", "state", "as", "via", "live_from", "live_until"], rows, as_json=False, empty="no model used it")
    if found.live:
        print(f"v{found.live} learnt from it and is live")


def _served(found: lineage.Lineage, number: int) -> tuple[datetime | None, datetime | str | None]:
    """When a version decided, from its first time to the end of its last."""
    spans = [one for one in found.deployments if one.number == number]
    return (spans[0].live_from, spans[-1].live_until or "now") if spans else (None, None)
