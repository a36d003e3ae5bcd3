"""Recorded decisions made again, over a log in memory: what agrees, what differs, what is gone; nothing is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from agent.frame import DataRef, RawFormat, Record, StreamKey
from agent.replay import run as replay_run
from agent.replay.comparing import Agreement, Replayed
from agent.replay.frames import Log
from agent.replay.models import Models
from agent.replay.run import Replay, ReplayError
from agent.settings import Settings, utc_now
from agent.sources.memory import MemoryLog, MemorySource
from agent.store import certificates, products, registry, tables
from agent.store.blobs import keep
from agent.store.engine import reading, writing
from agent.store.inspections import Window, count_in
from agent.store.local_blobs import LocalBlobs
from tests.databases import database
from tests.streams import (
    DEFECT,
    GOOD,
    POISON,
    FakeScored,
    FakeScorer,
    Seeded,
    corrupt,
    frame,
    headers,
    running,
    settings,
)

pytestmark = pytest.mark.usefixtures("each_database")
RAW = RawFormat(8, 4, "Mono8")
IQR = 0.5  # of tests.streams.certificate
SCORED = {"good", "bad", "raw", "raw-bad", "ref", "ref-bad", "plain"}
FAILED = {"torn", "old", "big", "short", "poison", "never", "tiny"}


@dataclass
class Twin:
    """The log in memory, as a broker's is read again; `trusting` plays one that has no topic ids."""

    log: MemoryLog
    trusting: bool = False

    def has(self, key: StreamKey) -> bool:
        return self.trusting or key == self.log.key

    def read(self, key: StreamKey, partition: int, offsets: Sequence[int]) -> Iterator[Record]:
        for offset in offsets:
            yield from (one for one in self.log.read(partition, offset, 1)[0] if one.offset == offset)


@dataclass
class Shifted(FakeScorer):
    """Scores a little higher, or much."""

    by: float = 0.0

    def score(self, frames: Sequence[Any]) -> list[FakeScored]:
        return [replace(one, score=one.score + self.by) for one in super().score(frames)]


@dataclass
class Recorded:
    """A line with a frame of every outcome, each inspected."""

    engine: Engine
    settings: Settings
    log: MemoryLog
    seeded: Seeded
    ids: dict[tuple[int, int], str]

    @property
    def twin(self) -> Twin:
        return Twin(self.log)

    def replay(
        self,
        log: Log | None,
        scorer: FakeScorer | None = None,
        *,
        live: bool = False,
        tolerance: float | None = None,
        limit: int = 1000,
        **only: int,
    ) -> list[Replayed]:
        store, wanted = LocalBlobs(self.settings.blobs.directory), self.settings

        def load(data: bytes, _: Settings) -> FakeScorer:
            return replace(scorer or FakeScorer(), artifact_sha256=hashlib.sha256(data).hexdigest())

        models = Models(self.engine, store, wanted, live=live, load=load)
        replay = Replay(self.engine, store, wanted, log, models, tolerance=tolerance)
        now = utc_now()
        window = Window(start=now - timedelta(hours=9), end=now + timedelta(hours=1), **only)
        with reading(self.engine) as conn:
            assert only or count_in(conn, window) == len(self.ids)
        return list(replay.run(window, limit))

    def agreements(self, *args: Any, **options: Any) -> dict[str, str]:
        found = self.replay(*args, **options)
        assert len(found) == len({one.before.frame_id for one in found})
        return {one.before.frame_id: str(one.agreement) for one in found}

    def rows(self) -> dict[str, list[Any]]:
        with reading(self.engine) as conn:
            return {one.name: list(conn.execute(sa.select(one))) for one in tables.metadata.sorted_tables}


@pytest.fixture(scope="module")
def recorded(each_database: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder, log = tmp_path_factory.mktemp("line"), MemoryLog(2)
    store, good, bad = LocalBlobs(folder / "blobs"), frame(GOOD), frame(DEFECT)
    (folder / "blobs").mkdir()

    def refer(name: str, data: bytes) -> list[tuple[str, bytes]]:
        ref = DataRef(f"{store.location}/{name}", hashlib.sha256(data).hexdigest(), len(data))
        return headers(name, dataref=ref)

    for name, data in (("ref", good), ("ref-bad", bad)):
        (folder / "blobs" / name).write_bytes(data)
    raw: dict[str, Any] = {"content_type": "application/x-goodpart-raw", "raw": RAW}
    sent: list[tuple[bytes, Any]] = [
        (good, headers("good", serial="S-1", lot="L")),
        (bad, headers("bad", station="s2")),
        (bytes([GOOD]) * 32, headers("raw", **raw)),
        (bytes([DEFECT]) * 32, headers("raw-bad", **raw)),
        (b"", refer("ref", good)),
        (b"", refer("ref-bad", bad)),
        (good, [("id", b"plain"), ("station", b"s1")]),
        (corrupt(), headers("torn")),
        (good, headers("old", captured_at=utc_now() - timedelta(hours=3))),
        (bytes(2 << 20), headers("big")),
        (bytes(31), headers("short", **raw)),
        (frame(POISON), headers("poison")),
        (b"", refer("never", good)),
        (frame(side=3), headers("tiny")),
        (good, headers("x", station="nowhere")),  # a dead letter has no inspection to replay
    ]
    for number, (value, head) in enumerate(sent):
        log.append(value, head, partition=number % 2)
    wanted = settings(folder, pipeline={"max_frame_mb": 1, "claim_wait_s": 0.2, "batch_size": 4})
    with database(folder) as engine, running(engine, wanted, MemorySource(log)) as run:
        run.until_received(len(sent))
        run.pipeline.stop()
        ids = {(row.partition, row.offset): row.frame_id for row in run.rows()}
        assert set(ids.values()) == SCORED | FAILED
        yield Recorded(engine, wanted, log, run.seeded, ids)


def test_what_is_replayed_as_it_was_is_identical_and_nothing_is_written(recorded: Recorded) -> None:
    before = recorded.rows()
    found = recorded.replay(recorded.twin)
    assert {one.before.frame_id: one.agreement for one in found} == dict.fromkeys(SCORED | FAILED, Agreement.IDENTICAL)
    assert {one.source for one in found} == {"log"}
    assert all(one.difference == 0 for one in found if one.before.frame_id in SCORED)
    assert recorded.rows() == before
    assert recorded.log.committed == {0: 8, 1: 7}, "nobody told the log anything"


@pytest.mark.parametrize(
    ("by", "tolerance", "expected"),
    [
        (0.0009 * IQR, None, "within_tolerance"),
        (0.0011 * IQR, None, "different"),
        (0.05, 0.06, "within_tolerance"),
        (0.0001, 0.0, "different"),
    ],
)
def test_scores_that_differ_are_measured_against_the_tolerance(
    recorded: Recorded, by: float, tolerance: float | None, expected: str
) -> None:
    found = recorded.replay(recorded.twin, Shifted(by=by), tolerance=tolerance)
    scored = [one for one in found if one.before.score is not None]
    assert {str(one.agreement) for one in scored} == {expected}
    assert all(one.difference == pytest.approx(by) for one in scored)
    assert all(one.tolerance == pytest.approx(0.001 * IQR if tolerance is None else tolerance) for one in scored)


def test_another_verdict_is_different_whatever_the_tolerance(recorded: Recorded) -> None:
    found = recorded.agreements(recorded.twin, Shifted(by=1.0), tolerance=10.0)
    assert found["good"] == "different"  # a pass that is flagged now
    assert found["bad"] == "within_tolerance"
    assert found["torn"] == "identical"


def test_a_frame_that_the_model_fails_on_now_is_different(recorded: Recorded) -> None:
    class Failing(FakeScorer):
        def score(self, frames: Sequence[Any]) -> list[FakeScored]:
            if any(int(one[0, 0, 0]) == DEFECT for one in frames):
                raise ValueError("no defects, please")
            return super().score(frames)

    found = recorded.agreements(recorded.twin, Failing())
    assert {name for name, agreement in found.items() if agreement == "different"} == {"bad", "raw-bad", "ref-bad"}

    class Breaking(FakeScorer):
        def score(self, frames: Sequence[Any]) -> list[FakeScored]:
            self.broken = True  # only once it was warmed up
            return super().score(frames)

    with pytest.raises(ReplayError, match=r"every frame \(the device is gone\)"):
        recorded.replay(recorded.twin, Breaking())


def test_what_the_log_lost_is_found_where_it_was_kept(recorded: Recorded) -> None:
    flagged, failed = {"bad", "raw-bad", "ref-bad"}, {"torn", "big", "short", "poison", "tiny"}
    for log in (None, Twin(MemoryLog(2)), _recreated()):
        found = {one.before.frame_id: one for one in recorded.replay(log)}
        identical = {name for name, one in found.items() if one.agreement == "identical"}
        assert identical == flagged | failed
        assert {one.source for name, one in found.items() if name in identical} == {"kept"}
        assert {str(found[name].agreement) for name in found.keys() - identical} == {"gone"}


def test_retention_takes_some_of_them(recorded: Recorded) -> None:
    shortened = MemoryLog(2)
    shortened.key = recorded.log.key
    for partition in range(2):
        for one in recorded.log.read(partition, 0, 100)[0]:
            shortened.append(one.value, one.headers, partition=partition, timestamp=one.timestamp)
    shortened.truncate(0, 3)
    found = recorded.agreements(Twin(shortened))
    lost = {name for (partition, offset), name in recorded.ids.items() if partition == 0 and offset < 3}
    assert lost == {"good", "raw", "ref"}
    assert {name for name, agreement in found.items() if agreement == "gone"} == lost


def test_another_topic_of_that_name_is_not_taken_for_the_old_one(recorded: Recorded) -> None:
    other = MemoryLog(2)
    for number in range(20):
        other.append(frame(DEFECT), headers("good" if number < 2 else f"f{number}"), partition=number % 2)
    found = recorded.agreements(Twin(other, trusting=True))
    assert found["good"] == "gone", "the same id at the same offset, at another time"
    assert found["bad"] == "identical", "as kept"


def _recreated() -> Twin:
    log = MemoryLog(2)
    log.recreate()
    log.append(frame(), headers("other"))
    return Twin(log)


def test_a_claim_check_that_leads_nowhere_any_more(recorded: Recorded) -> None:
    place = recorded.settings.blobs.directory
    taken = {name: (place / name).read_bytes() for name in ("ref", "ref-bad")}
    try:
        (place / "ref").unlink()
        (place / "ref-bad").write_bytes(b"another")
        found = {one.before.frame_id: one for one in recorded.replay(recorded.twin)}
        assert found["ref"].agreement == Agreement.GONE
        assert (found["ref-bad"].agreement, found["ref-bad"].source) == (Agreement.IDENTICAL, "kept")
    finally:
        for name, data in taken.items():
            (place / name).write_bytes(data)
    (place / "never").write_bytes(frame(GOOD))
    try:
        assert recorded.agreements(recorded.twin)["never"] == "not_comparable", "it came after all"
    finally:
        (place / "never").unlink()


def test_every_inspection_comes_once_whatever_the_page(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    for page in (1, 3, 5):
        monkeypatch.setattr(replay_run, "PAGE", page)
        assert set(recorded.agreements(recorded.twin)) == SCORED | FAILED
    oldest = [one.before.frame_id for one in recorded.replay(recorded.twin, limit=2)]
    assert "old" in oldest
    assert len(oldest) == 2
    assert [one.before.frame_id for one in recorded.replay(recorded.twin, station_id=_station(recorded, "s2"))] == [
        "bad"
    ]


def _station(recorded: Recorded, name: str) -> int:
    with reading(recorded.engine) as conn:
        return int(conn.execute(sa.select(tables.station.c.id).where(tables.station.c.name == name)).scalar_one())


def test_few_bytes_at_once_change_nothing(recorded: Recorded) -> None:
    narrow = recorded.settings.pipeline.model_copy(update={"queue_mb": 0})
    one_by_one = replace(recorded, settings=recorded.settings.model_copy(update={"pipeline": narrow}))
    assert set(one_by_one.agreements(recorded.twin).values()) == {"identical"}


def test_a_certificate_of_another_machine_still_says_what_its_scores_mean(recorded: Recorded) -> None:
    elsewhere = replace(FakeScorer(), fingerprint="another/1")
    assert set(recorded.agreements(recorded.twin, elsewhere).values()) == {"identical"}


def test_what_is_live_now_is_asked_instead(recorded: Recorded) -> None:
    now = utc_now()
    artifact = keep(recorded.engine, LocalBlobs(recorded.settings.blobs.directory), b"second", "x/y", now)
    with writing(recorded.engine) as conn:
        version = registry.add_version(
            conn, product_id=recorded.seeded.product_id, artifact_sha256=artifact, teacher="none", manifest={}, now=now
        )
        record = registry.deployments(conn, recorded.seeded.product_id)[0].certificate
        assert record is not None
        row = certificates.add(conn, version_id=version.id, record={**record, "artifact_sha256": artifact}, now=now)
        registry.promote(
            conn, version_id=version.id, certificate_id=row, config_hash="2" * 64, reason="test", by=None, now=now
        )
    assert set(recorded.agreements(recorded.twin).values()) == {"identical"}, "what decided then is asked"
    found = {one.before.frame_id: one for one in recorded.replay(recorded.twin, Shifted(by=1.0), live=True)}
    assert found["good"].agreement == Agreement.DIFFERENT
    assert found["good"].now is not None
    assert found["good"].now.verdict == "review"
    assert (found["bad"].agreement, found["bad"].tolerance) == (Agreement.SAME_VERDICT, None)
    assert found["torn"].agreement == Agreement.IDENTICAL


def test_an_artifact_that_is_lost_leaves_nothing_to_compare(recorded: Recorded) -> None:
    sha256 = recorded.seeded.artifact_sha256
    artifact = recorded.settings.blobs.directory / sha256[:2] / sha256[2:4] / sha256
    aside = artifact.rename(artifact.with_suffix(".aside"))
    try:
        found = {one.before.frame_id: one for one in recorded.replay(recorded.twin)}
    finally:
        aside.rename(artifact)
    assert {str(found[name].agreement) for name in SCORED | {"poison", "tiny"}} == {"not_comparable"}
    assert "cannot be used here" in found["good"].detail
    assert {str(found[name].agreement) for name in FAILED - {"poison", "tiny"}} == {"identical"}


def test_a_product_without_a_model_has_none_again(tmp_path: Path) -> None:
    log = MemoryLog()
    with database(tmp_path) as engine:
        with writing(engine) as conn:
            products.add(conn, "bracket", now=utc_now())
        log.append(frame(), headers("a", product="bracket"))
        with running(engine, settings(tmp_path), MemorySource(log)) as run:
            run.until_received(1)
        line = Recorded(engine, settings(tmp_path), log, run.seeded, {(0, 0): "a"})
        (one,) = line.replay(line.twin)
        assert (one.agreement, one.before.reason) == (Agreement.IDENTICAL, "no_model")
        assert one.now is not None
        assert "bracket" in one.now.detail
