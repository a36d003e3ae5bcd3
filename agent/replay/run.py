"""Recorded decisions made again: each frame is read, decoded, scored by what decided it, and compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from sqlalchemy import Engine

from agent.metrics import Metrics
from agent.pipeline.score import BatchScorer, EngineFaultError
from agent.pipeline.work import Work
from agent.replay.comparing import Agreement, Replayed, compare
from agent.replay.frames import Frames, Log
from agent.replay.models import Model, Models
from agent.settings import Settings
from agent.store import inspections
from agent.store.blobs import BlobStore
from agent.store.engine import reading
from agent.store.inspections import Inspection, Window

Found = tuple[Inspection, Work, str]  # and where the frame came from
GONE = "the log does not have it any more, and nothing was kept of it"
PAGE = 256  # inspections read at once; their frames come one by one


class ReplayError(Exception):
    """Decisions that cannot be made again here; the message says what to do."""


class Replay:
    """Replays windows of inspections. Reads only. For one thread.

    Args:
        engine: the database.
        store: has artifacts, kept frames and what claim checks name.
        settings: the sections [pipeline] and [scoring].
        log: what the broker still holds; None: only kept frames.
        models: what scores.
        tolerance: how far scores may be apart; None: 0.001 of the interquartile range of the calibration scores of the
            deployment, without a certificate 0.0001 of the recorded score.
    """

    def __init__(
        self,
        engine: Engine,
        store: BlobStore,
        settings: Settings,
        log: Log | None,
        models: Models,
        *,
        tolerance: float | None = None,
    ) -> None:
        self._engine, self._settings, self._models, self._tolerance = engine, settings, models, tolerance
        self._frames = Frames(engine, store, settings, log)
        self._most_bytes = settings.pipeline.queue_mb << 20  # of frames that wait for their batch
        self._metrics = Metrics()  # of this run, shown to nobody

    def run(self, window: Window, limit: int) -> Iterator[Replayed]:
        """Replays at most `limit` inspections of a window, the oldest first; some of them change places.

        Raises:
            ReplayError: the scoring engine fails whatever the frame.
            SourceError, Unreachable: broker, database or blob store do not answer.
        """
        last: Inspection | None = None
        while limit > 0:
            with reading(self._engine) as conn:
                rows = inspections.page(conn, window, min(PAGE, limit), last)
            if not rows:
                return
            yield from self._page(rows)
            last, limit = rows[-1], limit - len(rows)

    def _page(self, rows: Sequence[Inspection]) -> Iterator[Replayed]:
        gone = {(row.stream_id, row.partition, row.offset): row for row in rows}
        waiting: dict[Model, list[Found]] = defaultdict(list)
        held = 0
        for one in self._found(rows):
            row, work, _ = one
            del gone[row.stream_id, row.partition, row.offset]
            model = self._models.of(row)
            waiting[model].append(one)
            held += work.held_bytes + len(work.record.value)
            if held > self._most_bytes:
                yield from self._scored(waiting)
                held = 0
            elif len(waiting[model]) == self._settings.pipeline.batch_size:
                batch = waiting.pop(model)
                held -= sum(work.held_bytes + len(work.record.value) for _, work, _ in batch)
                yield from self._scored({model: batch})
        yield from self._scored(waiting)
        for row in gone.values():
            yield Replayed(row, Agreement.GONE, detail=GONE)

    def _found(self, rows: Sequence[Inspection]) -> Iterator[Found]:
        partitions: dict[tuple[int, int], list[Inspection]] = defaultdict(list)
        for row in rows:
            partitions[row.stream_id, row.partition].append(row)
        for (stream_id, partition), own in partitions.items():
            yield from self._frames.of(stream_id, partition, own)

    def _scored(self, waiting: dict[Model, list[Found]]) -> Iterator[Replayed]:
        while waiting:
            model, batch = waiting.popitem()
            self._score(model, [work for _, work, _ in batch if work.outcome is None])
            for row, work, source in batch:
                yield self._compared(row, work, source, model)

    def _score(self, model: Model, works: Sequence[Work]) -> None:
        if not works or model.problem:
            return
        # The clock gives an outcome its time, and nobody looks at that here.
        scorer = BatchScorer(model, self._metrics, self._settings.pipeline, lambda: works[0].event_at)
        try:
            scorer(works)
        except EngineFaultError as error:
            raise ReplayError(
                f"the scoring engine fails on every frame ({error.__cause__}); check scoring.device"
            ) from error

    def _compared(self, row: Inspection, work: Work, source: str, model: Model) -> Replayed:
        now = work.outcome
        if now is None:
            return Replayed(row, Agreement.NOT_COMPARABLE, source, detail=model.problem)
        tolerance = model.tolerance(row)
        if tolerance is not None and self._tolerance is not None:
            tolerance = self._tolerance
        used = model.deployed.scorer.fingerprint if model.deployed else None
        return Replayed(row, compare(row, now, tolerance), source, now, tolerance, now.detail, used)
