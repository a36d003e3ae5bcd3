"""The quarantine of proposals: those that look like confirmed defects wait for a second person.

Source: goodpart's model.md, "Quarantine of proposals"; the comparison is `model.likeness`. The normals that proposals
are held against are accepted train samples only. Audit, calibration and hold-out parts, though they are there sooner
after a change of the stream, must not choose what trains: a certificate assumes that calibration scores and those of
later good parts are exchangeable given the model, and a model that learnt what resembles its calibration parts scores
these lower than others.

After a change of the stream (an epoch that cuts) good parts look like neither side, and nearly all are held up. A
second person looks at the first ones; what is accepted since the change makes up to half of the normals, and what was
held up since is compared again (`proposals.again`). The normals from before stay beside them, and the cut is that of
all normals: of twenty new ones alone it would be the highest. What that catches is in docs/benchmarks.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import structlog
from sqlalchemy import Engine

from agent.phrases import Phrase, bare, kept
from agent.retrain.progress import OnProgress, Stage
from agent.settings import Settings
from agent.store import audit, products, proposals, registry, samples
from agent.store.blobs import BlobCorrupt, BlobMissing, BlobStore
from agent.store.engine import reading, writing
from agent.store.errors import Conflict
from agent.store.rows import chunks
from agent.store.samples import Sample
from model import images
from model.images import Frame
from model.likeness import LEAST_NORMALS, RATE, Patches, compare

LEAST_DEFECTS = 10
MOST = 200  # defects, normals and proposals that are looked at in one check
BATCH = 16

Eye = Callable[[Sequence[Frame]], Patches]  # frames -> patches of each, see `model.hottest.Hottest`
OpenEye = Callable[[bytes], Eye]  # of a model file

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check says of one proposal: clear, suspect, off (it could not be checked) or unreadable."""

    found: str
    words: Phrase
    numbers: dict[str, Any] = field(default_factory=dict)

    def state(self, second_person: str) -> str:
        """The sample's next state, by `samples.second_person`."""
        if self.found in ("clear", "off"):
            return "quarantined" if second_person == "always" else "accepted"
        return "refused" if second_person == "never" else "quarantined"

    def to_dict(self) -> dict[str, Any]:
        """As the sample's record keeps it."""
        return {"found": self.found, "words": self.words, **kept(self.words), **self.numbers}


@dataclass(frozen=True, slots=True)
class Check:
    """What a check works with. `pause` is called before each batch and may raise, which ends the check."""

    engine: Engine
    blobs: BlobStore
    settings: Settings
    open_eye: OpenEye
    clock: Callable[[], datetime]
    pause: Callable[[], None] = lambda: None

    def all(self, on_progress: OnProgress | None = None) -> Counter[str]:
        """Checks the waiting proposals of every product; counts those that moved, by their new state."""
        moved = Counter[str]()
        with reading(self.engine) as conn:
            found = proposals.products(conn)
        for product_id in found:
            moved += self.product(product_id, on_progress)
        return moved

    def product(self, product_id: int, on_progress: OnProgress | None = None) -> Counter[str]:
        """As `all`, of one product.

        Raises:
            StoreError, model errors: the check could not be done; what it had not judged waits.
        """
        with reading(self.engine) as conn:
            name = products.get(conn, product_id).name
            waiting = proposals.waiting(conn, product_id, MOST)
            waiting += proposals.again(conn, product_id, MOST - len(waiting))
            bank = samples.all(conn, product_id, "defect")
            normals = samples.all(conn, product_id, "train")
            new = {one.id for one in proposals.since_change(conn, product_id)}
            champion = registry.live(conn, product_id)
        bank = sorted(bank, key=lambda one: -one.id)[:MOST]  # the newest first; ids rise
        normals = reference(normals, new)
        why = self._off(len(bank), len(normals), champion is not None)
        if why or champion is None:
            verdicts = {one.id: Verdict("off", Phrase("not checked: {why}", why=why)) for one in waiting}
        else:
            look = _Look(self, self.open_eye(self.blobs.get(champion.artifact_sha256)))
            stage = Stage("checking", len(bank) + len(normals) + len(waiting), on_progress)
            verdicts = look.judge(waiting, bank, normals, champion.number, stage)
        moved = Counter(self._record(sample, verdicts[sample.id], len(new)) for sample in waiting)
        log.info("proposals_checked", product=name, **moved)
        return moved

    def _off(self, defects: int, normals: int, live: bool) -> str:
        """Why nothing can be checked; "" where it can."""
        if not self.settings.samples.quarantine:
            return Phrase("samples.quarantine is false")
        if not live:
            return Phrase("no model is live")
        if defects < LEAST_DEFECTS:
            return Phrase("the defect bank has {n} of {least} defects", n=defects, least=LEAST_DEFECTS)
        if normals < LEAST_NORMALS:
            return Phrase("there are {n} of {least} accepted normals", n=normals, least=LEAST_NORMALS)
        return ""

    def _record(self, sample: Sample, verdict: Verdict, since_change: int) -> str:
        state, now, record = verdict.state(self.settings.samples.second_person), self.clock(), verdict.to_dict()
        if sample.quarantine is not None and verdict.found in ("off", "unreadable"):
            # Held up before: what a check that could not be made says lets nothing through.
            state, record = sample.state, dict(sample.quarantine)
        if since_change:
            record["since_change"] = since_change  # beside how many it was judged, see `proposals.again`
        try:
            with writing(self.engine) as conn:
                audit.take_turn(conn)
                proposals.move(
                    conn, sample.id, state, expected=(sample.state,), by=None, quarantine=record, now=now
                )  # fmt: skip
                detail = {"state": state, **bare(record)}
                audit.append(conn, None, "sample.check", f"sample:{sample.id}", detail, now)
        except Conflict:  # a person was faster
            return "decided meanwhile"
        return state


def reference(normals: Sequence[Sample], new: Collection[int]) -> list[Sample]:
    """At most `MOST` normals to hold proposals against, in the order given.

    Args:
        normals: accepted train samples in the order of their pixels' hashes, so at random.
        new: ids of those since the stream changed; they are half of the reference, where there are enough.
    """
    old = [one.id for one in normals if one.id not in new]
    since = [one.id for one in normals if one.id in new]
    since = since[: max(MOST // 2, MOST - len(old))]
    chosen = {*since, *old[: MOST - len(since)]}
    return [one for one in normals if one.id in chosen]


class _Look:
    """One check of one product, with its champion's eye."""

    def __init__(self, check: Check, eye: Eye):
        self._check, self._eye = check, eye

    def judge(
        self, waiting: Sequence[Sample], bank: Sequence[Sample], normals: Sequence[Sample], number: int, stage: Stage
    ) -> dict[int, Verdict]:
        defects, normal = self._patches(bank, stage), self._patches(normals, stage)
        proposed = self._patches(waiting, stage)
        why = self._check._off(len(defects), len(normal), True)
        verdicts = {
            one.id: Verdict("off", Phrase("not checked: {why}", why=why))
            if why
            else Verdict("unreadable", Phrase("its image cannot be read"))
            for one in waiting
        }
        if why or not proposed:
            return verdicts
        compared = compare(*(np.stack(list(group.values())) for group in (proposed, defects, normal)))
        known, ids = _kinds(bank), list(defects)
        for sample_id, one in zip(proposed, compared.found, strict=True):
            suspect = compared.suspect(one)
            numbers = {
                "figure": round(one.figure, 4), "cut": round(compared.cut, 4), "version": number,
                "defects": len(defects), "normals": len(normal), "nearest": [ids[at] for at in one.nearest],
            }  # fmt: skip
            against = {"share": 1 - RATE, "known": known}
            if suspect:
                words = Phrase(
                    "looks more like a defect than {share:.0%} of the normals do; compared with {known}: others it "
                    "cannot know",
                    **against,
                )
                verdicts[sample_id] = Verdict("suspect", words, numbers)
            else:
                words = Phrase(
                    "looks no more like a defect than {share:.0%} of the normals do; compared with {known}: others it "
                    "cannot know",
                    **against,
                )
                verdicts[sample_id] = Verdict("clear", words, numbers)
        return verdicts

    def _patches(self, wanted: Sequence[Sample], stage: Stage) -> dict[int, Patches]:
        """The patches of each sample whose image can be read, by its id."""
        found: dict[int, Patches] = {}
        for batch in chunks(wanted, BATCH):
            self._check.pause()
            frames = {one.id: frame for one in batch if (frame := self._read(one)) is not None}
            if frames:
                found |= zip(frames, self._eye(list(frames.values())), strict=True)
            stage.advance(len(batch))
        return found

    def _read(self, sample: Sample) -> Frame | None:
        limit = self._check.settings.pipeline.max_megapixels
        try:
            return images.decode(self._check.blobs.get(sample.blob_sha256), max_megapixels=limit)
        except (images.ImageError, BlobMissing, BlobCorrupt) as error:
            log.warning("sample_unreadable", sample=sample.id, problem=str(error))
            return None


def _kinds(bank: Sequence[Sample]) -> str:
    counted = Counter(one.reason or "unnamed" for one in bank)
    return ", ".join(f"{count} {reason}" for reason, count in counted.most_common())
