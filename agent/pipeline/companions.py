"""Which second model scores beside what decides: loaded off the frame's path, and never at the line's cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from agent.metrics import Metrics
from agent.phrases import Phrase, Worded
from agent.pipeline.patience import AbandonedError
from agent.pipeline.provider import LONGEST, Companion, Deployed, Scorer, speaks_of
from agent.store.watches import Watch

log = structlog.get_logger()
RETRY_S = 30.0
ScorerOf = Callable[[int, str], Scorer]
Say = Callable[[int, str | None], None]


class Unfit(Worded):
    """It can be loaded, but there is nothing to compare by."""


class Companions:
    """Finds the companion of what decides. For the thread that follows the registry.

    One that cannot be used ends nothing: the watch says why, the line goes on without it, and it is tried again.

    Args:
        scorer_of: a warm scorer of an artifact, by product and SHA-256; raises where there is none to be had.
        say: puts words into a watch, None where it is well again.
        metrics: shows the share of each product's parts that is scored twice.
    """

    def __init__(
        self, scorer_of: ScorerOf, say: Say, metrics: Metrics, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._scorer_of, self._say, self._metrics, self._monotonic = scorer_of, say, metrics, monotonic
        self._again_at: dict[int, float] = {}  # by watch: those that could not be used
        self._failing: set[int] = set()  # watches whose companion is told to fail

    def of(self, product_id: int, deployed: Deployed, watch: Watch | None) -> Companion | None:
        """The companion that `deployed` should have; the one it has, where that is still right.

        Args:
            product_id: whose.
            deployed: what decides, with the companion that it has.
            watch: what is under way for the product.

        Raises:
            AbandonedError: the agent stops at once.
        """
        found = self._of(deployed, watch)
        self._metrics.second_share.labels(str(product_id)).set(found.share if found else 0)
        return found

    def _of(self, deployed: Deployed, watch: Watch | None) -> Companion | None:
        if watch is None or watch.full or watch.deployment_id != deployed.deployment_id:
            return None
        used, judged = deployed.companion, watch.state == "open"
        if used and used.watch_id == watch.id:
            self._follow(used, watch)
            same = (used.share, used.judged) == (watch.share, judged)
            return used if same else replace(used, share=watch.share, judged=judged)
        if self._monotonic() < self._again_at.get(watch.id, 0.0):
            return None
        try:
            made = self._make(deployed, watch)
        except AbandonedError:
            raise
        except Exception as error:  # whatever is wrong with it, what decides goes on deciding
            again_s = math.inf if isinstance(error, Unfit) else RETRY_S
            self._again_at[watch.id] = self._monotonic() + again_s
            log.error("companion_unusable", product=watch.product, watch=watch.id, error=repr(error)[:500])
            self._say(watch.id, _words(watch, _why(error)))
            return None
        self._again_at.pop(watch.id, None)
        if judged and watch.words:  # maybe of an agent before this one
            self._say(watch.id, None)
        log.info(
            "companion_ready", product=watch.product, watch=watch.id, version=watch.other_number, share=watch.share
        )
        return made

    def _follow(self, used: Companion, watch: Watch) -> None:
        """Says when one in use fails on all that it is given, and when it no longer does."""
        problem = used.failing.problem
        if (problem is not None) == (watch.id in self._failing):
            return
        if problem is None:
            self._failing.remove(watch.id)
            log.info("companion_scores_again", product=watch.product, watch=watch.id)
        else:
            self._failing.add(watch.id)
            log.error("companion_fails", product=watch.product, watch=watch.id, error=problem[:500])
        self._say(watch.id, problem and _words(watch, problem))

    def _make(self, deployed: Deployed, watch: Watch) -> Companion:
        from model.certificate import Certificate

        scorer = self._scorer_of(watch.product_id, watch.other_artifact_sha256)
        certificate = Certificate.from_dict(dict(watch.other_certificate)) if watch.other_certificate else None
        if certificate is None or not speaks_of(certificate, scorer):
            raise Unfit("its certificate does not speak of {scorer}", scorer=scorer.fingerprint)
        if not deployed.certified:
            raise Unfit(
                "the certificate of what decides does not speak of {scorer}", scorer=deployed.scorer.fingerprint
            )
        return Companion(watch.id, scorer, certificate, watch.share, watch.state == "open")


def _why(error: Exception) -> Phrase:
    problem = error.phrase if isinstance(error, Worded) else str(error)[:LONGEST]
    return Phrase("{error}: {problem}", error=type(error).__name__, problem=problem)


def _words(watch: Watch, why: str) -> Phrase:
    return Phrase("v{number} cannot score beside it ({why})", number=watch.other_number, why=why)
