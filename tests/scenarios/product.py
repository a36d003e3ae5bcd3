"""A product without a line: images are imported, parts made and reviewed by hand, models trained here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent.frame import CONTENT_TYPES, StreamKey
from agent.retrain import child
from agent.retrain.admission import Admission
from agent.retrain.importer import import_images
from agent.retrain.progress import OnProgress
from agent.retrain.result import RunResult
from agent.retrain.run import train_product
from agent.service import epochs as epoch_service
from agent.service import reviews, stations
from agent.service import samples as sample_service
from agent.settings import Settings, utc_now
from agent.store import certificates, epochs, items, offsets, products, registry, samples, trends, users
from agent.store import stations as station_rows
from agent.store.blobs import keep, open_blobs
from agent.store.engine import open_engine, reading, upgrade, writing
from agent.store.inspections import Inspection
from agent.store.items import NewItem
from model.images import LabelledImage
from tests.alarms import Noted
from tests.scenarios import verdicts
from tests.scenarios.plant import STATION, sections, settled

NAME = "part"


@dataclass(frozen=True, slots=True)
class Wanted:
    """How each set is played."""

    seed: int = 0
    side: int = 128  # pixels of the model's input
    steps: int = 50
    memory_share: float | str = 1.0  # the patch memory alone, in seconds; "auto": as the product chooses
    review_rate: float = 0.2  # with 80 calibration images the second look cuts at the sixth highest, not at one outlier
    good: int = 200  # training images at most


class ByHand:
    """In a folder: its database and its blobs; made where the folder is not there yet.

    Time is real, but for the audit days that `audit` skips.

    Args:
        place: the folder.
        wanted: sizes.
        rules: of [samples], where they are not the defaults.
    """

    def __init__(self, place: Path, wanted: Wanted, **rules: Any) -> None:
        self._ahead = timedelta()
        new = not place.exists()
        place.mkdir(exist_ok=True)
        given = sections(place, "", f"sqlite:///{place / 'goodpart.db'}")
        given["training"] = {"height": wanted.side, "width": wanted.side, "steps": wanted.steps, "seed": wanted.seed,
                             "memory_share": wanted.memory_share}  # fmt: skip
        given["scoring"]["precision"] = "fp32"  # so that machines with and without bfloat16 tell the same
        given["certificate"] = {"review_rate": wanted.review_rate}
        given["samples"] |= rules
        self.settings = Settings.model_validate(given)
        self.engine, self.blobs = open_engine(self.settings.database.url), open_blobs(self.settings.blobs)
        if new:
            upgrade(self.engine)
            people, _ = settled(self.engine, utc_now, NAME, wanted.seed)
            stations.add(self.engine, people.engineer, STATION, product=NAME, key="station", now=utc_now())
        with reading(self.engine) as conn:
            self.engineer, self._operator = users.named(conn, "eli"), users.named(conn, "olga")
            self.product, self._station = products.named(conn, NAME), station_rows.find(conn, STATION)

    def now(self) -> datetime:
        """The time here."""
        return utc_now() + self._ahead

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.dispose()

    def teach(self, good: Sequence[LabelledImage], bank: Sequence[LabelledImage], on_progress: OnProgress) -> str:
        """Imports and trains the first model; what came of it in words."""
        brought = import_images(
            self.engine, self.blobs, self.settings, self.engineer, self.product, good, bank,
            now=self.now(), on_progress=on_progress,
        )  # fmt: skip
        return f"{brought.describe()}\n{self.train(on_progress).describe()}"

    def train(self, on_progress: OnProgress) -> RunResult:
        """The next version, and what the gate says of it."""
        return train_product(
            self.engine, self.blobs, self.settings, self.product.id,
            trigger="person", requested_by=self.engineer.id, clock=self.now, threads=child.threads(),
            on_progress=on_progress,
        )  # fmt: skip

    def approve(self, images: Sequence[LabelledImage]) -> list[int]:
        """Flagged parts that look so, which an operator calls normal; ids of the samples that this proposes."""
        return self._reviewed(images, "flagged", "review")

    def accept_held(self) -> None:
        """The engineer looks at what the quarantine held up, and accepts it."""
        with reading(self.engine) as conn:
            held = samples.all(conn, self.product.id, "train", state="quarantined")
        for one in held:
            sample_service.accept(self.engine, self.engineer, one.id, key=f"accept-{one.id}", now=self.now())

    def inspect(self, frames: int) -> None:
        """Counts so many as the line's."""
        assert self._station
        seen = Inspection(
            event_at=self.now(), stream_id=0, partition=0, offset=0, frame_id="", station_id=self._station.id,
            product_id=self.product.id, serial=None, lot=None, verdict="pass", reason=None, score=None, p_value=None,
            severity=None, deployment_id=None, captured_at=None, decided_at=self.now(), latency_ms=0.0, score_ms=None,
            late=False, clock_suspect=False,
        )  # fmt: skip
        with writing(self.engine) as conn:
            trends.add_inspections(conn, [seen] * frames)

    def open_epoch(self, reason: str) -> None:
        """The engineer says that the stream is another one from now on."""
        epoch_service.open(self.engine, self.engineer, NAME, "camera", reason, key=reason, now=self.now())

    def audit(self, images: Sequence[LabelledImage]) -> epochs.Held:
        """Parts that look so are drawn for the audit and called normal, and their day ends; what the epoch has then."""
        self._reviewed(images, "audit", "pass")
        self._ahead += timedelta(days=2)
        Admission(self.engine, self.settings, Noted(self.engine)).check(self.now())
        with reading(self.engine) as conn:
            found = epochs.current(conn, self.product.id)
            assert found
            return epochs.held(conn, self.product.id).get(found.id, epochs.Held())

    def _reviewed(self, images: Sequence[LabelledImage], kind: str, verdict: str) -> list[int]:
        made = []
        for image in images:
            data, now = image.path.read_bytes(), self.now()
            sha = keep(self.engine, self.blobs, data, CONTENT_TYPES[image.path.suffix.lower()], now)
            item_id = self._item(sha, kind, verdict)
            found = reviews.decide(
                self.engine, self._operator, item_id, "normal",
                rules=self.settings.samples, key=f"review-{item_id}", now=now,
            )  # fmt: skip
            assert found.sample_id is not None, found.unused
            made.append(found.sample_id)
        return made

    def live(self) -> int:
        """The number of the version that decides."""
        with reading(self.engine) as conn:
            found = registry.live(conn, self.product.id)
        assert found
        return found.number

    def flags(self, number: int, images: Sequence[LabelledImage]) -> list[bool]:
        """Which of these a version flags under its own certificate."""
        with reading(self.engine) as conn:
            version = next(one for one in registry.versions(conn, self.product.id) if one.number == number)
            issued = certificates.of_version(conn, version.id)[0].record
        frames = (one.frame() for one in images)
        return list(verdicts.flags(self.settings, self.blobs, version.artifact_sha256, issued, frames))

    def _item(self, sha: str, kind: str, verdict: str) -> int:
        """As the recorder makes one."""
        assert self._station
        with writing(self.engine) as conn:
            stream, now = offsets.stream_id(conn, StreamKey("by hand", "", "frames"), self.now()), self.now()
            made = items.counts(conn)
            offset = made.open + made.closed
            items.add_all(conn, [
                NewItem(
                    stream_id=stream, partition=0, offset=offset, event_at=now, frame_id=sha, serial=sha[:16],
                    station_id=self._station.id, product_id=self.product.id, kind=kind, verdict=verdict,
                    frame_sha256=sha, created_at=now,
                )
            ])  # fmt: skip
            found = items.at(conn, stream, 0, offset)
        assert found
        return found.id
