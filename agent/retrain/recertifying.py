"""A version's certificate anew: calibration parts turned out to be no good parts, or something else scores now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Engine

from agent.retrain.comparison import Lists, units
from agent.retrain.errors import RetrainError
from agent.retrain.rescoring import Rescored
from agent.service.acts import Done, current, perform
from agent.service.models import RECERTIFY
from agent.service.ranks import Invalid, Refused
from agent.store import (
    audit,
    calibration,
    certificates,
    commands,
    epochs,
    registry,
    snapshots,
    stations,
    users,
)
from agent.store.engine import writing
from agent.store.errors import NotFound
from agent.store.rows import values
from agent.store.users import User
from model.certificate import Certificate, certify

ACTION = "model.recertify"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Recertified:
    """The new certificate, how many images left its calibration set, and what decides by it (None: not live)."""

    certificate: Certificate
    dropped: int
    deployment_id: int | None
    rests_on: str  # which epoch the certificate rests on, in words
    detail: Mapping[str, Any]  # for the audit trail

    @property
    def live(self) -> bool:
        """Whether the version decides by it."""
        return self.deployment_id is not None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**values(self), "certificate": self.certificate.to_dict()}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Recertified:
        """Reads what `to_dict` wrote."""
        return cls(**{**record, "certificate": Certificate.from_dict(record["certificate"])})


class NotRecertifiable(RetrainError):
    """Nothing has changed, or the version's scores were not kept; the message says what to do."""


def recertify(
    engine: Engine,
    actor: User,
    version_id: int,
    reason: str,
    *,
    rescored: Rescored | None = None,
    key: str,
    now: datetime,
) -> Recertified:
    """Certifies a version on what is left of its calibration samples, by the scores that it had or has now.

    The look stays as it was: the version was chosen no second time, whatever scores it. Where the version is live, a
    deployment with the new certificate replaces the present one at once, and what is under way beside it, a watch or a
    shadow, begins anew: its thresholds are others now.

    Assumes that what was taken out are defects: a certificate that leaves out good parts because of their scores
    promises too much.

    Args:
        engine: the database.
        actor: an engineer or higher.
        version_id: the version.
        reason: why, in words.
        rescored: its calibration samples' scores by what scores now, which replace those on record; None to keep them.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: there is no reason.
        NotFound: there is no such version.
        NotRecertifiable: nothing changed, or nothing is left to certify on.
    """
    if not reason.strip():
        raise Invalid("say why, for the record")

    def work(conn: Connection, actor: User) -> Done:
        found = _certify(conn, version_id, rescored)
        if rescored is not None:
            calibration.replace(conn, version_id, rescored.scores)
        made = _issue(conn, version_id, *found, reason, actor, now)
        return Done(made.to_dict(), f"model_version:{version_id}", {**made.detail, "reason": reason})

    request = {"version_id": version_id, "reason": reason} | ({"scorer": rescored.fingerprint} if rescored else {})
    done = perform(engine, actor, ACTION, request, work, least="engineer", key=key, now=now)
    return Recertified.from_dict(done)


def do_next(engine: Engine, now: datetime) -> int | None:
    """Does the oldest `recertify` command for the person who asked, in one transaction; any number of agents may.

    Returns:
        The product whose live deployment changed; None where none did, or none was asked for.

    Raises:
        StoreError: the database is away; the command waits.
    """
    with writing(engine) as conn:
        audit.take_turn(conn)  # before any row, as people's acts do
        request = commands.next(conn, [RECERTIFY])
        if request is None:  # another agent was faster
            return None
        version_id, reason = int(request.args["version_id"]), str(request.args["reason"])
        try:
            actor = current(conn, users.get(conn, request.by), "engineer", ACTION)
            found = _certify(conn, version_id)
        except (Refused, RetrainError, NotFound) as error:
            commands.fail(conn, request.id, error.phrase, now)
            log.warning("recertify_failed", version=request.args["number"], problem=str(error))
            return None
        made = _issue(conn, version_id, *found, reason, actor, now)
        audit.append(conn, actor.id, ACTION, f"model_version:{version_id}", {**made.detail, "reason": reason}, now)
        commands.finish(conn, request.id, result={"dropped": made.dropped, "live": made.live}, now=now)
        log.info("recertified", version=request.args["number"], dropped=made.dropped, live=made.live)
    return int(request.args["product_id"]) if made.live else None


def _issue(
    conn: Connection,
    version_id: int,
    certificate: Certificate,
    dropped: Sequence[int],
    reason: str,
    actor: User,
    now: datetime,
) -> Recertified:
    """Writes the certificate; where the version is live it decides by it from now on."""
    version, epoch_id = registry.version(conn, version_id), certificates.of_version(conn, version_id)[0].epoch_id
    certificate_id = certificates.add(
        conn,
        version_id=version_id,
        snapshot_id=version.snapshot_id,
        epoch_id=epoch_id,
        record=certificate.to_dict(),
        now=now,
    )
    live = registry.live(conn, version.product_id)
    deployment_id = None
    if live and live.model_version_id == version_id:
        deployment_id = registry.promote(
            conn, version_id=version_id, certificate_id=certificate_id, config_hash=live.config_hash,
            reason=reason, by=actor.id, now=now,
        ).id  # fmt: skip
    rests_on = "" if epoch_id is None else epochs.get(conn, epoch_id).rests_on
    return Recertified(
        certificate, len(dropped), deployment_id, rests_on, {"certificate_id": certificate_id, "dropped": list(dropped)}
    )


def _certify(conn: Connection, version_id: int, rescored: Rescored | None = None) -> tuple[Certificate, list[int]]:
    """The certificate on what is left, and the samples that left since the newest one."""
    version = registry.version(conn, version_id)
    issued = certificates.of_version(conn, version_id)
    scores = rescored.scores if rescored else calibration.scores_of(conn, version_id)
    if not issued or not scores or version.snapshot_id is None:
        raise NotRecertifiable(
            "v{number} has no calibration scores on record: train a new version", number=version.number
        )
    frozen = snapshots.get(conn, version.snapshot_id)
    gone = {one.id for one in frozen.of_role("calibration")}.intersection(snapshots.gone(conn, frozen.id))
    left = replace(frozen, samples=tuple(one for one in frozen.samples if one.id not in gone))
    before = Certificate.from_dict(issued[0].record)
    fingerprint = rescored.fingerprint if rescored else before.fingerprint
    if fingerprint == before.fingerprint and left.is_of_role(issued[0].calibration_sha256, "calibration"):
        if rescored:
            raise NotRecertifiable(
                "the certificate of v{number} stands: it speaks of what scores here", number=version.number
            )
        raise NotRecertifiable(
            "the certificate of v{number} stands: none of its calibration parts was taken out", number=version.number
        )
    lists = Lists.of(left, {one.id: one.name for one in stations.all(conn, retired=True)})
    if not lists.calibration:
        raise NotRecertifiable(
            "nothing is left to certify v{number} on: add good parts and train anew", number=version.number
        )
    certificate = certify(
        units(lists, lists.calibration, [scores[one.id] for one in lists.calibration]),
        artifact_sha256=before.artifact_sha256,
        calibration_sha256=left.role_sha256("calibration"),
        fingerprint=fingerprint,
        review_rate=before.review_rate,
        reject_rate=before.reject_rate,
        confidence=before.confidence,
        look=before.look,
        unit=lists.unit,
    )
    return certificate, sorted(gone)
