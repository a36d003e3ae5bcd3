"""A plant with something on every page: a month of sums, judged parts, runs and versions, a product being taught."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.alerts.base import NoAlarms
from agent.phrases import MADE, Phrase, made_of
from agent.service import reviews
from agent.settings import Settings
from agent.store import (
    alerts,
    certificates,
    dead_letters,
    epochs,
    gaps,
    inspections,
    item_vectors,
    items,
    normals,
    offsets,
    products,
    proposals,
    registry,
    runs,
    samples,
    score_bins,
    speed,
    stations,
    storage,
    teachings,
    watches,
)  # fmt: skip
from agent.store.buckets import quarter
from agent.store.dead_letters import NewDeadLetter
from agent.store.engine import writing
from agent.store.local_blobs import LocalBlobs
from agent.store.normals import SampleVector
from agent.store.offsets import Counts
from agent.store.samples import NewSample
from agent.store.tables import item
from agent.store.watches import Score
from agent.watching.judge import Judge
from tests.databases import Line, add_blob
from tests.ui.floor import TEACHER, add_quarters, furnish, pictures, sums, usual_rate
from tests.vectors import SPACE, spot, unit

KINDS = ("scratch", "dent", "scratch", "stain", None, "scratch", "crack", None)  # one part after the other
GOOD = (4, 7)  # of these
JUDGED = 24
PASSED = 900  # by both models that score a share of the parts
OTHERS = 1_000_000  # offsets that no kept part has
DAYS = 30
TOOK = timedelta(milliseconds=380)
SCORED, HOURS = 16_000, 200
STAGES = {"decode": 12, "score": 28, "evidence": 41, "record": 9, "decision": 350}  # ms
GIB = 1 << 30
# Bytes held, how many more an hour, and what is left.
STORED = {
    storage.BLOBS: (212 * GIB, GIB // 4, 188 * GIB), storage.DATABASE: (9 * GIB, GIB // 100, 188 * GIB),
    storage.EVIDENCE: (180 * GIB, GIB // 4, 70 * GIB),
}  # fmt: skip
TAUGHT = 12
IMPORTED = timedelta(days=13)  # ago: before the first model
LEARNT = {"train": 324, "calibration": 98, "holdout": 60, "defect": 14}
TRAINED_IN = timedelta(minutes=8)
SHADOWS = "flags as few good parts as the champion: it scores a share of the parts beside it"
REJECTED = "flags more of the held-out good parts than the champion"


def fill(made: Line, blobs: LocalBlobs, now: datetime, count: int = 6) -> None:
    """Furnishes `count` stations and gives every page what it shows."""
    with writing(made.engine) as conn:
        _before(conn, made, now)
    furnish(made, blobs, count, now)
    shots = [dict(pictures(made.engine, blobs, kind, n, now)) for n, kind in enumerate(KINDS)]
    oddest = [shots[6], shots[0]]
    good = [dict(pictures(made.engine, blobs, None, len(KINDS) + n, now)) for n in range(TAUGHT - len(oddest))]
    with writing(made.engine) as conn:
        live = registry.live(conn, made.product_id)
        assert live
        _month(conn, made, live.id, now)
        rows = []
        for n in range(JUDGED + 8):
            at = _seen_at(n, now)
            seen = {
                "event_at": at, "decided_at": at + TOOK, "captured_at": at,
                "serial": f"F{2600 + n}", "lot": f"L{n // 12 + 1}",
                "deployment_id": live.id, "score": 2.0 + n / 20, "p_value": 0.004, "severity": 0.3 + n / 40,
            }  # fmt: skip
            rows.append(made.inspection(n, "review", **seen, latency_ms=1e3 * TOOK.total_seconds(), score_ms=28.0))
            kept = {name: value for name, value in seen.items() if name not in ("decided_at", "captured_at")}
            kept["headers"] = [("ce_id", f"f{n}"), ("ce_source", "press-1"), ("ce_sequence", str(61_000 - n))]
            items.add_all(conn, [made.new_item(n, **kept, **shots[n % len(shots)])])
        inspections.add_all(conn, rows)
        rng = random.Random(3)
        scored = [
            made.inspection(
                n, event_at=now - timedelta(hours=n % HOURS), deployment_id=live.id,
                severity=rng.gauss(-1.4, 0.5) if rng.random() < 0.98 else rng.gauss(0.6, 0.25),
            )
            for n in range(SCORED)
        ]  # fmt: skip
        score_bins.add_inspections(conn, [*rows, *scored], UTC)
        _stream(conn, made, shots, now)
        _fares(conn, made, now)
        _seen(conn, made)
        _teaching(conn, made, [*oddest, *good], now)
        waiting = items.queue(conn, station_id=made.station_id, limit=100)
    for n, one in enumerate(one for one in waiting if one.serial and one.serial.startswith("F")):
        if n < JUDGED:
            reason = KINDS[one.offset % len(KINDS)]
            reviews.decide(
                made.engine, made.operator, one.id, "defect" if reason else "normal", reason, key=f"w{n}",
                now=now - timedelta(minutes=JUDGED - n),
            )  # fmt: skip
    with writing(made.engine) as conn:
        _learning(conn, made, shots, now)
    Judge(made.engine, Settings(), NoAlarms(), notify=lambda _: None).check(now)


def _seen_at(n: int, now: datetime) -> datetime:
    """When the n-th part before the newest was seen: the judged ones reach back over the shift before this one."""
    return now - timedelta(minutes=40 * n + 3)


def _before(conn: Connection, made: Line, now: datetime) -> None:
    """Imported images, and what was wrong and is over: ids and the audit trail are in the order of time."""
    epochs.of_import(conn, made.product_id, now - IMPORTED)
    past = (
        (14, "camera_defocused", "station:press-4", "station press-4: its pictures have 40% of the usual sharpness"),
        (5, "disk", "disk:line-1:/var/lib/goodpart", "4 GB are free in /var/lib/goodpart on line-1: make room"),
    )
    for hours, kind, subject, words in past:
        at = now - timedelta(hours=hours, minutes=5)
        alerts.raise_(conn, kind, subject, words, level="warning", detail={}, event=False, now=at)
        alerts.clear(conn, kind, subject, at + timedelta(minutes=20))


def _month(conn: Connection, made: Line, deployment_id: int, now: datetime) -> None:
    rng = random.Random(7)
    start = quarter(now) - timedelta(days=1)
    for station in stations.all(conn):
        key = {"station_id": station.id, "product_id": made.product_id, "deployment_id": deployment_id}
        rows = []
        for n in range(DAYS * 24):
            worse = 0.03 if 200 < n < 240 else 0.0
            share = max(0.0, rng.gauss(0.02 + worse, 0.004) + 0.004 * math.sin(n / 24))
            rows.append(
                {
                    **key,
                    "start": start - timedelta(hours=n),
                    "lot": f"L{n // 12}",
                    **sums(60 * usual_rate(station.id), share),
                }
            )
        add_quarters(conn, rows)


def _stream(conn: Connection, made: Line, shots: list[dict[str, str]], now: datetime) -> None:
    for partition in range(2):
        claim = offsets.claim(conn, made.stream_id, partition, holder="agent-1", start=0, now=now)
        offsets.advance(conn, claim, 61_240 + partition, Counts(61_240, 61_212, 19, 6 - partition, 3 + partition), now)
    gaps.add(conn, made.stream_id, 1, 1200, 1260, "below_start", now - timedelta(days=2))
    letters = [
        NewDeadLetter(
            made.stream_id, 0, 61_000 + n, "press-9", "bad_header",
            "station press-9 is not registered: goodpart stations add", (("ce_source", "press-9"), ("ce_id", f"g{n}")),
            f"{n:064d}", shots[n]["frame_sha256"], True, now - timedelta(minutes=7 * n),
        )
        for n in reversed(range(6))
    ]  # fmt: skip
    dead_letters.add_all(conn, letters)


def _fares(conn: Connection, made: Line, now: datetime) -> None:
    """An hour of lag and of the times that stages take, and a day of what is stored."""
    bins = {(stage, speed.bin_of(ms * part)): 10 for stage, ms in STAGES.items() for part in (0.8, 1.0, 1.5)}
    for n in range(60):
        waits = {(made.stream_id, 0): 4 + n % 3, (made.stream_id, 1): 3 + round(40 * math.exp(-((n - 40) ** 2) / 20))}
        speed.note(conn, waits, bins, now - timedelta(minutes=n))
    for n in range(24):
        for subject, (held, growth, room) in STORED.items():
            storage.note(conn, subject, held - n * growth, room + n * growth, now - timedelta(hours=n))


def _seen(conn: Connection, made: Line) -> None:
    """What the scorer saw of each part, so that some are alike."""
    offsets = conn.execute(sa.select(item.c.offset).where(item.c.partition == 0)).scalars()
    seen = {n: spot(2 + n % 6, 3 + n % 4, (3 + n % 5 / 10, 4), noise=n) for n in offsets}
    item_vectors.add_all(conn, made.stream_id, 0, seen)


def _shadow(conn: Connection, made: Line, now: datetime) -> None:
    """A candidate that scores a share of the parts, and flags no good one of those that were flagged."""
    live = registry.live(conn, made.product_id)
    assert live and live.certificate
    began = now - timedelta(days=1)
    trained = runs.open(conn, product_id=made.product_id, trigger="samples", settings={}, now=began - TRAINED_IN)
    runs.start(conn, trained.id, None, began - TRAINED_IN)
    candidate = registry.add_version(
        conn, product_id=made.product_id, artifact_sha256=add_blob(conn, 903), teacher=TEACHER,
        manifest={"settings": {"images": 324}}, training_run_id=trained.id, now=began,
    )  # fmt: skip
    runs.close(conn, trained.id, "shadow", SHADOWS, began)
    certificate = certificates.add(conn, version_id=candidate.id, record=live.certificate, now=now)
    watch_id = watches.open(
        conn, product_id=made.product_id, kind="shadow", deployment_id=live.id, version_id=candidate.id,
        certificate_id=certificate, share=0.2, now=began,
    )  # fmt: skip
    scores = [
        Score(
            watch_id, made.stream_id, 0, n, _seen_at(n, now), made.station_id, f"F{2600 + n}", True,
            KINDS[n % len(KINDS)] is not None, 2.0 + n / 20, 2.4 if KINDS[n % len(KINDS)] else 0.4,
        )
        for n in range(JUDGED)
    ]  # fmt: skip
    scores += [
        Score(watch_id, made.stream_id, 0, OTHERS + n, now - timedelta(seconds=70 * n + 30), made.station_id,
              f"P{n}", False, False, 0.7, 0.5) for n in range(PASSED)
    ]  # fmt: skip
    watches.add_scores(conn, scores)


def _teaching(conn: Connection, made: Line, shots: list[dict[str, str]], now: datetime) -> None:
    gasket = next(one for one in products.all(conn) if one.name == "gasket")
    parts = [
        made.new_item(
            5000 + n, product_id=gasket.id, kind="teach", verdict="not_inspected", reason="no_model",
            serial=f"G{n:03d}", score=None, p_value=None, severity=None, event_at=now - timedelta(minutes=n),
            **shots[(n * 5 + 1) % TAUGHT],
        )
        for n in range(TAUGHT)
    ]  # fmt: skip
    items.add_all(conn, parts)
    pictured = [one["frame_sha256"] for one in shots]
    oddness = {one.item_id: 3.4 / (1 + pictured.index(one.frame_sha256)) for one in teachings.views(conn, gasket.id)}
    teachings.record(conn, oddness)


def _learning(conn: Connection, made: Line, shots: list[dict[str, str]], now: datetime) -> None:
    """A rejected challenger, a run that goes on, samples of each role, and one that waits for a second person."""
    epoch = epochs.of_import(conn, made.product_id, now)
    roles = [role for role, count in LEARNT.items() for _ in range(count)]
    for n, role in enumerate(roles):
        reason = "scratch" if role == "defect" else None
        shot = shots[0 if reason else GOOD[n % 2]]
        new = NewSample(
            made.product_id, role, "import", shot["frame_sha256"], f"{n:064x}", reason=reason, serial=f"I{n}",
            epoch_id=epoch.id if role in ("calibration", "holdout") else None,
            thumbnail_sha256=shot["thumbnail_sha256"],
        )  # fmt: skip
        added = samples.add(conn, new, now - IMPORTED + timedelta(seconds=n))
        if role == "train":
            normals.add_all(conn, {added.id: SampleVector(SPACE, unit((3 + n / 40, 4)))})
    known = [one.id for one in samples.all(conn, made.product_id, "defect") if one.reason == "scratch"]
    held = samples.all(conn, made.product_id, "train", state="proposed")[0]
    words = Phrase(
        "looks more like a defect than {share:.0%} of the normals do; compared with {known}: others it cannot know",
        share=0.95, known=f"{len(known)} scratch",
    )  # fmt: skip
    said = {"words": words, MADE: made_of(words), "nearest": known[:3]}
    proposals.move(conn, held.id, "quarantined", expected=["proposed"], by=None, quarantine=said, now=now)
    began = now - timedelta(days=3)
    ended = runs.open(conn, product_id=made.product_id, trigger="samples", settings={}, now=began)
    runs.start(conn, ended.id, None, began)
    version = registry.add_version(
        conn, product_id=made.product_id, artifact_sha256=add_blob(conn, 902), teacher="efficientnet_lite2",
        manifest={"settings": {"images": 310}}, training_run_id=ended.id, now=began + TRAINED_IN,
    )  # fmt: skip
    registry.reject(conn, version.id, REJECTED)
    runs.close(conn, ended.id, "rejected", REJECTED, began + TRAINED_IN)
    _shadow(conn, made, now)
    running = runs.open(
        conn, product_id=made.product_id, trigger="person", requested_by=made.engineer.id, settings={}, now=now
    )
    runs.start(conn, running.id, None, now)
    losses = [(step, 0.04 + 0.5 * math.exp(-step / 90)) for step in range(10, 350, 10)]
    runs.progress(
        conn, running.id, phase="training", step=340, steps=1000, loss=0.042, losses=losses, eta_s=64.0, now=now
    )
