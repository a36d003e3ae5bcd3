"""From a record to pixels, or to the outcome of a frame that has none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime

import model.images as images
from agent.frame import BadHeader, DataRef, Envelope, RawFormat, event_time, parse, station_of
from agent.phrases import Phrase
from agent.pipeline.budget import Budget
from agent.pipeline.claim_checks import ClaimChecks, ClaimCorrupt
from agent.pipeline.directory import Directory
from agent.pipeline.measures import measure
from agent.pipeline.patience import AbandonedError
from agent.pipeline.provider import Deciding
from agent.pipeline.work import Work
from agent.settings import Pipeline, Settings
from agent.store import drawing
from model.statistics import keyed_fraction


class Decoder:
    """Fills one frame's envelope, place, draws, pixels and their measures, or its outcome. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        directory: Directory,
        budget: Budget,
        claim_checks: ClaimChecks,
        deciding: Deciding,
        *,
        secret: bytes,
        clock: Callable[[], datetime],
        abandon: threading.Event,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._default_station = settings.kafka.station
        self._directory = directory
        self._budget = budget
        self._claim_checks = claim_checks
        self._deciding = deciding
        self._secret = secret
        self._clock = clock
        self._abandon = abandon
        self._monotonic = monotonic

    def __call__(self, work: Work) -> bool:
        """Decodes one frame; False where its picture is not in the blob store yet and may still come.

        Raises:
            AbandonedError: the agent stops at once.
        """
        try:
            envelope = work.envelope or self._read_headers(work)
            if refuse(work, envelope, self._settings.pipeline, self._clock()):
                return True
            if envelope.dataref and not self._claim(work, envelope.dataref):
                return work.outcome is not None
        except BadHeader as error:
            work.place, work.station = None, self._directory.station(station_of(work.record, self._default_station))
            work.dead_letter(error.phrase, self._clock())
            return True
        decode(work, envelope, self._settings.pipeline, self._clock)
        if work.pixels is not None:
            work.measures = measure(work.pixels)
            deployed = self._deciding.current(work.place.product_id) if work.place else None
            # Taken now: what scores must not wait for the room that only comes once it goes on.
            work.map_room = deployed.map_bytes if deployed else 0
        self._hold(work.held_bytes)
        return True

    def _read_headers(self, work: Work) -> Envelope:
        envelope = parse(work.record, stream=work.lane.key.topic_id, default_station=self._default_station)
        work.event_at, work.clock_suspect = event_time(envelope.captured_at, work.record.timestamp)
        work.envelope = envelope  # first: a dead letter says which station its frame named, registered or not
        work.place = self._directory.place(work, envelope)
        # Drawn before anything is known of the picture, so that nothing about it can influence the draws.
        work.audit = drawing.draws(self._secret, envelope.part, work.place.audit_rate)
        work.draw = keyed_fraction(self._secret, "watch", envelope.part)
        return envelope

    def _claim(self, work: Work, ref: DataRef) -> bool:
        """Fetches what the reference names; False where that is not there (yet), or where it is wrong."""
        wait_s = self._settings.pipeline.claim_wait_s
        self._hold(ref.size)
        try:
            work.claimed = self._claim_checks.read(ref)
        except ClaimCorrupt as error:
            work.fail("claim_corrupt", error.phrase, self._clock())
        else:
            if work.claimed is None and self._monotonic() - work.arrived > wait_s:
                words = Phrase("nothing that we may read lies at ce_dataref after {seconds:.0f} s", seconds=wait_s)
                work.fail("claim_missing", words, self._clock())
        finally:
            self._budget.give_pixels(ref.size)
        return work.claimed is not None

    def _hold(self, size: int) -> None:
        if size and not self._budget.take_pixels(size, self._abandon):
            raise AbandonedError("decoding")


def refuse(work: Work, envelope: Envelope, limits: Pipeline, now: datetime) -> bool:
    """Whether the frame is too old or too large for its picture to be looked at; it has its outcome then.

    A replayed frame is as old as its record: somebody sent it again because its capture is long ago.
    """
    age_s = (now - (work.record.timestamp if envelope.replay_of else work.event_at)).total_seconds()
    size = envelope.dataref.size if envelope.dataref else len(work.record.value)
    if age_s > limits.max_age_s:
        work.fail("too_old", f"{age_s:.0f} s old; pipeline.max_age_s is {limits.max_age_s:.0f}", now)
    elif size > limits.max_frame_mb << 20:
        words = Phrase("{n} bytes; pipeline.max_frame_mb is {limit}", n=size, limit=limits.max_frame_mb)
        work.fail("too_large", words, now)
    return work.outcome is not None


def decode(work: Work, envelope: Envelope, limits: Pipeline, clock: Callable[[], datetime]) -> None:
    """Fills the frame's pixels, or its outcome where it has none."""
    try:
        work.pixels = pixels(work.payload, envelope.raw, limits)
    except images.TooLarge as error:
        work.fail("too_large", str(error), clock())
    except images.WrongSize as error:
        work.fail("wrong_size", str(error), clock())
    except images.ImageError as error:
        work.fail("undecodable", str(error), clock())
    else:
        work.decoded = True


def pixels(data: bytes, raw: RawFormat | None, limits: Pipeline) -> images.Frame:
    """An image's pixels, or raw ones where `raw` says how they lie; never more than pipeline.max_megapixels.

    Raises:
        model.images.ImageError: it is too large, of another size than its headers say, or no picture.
    """
    megapixels = limits.max_megapixels
    if raw is None:
        return images.decode(data, max_megapixels=megapixels)
    if raw.width * raw.height > megapixels * 1_000_000:
        raise images.TooLarge(f"{raw.width} x {raw.height} pixels; pipeline.max_megapixels is {megapixels}")
    return images.decode_raw(data, raw.width, raw.height, raw.pixel_format)
