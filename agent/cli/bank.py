"""`goodpart bank`."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict

from cyclopts import App

from agent.cli.common import Acting, Common, find_product, new_key, show
from agent.service import withdrawals as service
from agent.settings import utc_now
from agent.store import samples, users, withdrawals
from agent.store.blobs import open_blobs
from agent.store.engine import reading

app = App(name="bank", help="Confirmed defects that models must catch. Example: goodpart bank list --product flange")


@app.command(name="list")
def list_(*, product: str, json: bool = False, common: Common = Common()) -> None:
    """List the defects of a product's bank. Example: goodpart bank list --product flange"""
    with reading(common.database()) as conn:
        found = find_product(conn, product)
        names = {user.id: user.name for user in users.all(conn, disabled=True)}
        asked = {one.sample_id: one.id for one in withdrawals.all(conn, found.id)}
        rows = [
            (one.id, one.reason, one.origin, names.get(one.added_by or 0), one.serial, asked.get(one.id),
             one.created_at)
            for one in sorted(samples.all(conn, found.id, "defect"), key=lambda one: one.id)
        ]  # fmt: skip
    columns = ["id", "reason", "origin", "by", "serial", "withdrawal", "created_at"]
    show(columns, rows, as_json=json, empty="no defects yet")


@app.command
def withdraw(sample: int, /, *, reason: str, acting: Acting = Acting()) -> None:
    """Ask for a defect to be taken out of the bank. Example: goodpart bank withdraw 17 --reason reflection"""
    ask(sample, reason, acting)


@app.command(name="withdrawals")
def withdrawals_(*, product: str, decided: bool = False, json: bool = False, common: Common = Common()) -> None:
    """List what waits for a second person. Example: goodpart bank withdrawals --product flange

    Args:
        product: which product.
        decided: list the decided ones instead.
        json: print a JSON list.
    """
    with reading(common.database()) as conn:
        found = find_product(conn, product)
        names = {user.id: user.name for user in users.all(conn, disabled=True)}
        rows = [
            (one.id, one.sample_id, samples.get(conn, one.sample_id).role, one.reason, names[one.asked_by],
             one.asked_at, one.decision, names.get(one.decided_by or 0))
            for one in withdrawals.all(conn, found.id, decided=decided)
        ]  # fmt: skip
    columns = ["id", "sample", "role", "reason", "asked_by", "asked_at", "decision", "decided_by"]
    show(columns, rows, as_json=json, empty="nothing waits")


@app.command
def confirm(withdrawal: int, /, *, json: bool = False, acting: Acting = Acting()) -> None:
    """Take a sample out that somebody else asked to withdraw. Example: goodpart bank confirm 3"""
    from agent.retrain.unreadable import eye

    settings, engine = acting.settings(), acting.database()
    readable, actor = eye(open_blobs(settings.blobs), settings), acting.actor(engine)
    _tell(service.confirm(engine, actor, withdrawal, readable=readable, key=new_key(), now=utc_now()), json)


@app.command
def refuse(withdrawal: int, /, *, json: bool = False, acting: Acting = Acting()) -> None:
    """Leave a sample in that somebody else asked to withdraw. Example: goodpart bank refuse 3"""
    engine = acting.database()
    _tell(service.refuse(engine, acting.actor(engine), withdrawal, key=new_key(), now=utc_now()), json)


def ask(sample: int, reason: str, acting: Acting) -> None:
    """Asks for a sample to be taken out; `goodpart samples withdraw` too."""
    engine = acting.database()
    made = service.ask(engine, acting.actor(engine), sample, reason, key=new_key(), now=utc_now())
    print(f"withdrawal {made} waits for a second person: goodpart bank confirm {made} (or refuse)")


def _tell(done: service.Decided, json: bool) -> None:
    if json:
        print(json_module.dumps(asdict(done), indent=2))
        return
    if done.decision == "refused":
        print(f"sample {done.sample_id} stays a {done.role} sample")
        return
    print(
        f"sample {done.sample_id} is no {done.role} sample any more{' but one of the bank' if done.joined_bank else ''}"
    )
