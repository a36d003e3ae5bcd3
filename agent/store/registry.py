"""Model versions and deployments. Promotion and rollback are one function each, for gate and people."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.phrases import MADE, Phrase, made_of, remade, word
from agent.store import audit, certificates, teachings, watches
from agent.store.errors import Conflict, NotFound
from agent.store.rows import columns, one, read, read_all
from agent.store.tables import certificate, deployment, model_version, product


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One trained model of a product; immutable but for its state and the reason for it."""

    id: int
    product_id: int
    number: int  # counts from 1 within the product
    state: str  # candidate | champion | retired | rejected
    artifact_sha256: str
    snapshot_id: int | None
    training_run_id: int | None
    parent_id: int | None  # the version whose weights its training started from
    teacher: str
    manifest: Mapping[str, Any]
    metrics: Mapping[str, Any]
    reason: str | None
    created_at: datetime
    made: Mapping[str, Any] | None = None  # of the reason

    @property
    def told(self) -> str | None:
        """Its reason as it was made, so that a page can say it in the plant's language."""
        return self.reason and remade(self.reason, self.made)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What decided, or decides while `live_until` is None. `certificate` is the certificate's record."""

    id: int
    product_id: int
    model_version_id: int
    number: int
    artifact_sha256: str
    certificate_id: int | None
    certificate: Mapping[str, Any] | None
    config_hash: str
    reason: str
    by: int | None  # None: the gate
    live_from: datetime
    live_until: datetime | None
    made: Mapping[str, Any] | None = None  # of the reason

    @property
    def told(self) -> str:
        """Its reason as it was made, so that a page can say it in the plant's language."""
        return remade(self.reason, self.made)

    @property
    def certifies(self) -> bool:
        """Whether its certificate has a review threshold."""
        return self.certificate is not None and self.certificate.get("review_threshold") is not None


def add_version(
    conn: Connection,
    *,
    product_id: int,
    artifact_sha256: str,
    teacher: str,
    manifest: Mapping[str, Any],
    metrics: Mapping[str, Any] | None = None,
    snapshot_id: int | None = None,
    training_run_id: int | None = None,
    parent_id: int | None = None,
    now: datetime,
) -> ModelVersion:
    """Adds a candidate with the product's next number. Its artifact is a blob kept before.

    Raises:
        NotFound: there is no such product.
    """
    _lock(conn, product_id)
    highest = conn.execute(
        sa.select(sa.func.max(model_version.c.number)).where(model_version.c.product_id == product_id)
    ).scalar_one_or_none()
    statement = sa.insert(model_version).values(
        product_id=product_id,
        number=(highest or 0) + 1,
        state="candidate",
        artifact_sha256=artifact_sha256,
        snapshot_id=snapshot_id,
        training_run_id=training_run_id,
        parent_id=parent_id,
        teacher=teacher,
        manifest=dict(manifest),
        metrics=dict(metrics or {}),
        created_at=now,
    )
    return version(conn, int(conn.execute(statement.returning(model_version.c.id)).scalar_one()))


def version(conn: Connection, version_id: int) -> ModelVersion:
    """The version of that id.

    Raises:
        NotFound: there is none.
    """
    return one(conn, ModelVersion, model_version, version_id)


def versions(conn: Connection, product_id: int) -> list[ModelVersion]:
    """The product's versions, newest first."""
    query = sa.select(*columns(model_version, ModelVersion)).where(model_version.c.product_id == product_id)
    return read_all(ModelVersion, conn.execute(query.order_by(model_version.c.number.desc())))


def live(conn: Connection, product_id: int) -> Deployment | None:
    """What decides for the product now; None where it has no model."""
    found = conn.execute(_live().where(deployment.c.product_id == product_id)).one_or_none()
    return read(Deployment, found) if found else None


def lock_live(conn: Connection, product_id: int) -> Deployment | None:
    """As `live`, and nobody else changes the product's models until this transaction ends.

    Raises:
        NotFound: there is no such product.
    """
    _lock(conn, product_id)
    return live(conn, product_id)


def live_all(conn: Connection) -> dict[int, Deployment]:
    """What decides now, by product id."""
    return {row.product_id: read(Deployment, row) for row in conn.execute(_live())}


def deployments(conn: Connection, product_id: int) -> list[Deployment]:
    """What ever decided for the product, newest first."""
    query = _deployments().where(deployment.c.product_id == product_id).order_by(deployment.c.id.desc())
    return read_all(Deployment, conn.execute(query))


def deployments_of(conn: Connection, ids: Collection[int]) -> dict[int, Deployment]:
    """Those deployments, by id."""
    found = read_all(Deployment, conn.execute(_deployments().where(deployment.c.id.in_(list(ids))))) if ids else []
    return {one.id: one for one in found}


def numbers_of(conn: Connection, ids: Collection[int]) -> dict[int, int]:
    """The numbers of the versions that these deployments put to work, by deployment."""
    query = sa.select(deployment.c.id, model_version.c.number).join(
        model_version, model_version.c.id == deployment.c.model_version_id
    )
    found = conn.execute(query.where(deployment.c.id.in_(list(ids)))) if ids else ()
    return {row.id: row.number for row in found}


def promote(
    conn: Connection,
    *,
    version_id: int,
    certificate_id: int | None,
    config_hash: str,
    reason: str,
    by: int | None,
    now: datetime,
    watch_share: float = 0.0,
    expected: int | None = None,
) -> Deployment:
    """Makes a version its product's champion: closes the live deployment, opens a new one, with an audit event.

    The champion before goes on scoring a share of the parts, for a watch, where both have thresholds to compare by.
    What is under way beside a champion that gets another certificate or configuration begins anew: what it counted so
    far, it counted of other thresholds.

    Args:
        conn: a writing transaction.
        version_id: the version. The gate promotes candidates; a person any version, the champion too (which gives it
            another certificate or configuration).
        certificate_id: one of its certificates; None: everything it sees goes to review.
        config_hash: Settings.decision_hash.
        reason: in words, for the record.
        by: the user; None for the gate.
        now: the time.
        watch_share: the share of the parts that the champion before scores too; 0: there is no watch.
        expected: the live deployment that whoever asks has seen, 0 for none; None: they look at none.

    Raises:
        NotFound: there is no such version.
        Conflict: the gate cannot promote it, the certificate is another version's, or another deployment is live.
    """
    _lock(conn, version(conn, version_id).product_id)
    chosen = version(conn, version_id)
    if by is None and chosen.state != "candidate":
        raise Conflict(
            "version {number} is {state}: only a person can promote it again",
            number=chosen.number,
            state=word(chosen.state),
        )
    issued = {row.id for row in certificates.of_version(conn, version_id)}
    if certificate_id is not None and certificate_id not in issued:
        raise Conflict(
            "certificate {certificate_id} is not one of version {number}",
            certificate_id=certificate_id,
            number=chosen.number,
        )
    before = live(conn, chosen.product_id)
    _check_live(before, expected)
    same = before is not None and before.model_version_id == chosen.id
    under_way = watches.active(conn, chosen.product_id) if same else None
    made = _deploy(conn, chosen, certificate_id, config_hash, reason, by, now, action="model.promote")
    if under_way and made.certifies:
        other = certificates.newest(conn, under_way.other_version_id)
        _watch(conn, made, under_way.kind, under_way.other_version_id, other, under_way.share, now)
    elif watch_share and before and not same and before.certifies and made.certifies:
        _watch(conn, made, "watch", before.model_version_id, before.certificate_id, watch_share, now)
    return made


def _watch(
    conn: Connection,
    made: Deployment,
    kind: str,
    version_id: int,
    certificate_id: int | None,
    share: float,
    now: datetime,
) -> None:
    assert certificate_id is not None
    watches.open(
        conn, product_id=made.product_id, kind=kind, deployment_id=made.id,
        version_id=version_id, certificate_id=certificate_id, share=share, now=now,
    )  # fmt: skip


def rollback(
    conn: Connection, *, product_id: int, reason: str, by: int | None, now: datetime, expected: int | None = None
) -> Deployment:
    """Goes back to the deployment before the live version's; the live version becomes `rejected`.

    The earlier one decides by its newest certificate, unless it decided without any. `expected`: see `promote`.

    Raises:
        NotFound: there is no such product.
        Conflict: there is no retired version to go back to, or another deployment is live than expected.
    """
    _lock(conn, product_id)
    current = live(conn, product_id)
    _check_live(current, expected)
    query = (
        _deployments()
        .where(deployment.c.product_id == product_id, model_version.c.state == "retired")
        .order_by(deployment.c.id.desc())
        .limit(1)
    )
    found = conn.execute(query).one_or_none()
    if current is None or found is None:
        raise Conflict("there is no earlier model to go back to: train or promote another")
    earlier = read(Deployment, found)
    _set_state(conn, current.model_version_id, "rejected", Phrase("rolled back: {reason}", reason=reason))
    return _deploy(
        conn,
        version(conn, earlier.model_version_id),
        earlier.certificate_id and certificates.newest(conn, earlier.model_version_id),
        earlier.config_hash,
        reason,
        by,
        now,
        action="model.rollback",
    )


def reject(conn: Connection, version_id: int, reason: str) -> None:
    """Records that a candidate will not be promoted.

    Raises:
        NotFound: there is no such version.
        Conflict: it is no candidate.
    """
    if (chosen := version(conn, version_id)).state != "candidate":
        raise Conflict("version {number} is {state}, not a candidate", number=chosen.number, state=word(chosen.state))
    _set_state(conn, version_id, "rejected", reason)


def _check_live(found: Deployment | None, expected: int | None) -> None:
    if expected is not None and expected != (found.id if found else 0):
        live = Phrase("v{number} is live", number=found.number) if found else Phrase("no model is live")
        raise Conflict("{live} by now: look again, then decide", live=live)


def _deploy(
    conn: Connection,
    chosen: ModelVersion,
    certificate_id: int | None,
    config_hash: str,
    reason: str,
    by: int | None,
    now: datetime,
    *,
    action: str,
) -> Deployment:
    n, promoted = chosen.number, action == "model.promote"
    current = live(conn, chosen.product_id)
    ended = Phrase("v{n} was promoted", n=n) if promoted else Phrase("v{n} was taken back", n=n)
    if current is not None and current.model_version_id == chosen.id:
        ended = Phrase("v{n} decides by another certificate or configuration", n=n)
    watches.end(conn, chosen.product_id, ended, now)
    if current is not None:
        conn.execute(sa.update(deployment).where(deployment.c.id == current.id).values(live_until=now))
    champion = (model_version.c.product_id == chosen.product_id, model_version.c.state == "champion")
    conn.execute(sa.update(model_version).where(*champion, model_version.c.id != chosen.id).values(state="retired"))
    _set_state(conn, chosen.id, "champion", reason)
    conn.execute(
        sa.insert(deployment).values(
            product_id=chosen.product_id,
            model_version_id=chosen.id,
            certificate_id=certificate_id,
            config_hash=config_hash,
            reason=reason,
            made=made_of(reason),
            by=by,
            live_from=now,
        )
    )
    teachings.finish(conn, chosen.product_id, now)
    made = live(conn, chosen.product_id)
    assert made is not None
    detail = {
        "product_id": chosen.product_id,
        "version": chosen.number,
        "deployment_id": made.id,
        "certificate_id": certificate_id,
        "replaces": current.id if current else None,
        "reason": reason,
    }
    audit.append(conn, by, action, f"model_version:{chosen.id}", detail, now)
    return made


def _set_state(conn: Connection, version_id: int, state: str, reason: str) -> None:
    changes = {"state": state, "reason": reason, MADE: made_of(reason)}
    conn.execute(sa.update(model_version).where(model_version.c.id == version_id).values(changes))


def _deployments() -> sa.Select[Any]:
    return (
        sa.select(
            *deployment.c,
            model_version.c.number,
            model_version.c.artifact_sha256,
            certificate.c.record.label("certificate"),
        )
        .join(model_version, model_version.c.id == deployment.c.model_version_id)
        .outerjoin(certificate, certificate.c.id == deployment.c.certificate_id)
    )


def _live() -> sa.Select[Any]:
    return _deployments().where(deployment.c.live_until.is_(None))


def _lock(conn: Connection, product_id: int) -> None:
    """One change of a product's models at a time."""
    query = sa.select(product.c.id).where(product.c.id == product_id).with_for_update()
    if conn.execute(query).scalar_one_or_none() is None:
        raise NotFound("there is no product {product_id}", product_id=product_id)
