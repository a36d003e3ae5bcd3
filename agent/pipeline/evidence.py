"""Evidence: blobs of frames that people will look at, stored before the transaction that names them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import Engine

import model.images as images
from agent.frame import CONTENT_TYPES
from agent.pipeline import pictures, taught, vectors
from agent.pipeline.patience import Patience
from agent.pipeline.quota import Quota
from agent.pipeline.work import DEAD_LETTER, KEPT, Evidence, Work
from agent.store import blobs
from agent.store.item_vectors import Vector

log = structlog.get_logger()


class EvidenceMaker:
    """Renders and stores the evidence of one frame, where it is to be kept. Thread-safe."""

    def __init__(
        self,
        engine: Engine,
        store: blobs.BlobStore,
        patience: Patience,
        quota: Quota,
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._store = store
        self._patience = patience
        self._quota = quota
        self._clock = clock

    @staticmethod
    def wanted(work: Work) -> bool:
        """Whether the frame may be kept: what passes unaudited is not, nor what is taught from other parts."""
        outcome = work.outcome
        if outcome is None:
            raise ValueError("a frame without an outcome has no evidence")
        if work.taught:
            return work.place is not None and work.place.collects
        return outcome.shown or outcome.reason in KEPT or (work.audit and outcome.verdict == "pass")

    def __call__(self, work: Work) -> None:
        """Stores the blobs of one frame, and makes its vector.

        Raises:
            AbandonedError: the agent stops at once.
        """
        if not self.wanted(work) or not work.payload or not self._within_quota(work):
            return
        work.evidence = self._keep(work, self._render(work))

    def _within_quota(self, work: Work) -> bool:
        outcome = work.outcome
        if work.taught:
            return self._patience.call(lambda: taught.wanted(self._engine, work), "database")
        if outcome is None or outcome.reason is None or (work.audit and outcome.verdict != DEAD_LETTER):
            return True
        reason = outcome.reason
        return self._patience.call(lambda: self._quota.take(work.place, reason, self._clock()), "database")

    def _render(self, work: Work) -> pictures.Pictures | None:
        if work.pixels is None:
            return None
        try:
            return pictures.render(work.pixels, work.map, work.other_map)
        except Exception as error:  # a picture that cannot be drawn must not stop the line; the frame itself is kept
            log.warning("pictures_failed", **work.identity, error=repr(error)[:300], shape=work.pixels.shape)
            return None

    def _vector(self, work: Work) -> Vector | None:
        if work.features is None or work.map is None:
            return None
        try:
            return vectors.vector(work.features, work.map)
        except Exception as error:  # as above
            log.warning("vector_failed", **work.identity, error=repr(error)[:300])
            return None

    def _keep(self, work: Work, rendered: pictures.Pictures | None) -> Evidence:
        envelope = work.envelope
        parts = {"received": (work.payload, _media_type(work))}
        if envelope and envelope.raw and work.pixels is not None:
            # Raw pixels say nothing of their size: a sample made of them could not be read again.
            parts["frame"] = (pictures.png(work.pixels), "image/png")
        if rendered:
            parts |= {"preview": (rendered.preview, "image/webp"), "thumbnail": (rendered.thumbnail, "image/webp")}
            if rendered.overlay:
                parts["overlay"] = (rendered.overlay, "image/webp")
            if rendered.other_overlay:
                parts["other_overlay"] = (rendered.other_overlay, "image/webp")
            if rendered.heatmap:
                parts["heatmap"] = (rendered.heatmap, "application/x-npy")
        vector = self._vector(work)
        pixels = None if work.pixels is None else images.pixels_sha256(work.pixels)

        def keep() -> Evidence:
            now = self._clock()
            named = dict(zip(parts, blobs.keep_all(self._engine, self._store, list(parts.values()), now), strict=True))
            return Evidence(kept_at=now, pixels_sha256=pixels, vector=vector, **{"frame": named["received"], **named})

        return self._patience.call(keep, "database", "blobs")


def _media_type(work: Work) -> str:
    named = work.envelope.content_type if work.envelope else ""
    return named if named in CONTENT_TYPES.values() else "application/octet-stream"
