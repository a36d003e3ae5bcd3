"""`goodpart dead-letters`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App

from agent.cli.common import Acting, CommandError, Common, new_key, show
from agent.service import dead_letters as service
from agent.settings import utc_now
from agent.store import dead_letters
from agent.store.blobs import open_blobs
from agent.store.engine import reading

app = App(
    name="dead-letters",
    help="Frames nobody could inspect: list, publish again or discard them. Example: goodpart dead-letters list",
)


@app.command(name="list")
def list_(
    *,
    reason: str | None = None,
    station: str | None = None,
    limit: int = 50,
    json: bool = False,
    common: Common = Common(),
) -> None:
    """List dead letters, the newest first. Example: goodpart dead-letters list --reason bad_header

    Args:
        reason: only those of this reason.
        station: only those whose frames named this station, registered or not.
        limit: at most so many.
        json: print a JSON list.
    """
    if limit < 1:
        raise CommandError(f"--limit {limit}: 1 or more is needed")
    with reading(common.database()) as conn:
        found = dead_letters.recent(conn, limit, reason=reason, station=station)
    rows = [
        (
            one.id, one.created_at, one.station, one.reason, one.detail, one.partition, one.offset,
            "yes" if one.blob_sha256 else "no", one.state, one.replayed_at,
        )
        for one in found
    ]  # fmt: skip
    columns = ["id", "at", "station", "reason", "detail", "partition", "offset", "kept", "state", "replayed"]
    show(columns, rows, as_json=json, empty="no dead letters")


@app.command
def discard(*ids: int, reason: str | None = None, because: str, acting: Acting = Acting()) -> None:
    """Give dead letters up; their bytes are let go. Example: goodpart dead-letters discard 17 --because "a test"

    Args:
        ids: of the dead letters.
        reason: instead of ids: all of this reason that nobody has replayed or discarded yet, nor an agent publishes.
        because: why, for the record.
    """
    _require_one(ids, reason)
    engine = acting.database()
    actor, run = acting.actor(engine), new_key()
    with reading(engine) as conn:
        wanted = list(ids)
        if reason:
            wanted = dead_letters.waiting_ids(conn, reason, None, None, but=service.busy(conn))
    for start in range(0, len(wanted), service.MOST):
        some = wanted[start : start + service.MOST]
        service.discard(engine, actor, some, because, key=f"{run}-{start}", now=utc_now())
    print(f"{len(wanted)} discarded")


def _require_one(ids: Sequence[int], reason: str | None) -> None:
    if bool(ids) == bool(reason):
        raise CommandError("say which: ids of dead letters, or --reason; see: goodpart dead-letters list")


@app.command
def replay(
    *ids: int,
    reason: str | None = None,
    station: str | None = None,
    product: str | None = None,
    acting: Acting = Acting(),
) -> None:
    """Publish dead letters again, each as a frame with a new id. Example: goodpart dead-letters replay 17 --station s1

    Args:
        ids: of the dead letters.
        reason: instead of ids: all of this reason that nobody has replayed or discarded yet.
        station: in place of what the frames say.
        product: in place of what the frames say.
    """
    _require_one(ids, reason)
    from agent.letters.replay import Again, Letters, NotReplayable, open_outlet

    settings, engine = acting.settings(), acting.database()
    actor, run = acting.actor(engine), new_key()
    with reading(engine) as conn:
        found = dead_letters.waiting(conn, reason) if reason else [dead_letters.get(conn, one) for one in ids]
    letters = Letters(engine, open_blobs(settings.blobs), settings)
    letters.require(actor)
    ready: list[Again] = []
    skipped = 0
    for one in found:
        try:
            ready.append(letters.prepare(one, station=station, product=product))
        except NotReplayable as error:
            if ids:
                raise
            skipped += 1
            print(f"skipped: {error}", file=sys.stderr)
    if ready:
        with open_outlet(settings) as outlet:
            for again in ready:
                letters.publish(again, outlet, actor, key=f"{run}-{again.letter.id}", clock=utc_now)
                print(f"dead letter {again.letter.id} is frame {again.frame_id} of {again.station}, {again.product}")
    print(f"{len(ready)} published" + (f", {skipped} skipped" if skipped else ""))
    if skipped:
        sys.exit(1)
