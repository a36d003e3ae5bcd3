"""Adding and revoking samples. For engineers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.service.acts import Done, perform
from agent.service.ranks import Invalid
from agent.store import epochs, products, samples
from agent.store.rows import values
from agent.store.samples import NewSample
from agent.store.users import User


@dataclass(frozen=True, slots=True)
class Added:
    """How many samples were new, and how many the product had already."""

    new: int
    known: int


def add_all(
    engine: Engine, actor: User, product_id: int, new_samples: Sequence[NewSample], *, key: str, now: datetime
) -> Added:
    """Adds imported samples, all or none; their blobs were kept before.

    Imported calibration and hold-out become those of the product's import epoch, which the first ones open.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: one is another product's.
        NotFound: there is no such product.
    """
    if any(new.product_id != product_id for new in new_samples):
        raise Invalid("a sample belongs to another product")
    listed = json.dumps([values(new) for new in new_samples], sort_keys=True)
    request = {"product_id": product_id, "samples": hashlib.sha256(listed.encode()).hexdigest()}

    def work(conn: Connection, _: User) -> Done:
        products.get(conn, product_id)
        fresh, rows = 0, new_samples
        if any(_wants_epoch(new) for new in rows):
            epoch_id = epochs.of_import(conn, product_id, now).id
            rows = [replace(new, epoch_id=epoch_id) if _wants_epoch(new) else new for new in rows]
        for new in rows:
            known = samples.find(conn, product_id, new.pixels_sha256)
            fresh += known is None or known.revoked_at is not None
            samples.add(conn, new, now)
        result = {"new": fresh, "known": len(new_samples) - fresh}
        return Done(result, f"product:{product_id}", request | result)

    return Added(**perform(engine, actor, "sample.add", request, work, least="engineer", key=key, now=now))


def _wants_epoch(new: NewSample) -> bool:
    return new.origin == "import" and new.epoch_id is None and new.role in ("calibration", "holdout")


def revoke(engine: Engine, actor: User, sample_id: int, *, reason: str = "", key: str, now: datetime) -> None:
    """Makes a sample unusable from the next snapshot on.

    Raises:
        PermissionDenied: the actor's role is too low.
        NotFound: there is no such sample.
        Conflict: it is revoked already.
    """

    def work(conn: Connection, _: User) -> Done:
        samples.revoke(conn, sample_id, now)
        return Done({}, f"sample:{sample_id}", {"reason": reason})

    request = {"sample_id": sample_id, "reason": reason}
    perform(engine, actor, "sample.revoke", request, work, least="engineer", key=key, now=now)
