"""Adding samples, accepting and refusing those that reviews propose, and revoking them. For engineers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.phrases import together, word
from agent.service.acts import Done, perform
from agent.service.ranks import Invalid, PermissionDenied
from agent.store import drawing, epochs, lineage, products, proposals, samples
from agent.store.drawing import Drawing
from agent.store.errors import Conflict
from agent.store.rows import values
from agent.store.samples import NewSample, Sample
from agent.store.users import User

MEASURING = {"calibration", "holdout"}


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
            known = samples.find(conn, product_id, new.pixels_sha256, new.blob_sha256)
            if known is None or known.revoked_at is not None:
                samples.add(conn, new, now)
                fresh += 1
        result = {"new": fresh, "known": len(new_samples) - fresh}
        return Done(result, f"product:{product_id}", request | result)

    return Added(**perform(engine, actor, "sample.add", request, work, least="engineer", key=key, now=now))


def _wants_epoch(new: NewSample) -> bool:
    return new.origin == "import" and new.epoch_id is None and new.role in ("calibration", "holdout")


@dataclass(frozen=True, slots=True)
class Revoked:
    """Which model versions learnt from a sample, by number, and the one of them that decides now."""

    sample_id: int
    seen_by: tuple[int, ...]
    live: int | None


def accept(
    engine: Engine, actor: User, sample_id: int, *, drawn: Drawing | None = None, key: str, now: datetime
) -> None:
    """Lets a proposal train: a second person has looked at it, whatever the quarantine check said.

    Args:
        engine: the database.
        actor: an engineer or higher, who did not propose it.
        sample_id: of the proposal.
        drawn: by which settings parts are drawn for the audit, which may have changed since; None: none are.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor is no engineer, or the one whose review proposed it.
        NotFound: there is no such sample.
        Conflict: it is revoked, accepted already, or its part measures models by now or is drawn to do so.
    """

    def work(conn: Connection, actor: User) -> Done:
        found = samples.get(conn, sample_id)
        if found.added_by == actor.id:
            raise PermissionDenied(
                "{name} proposed sample {sample_id}: a second person accepts it", name=actor.name, sample_id=sample_id
            )
        if measures := samples.roles_of_part(conn, found) & MEASURING:
            raise Conflict(
                "part {serial} is a {roles} part by now: it may not train",
                serial=found.serial,
                roles=together("{one} and {other}", map(word, sorted(measures))),
            )
        if drawn and _is_drawn(conn, found, drawn):
            raise Conflict(
                "part {serial} is drawn for the audit: it measures models, so it trains none", serial=found.serial
            )
        waiting = ("proposed", "quarantined", "refused")
        proposals.move(conn, sample_id, "accepted", expected=waiting, by=actor.id, now=now)
        return Done({}, f"sample:{sample_id}", {"from": found.state, "proposed_by": found.added_by})

    request = {"sample_id": sample_id}
    perform(engine, actor, "sample.accept", request, work, least="engineer", key=key, now=now)


def _is_drawn(conn: Connection, one: Sample, drawn: Drawing) -> bool:
    if one.serial is None or one.station_id is None:
        return False
    return drawing.of_serial(conn, one.product_id, one.serial, one.station_id, drawn)


def refuse(engine: Engine, actor: User, sample_id: int, reason: str, *, key: str, now: datetime) -> None:
    """Keeps a proposal from training; it may be accepted later.

    Raises:
        PermissionDenied: the actor is no engineer.
        Invalid: there is no reason.
        NotFound: there is no such sample.
        Conflict: it is revoked, or no proposal any more.
    """
    if not reason.strip():
        raise Invalid("say why, for the record")

    def work(conn: Connection, _: User) -> Done:
        found = samples.get(conn, sample_id)
        proposals.move(conn, sample_id, "refused", expected=("proposed", "quarantined"), by=None, now=now)
        return Done({}, f"sample:{sample_id}", {"from": found.state, "reason": reason})

    request = {"sample_id": sample_id, "reason": reason}
    perform(engine, actor, "sample.refuse", request, work, least="engineer", key=key, now=now)


def revoke(engine: Engine, actor: User, sample_id: int, *, reason: str = "", key: str, now: datetime) -> Revoked:
    """Makes a train sample unusable from the next snapshot on, and says which models learnt from it.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: the sample measures models; such a one leaves by two people, see `agent.service.withdrawals`.
        NotFound: there is no such sample.
        Conflict: it is revoked already.
    """

    def work(conn: Connection, _: User) -> Done:
        found = samples.get(conn, sample_id)
        if found.role != "train" and found.revoked_at is None:
            group = "bank" if found.role == "defect" else "samples"
            raise Invalid(
                "sample {sample_id} is a {role} sample, which two people take out: goodpart {group} withdraw "
                "{sample_id}",
                sample_id=sample_id,
                role=word(found.role),
                group=group,
            )
        traced = lineage.of_sample(conn, sample_id)
        samples.revoke(conn, sample_id, now)
        seen = {"seen_by": [one.number for one in traced.versions], "live": traced.live}
        return Done(seen, f"sample:{sample_id}", {"reason": reason, **seen})

    request = {"sample_id": sample_id, "reason": reason}
    done = perform(engine, actor, "sample.revoke", request, work, least="engineer", key=key, now=now)
    return Revoked(sample_id, tuple(done["seen_by"]), done["live"])
