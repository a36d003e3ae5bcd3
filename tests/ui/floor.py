"""A shop floor for browser tests and pictures: any number of stations, each in a state of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import cycle, islice
from typing import Any

import cv2
import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from agent.demo import render
from agent.phrases import Phrase
from agent.pipeline.pictures import Heatmap
from agent.pipeline.pictures import render as drawn
from agent.store import alerts, certificates, items, products, registry, stations, teachings, trends
from agent.store.blobs import keep
from agent.store.buckets import hour, minute, quarter
from agent.store.engine import writing
from agent.store.local_blobs import LocalBlobs
from agent.store.rows import insert_sums, values
from agent.store.tables import item, rollup_hour, rollup_minute, rollup_quarter, station
from model.certificate import certify
from model.images import InputSpec
from tests.databases import Line, add_blob

RUNNING = ("running",) * 3
STATES = ("running", "stopped", "blind", *RUNNING, "frozen", "late", *RUNNING, "slow", "over its rate", *RUNNING,
          "out of focus", "waiting", "teaching", "no model", "uncertified", *RUNNING)  # fmt: skip
PER_MINUTE = 30
LOT = "L7"
SILENT_AFTER_S = 900.0  # nobody has said it of every fourth station
SIDE = 256  # pixels of a heatmap
TEACHER, MANIFEST, FIRST = "efficientnet_lite2", {"settings": {"images": 310}}, Phrase("first model")
SINCE = timedelta(days=12)  # the first model decides
ALERTS = {
    "blind": ("station_blind", "error", "{} is blind: 23 frames in a row could not be inspected. Look at its camera"),
    "frozen": ("camera_frozen", "warning", "station {}: its camera repeats the same picture: look at the camera"),
    "out of focus": ("camera_defocused", "warning", "station {}: its pictures have 40% of the usual sharpness"),
    "over its rate": ("flag_rate", "warning", "{} flagged 400 of 4,000 frames of flange in 24 h (10.0%)"),
}


def furnish(made: Line, blobs: LocalBlobs, count: int, now: datetime) -> dict[str, str]:
    """Stations press-1 .. press-`count` and what the store knows of them; each one's state by its name."""
    shots = [pictures(made.engine, blobs, kind, n, now) for n, kind in enumerate(("scratch", None, "dent", "stain"))]
    states = {f"press-{n}": state for n, state in enumerate(islice(cycle(STATES), count), 1)}
    with writing(made.engine) as conn:
        made_of = _products(conn, made, now)
        for n, (name, state) in enumerate(states.items()):
            known = stations.find(conn, name)
            product_id, deployment_id = made_of.get(state, made_of["running"])
            where = known or stations.add(conn, name, product_id=product_id, now=now)
            if n % 4 != 3:
                stations.change(conn, where.id, silent_after_s=SILENT_AFTER_S)
            _fares(conn, where.id, state, now)
            conn.execute(sa.update(station).where(station.c.id == where.id).values(product_id=product_id))
            if state != "waiting":
                _ran(conn, where.id, product_id, deployment_id, state, now)
                of = {"station_id": where.id, "product_id": product_id, "deployment_id": deployment_id or None}
                _kept(conn, made, {**of, "lot": LOT}, shots, now)
    return states


def _products(conn: Connection, made: Line, now: datetime) -> dict[str, tuple[int, int]]:
    """Product and deployment by the state that they are for."""
    scores = [n / 2000 for n in range(2000)]
    record = certify(
        scores, artifact_sha256="a", calibration_sha256="c", fingerprint="f", review_rate=0.05, reject_rate=0.01,
        confidence=0.95,
    ).to_dict()  # fmt: skip
    version = registry.add_version(
        conn, product_id=made.product_id, artifact_sha256=add_blob(conn, 900), teacher=TEACHER, manifest=MANIFEST,
        now=now - SINCE,
    )  # fmt: skip
    certificate = certificates.add(conn, version_id=version.id, record=record, now=now - SINCE)
    live = registry.promote(
        conn, version_id=version.id, certificate_id=certificate, config_hash="0" * 64, reason=FIRST, by=None,
        now=now - SINCE,
    ).id  # fmt: skip
    bracket, gasket, shim = (products.add(conn, name, now=now - SINCE).id for name in ("bracket", "gasket", "shim"))
    other = registry.add_version(
        conn, product_id=bracket, artifact_sha256=add_blob(conn, 901), teacher=TEACHER, manifest=MANIFEST,
        now=now - SINCE,
    )  # fmt: skip
    bare = registry.promote(
        conn, version_id=other.id, certificate_id=None, config_hash="0" * 64, reason=FIRST, by=None, now=now - SINCE
    ).id
    teachings.begin(conn, gasket, made.station_id, 250, made.engineer.id, now)
    return {
        "running": (made.product_id, live), "uncertified": (bracket, bare), "teaching": (gasket, 0),
        "no model": (shim, 0),
    }  # fmt: skip


def _fares(conn: Connection, station_id: int, state: str, now: datetime) -> None:
    where = stations.get(conn, station_id)
    if state != "waiting":
        last = now - timedelta(minutes=14 if state == "stopped" else 0, seconds=station_id % 3)
        stations.set_status(conn, station_id, "blind" if state == "blind" else "ok", 23 * (state == "blind"), last, now)
    if state in ALERTS:
        kind, level, words = ALERTS[state]
        subject = f"station:{where.name}" + (" product:flange" if kind == "flag_rate" else "")
        alerts.raise_(
            conn, kind, subject, words.format(where.name), level=level, detail={}, event=False,
            now=now - timedelta(minutes=3),
        )  # fmt: skip


def _ran(conn: Connection, station_id: int, product_id: int, deployment_id: int, state: str, now: datetime) -> None:
    """A day of quarters, and the last hour's minutes."""
    key = {"station_id": station_id, "product_id": product_id, "lot": LOT, "deployment_id": deployment_id}
    usual = usual_rate(station_id)
    quarters = [quarter(now) - timedelta(minutes=15 * n) for n in range(96)]
    rows = [{**key, "start": at, **sums(15 * usual, 0.02)} for at in quarters[1:]]
    began = usual * (1 + (now - quarters[0]) // timedelta(minutes=1))  # a shift may just have begun
    add_quarters(conn, [*rows, {**key, "start": quarters[0], **sums(began, 0.02)}])
    ended = 15 if state == "stopped" else 0
    starts = [minute(now) - timedelta(minutes=n) for n in range(ended, 60)]
    share = {"over its rate": 0.1, "uncertified": 1.0}.get(state, 0.02 + 0.001 * (station_id % 9))
    frames = usual // 4 if state == "slow" else usual
    failed = state in ("blind", "no model", "teaching")
    late = 0.4 if state == "late" else 0.0
    rows = [{**key, "start": at, **sums(frames, share, late, failed)} for at in starts]
    conn.execute(sa.insert(rollup_minute), rows)


def usual_rate(station_id: int) -> int:
    """Its frames a minute."""
    return PER_MINUTE + station_id % 7


def add_quarters(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Sums of quarters, and those of their hours."""
    conn.execute(sa.insert(rollup_quarter), rows)
    hours = [{**row, "start": hour(row["start"])} for row in rows]
    conn.execute(insert_sums(conn, rollup_hour, trends.KEY, trends.SUMS), hours)


def sums(frames: int, flagged: float, late: float = 0.0, failed: bool = False) -> Mapping[str, float]:
    """A rollup's numbers of so many frames."""
    inspected, review = (0, 0) if failed else (frames, round(frames * flagged))
    return {
        "n_pass": inspected - review, "n_review": review, "n_reject": 0, "n_not_inspected": frames - inspected,
        "n_late": round(frames * late), "sum_latency_ms": frames * (4000.0 if late else 380.0),
    }  # fmt: skip


def _kept(
    conn: Connection, made: Line, part: Mapping[str, Any], shots: Sequence[Mapping[str, str]], now: datetime
) -> None:
    """Parts that wait for people, and one that was judged."""
    station_id, last = part["station_id"], len(shots) - 1
    kept = [
        made.new_item(
            10_000 * station_id + at, serial=f"S{station_id}-{at:03d}", event_at=now - timedelta(minutes=at),
            **part, **shots[(station_id + at + last) % len(shots)],
        )
        for at in reversed(range(station_id * 5 % 23))
    ]  # fmt: skip
    items.add_all(conn, kept)
    judged = made.new_item(
        10_000 * station_id + 99, serial=f"S{station_id}-judged",
        event_at=now - timedelta(minutes=3 + station_id % 9), **part,
        **shots[(station_id - 1) % len(shots)],
    )  # fmt: skip
    conn.execute(sa.insert(item).values(**values(judged), state="closed", decision="normal"))


def heat(mask: Any, seed: int) -> Heatmap:
    """A map that is hot where the mask of a defect is, over the unrest of a good part."""
    noise = np.random.default_rng(seed).random((SIDE, SIDE)).astype(np.float32)
    marked = cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    found = cv2.GaussianBlur(marked, (0, 0), 9) + cv2.GaussianBlur(noise, (0, 0), 14)
    return Heatmap(np.asarray(found, np.float32), InputSpec(SIDE, SIDE))


@cache
def _rendered(kind: str | None, seed: int) -> Mapping[str, tuple[bytes, str]]:
    shot, mask = render.picture(kind, 0.9, (seed, 5))
    made = drawn(shot, heat(mask, seed), heat(np.zeros_like(mask), seed + 50))  # a second model sees nothing in it
    assert made.overlay and made.heatmap and made.other_overlay
    return {
        "frame_sha256": (render.jpeg(shot), "image/jpeg"), "preview_sha256": (made.preview, "image/webp"),
        "overlay_sha256": (made.overlay, "image/webp"), "thumbnail_sha256": (made.thumbnail, "image/webp"),
        "heatmap_sha256": (made.heatmap, "application/x-npy"),
        "other_overlay_sha256": (made.other_overlay, "image/webp"),
    }  # fmt: skip


def pictures(engine: Engine, blobs: LocalBlobs, kind: str | None, seed: int, now: datetime) -> Mapping[str, str]:
    """The evidence of one part of the demo's product, kept."""
    return {name: keep(engine, blobs, data, media, now) for name, (data, media) in _rendered(kind, seed).items()}
