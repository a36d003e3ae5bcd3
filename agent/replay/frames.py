"""A recorded frame once more: from the log, else from what was kept of it; decoded as the pipeline does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from sqlalchemy import Engine

from agent.frame import BadHeader, Envelope, Record, StreamKey, event_time, parse, to_headers
from agent.pipeline import decode
from agent.pipeline.claim_checks import ClaimChecks, ClaimCorrupt
from agent.pipeline.patience import NoPatience
from agent.pipeline.work import Lane, Place, Work
from agent.settings import Settings
from agent.store import blobs, dead_letters, items, offsets, products, stations
from agent.store.blobs import BlobCorrupt, BlobMissing, BlobStore
from agent.store.engine import reading
from agent.store.inspections import Inspection
from agent.store.offsets import Claim

LOG, KEPT = "log", "kept"
_REFERENCE = frozenset({"ce_dataref", "ce_datasha256", "ce_datasize"})


class Log(Protocol):
    """What a broker still holds; see agent.sources.kafka_log.KafkaLog."""

    def has(self, key: StreamKey) -> bool: ...

    def read(self, key: StreamKey, partition: int, offsets: Sequence[int]) -> Iterator[Record]: ...


class Frames:
    """Gives recorded frames again. For one thread.

    Args:
        engine: the database.
        store: has what was kept, and what claim checks name.
        settings: the section [pipeline] limits what is decoded.
        log: None: there is only what was kept.
    """

    def __init__(self, engine: Engine, store: BlobStore, settings: Settings, log: Log | None) -> None:
        self._engine, self._store, self._limits, self._log = engine, store, settings.pipeline, log
        self._claim_checks = ClaimChecks(store, NoPatience())
        with reading(engine) as conn:
            self._streams = offsets.stream_keys(conn)
            self._stations = {one.id: one.name for one in stations.all(conn, retired=True)}
            self._products = {one.id: one.name for one in products.all(conn, retired=True)}

    def of(self, stream_id: int, partition: int, rows: Sequence[Inspection]) -> Iterator[tuple[Inspection, Work, str]]:
        """The frames of one partition's inspections that can still be had, decoded, and where each came from.

        Args:
            stream_id: of the stream.
            partition: of the stream.
            rows: its inspections; they come in no certain order.

        Raises:
            SourceError, Unreachable: broker, database or blob store do not answer.
        """
        key, missing = self._streams[stream_id], {row.offset: row for row in rows}
        lane = Lane(key, Claim(stream_id, partition, 0, 0, "replay"))  # of nobody: nothing is committed by it
        if self._log and self._log.has(key):
            for record in self._log.read(key, partition, sorted(missing)):
                row = missing[record.offset]
                work = self._open(lane, row, record)
                if work is not None:
                    del missing[record.offset]
                    yield row, work, LOG
        for row, record in self._kept(stream_id, partition, missing):
            work = self._open(lane, row, record)
            if work is not None:
                yield row, work, KEPT

    def _open(self, lane: Lane, row: Inspection, record: Record) -> Work | None:
        """The frame, decoded; None where the record is another frame's or its claim check leads nowhere any more."""
        station = self._stations[row.station_id]
        try:
            envelope = parse(record, stream=lane.key.topic_id, default_station=station)
            event_at, suspect = event_time(envelope.captured_at, record.timestamp)
            # A topic made anew under a broker that has no topic ids, or while this runs.
            if (envelope.frame_id, event_at) != (row.frame_id, row.event_at):
                return None
            place = Place(row.station_id, station, row.product_id, self._products[row.product_id], 0.0)
            work = Work(lane, record, event_at, 0.0, suspect, envelope, place)
            # How old it was when it was decided is not asked again, unless that decided.
            now = row.decided_at if row.reason == "too_old" else event_at
            if not decode.refuse(work, envelope, self._limits, now) and self._claimed(work, envelope):
                decode.decode(work, envelope, self._limits, lambda: row.decided_at)
        except BadHeader:
            return None
        fetched = work.outcome is None or work.outcome.reason not in ("claim_missing", "claim_corrupt")
        return work if fetched or row.reason in ("claim_missing", "claim_corrupt") else None

    def _claimed(self, work: Work, envelope: Envelope) -> bool:
        if envelope.dataref is None:
            return True
        try:
            work.claimed = self._claim_checks.read(envelope.dataref)
        except ClaimCorrupt as error:
            work.fail("claim_corrupt", error.phrase, work.event_at)
            return False
        if work.claimed is None:
            work.fail("claim_missing", "nothing lies at ce_dataref", work.event_at)
        return work.claimed is not None

    def _kept(
        self, stream_id: int, partition: int, missing: Mapping[int, Inspection]
    ) -> Iterator[tuple[Inspection, Record]]:
        with reading(self._engine) as conn:
            letters = dead_letters.at(conn, stream_id, partition, list(missing))
            frames = items.frames_at(conn, stream_id, partition, list(missing))
            types = {sha256: blobs.media_type(conn, sha256) or "" for sha256 in frames.values()}
        for offset, row in missing.items():
            letter = letters.get(offset)
            with suppress(BlobMissing, BlobCorrupt):
                if letter and letter.blob_sha256:
                    # What a claim check named was kept itself.
                    headers = [(name, text) for name, text in letter.headers if name.lower() not in _REFERENCE]
                    yield row, self._record(row, letter.blob_sha256, [(name, text.encode()) for name, text in headers])
                elif offset in frames:
                    yield row, self._record(row, frames[offset], self._headers(row, types[frames[offset]]))

    def _record(self, row: Inspection, sha256: str, headers: Sequence[tuple[str, bytes]]) -> Record:
        value = self._store.get(sha256)
        return Record(row.partition, row.offset, row.event_at, None, tuple(headers), value)

    def _headers(self, row: Inspection, media_type: str) -> list[tuple[str, bytes]]:
        """Of a picture that was kept: raw pixels are a PNG by now."""
        station, product = self._stations[row.station_id], self._products[row.product_id]
        envelope = Envelope(
            row.frame_id, station, product, row.serial, row.lot, row.captured_at, media_type, None, None
        )  # fmt: skip
        # A suspect clock did not count then, and would look sound beside a timestamp that is the event's.
        return to_headers(replace(envelope, captured_at=None) if row.clock_suspect else envelope)
