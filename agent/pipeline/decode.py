"""From a record to pixels, or to the outcome of a frame that has none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

import model.images as images
from agent.frame import BadHeader, Envelope, event_time, header_texts, parse
from agent.pipeline.budget import Budget
from agent.pipeline.directory import Directory
from agent.pipeline.patience import AbandonedError
from agent.pipeline.work import Work
from agent.settings import Settings
from model.statistics import keyed_fraction


class Decoder:
    """Fills one frame's envelope, place, audit draw and pixels, or its outcome. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        directory: Directory,
        budget: Budget,
        *,
        secret: bytes,
        clock: Callable[[], datetime],
        abandon: threading.Event,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._budget = budget
        self._secret = secret
        self._clock = clock
        self._abandon = abandon

    def __call__(self, work: Work) -> None:
        """Decodes one frame.

        Raises:
            AbandonedError: the agent stops at once.
        """
        try:
            work.envelope = parse(
                work.record, stream=work.lane.key.topic_id, default_station=self._settings.kafka.station
            )
            work.event_at, work.clock_suspect = event_time(work.envelope.captured_at, work.record.timestamp)
            work.place = self._directory.place(work.envelope, work.arrived)
        except BadHeader as error:
            work.dead_letter(str(error), self._clock())
            return
        envelope = work.envelope
        # Drawn before anything is known of the picture, so that nothing about it can influence the draw.
        drawn = keyed_fraction(self._secret, "audit", envelope.serial or envelope.frame_id)
        work.audit = drawn < work.place.audit_rate
        if not self._refused(work, envelope):
            self._decode(work, envelope)

    def _refused(self, work: Work, envelope: Envelope) -> bool:
        limits = self._settings.pipeline
        now = self._clock()
        age_s = (now - work.event_at).total_seconds()
        size = len(work.record.value)
        if age_s > limits.max_age_s:
            work.fail("too_old", f"{age_s:.0f} s old; pipeline.max_age_s is {limits.max_age_s:.0f}", now)
        elif size > limits.max_frame_mb << 20:
            work.fail("too_large", f"{size} bytes; pipeline.max_frame_mb is {limits.max_frame_mb}", now)
        elif not size and "ce_dataref" in header_texts(work.record):
            work.fail("claim_missing", "claim checks (ce_dataref) are not supported; send the frame in the record", now)
        return work.outcome is not None

    def _decode(self, work: Work, envelope: Envelope) -> None:
        megapixels = self._settings.pipeline.max_megapixels
        try:
            if raw := envelope.raw:
                if raw.width * raw.height > megapixels * 1_000_000:
                    raise images.TooLarge(f"{raw.width} x {raw.height} pixels; pipeline.max_megapixels is {megapixels}")
                pixels = images.decode_raw(work.record.value, raw.width, raw.height, raw.pixel_format)
            else:
                pixels = images.decode(work.record.value, max_megapixels=megapixels)
        except images.TooLarge as error:
            work.fail("too_large", str(error), self._clock())
        except images.WrongSize as error:
            work.fail("wrong_size", str(error), self._clock())
        except images.ImageError as error:
            work.fail("undecodable", str(error), self._clock())
        else:
            if not self._budget.take_pixels(int(pixels.nbytes), self._abandon):
                raise AbandonedError("decoding")
            work.pixels, work.decoded = pixels, True
