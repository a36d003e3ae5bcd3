"""Camera and demo servers over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import pytest
import redis
from kafka import KafkaConsumer, TopicPartition

from agent.camera import Camera, CameraError, image_paths
from agent.demo.broker import KafkaBroker, create_topics
from agent.demo.redis import RedisServer
from agent.demo.server import ServerError
from agent.frame import Record, parse
from agent.settings import utc_now

TOPIC = "goodpart.frames"


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with KafkaBroker() as started:
        create_topics(started.bootstrap, {TOPIC: 1})
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
    with Camera(broker, TOPIC) as camera:
        counts = camera.stream(
            image_paths(images), rate=1000, stations=["a", "b"], lot="L1", count=7, loop=True, stop=Event(),
            on_acked=acked.append,
        )  # fmt: skip
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
    with Camera(broker, TOPIC) as camera:
        counts = camera.stream(
            image_paths(images), rate=1000, stations=["a"], loop=True, stop=stop, on_acked=lambda _: stop.set()
        )
    assert counts.acked == counts.accepted >= 1


def test_cameras_that_cannot_publish_say_why(broker: str, tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="no such folder"):
        image_paths(tmp_path / "nowhere")
    with pytest.raises(CameraError, match="has no images"):
        image_paths(tmp_path)
    with pytest.raises(CameraError, match=r"has no topic goodpart\.nope"):
        Camera(broker, "goodpart.nope")


def test_servers_say_when_their_port_is_in_use_and_start_again_on_it(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        client = redis.Redis.from_url(server.url)
        assert client.ping()
        with pytest.raises(ServerError, match="in use"):
            RedisServer(port=int(server.address.rpartition(":")[2])).start()
        server.stop()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        server.start()
        assert client.ping()
        client.close()
