"""Second scoring: what a watch's other model makes of the frames in its sample, after they are decided."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import structlog

from agent.metrics import Metrics
from agent.pipeline.pictures import Heatmap
from agent.pipeline.provider import Companion
from agent.pipeline.work import NOT_INSPECTED, Second, Work

log = structlog.get_logger()


def sample(companion: Companion, batch: Sequence[Work]) -> list[Work]:
    """The decided frames of a batch that are in the companion's sample: drawn before they were scored."""
    return [work for work in batch if work.draw < companion.share and _certified(work)]


def _certified(work: Work) -> bool:
    outcome = work.outcome
    return outcome is not None and outcome.verdict != NOT_INSPECTED and outcome.reason is None


class SecondScorer:
    """Scores decided frames with a companion. For the scoring thread; no failure of it is a frame's."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._failing = False  # told once, until it works again

    def __call__(self, companion: Companion, drawn: Sequence[Work]) -> None:
        """Adds to each frame's outcome what the companion makes of it; nothing where the companion fails.

        Where it alone flags a frame, the map that people see is its own: the other one has nothing to show.
        """
        started = time.perf_counter()
        try:
            found = companion.scorer.score([work.pixels for work in drawn if work.pixels is not None])
            if len(found) != len(drawn):
                raise ValueError(f"{len(drawn)} frames gave {len(found)} scores")
        except Exception as error:  # whatever it is, the frames are decided
            self._metrics.second_frames.labels("failed").inc(len(drawn))
            if not self._failing:
                log.error("second_scoring_failed", watch=companion.watch_id, frames=len(drawn), error=repr(error)[:300])
            self._failing = True
            return
        self._failing = False
        self._metrics.second_scoring.observe(time.perf_counter() - started)
        for work, scored in zip(drawn, found, strict=True):
            score, outcome = float(scored.score), work.outcome
            finite = math.isfinite(score)
            self._metrics.second_frames.labels("scored" if finite else "failed").inc()
            if not finite or outcome is None:
                continue
            work.outcome = replace(outcome, second=_second(companion, score))
            if work.outcome.shown and not outcome.flagged:
                work.map = Heatmap(scored.map, companion.scorer.spec)


def _second(companion: Companion, score: float) -> Second:
    return Second(
        companion.watch_id if companion.judged else None, score, companion.certificate.verdict(score) != "pass"
    )
