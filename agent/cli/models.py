"""`goodpart models`."""

from __future__ import annotations

from cyclopts import App
from sqlalchemy import Connection

from agent.cli.common import Acting, CommandError, Common, new_key, show
from agent.service import models as service
from agent.settings import utc_now
from agent.store import products, registry, runs
from agent.store.engine import reading

app = App(name="models", help="Versions, certificates and runs. Example: goodpart models list --product flange")


@app.command(name="list")
def list_(*, product: str, json: bool = False, common: Common = Common()) -> None:
    """List a product's model versions. Example: goodpart models list --product flange"""
    with reading(common.database()) as conn:
        rows = [
            (f"v{one.number}", one.state, one.teacher, one.artifact_sha256[:12], one.created_at, one.reason)
            for one in registry.versions(conn, _product(conn, product).id)
        ]
    show(["version", "state", "teacher", "artifact", "created_at", "reason"], rows, as_json=json, empty="no models yet")


@app.command(name="runs")
def runs_(*, product: str, json: bool = False, common: Common = Common()) -> None:
    """List a product's training runs. Example: goodpart models runs --product flange"""
    with reading(common.database()) as conn:
        rows = [
            (run.id, run.trigger, run.state, f"{run.step}/{run.steps}", run.loss, run.started_at, run.reason,
             run.held_back)
            for run in runs.all(conn, _product(conn, product).id)
        ]  # fmt: skip
    columns = ["run", "trigger", "state", "steps", "loss", "started_at", "reason", "held_back"]
    show(columns, rows, as_json=json, empty="no runs yet")


@app.command
def promote(version: int, /, *, product: str, reason: str, acting: Acting = Acting()) -> None:
    """Make a candidate version the champion. Example: goodpart models promote 3 --product flange --reason reviewed"""
    engine = acting.database()
    settings = acting.settings()
    with reading(engine) as conn:
        found = [one for one in registry.versions(conn, _product(conn, product).id) if one.number == version]
    if not found:
        raise CommandError(f"{product} has no version v{version}; see: goodpart models list --product {product}")
    service.promote(
        engine, acting.actor(engine), found[0].id, reason, settings.decision_hash, key=new_key(), now=utc_now()
    )
    print(f"{product} v{version} is the champion; running agents swap within a second")


@app.command
def rollback(*, product: str, reason: str, acting: Acting = Acting()) -> None:
    """Go back to the version before. Example: goodpart models rollback --product flange --reason blurred"""
    engine = acting.database()
    with reading(engine) as conn:
        found = _product(conn, product)
    live = service.rollback(engine, acting.actor(engine), found.id, reason, key=new_key(), now=utc_now())
    print(f"{product} runs v{live.number} again; running agents swap within a second")


def _product(conn: Connection, name: str) -> products.Product:
    found = products.find(conn, name)
    if found is None:
        raise CommandError(f"there is no product {name!r}; see: goodpart products list")
    return found
