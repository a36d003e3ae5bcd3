"""`goodpart blobs`."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict

from cyclopts import App

from agent.cli.common import CommandError, Common, show
from agent.cli.progress import bars
from agent.retrain.progress import Stage
from agent.settings import utc_now
from agent.store import inventory
from agent.store.blobs import open_blobs
from agent.store.engine import reading
from agent.store.sweep import Sweeper

app = App(name="blobs", help="Pictures and model artifacts, kept by their SHA-256. Example: goodpart blobs check")


@app.command
def sweep(*, json: bool = False, common: Common = Common()) -> None:
    """Delete what no row has named for a day; a running agent does so too. Example: goodpart blobs sweep

    Args:
        json: print one JSON object.
    """
    settings, engine = common.settings(), common.database()
    with reading(engine) as conn:
        rows = inventory.count(conn)
    with bars() as on_progress:
        stage = Stage("sweeping", rows, on_progress)
        done = Sweeper(engine, open_blobs(settings.blobs), clock=utc_now).sweep(on_page=stage.advance)
    if json:
        print(json_module.dumps(asdict(done), indent=2))
    else:
        print(f"deleted {done.deleted} of {done.looked} blobs, {done.bytes / 1e6:.1f} MB")


@app.command
def check(*, deep: bool = False, json: bool = False, common: Common = Common()) -> None:
    """Look whether every blob that a row names is there; exit status 1 if not. Example: goodpart blobs check --deep

    Args:
        deep: read them all and compare their hashes; else only their sizes are compared.
        json: print a JSON list of those that are not.
    """
    settings, engine = common.settings(), common.database()
    with reading(engine) as conn:
        rows = inventory.count(conn)
    with bars() as on_progress:
        stage = Stage("checking", rows, on_progress)
        wrong = inventory.check(engine, open_blobs(settings.blobs), deep=deep, on_page=stage.advance)
    show(["sha256", "problem"], [(one.sha256, one.problem) for one in wrong], as_json=json, empty="every blob is there")
    if wrong:
        raise CommandError(f"{len(wrong)} of the blobs that rows name cannot be read; restore them from a backup")
