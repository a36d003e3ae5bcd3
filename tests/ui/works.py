"""A plant with something on every page: a month of sums, judged parts, runs and versions, a product being taught."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from agent.phrases import MADE, Phrase, made_of
from agent.service import reviews
from agent.store import (
    alerts,
    dead_letters,
    gaps,
    inspections,
    items,
    offsets,
    products,
    proposals,
    registry,
    runs,
    samples,
    score_bins,
    stations,
    teachings,
)  # fmt: skip
from agent.store.buckets import quarter
from agent.store.dead_letters import NewDeadLetter
from agent.store.engine import writing
from agent.store.local_blobs import LocalBlobs
from agent.store.offsets import Counts
from agent.store.samples import NewSample
from tests.databases import Line, add_blob
from tests.ui.floor import add_quarters, furnish, pictures, sums

KINDS = ("scratch", "dent", "stain", "crack", None, None)
JUDGED = 24
DAYS = 30
TAUGHT = 12
REJECTED = "flags more of the held-out good parts than the champion"


def fill(made: Line, blobs: LocalBlobs, now: datetime, count: int = 6) -> None:
    """Furnishes `count` stations and gives every page what it shows."""
    furnish(made, blobs, count, now)
    shots = [dict(pictures(made.engine, blobs, kind, n, now)) for n, kind in enumerate(KINDS)]
    with writing(made.engine) as conn:
        live = registry.live(conn, made.product_id)
        assert live
        _month(conn, made, live.id, now)
        rows = []
        for n in range(JUDGED + 8):
            at = now - timedelta(minutes=20 * n + 3)
            seen = {
                "event_at": at, "decided_at": at, "captured_at": at, "serial": f"F{2600 + n}", "lot": f"L{n // 12 + 1}",
                "deployment_id": live.id, "score": 2.0 + n / 20, "p_value": 0.004, "severity": 0.3 + n / 40,
            }  # fmt: skip
            rows.append(made.inspection(n, "review", **seen))
            kept = {name: value for name, value in seen.items() if name not in ("decided_at", "captured_at")}
            items.add_all(conn, [made.new_item(n, **kept, **shots[n % len(shots)])])
        inspections.add_all(conn, rows)
        rng = random.Random(3)
        scored = [
            made.inspection(n, event_at=now - timedelta(hours=n % 200), deployment_id=live.id,
                            severity=rng.gauss(-1.4, 0.5)) for n in range(4000)
        ]  # fmt: skip
        score_bins.add_inspections(conn, [*rows, *scored], UTC)
        _stream(conn, made, now)
        _teaching(conn, made, shots, now)
        waiting = items.queue(conn, station_id=made.station_id, limit=100)
    for n, item in enumerate(one for one in waiting if one.serial and one.serial.startswith("F")):
        if n < JUDGED:
            reason = KINDS[(item.offset) % len(KINDS)]
            reviews.decide(
                made.engine, made.operator, item.id, "defect" if reason else "normal", reason, key=f"w{n}",
                now=now - timedelta(minutes=n),
            )  # fmt: skip
    with writing(made.engine) as conn:
        _learning(conn, made, shots, now)


def _month(conn: Connection, made: Line, deployment_id: int, now: datetime) -> None:
    rng = random.Random(7)
    start = quarter(now) - timedelta(days=1)
    for station in stations.all(conn)[:3]:
        key = {"station_id": station.id, "product_id": made.product_id, "deployment_id": deployment_id}
        rows = []
        for n in range(DAYS * 24):
            worse = 0.03 if 200 < n < 240 else 0.0
            share = max(0.0, rng.gauss(0.02 + worse, 0.004) + 0.004 * math.sin(n / 24))
            rows.append({**key, "start": start - timedelta(hours=n), "lot": f"L{n // 12}", **sums(400, share)})
        add_quarters(conn, rows)


def _stream(conn: Connection, made: Line, now: datetime) -> None:
    for partition in range(2):
        claim = offsets.claim(conn, made.stream_id, partition, holder="agent-1", start=0, now=now)
        offsets.advance(conn, claim, 61_240 + partition, Counts(61_240, 61_212, 19, 6 - partition, 3 + partition), now)
    gaps.add(conn, made.stream_id, 1, 1200, 1260, "below_start", now - timedelta(days=2))
    letters = [
        NewDeadLetter(
            made.stream_id, 0, n, "press-9", "bad_header", "station press-9 is not registered: goodpart stations add",
            (("ce_source", "press-9"), ("ce_id", f"f{n}")), f"{n:064d}", None, True, now - timedelta(minutes=7 * n),
        )
        for n in range(6)
    ]  # fmt: skip
    dead_letters.add_all(conn, letters)
    for n, (kind, words) in enumerate((("disk", "4 GB are free on the host"), ("drift", "scores of flange drift"))):
        at = now - timedelta(hours=9 * n + 5)
        alerts.raise_(conn, kind, f"agent:{n}", words, level="warning", detail={}, event=False, now=at)
        alerts.clear(conn, kind, f"agent:{n}", at + timedelta(minutes=20))


def _teaching(conn: Connection, made: Line, shots: list[dict[str, str]], now: datetime) -> None:
    gasket = next(one for one in products.all(conn) if one.name == "gasket")
    parts = [
        made.new_item(
            5000 + n, product_id=gasket.id, kind="teach", verdict="not_inspected", reason="no_model",
            serial=f"G{n:03d}", score=None, p_value=None, severity=None, event_at=now - timedelta(minutes=n),
            **shots[n % len(shots)],
        )
        for n in range(TAUGHT)
    ]  # fmt: skip
    items.add_all(conn, parts)
    found = teachings.views(conn, gasket.id)
    teachings.record(conn, {one.item_id: 2.0 - n / 10 for n, one in enumerate(found)})


def _learning(conn: Connection, made: Line, shots: list[dict[str, str]], now: datetime) -> None:
    """A rejected challenger, a run that goes on, samples of each role, and one that waits for a second person."""
    for n in range(20):
        role = ("train", "train", "calibration", "holdout", "defect")[n % 5]
        reason = "scratch" if role == "defect" else None
        picture = shots[0]["frame_sha256"] if reason else add_blob(conn, 700 + n)
        new = NewSample(made.product_id, role, "import", picture, f"{n:064x}", reason=reason)
        samples.add(conn, new, now)
    known = samples.all(conn, made.product_id, "defect")[0]
    held = samples.add(
        conn, NewSample(made.product_id, "train", "flagged", shots[4]["frame_sha256"], "e" * 64,
                        added_by=made.operator.id, serial="F2604", state="proposed"), now,
    )  # fmt: skip
    words = Phrase(
        "looks more like a defect than {share:.0%} of the normals do; compared with {known}: others it cannot know",
        share=0.95, known="12 scratch",
    )  # fmt: skip
    said = {"words": words, MADE: made_of(words), "nearest": [known.id]}
    proposals.move(conn, held.id, "quarantined", expected=["proposed"], by=None, quarantine=said, now=now)
    ended = runs.open(conn, product_id=made.product_id, trigger="samples", settings={}, now=now - timedelta(hours=3))
    runs.start(conn, ended.id, None, now - timedelta(hours=3))
    version = registry.add_version(
        conn, product_id=made.product_id, artifact_sha256=add_blob(conn, 902), teacher="efficientnet_lite2",
        manifest={"settings": {"images": 310}}, training_run_id=ended.id, now=now - timedelta(hours=2),
    )  # fmt: skip
    registry.reject(conn, version.id, REJECTED)
    runs.close(conn, ended.id, "rejected", REJECTED, now - timedelta(hours=2))
    running = runs.open(
        conn, product_id=made.product_id, trigger="person", requested_by=made.engineer.id, settings={}, now=now
    )
    runs.start(conn, running.id, None, now)
    losses = [(step, 0.04 + 0.5 * math.exp(-step / 90)) for step in range(10, 350, 10)]
    runs.progress(
        conn, running.id, phase="training", step=340, steps=1000, loss=0.042, losses=losses, eta_s=64.0, now=now
    )
