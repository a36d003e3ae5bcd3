"""A live camera that is gone: an error, and what it took before is accounted for. A file that ends is none."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np
import pytest

from agent.camera import SourceLost, pictures, stream
from agent.camera.pictures import Newest
from agent.cli import camera as cli_camera
from agent.cli.common import CommandError
from agent.demo.broker import KafkaBroker, create_topics
from agent.demo.server import free_port
from agent.frame import Envelope
from agent.settings import Kafka

WHOLE = 3  # pictures before the plug is pulled
LOST = r"0: gives no more pictures after \d; look at the camera, its cable and its network, then start this command"


class Unplugged:
    """OpenCV's view of a camera that is pulled out after a few pictures, each read once the last one was taken."""

    def __init__(self, source: str | int) -> None:
        self._taken, self._left = Event(), WHOLE
        self._taken.set()

    def isOpened(self) -> bool:  # noqa: N802, OpenCV's name
        return True

    def read(self) -> tuple[bool, Any]:
        assert self._taken.wait(20)
        self._taken.clear()
        self._left -= 1
        return (True, np.full((8, 8, 3), 9, np.uint8)) if self._left >= 0 else (False, None)

    def release(self) -> None:
        """Nothing to let go."""


@pytest.fixture
def unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is opened is a camera that is pulled out."""
    made: list[Unplugged] = []
    given = Newest.next

    def opened(source: str | int) -> Unplugged:
        made.append(Unplugged(source))
        return made[-1]

    def taken(feed: Newest) -> Any:
        pixels = given(feed)
        made[-1]._taken.set()
        return pixels

    monkeypatch.setattr(cv2, "VideoCapture", opened)
    monkeypatch.setattr(Newest, "next", taken)
    monkeypatch.setattr(signal, "signal", lambda *_: None)


class Takes:
    """A publisher that sets `stop` once it took so many frames."""

    def __init__(self, stop: Event, stops_after: int) -> None:
        self.taken, self._stop, self._stops_after = list[str](), stop, stops_after

    def publish(self, value: bytes, envelope: Envelope) -> None:
        self.taken.append(envelope.station)
        if len(self.taken) == self._stops_after:
            self._stop.set()


def run(stops_after: int = 99, count: int | None = None, feed: Iterator[Any] | None = None) -> int:
    """How many frames of a camera that is pulled out were accepted."""
    stop = Event()
    takes = Takes(stop, stops_after)
    done = stream(takes, feed or pictures("0"), rate=1000, stations=["a"], count=count, stop=stop)
    assert len(takes.taken) == done
    return done


@pytest.mark.usefixtures("unplugged")
def test_a_live_source_that_ends_by_itself_is_an_error_and_one_that_was_stopped_is_none() -> None:
    with pytest.raises(SourceLost, match=LOST):
        run()
    assert run(count=WHOLE) == WHOLE
    assert run(stops_after=WHOLE) == WHOLE


def test_a_read_that_the_stop_itself_ended_is_no_error() -> None:
    stop = Event()

    def feed() -> Iterator[Any]:
        stop.set()
        raise SourceLost("0: gives no more pictures")
        yield

    assert stream(Takes(stop, 99), feed(), rate=1000, stations=["a"], stop=stop) == 0


def test_a_driver_that_raises_ends_the_source() -> None:
    def read() -> tuple[bool, Any]:
        raise cv2.error("a picture that cannot be decoded")

    feed = Newest(read)
    feed._thread.join(20)
    assert feed._ended, "nobody may wait for a thread that is gone"
    assert feed.next() is None
    feed.close()


@pytest.mark.usefixtures("unplugged")
def test_what_a_camera_took_before_it_was_lost_is_kept_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOODPART_KAFKA__BOOTSTRAP", f"127.0.0.1:{free_port()}")
    monkeypatch.setattr(cli_camera, "FINISH_S", 0.0)
    with pytest.raises(CommandError, match=rf"^{LOST} again; {WHOLE} frames are kept in buffer for the next time"):
        cli_camera.camera("0", station="a", rate=1000, buffer=Path("buffer"))
    assert f"0 frames acknowledged of {WHOLE} accepted, 0 failed" in capsys.readouterr().out


@pytest.mark.usefixtures("unplugged")
@pytest.mark.parametrize("unbuffered", [False, True])
def test_what_a_camera_took_before_it_was_lost_is_published_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], unbuffered: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    with KafkaBroker() as broker:
        create_topics(Kafka(bootstrap=broker.bootstrap), {"goodpart.frames": 1})
        monkeypatch.setenv("GOODPART_KAFKA__BOOTSTRAP", broker.bootstrap)
        buffer = None if unbuffered else Path("buffer")
        with pytest.raises(CommandError, match=rf"^{LOST} again$"):
            cli_camera.camera("0", station="a", rate=1000, buffer=buffer, unbuffered=unbuffered)
    assert f"{WHOLE} frames acknowledged of {WHOLE} accepted, 0 failed" in capsys.readouterr().out
