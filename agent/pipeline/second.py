"""Second scoring: what a watch's other model makes of the frames in its sample, after they are decided."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import structlog

from agent.metrics import Metrics
from agent.pipeline.pictures import Heatmap
from agent.pipeline.provider import Companion, Scored
from agent.pipeline.vectors import Features
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
        """Adds to each frame's outcome what the companion makes of it; nothing where it fails on the frame.

        Where it alone flags a frame, the map that people see is its own: the other one has nothing to show. Where a
        watch is judged by what the two disagree on, the other one's is kept beside it.
        """
        started = time.perf_counter()
        failed = self._score(companion, drawn)
        self._metrics.second_scoring.observe(time.perf_counter() - started)
        self._metrics.second_frames.labels("failed").inc(len(failed))
        self._metrics.second_frames.labels("scored").inc(len(drawn) - len(failed))
        if failed and not self._failing:
            error = repr(failed[0])[:300]
            log.error("second_scoring_failed", watch=companion.watch_id, frames=len(failed), error=error)
        self._failing = bool(failed)

    def _score(self, companion: Companion, drawn: Sequence[Work]) -> list[Exception]:
        """Scores, halving what fails; returns why those that fail alone do."""
        try:
            found = companion.scorer.score([work.pixels for work in drawn if work.pixels is not None])
            if len(found) != len(drawn):
                raise ValueError(f"{len(drawn)} frames gave {len(found)} scores")
        except Exception as error:  # whatever it is, the frames are decided
            if len(drawn) == 1:
                companion.failing.see(error)
                return [error]
            middle = len(drawn) // 2
            return self._score(companion, drawn[:middle]) + self._score(companion, drawn[middle:])
        failed: list[Exception] = []
        for work, scored in zip(drawn, found, strict=True):
            problem = _take(companion, work, scored)
            companion.failing.see(problem)
            failed += [problem] if problem else []
        return failed


def _take(companion: Companion, work: Work, scored: Scored) -> Exception | None:
    """Adds one frame's score to its outcome; what is wrong with it, where it is no number."""
    score, outcome = float(scored.score), work.outcome
    if not math.isfinite(score):
        return ValueError(f"the score is {score}")
    if outcome is not None:
        second = _second(companion, score)
        work.outcome = replace(outcome, second=second)
        if second.flagged != outcome.flagged:
            seen = Heatmap(scored.map, companion.scorer.spec)
            shown, other = (seen, work.map) if second.flagged else (work.map, seen)
            work.map, work.other_map = shown, other if companion.judged else None
        if second.flagged and not outcome.flagged:
            work.features = Features(scored.features, companion.scorer.space)
    return None


def _second(companion: Companion, score: float) -> Second:
    return Second(
        companion.watch_id if companion.judged else None, score, companion.certificate.verdict(score) != "pass"
    )
