"""What a page asks of dead letters, done by an agent: shown, published again once, refused with its reason."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from agent.camera.errors import CameraError, FrameTooLarge
from agent.demo.broker import KafkaBroker, create_topics
from agent.letters import preview, worker
from agent.letters.replay import Headers, Letters, NotReplayable, Outlet
from agent.letters.worker import Worker
from agent.retrain import holding
from agent.service import Invalid, PermissionDenied
from agent.service import dead_letters as service
from agent.settings import Kafka, Settings, utc_now
from agent.sources.kafka import KafkaSource
from agent.sources.memory import MemoryLog, MemorySource
from agent.store import audit, commands, dead_letters, evidence, users
from agent.store.blobs import media_type
from agent.store.commands import Command
from agent.store.engine import Conflict, NotFound, reading, writing
from agent.store.offsets import Counts
from agent.store.references import NAMING
from agent.store.tables import dead_letter
from agent.store.users import User
from model.images import decode
from tests.streams import Running, corrupt, frame, headers, running, settings, until


class Plant:
    """A running line over a log in memory, people, and the worker of an agent."""

    def __init__(self, run: Running, log: MemoryLog, wanted: Settings) -> None:
        self.run, self.log, self.away = run, log, ""
        self.engine = run.engine
        self.worker = Worker(run.engine, run.store, wanted, clock=utc_now, outlet=self.outlet)
        self.key = itertools.count()
        with writing(run.engine) as conn:
            self.engineer = users.add(conn, "eve", "engineer", utc_now())
            self.operator = users.add(conn, "olga", "operator", utc_now())

    @contextmanager
    def outlet(self, _: Settings) -> Iterator[Outlet]:
        if self.away:
            raise CameraError(self.away)
        yield self

    def deliver(self, value: bytes, headers: Headers, *, key: str) -> None:
        if len(value) > 500_000:
            raise FrameTooLarge("the broker takes no frames of this size")
        self.log.append(value, headers, key=key.encode())

    def letters(self) -> list[dead_letters.DeadLetter]:
        with reading(self.engine) as conn:
            return dead_letters.recent(conn)[::-1]

    def ask(self, ids: list[int], by: User | None = None, **more: Any) -> int:
        key = more.pop("key", f"k{next(self.key)}")
        return service.ask_replay(self.engine, by or self.engineer, ids, key=key, now=utc_now(), **more)

    def look(self, letter_id: int) -> int:
        return service.ask_preview(self.engine, self.engineer, letter_id, key=f"k{next(self.key)}", now=utc_now())

    def command(self, command_id: int) -> Command:
        with reading(self.engine) as conn:
            return commands.get(conn, command_id)


@pytest.fixture
def plant(engine: Engine, tmp_path: Path) -> Iterator[Plant]:
    log, wanted = MemoryLog(), settings(tmp_path, pipeline={"max_frame_mb": 1})
    with running(engine, wanted, MemorySource(log)) as run:
        yield Plant(run, log, wanted)


def test_what_a_page_asks_for_is_published_once_and_says_what_came_of_each(plant: Plant) -> None:
    for n in range(3):
        plant.log.append(frame(), headers(f"f{n}", station="nowhere"))
    plant.log.append(frame(), [*headers("late"), ("ce_time", b"yesterday")])
    plant.run.until_received(4)
    ids = [one.id for one in plant.letters()]
    asked = plant.ask(ids, station="s1", key="twice")
    assert plant.ask(ids, station="s1", key="twice") == asked, "a double click"
    with pytest.raises(Conflict, match="an agent was asked to replay dead letter"):
        plant.ask(ids[:1], station="s1")
    with pytest.raises(Conflict, match="an agent was asked to replay"):
        service.discard(plant.engine, plant.engineer, ids[:1], "test frames", key="d", now=utc_now())
    plant.away = "no broker answers"
    assert not plant.worker.turn()
    waits = plant.command(asked)
    assert waits.state == "queued" and waits.result and waits.result["waits"] == "no broker answers"
    plant.away = ""
    assert plant.worker.turn()
    assert plant.run.until_received(7) == Counts(7, inspected=3, dead_lettered=4)
    done = plant.command(asked)
    assert done.state == "done" and done.result
    assert (done.result["published"], done.result["refused"], done.result["left"]) == (3, 1, 0)
    ((refused, why),) = done.result["problems"]
    assert refused == ids[3] and "ce_time" in why
    assert [one.state for one in plant.letters()] == ["replayed"] * 3 + ["waiting"]
    with pytest.raises(Conflict, match="was replayed already"):
        plant.ask(ids, station="s1")
    with reading(plant.engine) as conn:
        assert [one.user_id for one in audit.recent(conn, action=service.REPLAY)] == [plant.engineer.id] * 3
        assert dead_letters.piles(conn) == [dead_letters.Pile("bad_header", 1, 3, 0)]
        assert dead_letters.stations(conn) == []
    plant.worker.turn()
    assert plant.log.bounds(0).end == 7, "there is nothing more to do"


def test_roles_and_numbers_are_refused_by_the_service(plant: Plant) -> None:
    plant.log.append(frame(), headers("f", station="nowhere"))
    plant.run.until_received(1)
    (letter,) = plant.letters()
    with pytest.raises(PermissionDenied, match="engineer"):
        plant.ask([letter.id], by=plant.operator)
    with pytest.raises(PermissionDenied, match="engineer"):
        service.ask_preview(plant.engine, plant.operator, letter.id, key="p", now=utc_now())
    with pytest.raises(PermissionDenied, match="engineer"):
        service.discard(plant.engine, plant.operator, [letter.id], "why", key="d", now=utc_now())
    for wrong in ([], list(range(service.MOST + 1))):
        with pytest.raises(Invalid, match="at once"):
            plant.ask(wrong)
    with pytest.raises(NotFound):
        plant.ask([letter.id, 99])
    with pytest.raises(Invalid, match="say why"):
        service.discard(plant.engine, plant.engineer, [letter.id], " ", key="d", now=utc_now())
    # Whoever may no more when the agent comes to it has asked in vain.
    asked = plant.ask([letter.id], station="s1")
    with writing(plant.engine) as conn:
        users.change_role(conn, plant.engineer.id, "operator")
    assert plant.worker.turn()
    failed = plant.command(asked)
    assert failed.state == "failed" and failed.result and "engineer" in failed.result["problem"]
    assert plant.log.bounds(0).end == 1


def test_what_was_discarded_is_let_go_and_cannot_be_published(plant: Plant) -> None:
    for n in range(2):
        plant.log.append(frame(), headers(f"f{n}", station="nowhere"))
    plant.run.until_received(2)
    first, second = plant.letters()
    for _ in range(2):
        service.discard(plant.engine, plant.engineer, [first.id], "a test", key="d", now=utc_now())
    found = plant.letters()[0]
    assert (found.state, found.blob_sha256, found.value_sha256) == ("discarded", None, first.value_sha256)
    with pytest.raises(Conflict, match="was discarded already"):
        service.discard(plant.engine, plant.engineer, [second.id, first.id], "a test", key="d2", now=utc_now())
    assert plant.letters()[1].state == "waiting", "all or none"
    with pytest.raises(Conflict, match="was discarded already"):
        plant.ask([first.id], station="s1")
    with reading(plant.engine) as conn:
        (event,) = audit.recent(conn, action=service.DISCARD)
        assert (event.subject, event.detail) == (f"dead_letter:{first.id}", {"ids": [first.id], "reason": "a test"})
        assert dead_letters.waiting_ids(conn, "bad_header", "nowhere", 9) == [second.id]
        assert dead_letters.count_waiting(conn, None, None) == 1
        assert dead_letters.stations(conn) == ["nowhere"]
    # One that was discarded while an agent has it is not published either.
    asked = plant.ask([second.id], station="s1")
    with writing(plant.engine) as conn:
        dead_letters.discard(conn, [second.id], utc_now())
    plant.worker.turn()
    done = plant.command(asked)
    assert done.result and done.result["problems"] == [[second.id, f"dead letter {second.id}: it was discarded"]]
    assert plant.log.bounds(0).end == 2


def test_a_picture_goes_through_the_decoder_and_what_is_none_says_why(plant: Plant) -> None:
    raw = [("content-type", b"application/x-goodpart-raw"), ("width", b"8"), ("height", b"4")]
    plant.log.append(frame(side=40), headers("f", station="nowhere"))
    plant.log.append(corrupt(), headers("torn"))
    plant.log.append(bytes([150]) * 32, [*raw, ("pixel_format", b"Mono8")])
    plant.log.append(bytes([150]) * 32, raw)
    plant.log.append(bytes(2 << 20), headers("big"))
    plant.run.until_received(5)
    shown, torn, pixels, unsized, big = plant.letters()
    asked = {letter.id: plant.look(letter.id) for letter in (shown, torn, pixels, unsized, big)}
    with pytest.raises(Conflict, match="asked for this already"):
        plant.look(shown.id)
    for _ in asked:
        assert plant.worker.turn()
    found = {letter.id: letter for letter in plant.letters()}
    for letter, shape in ((shown, (40, 40, 3)), (pixels, (4, 8, 3))):
        preview = found[letter.id].preview_sha256
        assert preview and plant.command(asked[letter.id]).state == "done"
        assert decode(plant.run.store.get(preview)).shape == shape
        with reading(plant.engine) as conn:
            assert media_type(conn, preview) == "image/webp"
    for letter, words in ((torn, "PNG"), (unsized, "width, height"), (big, "pipeline.max_frame_mb is 1")):
        command = plant.command(asked[letter.id])
        assert command.state == "failed" and command.result and words in command.result["problem"]
        assert found[letter.id].preview_sha256 is None
    assert dead_letter.c.preview_sha256 in NAMING, "the sweeper leaves it alone"
    with writing(plant.engine) as conn:
        evidence.release_letters(conn, [shown.id])
    assert plant.letters()[0].preview_sha256 is None
    with pytest.raises(Conflict, match="nothing to see"):
        plant.look(shown.id)


def test_a_picture_does_not_wait_for_a_broker_that_is_away(plant: Plant) -> None:
    plant.log.append(frame(), headers("f", station="nowhere"))
    plant.run.until_received(1)
    (letter,) = plant.letters()
    plant.away = "away"
    plant.ask([letter.id], station="s1")
    assert not plant.worker.turn()
    plant.look(letter.id)
    assert plant.worker.turn()
    assert plant.letters()[0].preview_sha256


def test_a_replay_that_waits_is_cancelled_and_its_letters_are_free(plant: Plant) -> None:
    plant.log.append(frame(), headers("f", station="nowhere"))
    plant.run.until_received(1)
    (letter,) = plant.letters()
    plant.away = "the broker is away"
    asked = plant.ask([letter.id], station="s1")
    assert not plant.worker.turn()

    def cancel(command_id: int, by: User) -> None:
        service.cancel(plant.engine, by, command_id, key=f"k{next(plant.key)}", now=utc_now())

    with pytest.raises(PermissionDenied, match="engineer"):
        cancel(asked, plant.operator)
    with writing(plant.engine) as conn:
        taken = commands.next(conn, [service.REPLAY])
    assert taken and taken.id == asked
    with pytest.raises(Conflict, match="an agent is at it"):
        cancel(asked, plant.engineer)
    with writing(plant.engine) as conn:
        commands.restart(conn, [service.REPLAY])
    cancel(asked, plant.engineer)
    found = plant.command(asked)
    assert found.state == "failed" and found.result
    assert (found.result["cancelled_by"], found.result["left"]) == ("eve", 1)
    with pytest.raises(Conflict, match="waits no more"):
        cancel(asked, plant.engineer)
    with pytest.raises(NotFound, match="no replay"):
        cancel(plant.look(letter.id), plant.engineer)
    plant.away = ""
    assert plant.worker.turn() and plant.worker.turn()
    assert plant.log.bounds(0).end == 1, "nothing was published"
    plant.ask([letter.id], station="s1")
    assert plant.worker.turn() and plant.log.bounds(0).end == 2


def test_what_a_dead_agent_left_running_is_gone_on_with(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(3):
        plant.log.append(frame(), headers(f"f{n}", station="nowhere"))
    plant.run.until_received(3)
    ids = [one.id for one in plant.letters()]
    asked = plant.ask(ids, station="s1")
    now = utc_now()
    with writing(plant.engine) as conn:
        lease = holding.acquire(conn, now - timedelta(hours=1), worker.LEASE)
        assert lease and commands.next(conn, worker.KINDS)
    told: list[int] = []
    monkeypatch.setattr(worker, "TELL_S", 0.0)
    deliver = plant.deliver

    def stopping(value: bytes, headers: Headers, *, key: str) -> None:
        deliver(value, headers, key=key)
        told.append(plant.log.bounds(0).end)
        plant.worker.stop()

    monkeypatch.setattr(plant, "deliver", stopping)
    assert plant.worker.turn()
    left = plant.command(asked)
    assert left.state == "queued" and left.result and (left.result["published"], left.result["left"]) == (1, 2)
    assert told == [4], "it ends after the letter at hand"
    another = Worker(plant.engine, plant.run.store, settings(Path()), clock=utc_now, outlet=plant.outlet)
    monkeypatch.setattr(plant, "deliver", deliver)
    assert another.turn()
    done = plant.command(asked)
    assert done.state == "done" and done.result and (done.result["published"], done.result["left"]) == (3, 0)
    assert plant.run.until_received(6) == Counts(6, inspected=3, dead_lettered=3)


def test_an_agent_publishes_to_its_broker(engine: Engine, tmp_path: Path) -> None:
    with KafkaBroker() as broker:
        create_topics(Kafka(bootstrap=broker.bootstrap), {"goodpart.frames": 1})
        wanted = settings(tmp_path, kafka={"bootstrap": broker.bootstrap, "session_timeout_s": 6})
        with running(engine, wanted, KafkaSource(wanted.kafka, group_id="g")) as run:
            with writing(engine) as conn:
                eve = users.add(conn, "eve", "engineer", utc_now())
            from agent.camera import Camera

            with Camera(wanted.kafka) as camera:
                camera.deliver(frame(), headers("f", station="nowhere"), key="nowhere")
            run.until_received(1)
            with reading(engine) as conn:
                (letter,) = dead_letters.recent(conn)
            asked = service.ask_replay(engine, eve, [letter.id], station="s1", key="k", now=utc_now())
            at_work = Worker(engine, run.store, wanted, clock=utc_now)
            at_work.start()
            assert run.until_received(2) == Counts(2, inspected=1, dead_lettered=1)

            def ended() -> bool:
                with reading(engine) as conn:
                    return commands.get(conn, asked).state == "done"

            until(ended)
            at_work.stop()


def test_what_stays_away_is_given_up_and_its_letters_are_free(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.log.append(frame(), headers("f", station="nowhere"))
    plant.run.until_received(1)
    (letter,) = plant.letters()
    asked = plant.ask([letter.id], station="s1")
    plant.away = "user 'agent' lacks a right"
    assert not plant.worker.turn()
    assert plant.command(asked).state == "queued"
    monkeypatch.setattr(worker, "PATIENCE", timedelta(0))
    plant.worker.turn()
    given_up = plant.command(asked)
    assert given_up.state == "failed" and given_up.result
    assert "lacks a right" in given_up.result["problem"]
    plant.away = ""
    again = plant.ask([letter.id], station="s1")
    plant.worker.turn()
    assert plant.command(again).state == "done"


def test_a_picture_that_breaks_the_renderer_blocks_nothing(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(2):
        plant.log.append(frame(), headers(f"f{n}", station="nowhere"))
    plant.run.until_received(2)
    broken, whole = (one.id for one in plant.letters())
    shown = preview.show

    def show(engine: Engine, store: Any, letter: Any, *rest: Any) -> None:
        if letter.id == broken:
            raise RuntimeError("corrupt size vs. offset")
        shown(engine, store, letter, *rest)

    monkeypatch.setattr(preview, "show", show)
    first, second = plant.look(broken), plant.look(whole)
    assert plant.worker.turn() and plant.worker.turn()
    failed = plant.command(first)
    assert failed.state == "failed" and failed.result and "corrupt size" in failed.result["problem"]
    assert plant.command(second).state == "done"


def test_a_picture_that_ends_agents_is_given_up(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.log.append(frame(), headers("f", station="nowhere"))
    plant.run.until_received(1)
    (letter,) = plant.letters()
    asked = plant.look(letter.id)

    def killed(*_: Any) -> None:
        raise SystemExit  # as if the process were gone: nothing after it is done

    with monkeypatch.context() as patch:
        patch.setattr(preview, "show", killed)
        for _ in range(worker.MOST_TRIES):
            with pytest.raises(SystemExit):
                plant.worker.turn()
    plant.worker.turn()
    found = plant.command(asked)
    assert found.state == "failed" and found.result and "agents ended 3 times" in found.result["problem"]


def test_a_letter_discarded_meanwhile_is_not_published(plant: Plant) -> None:
    plant.log.append(frame(), headers("f", station="nowhere"))
    plant.run.until_received(1)
    (letter,) = plant.letters()
    letters = Letters(plant.engine, plant.run.store, settings(Path()))
    again = letters.prepare(letter, station="s1")
    service.discard(plant.engine, plant.engineer, [letter.id], "a test frame", key="d", now=utc_now())
    with pytest.raises(NotReplayable, match="discarded meanwhile"):
        letters.publish(again, plant, plant.engineer, key="p", clock=utc_now)
    assert plant.log.bounds(0).end == 1
