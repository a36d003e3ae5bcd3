"""Dead letters published again: the same bytes as a new frame, decided once, and who did it on record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from agent.demo.broker import KafkaBroker, create_topics
from agent.frame import DataRef
from agent.letters.replay import Headers, Letters, NotReplayable
from agent.service import PermissionDenied
from agent.service import dead_letters as service
from agent.settings import Kafka, Settings, utc_now
from agent.sources.directory import DirectorySource
from agent.sources.directory_frames import DirectoryFrames
from agent.sources.kafka import KafkaSource
from agent.sources.memory import MemoryLog, MemorySource
from agent.store import dead_letters, products, users
from agent.store.engine import reading, writing
from agent.store.offsets import Counts
from agent.store.tables import audit_event
from tests.commands import goodpart
from tests.streams import Running, corrupt, frame, headers, running, settings


class Again:
    """An outlet into a log in memory."""

    def __init__(self, log: MemoryLog) -> None:
        self.log, self.reachable = log, True

    def deliver(self, value: bytes, headers: Headers, *, key: str) -> None:
        if not self.reachable:
            raise ConnectionError("away")
        self.log.append(value, headers, key=key.encode())


class Line:
    """A running line over a log in memory, with an engineer."""

    def __init__(self, run: Running, log: MemoryLog, wanted: Settings) -> None:
        self.run, self.log, self.outlet = run, log, Again(log)
        self.letters = Letters(run.engine, run.store, wanted)
        with writing(run.engine) as conn:
            self.engineer = users.add(conn, "eve", "engineer", utc_now())
            self.operator = users.add(conn, "olga", "operator", utc_now())

    def all(self) -> list[dead_letters.DeadLetter]:
        with reading(self.run.engine) as conn:
            return dead_letters.recent(conn)[::-1]

    def replay(self, letter: dead_letters.DeadLetter, *, key: str, **replaced: str) -> None:
        again = self.letters.prepare(letter, **replaced)
        self.letters.publish(again, self.outlet, self.engineer, key=key, clock=utc_now)

    def events(self) -> list[Any]:
        return [row for row in self.run.rows(audit_event) if row.action == service.REPLAY]

    def found(self) -> dict[str, tuple[str, str | None]]:
        return {row.frame_id: (row.verdict, row.reason) for row in self.run.rows()}


@contextmanager
def started(engine: Engine, folder: Path, **sections: Any) -> Iterator[Line]:
    log, wanted = MemoryLog(), settings(folder, **sections)
    with running(engine, wanted, MemorySource(log)) as run:
        yield Line(run, log, wanted)


def test_a_letter_becomes_one_part_however_often_it_is_published(engine: Engine, tmp_path: Path) -> None:
    with started(engine, tmp_path) as line:
        taken = utc_now() - timedelta(hours=3)
        more: dict[str, Any] = {"serial": "S-1", "lot": "L", "captured_at": taken, "sequence": 7}
        line.log.append(frame(), headers("x", station="nowhere", **more))
        line.run.until_received(1)
        (letter,) = line.all()
        line.outlet.reachable = False
        with pytest.raises(ConnectionError):
            line.replay(letter, key="k0", station="s1")
        assert line.events() == []
        line.outlet.reachable = True
        line.replay(letter, key="k1", station="s1")
        line.run.until_received(2)
        line.replay(letter, key="k2", station="s1")
        assert line.run.until_received(3) == Counts(3, inspected=1, dead_lettered=1, duplicate=1)
        (row,) = line.run.rows()
        assert row.frame_id.startswith("replay-")
        # Three hours old, and not too old: it is as old as its new record. Everything else is as its camera said.
        assert (row.verdict, row.serial, row.lot, row.captured_at) == ("pass", "S-1", "L", taken)
        first, _ = line.events()
        assert (first.user_id, first.subject) == (line.engineer.id, f"dead_letter:{letter.id}")
        assert first.detail == {"id": letter.id, "frame_id": row.frame_id, "station": "s1", "product": "flange"}
        published = line.log.read(0, 1, 1)[0][0]
        names = dict(published.headers)
        assert (published.value, published.key, names["ce_replayof"]) == (frame(), b"s1", b"goodpart.frames/0/0")
        assert "ce_sequence" not in names
        assert [name for name, _ in published.headers].count("ce_id") == 1
        with reading(engine) as conn:
            assert dead_letters.waiting(conn, "bad_header") == []


def test_a_claim_check_is_published_as_it_was(engine: Engine, tmp_path: Path) -> None:
    with started(engine, tmp_path, pipeline={"claim_wait_s": 0.1}) as line:
        ref = DataRef(f"{line.run.store.location}/late", hashlib.sha256(frame()).hexdigest(), len(frame()))
        line.log.append(b"", headers("late", dataref=ref))
        line.run.until_received(1)
        (letter,) = line.all()
        assert (letter.reason, letter.blob_sha256) == ("claim_missing", None)
        (tmp_path / "blobs" / "late").write_bytes(frame())
        line.replay(letter, key="k")
        assert line.run.until_received(2) == Counts(2, inspected=1, not_inspected=1)


def test_what_cannot_be_published_again_is_told(engine: Engine, tmp_path: Path) -> None:
    with started(engine, tmp_path) as line:
        with writing(engine) as conn:
            products.add(conn, "bracket", now=utc_now())
        line.log.append(frame(), headers("a", station="nowhere"))
        line.log.append(frame(), [("station", b"s1"), ("serial", b"\xff")])
        line.log.append(frame(), [*headers("c"), ("ce_time", b"yesterday")])
        line.log.append(corrupt(), headers("torn"))
        line.run.until_received(4)
        unknown, unreadable, untimely, torn = line.all()
        for letter, replaced, expected in (
            (unknown, {}, "station 'nowhere' is not registered"),
            (unknown, {"station": "s9"}, "station 's9' is not registered"),
            (unknown, {"station": "s1", "product": "nothing"}, "product 'nothing' is not registered"),
            (unknown, {"station": "s1", "product": "bracket"}, "no model"),
            (replace(unknown, blob_sha256=None), {"station": "s1"}, "bytes were not kept"),
            (replace(unknown, blob_sha256="0" * 64), {"station": "s1"}, "cannot be had"),
            (unreadable, {}, "header serial was not UTF-8"),
            (untimely, {}, "ce_time"),
        ):
            with pytest.raises(NotReplayable, match=expected):
                line.replay(letter, key="k", **replaced)
        with pytest.raises(PermissionDenied, match="engineer"):
            again = line.letters.prepare(torn)
            line.letters.publish(again, line.outlet, line.operator, key="k", clock=utc_now)
        assert line.log.bounds(0).end == 4, "nothing was published"
        assert line.events() == []
        line.replay(torn, key="k")
        assert line.run.until_received(5) == Counts(5, not_inspected=2, dead_lettered=3)
        assert len(line.all()) == 5, "what fails again is a dead letter again"


def test_a_spool_takes_them_too(engine: Engine, tmp_path: Path) -> None:
    spool, wanted = tmp_path / "spool", settings(tmp_path)
    raw = [
        ("content-type", b"application/x-goodpart-raw"),
        ("width", b"8"),
        ("height", b"4"),
        ("pixel_format", b"Mono8"),
    ]
    camera = DirectoryFrames(spool)
    with running(engine, wanted, DirectorySource(spool)) as run:
        camera.deliver(frame(), [("ce_id", b"a/b"), ("content-type", b"image/jpeg")], key=".hidden")
        camera.deliver(bytes([150]) * 32, [("ce_id", b"raw"), ("ce_source", b"s1"), *raw], key="s1")
        run.until_received(2)
        line = Line(run, MemoryLog(), wanted)
        (letter,) = line.all()
        assert letter.station == "%2Ehidden"
        again = line.letters.prepare(letter, station="s2")
        line.letters.publish(again, camera, line.engineer, key="k", clock=utc_now)
        assert run.until_received(3) == Counts(3, inspected=2, dead_lettered=1)


def test_from_the_command_line_over_a_broker(engine: Engine, tmp_path: Path) -> None:
    with KafkaBroker() as broker:
        kafka = {"bootstrap": broker.bootstrap, "session_timeout_s": 6}
        create_topics(Kafka(bootstrap=broker.bootstrap), {"goodpart.frames": 1})
        wanted = settings(tmp_path, kafka=kafka)
        environ = {"GOODPART_KAFKA__BOOTSTRAP": broker.bootstrap}

        def run_cli(*words: str, ok: bool = True) -> str:
            return goodpart(*words, folder=tmp_path, environ=environ, ok=ok)

        with writing(engine) as conn:
            eve = users.add(conn, "eve", "engineer", utc_now())
        with running(engine, wanted, KafkaSource(wanted.kafka, group_id="g")) as run:
            photos = tmp_path / "photos"
            photos.mkdir()
            (photos / "1.png").write_bytes(frame())
            run_cli("camera", "photos", "--station", "nowhere")
            run.until_received(1)
            (listed,) = json.loads(run_cli("dead-letters", "list", "--reason", "bad_header", "--json"))
            assert (listed["station"], listed["kept"], listed["replayed"]) == ("nowhere", "yes", None)
            number = str(listed["id"])
            refused: list[tuple[tuple[str, ...], str]] = [
                ((number, "--reason", "bad_header"), "ids of dead letters, or --reason"),
                ((number,), "station 'nowhere' is not registered"),
            ]
            for words, expected in refused:
                said = run_cli("dead-letters", "replay", *words, "--as", "eve", ok=False).strip()
                assert expected in said
                assert len(said.splitlines()) == 1, said
            said = run_cli("dead-letters", "replay", "--reason", "bad_header", "--as", "eve", ok=False)
            assert "skipped: dead letter" in said
            again = ("dead-letters", "replay", number, "--station", "s1", "--as", "eve")
            assert "1 published" in run_cli(*again)
            run.until_received(2)
            run_cli(*again)
            assert run.until_received(3) == Counts(3, inspected=1, dead_lettered=1, duplicate=1)
            assert json.loads(run_cli("dead-letters", "list", "--json"))[0]["replayed"]
            assert "0 published" in run_cli("dead-letters", "replay", "--reason", "bad_header", "--as", "eve")
            run_cli("camera", "photos", "--station", "elsewhere")
            run.until_received(4)
            give_up = ("dead-letters", "discard", "--because", "a test", "--as", "eve")
            assert "ids of dead letters, or --reason" in run_cli(*give_up, ok=False)
            with reading(engine) as conn:
                (left,) = [one.id for one in dead_letters.waiting(conn)]
            asked = service.ask_replay(engine, eve, [left], station="s1", key="k", now=utc_now())
            assert "0 discarded" in run_cli(*give_up, "--reason", "bad_header"), "an agent publishes it"
            service.cancel(engine, eve, asked, key="k2", now=utc_now())
            assert "1 discarded" in run_cli(*give_up, "--reason", "bad_header")
            (gone, _) = json.loads(run_cli("dead-letters", "list", "--json"))
            assert (gone["station"], gone["state"], gone["kept"]) == ("elsewhere", "discarded", "no")
            assert "was discarded already" in run_cli(*give_up, str(gone["id"]), ok=False)
        for options, expected in (
            (("--from", "yesterday"), "2026-01-31T08:00:00Z"),
            (("--from", "2001-01-01", "--to", "2001-01-01"), "nothing was inspected then"),
            (("--from", "2026-01-31", "--station", "s9", "--limit", "0"), "--limit 0"),
        ):
            said = run_cli("replay", *options, ok=False).strip()
            assert expected in said
            assert len(said.splitlines()) == 1, said
        # Its artifact is no model, so nothing can be compared; the record was read from the broker.
        start = (utc_now() - timedelta(hours=1)).isoformat()
        said = run_cli("replay", "--from", start, "--json", ok=False)
        (line,) = [json.loads(one) for one in said.splitlines() if one.startswith("{")]
        assert (line["agreement"], line["source"], line["before"]["verdict"]) == ("not_comparable", "log", "pass")
        assert "none of them could be compared" in said
        assert "Traceback" not in said
    assert "no Kafka broker answers" in goodpart("replay", "--from", start, folder=tmp_path, environ=environ, ok=False)


def test_who_was_asked_for_is_found(engine: Engine, tmp_path: Path) -> None:
    with started(engine, tmp_path) as line:
        for number, station in enumerate(("n1", "n2", "n1")):
            line.log.append(frame(), headers(f"f{number}", station=station))
        line.log.append(corrupt(), headers("torn"))
        line.run.until_received(4)
        with reading(engine) as conn:
            of_n1 = dead_letters.recent(conn, station="n1")
            assert [one.offset for one in of_n1] == [2, 0]
            assert [one.offset for one in dead_letters.recent(conn, 1, reason="bad_header")] == [2]
            assert [one.offset for one in dead_letters.waiting(conn, "bad_header")] == [0, 1, 2]
            assert dead_letters.at(conn, of_n1[0].stream_id, 0, [1, 3, 9]).keys() == {1, 3}
            assert conn.execute(sa.select(sa.func.count()).select_from(audit_event)).scalar_one() == 1, "a promotion"
