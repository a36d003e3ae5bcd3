"""Deployments as they decided, or as they decide now; each is loaded once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Engine

from agent.pipeline.models import Load, load_scorer, open_deployment
from agent.pipeline.provider import Deployed
from agent.settings import Settings
from agent.store import registry
from agent.store.blobs import BlobStore
from agent.store.engine import reading
from agent.store.errors import Unreachable
from agent.store.inspections import Inspection
from agent.store.registry import Deployment

if TYPE_CHECKING:
    from model.certificate import Certificate

log = structlog.get_logger()
SHARE = 0.001  # of the interquartile range of the calibration scores
RELATIVE = 0.0001  # of the recorded score, where there is no certificate


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What scores a frame again.

    Attributes:
        deployed: None: the product had no model, or `problem` says why it cannot be used.
        certificate: the deployment's, whether or not `deployed` decides by it.
        problem: "" where there is none.
    """

    deployed: Deployed | None
    certificate: Certificate | None = None
    problem: str = ""

    def tolerance(self, before: Inspection) -> float | None:
        """How far scores may be apart; None where another deployment gave the recorded one."""
        if self.deployed is None or before.score is None or before.deployment_id != self.deployed.deployment_id:
            return None
        return SHARE * self.certificate.spread if self.certificate else RELATIVE * abs(before.score)

    def current(self, product_id: int) -> Deployed | None:
        """As agent.pipeline.provider.Deciding, for one batch: what decides, whatever the product."""
        return self.deployed

    def broken(self, product_id: int) -> bool:
        return bool(self.problem)

    def all(self) -> Collection[Deployed]:
        return [self.deployed] if self.deployed else []


class Models:
    """Finds what decided an inspection. For one thread.

    A certificate is taken to speak of the scorer at hand, also where that runs on another device or library than the
    one it was made for: else a line's decisions could be replayed on its own machine only. A warning says so. What was
    decided without a certificate is replayed without one.

    Args:
        engine: the database.
        store: has the artifacts.
        settings: the section [scoring] chooses engine, device and precision.
        live: what is live now decides, not what decided then.
        load: makes a scorer of an artifact's bytes.
    """

    def __init__(
        self, engine: Engine, store: BlobStore, settings: Settings, *, live: bool = False, load: Load = load_scorer
    ) -> None:
        self._engine, self._store, self._settings, self._live, self._load = engine, store, settings, live, load
        self._known: dict[int, list[Deployment]] = {}  # by product, newest first
        self._opened: dict[int, Model] = {}
        self._bare: dict[int, Model] = {}
        self._none: dict[int, Model] = {}  # by product

    def of(self, before: Inspection) -> Model:
        """What scores this inspection's frame.

        Raises:
            Unreachable: the database or the blob store does not answer.
        """
        deployment = self._deployment(before)
        if deployment is None:
            return self._none.setdefault(before.product_id, Model(None))
        if deployment.id not in self._opened:
            self._opened[deployment.id] = self._open(deployment)
        model = self._opened[deployment.id]
        if self._live or before.reason != "uncertified" or model.deployed is None:
            return model
        bare = replace(model, deployed=replace(model.deployed, certificate=None))
        return self._bare.setdefault(deployment.id, bare)

    def _deployment(self, before: Inspection) -> Deployment | None:
        if before.product_id not in self._known:
            with reading(self._engine) as conn:
                self._known[before.product_id] = registry.deployments(conn, before.product_id)
        for one in self._known[before.product_id]:
            if self._live:
                used = one.live_until is None
            elif before.deployment_id is not None:
                used = one.id == before.deployment_id
            else:  # a frame that no model saw names none: what was live then would have scored it
                used = one.live_from <= before.decided_at and (not one.live_until or before.decided_at < one.live_until)
            if used:
                return one
        return None

    def _open(self, deployment: Deployment) -> Model:
        try:
            data = self._store.get(deployment.artifact_sha256)
            made = open_deployment(deployment, data, self._settings, self._load)
        except Unreachable:
            raise
        except Exception as error:  # whatever is wrong with one model, the others can be replayed
            return Model(None, problem=f"deployment {deployment.id} cannot be used here ({error})"[:500])
        own, here = made.certificate, made.scorer.fingerprint
        if own is not None and own.certified and own.fingerprint != here:
            log.warning("scored_elsewhere", deployment=deployment.id, certified=own.fingerprint, here=here)
            made = replace(made, certificate=replace(own, fingerprint=here))
        return Model(made, own)
