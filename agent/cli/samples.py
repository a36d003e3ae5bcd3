"""`goodpart samples`."""

from __future__ import annotations

import json as json_module
from pathlib import Path

from cyclopts import App

from agent.cli.common import Acting, CommandError, Common, new_key, show
from agent.cli.progress import bars
from agent.service import samples as service
from agent.settings import utc_now
from agent.store import products, samples
from agent.store.blobs import open_blobs
from agent.store.engine import reading

app = App(
    name="samples",
    help="The images that train and calibrate. Example: goodpart samples import photos/ --product flange",
)


@app.command(name="list")
def list_(*, product: str, revoked: bool = False, json: bool = False, common: Common = Common()) -> None:
    """List the samples of a product. Example: goodpart samples list --product flange

    Args:
        product: which product.
        revoked: list the revoked ones instead.
        json: print a JSON list.
    """
    with reading(common.database()) as conn:
        found = products.find(conn, product)
        if found is None:
            raise CommandError(f"there is no product {product!r}; see: goodpart products list")
        rows = [
            (sample.id, sample.role, sample.origin, sample.epoch_id, sample.serial, sample.reason, sample.created_at)
            for sample in samples.all(conn, found.id, revoked=revoked)
        ]
    columns = ["id", "role", "origin", "epoch", "serial", "reason", "created_at"]
    show(columns, rows, as_json=json, empty="no samples yet")


@app.command(name="import")
def import_(
    images: Path, /, *, product: str, defects: bool = False, json: bool = False, acting: Acting = Acting()
) -> None:
    """Import good images as training and calibration samples. Example: goodpart samples import photos/ --product flange

    Args:
        images: folder with train/good/ (MVTec layout) or good/.
        product: which product.
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
            defects=defects, now=utc_now(), on_progress=on_progress,
        )  # fmt: skip
    print(json_module.dumps(result.to_dict(), indent=2) if json else result.describe())


@app.command
def revoke(sample: int, /, *, acting: Acting = Acting()) -> None:
    """Take a sample out of all future training. Example: goodpart samples revoke 17"""
    engine = acting.database()
    service.revoke(engine, acting.actor(engine), sample, key=new_key(), now=utc_now())
    print(f"revoked sample {sample}; the next training run of its product starts without it")
