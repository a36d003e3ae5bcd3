"""The model manager: loads what is live, off the frame's path, and swaps it in between two batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace

import structlog
from sqlalchemy import Engine

from agent.failpoints import passing
from agent.metrics import Metrics
from agent.pipeline.companions import Companions
from agent.pipeline.patience import AbandonedError, Patience
from agent.pipeline.provider import Deployed, Scorer
from agent.settings import Settings
from agent.store import registry, watches
from agent.store.blobs import BlobStore
from agent.store.engine import reading, writing
from agent.store.registry import Deployment
from agent.store.watches import Watch

log = structlog.get_logger()
POLL_S = 1.0
RETRY_S = 30.0
Load = Callable[[bytes, Settings], Scorer]


def load_scorer(data: bytes, settings: Settings) -> Scorer:
    """The configured engine over an artifact's bytes. Imports torch."""
    from agent.retrain.scoring import open_scorer
    from model.artifact import from_bytes

    return open_scorer(settings, from_bytes(data))


def open_deployment(deployment: Deployment, data: bytes, settings: Settings, load: Load = load_scorer) -> Deployed:
    """What decides under a deployment: its artifact's scorer, warmed up, and its certificate.

    Raises:
        Exception: of any kind, where the artifact, its teacher, the engine or the certificate cannot be used.
    """
    scorer = load(data, settings)
    scorer.warm_up()
    return deployed_as(deployment, scorer)


def deployed_as(deployment: Deployment, scorer: Scorer) -> Deployed:
    """What decides under a deployment, by a scorer that is warm.

    Raises:
        CertificateError: its certificate cannot be read.
    """
    from model.certificate import Certificate

    certificate = Certificate.from_dict(dict(deployment.certificate)) if deployment.certificate else None
    return Deployed(deployment.id, scorer, certificate)


class ModelManager:
    """Provider over the registry: polls it, and looks at once when `notice` is called.

    A deployment gets its companion once it is in use: no swap waits for a second model. Scorers that are at hand are
    taken over, so that the model before goes on as a companion, and a rollback to it loads nothing.

    A deployment whose artifact cannot be loaded leaves the product's older one in use, if there is one; `problems` says
    so, and it is tried again.

    Args:
        load: makes a scorer of an artifact's bytes.
    """

    def __init__(
        self,
        engine: Engine,
        store: BlobStore,
        settings: Settings,
        *,
        patience: Patience,
        metrics: Metrics,
        load: Load = load_scorer,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._store = store
        self._settings = settings
        self._patience = patience
        self._metrics = metrics
        self._load = load
        self._monotonic = monotonic
        self._deployed: dict[int, Deployed] = {}
        self._before: dict[int, Deployed] = {}  # what decided until this look
        self._companions = Companions(self._scorer_beside, self._say, metrics, monotonic=monotonic)
        self._problems: dict[int, tuple[int, str, float]] = {}  # by product: deployment, words, when
        self._wake = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._refresh()
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self._thread.start()

    def notice(self, product_id: int) -> None:
        """Some process says that a product has another deployment."""
        self._wake.set()

    def current(self, product_id: int) -> Deployed | None:
        return self._deployed.get(product_id)

    def broken(self, product_id: int) -> bool:
        return product_id in self._problems

    def all(self) -> Collection[Deployed]:
        return list(self._deployed.values())

    def problems(self) -> str | None:
        return "; ".join(words for _, words, _ in list(self._problems.values())) or None

    def stop(self) -> None:
        self._ended = True
        self._wake.set()
        if self._thread:
            self._thread.join(5)

    def _run(self) -> None:
        while not self._ended:
            self._wake.wait(POLL_S)
            self._wake.clear()
            try:
                if not self._ended:
                    self._refresh()
            except AbandonedError:
                return
            except Exception as error:  # what is in use goes on deciding, and the next look is another chance
                log.error("models_not_looked_at", error=repr(error)[:500], exc_info=error)

    def _refresh(self) -> None:
        live, beside = self._patience.call(self._read, "database")
        for product_id in self._deployed.keys() - live.keys():
            self._use(product_id, None)
        for product_id, deployment in live.items():
            used = self._deployed.get(product_id)
            if used is None:
                self._take(product_id, deployment)
            elif used.deployment_id != deployment.id:
                passing("swap.begin")
                self._take(product_id, deployment)
                passing("swap.done")
        for product_id in self._problems.keys() - live.keys():
            del self._problems[product_id]
        for product_id, used in self._deployed.items():
            companion = self._companions.of(product_id, used, beside.get(product_id))
            if companion is not used.companion:
                self._deployed = self._deployed | {product_id: replace(used, companion=companion)}
        self._before = {}

    def _read(self) -> tuple[dict[int, Deployment], dict[int, Watch]]:
        with reading(self._engine) as conn:
            return registry.live_all(conn), {one.product_id: one for one in watches.all_active(conn)}

    def _say(self, watch_id: int, words: str | None) -> None:
        def say() -> None:
            with writing(self._engine) as conn:
                watches.say(conn, watch_id, words)

        self._patience.call(say, "database")

    def _take(self, product_id: int, deployment: Deployment) -> None:
        before = self._problems.get(product_id)
        if before and before[0] == deployment.id and self._monotonic() - before[2] < RETRY_S:
            return
        try:
            made = self._make(deployment)
        except AbandonedError:
            raise
        except Exception as error:  # whatever is wrong with one artifact, the other products go on
            words = (
                f"deployment {deployment.id} of product {product_id} cannot be used ({type(error).__name__}: {error})"
            )
            self._problems[product_id] = (deployment.id, words[:500], self._monotonic())
            log.error("model_unusable", product=product_id, deployment=deployment.id, error=repr(error)[:500])
            return
        self._problems.pop(product_id, None)
        self._use(product_id, made)
        if not made.certified:
            log.warning(
                "model_uncertified", product=product_id, deployment=deployment.id, scorer=made.scorer.fingerprint
            )

    def _make(self, deployment: Deployment) -> Deployed:
        started = self._monotonic()
        made = deployed_as(deployment, self._scorer_of(deployment.product_id, deployment.artifact_sha256))
        log.info("model_ready", product=deployment.product_id, deployment=deployment.id, version=deployment.number,
                 scorer=made.scorer.fingerprint, seconds=round(self._monotonic() - started, 2))  # fmt: skip
        return made

    def _scorer_of(self, product_id: int, sha256: str) -> Scorer:
        """What decides is waited for, however long the blob store is away."""
        return self._scorer(product_id, sha256, lambda: self._patience.call(lambda: self._store.get(sha256), "blobs"))

    def _scorer_beside(self, product_id: int, sha256: str) -> Scorer:
        """A companion is not: waiting here would hold up the swaps and rollbacks of all products."""
        return self._scorer(product_id, sha256, lambda: self._store.get(sha256))

    def _scorer(self, product_id: int, sha256: str, fetch: Callable[[], bytes]) -> Scorer:
        """The scorer of an artifact: one that the product has in use, or a new one, warmed up."""
        for used in (self._deployed.get(product_id), self._before.get(product_id)):
            for one in (used, used.companion) if used else ():
                if one and one.scorer.artifact_sha256 == sha256:
                    return one.scorer
        scorer = self._load(fetch(), self._settings)
        scorer.warm_up()
        return scorer

    def _use(self, product_id: int, deployed: Deployed | None) -> None:
        if product_id in self._deployed:
            self._before[product_id] = self._deployed[product_id]
        # A new dict, because other threads read the old one without a lock.
        others = {one: used for one, used in self._deployed.items() if one != product_id}
        self._deployed = others | ({product_id: deployed} if deployed else {})
        self._metrics.swaps.inc()
        self._metrics.deployment.labels(str(product_id)).set((deployed and deployed.deployment_id) or 0)
