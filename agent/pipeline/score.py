"""Batches per product, formed from what is there; bisecting those that fail; the breaker."""

from __future__ import annotations

import math
import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from agent.metrics import Metrics
from agent.phrases import Phrase
from agent.pipeline.pictures import Heatmap
from agent.pipeline.provider import Deciding, Deployed, Scored
from agent.pipeline.vectors import Features
from agent.pipeline.work import NOT_INSPECTED, Lane, Outcome, Work
from agent.settings import Pipeline
from model.images import InputError

log = structlog.get_logger()
Inbox = queue.SimpleQueue[Work | None]


class EngineFaultError(Exception):
    """Scoring fails whatever the product and the frame: the device, the driver or the engine is at fault."""


class _Queue:
    """One product's frames. Partitions take turns, so that none waits behind another's backlog."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, deque[Work]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    @property
    def since(self) -> float:
        """When the longest waiting frame came: monotonic seconds."""
        return min(works[0].arrived for works in self._lanes.values())

    def put(self, work: Work) -> None:
        self._lanes.setdefault(work.lane, deque()).append(work)

    def take(self, most: int) -> list[Work]:
        taken: list[Work] = []
        while self._lanes and len(taken) < most:
            lane = next(iter(self._lanes))
            works = self._lanes.pop(lane)
            taken.append(works.popleft())
            if works:
                self._lanes[lane] = works  # behind the others
        return taken


class BatchFormer:
    """Frames waiting for their scorer, by product.

    Args:
        inbox: where decoded frames come from; None ends it.
        size: most frames of a batch.
        max_wait_s: how long an idle scorer waits for a fuller batch.
    """

    def __init__(self, inbox: Inbox, *, size: int, max_wait_s: float, monotonic: Callable[[], float] = time.monotonic):
        self._inbox = inbox
        self._size = size
        self._max_wait_s = max_wait_s
        self._monotonic = monotonic
        self._waiting: dict[int, _Queue] = {}
        self.ended = False

    def next(self, timeout_s: float) -> list[Work]:
        """The next batch: one product's, the longest waiting first; empty after `timeout_s` without a frame."""
        self._gather()
        if not self._waiting and not self.ended:
            # Only an idle scorer waits: with frames at hand it scores what is there.
            if not self._receive(timeout_s):
                return []
            self._fill()
        if not self._waiting:
            return []
        product_id = min(self._waiting, key=lambda one: self._waiting[one].since)
        queued = self._waiting[product_id]
        batch = queued.take(self._size)
        if not queued:
            del self._waiting[product_id]
        return batch

    def _fill(self) -> None:
        deadline = self._monotonic() + self._max_wait_s
        self._gather()
        while not self.ended and max(map(len, self._waiting.values()), default=0) < self._size:
            remaining = deadline - self._monotonic()
            if remaining <= 0 or not self._receive(remaining):
                return

    def _gather(self) -> None:
        while not self.ended and not self._inbox.empty():
            self._receive(0)

    def _receive(self, timeout_s: float) -> bool:
        try:
            work = self._inbox.get(timeout=timeout_s) if timeout_s > 0 else self._inbox.get_nowait()
        except queue.Empty:
            return False
        if work is None:
            self.ended = True
            return False
        if work.place is None:
            raise ValueError("a frame without a product cannot be scored")
        self._waiting.setdefault(work.place.product_id, _Queue()).put(work)
        return True


class BatchScorer:
    """Gives every frame of a batch its outcome."""

    def __init__(self, provider: Deciding, metrics: Metrics, settings: Pipeline, clock: Callable[[], datetime]) -> None:
        self._provider = provider
        self._metrics = metrics
        self._settings = settings
        self._clock = clock

    def __call__(self, batch: Sequence[Work]) -> Deployed | None:
        """Scores one product's frames with what is deployed for it now, and returns that.

        Raises:
            EngineFaultError: no product can be scored any more; the frames have no outcome.
        """
        place = batch[0].place
        deployed = self._provider.current(place.product_id) if place else None
        if place is None or deployed is None:
            broken = place is not None and self._provider.broken(place.product_id)
            for work in batch:
                without_model(work, self._clock(), broken=broken)
            return None
        started = time.perf_counter()
        failed = self._score(deployed, batch)
        elapsed = time.perf_counter() - started
        self._metrics.scoring.observe(elapsed)
        self._metrics.batch_size.observe(len(batch))
        if len(failed) == len(batch):
            self._probe(deployed, failed[0][1])
        for work, error in failed:
            reason = "wrong_size" if isinstance(error, InputError) else "model_error"
            work.fail(reason, f"{type(error).__name__}: {error}"[:500], self._clock(), deployed.deployment_id)
            log.warning("frame_failed_in_model", **work.identity, product=place.product, error=repr(error)[:300])
        for work in batch:
            if work.outcome is not None and work.outcome.verdict != NOT_INSPECTED:
                work.outcome = _timed(work.outcome, 1000 * elapsed / len(batch))
        return deployed

    def _score(self, deployed: Deployed, batch: Sequence[Work]) -> list[tuple[Work, Exception]]:
        """Scores, halving what fails; returns those that fail alone."""
        try:
            found = deployed.scorer.score([work.pixels for work in batch if work.pixels is not None])
            if len(found) != len(batch):
                raise ValueError(f"{len(batch)} frames gave {len(found)} scores")
        except Exception as error:
            if len(batch) == 1:
                return [(batch[0], error)]
            middle = len(batch) // 2
            return self._score(deployed, batch[:middle]) + self._score(deployed, batch[middle:])
        now = self._clock()
        for work, scored in zip(batch, found, strict=True):
            decide(work, deployed, scored, now)
        return []

    def _probe(self, deployed: Deployed, error: Exception) -> None:
        """Tells a fault of the frames or of one artifact from a fault of the engine."""
        for one in (deployed, *self._provider.all()):
            try:
                one.scorer.warm_up()
            except Exception as probe_error:
                log.warning("scorer_probe_failed", deployment=one.deployment_id, error=repr(probe_error)[:300])
            else:
                return
        self._metrics.breaker.set(1)
        raise EngineFaultError(
            f"the scoring engine fails on every product ({type(error).__name__}: {error}); nothing was recorded for "
            "the frames in hand, they are read again at the next start. Check the device and scoring.device"
        ) from error


def without_model(work: Work, now: datetime, *, broken: bool = False) -> None:
    """The outcome of a frame whose product has no model here: a person's to judge while it is being taught, and until
    its first model is loaded. One whose model is `broken` makes its stations blind.
    """
    name = work.place.product if work.place else "?"
    if work.place and work.place.taught and not broken:
        work.taught = True
        work.outcome = Outcome("review", now, "uncertified", f"product {name} is being taught and has no model yet")
    else:
        work.fail("no_model", f"product {name} has no model yet", now)


def decide(work: Work, deployed: Deployed, scored: Scored, now: datetime) -> None:
    """The verdict of one scored frame, under the certificate of what scored it."""
    score = float(scored.score)
    if not math.isfinite(score):
        work.fail("model_error", Phrase("the score is {score}", score=score), now, deployed.deployment_id)
        return
    work.map = Heatmap(scored.map, deployed.scorer.spec)
    work.features = Features(scored.features, deployed.scorer.space)
    if not deployed.certified or deployed.certificate is None:
        work.outcome = Outcome(
            "review",
            now,
            "uncertified",
            f"no certificate speaks of {deployed.scorer.fingerprint}",
            score=score,
            deployment_id=deployed.deployment_id,
        )
        return
    certificate = deployed.certificate
    work.outcome = Outcome(
        certificate.verdict(score),
        now,
        score=score,
        p_value=certificate.p_value(score),
        severity=certificate.severity(score),
        deployment_id=deployed.deployment_id,
    )


def _timed(outcome: Outcome, score_ms: float) -> Outcome:
    return replace(outcome, score_ms=score_ms)
