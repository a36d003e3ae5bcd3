"""The demo's parts, with the agent killed in the middle: no frame is lost, none is decided twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Engine

from agent.camera import Camera, Picture, stream
from agent.demo import run as demo
from agent.demo.accounts import Accounts, audit
from agent.demo.broker import create_topics
from agent.demo.child import Child
from agent.demo.product import prepare
from agent.demo.render import render
from agent.settings import environment, load, utc_now
from agent.store.engine import open_engine, upgrade
from model.images import read_folder

QUICK = {
    "GOODPART_TRAINING__HEIGHT": "64",
    "GOODPART_TRAINING__WIDTH": "64",
    "GOODPART_TRAINING__STEPS": "6",
    "GOODPART_SCORING__THREADS": "1",
    "GOODPART_SCORING__PRECISION": "fp32",
}
FRAMES = 120


def quiet(_: str) -> None:
    """Says nothing."""


def no_bars() -> nullcontext[Callable[[Any], None]]:
    return nullcontext(lambda _: None)


def until(condition: Callable[[], bool], child: Child, seconds: float = 90.0) -> None:
    """Waits for the condition while the child lives."""
    end, pause = monotonic() + seconds, Event()
    while not condition():
        child.check()
        if monotonic() > end:
            pytest.fail(f"not reached in {seconds} s; the agent's log ends with:\n{child.tail(40)}")
        pause.wait(0.05)


def received(engine: Engine) -> int:
    return Accounts(engine).line(0, utc_now()).counts.received


def test_kill_9_in_the_middle_leaves_one_inspection_and_one_decision_for_every_frame(tmp_path: Path) -> None:
    render(tmp_path / "images", good=24, test_good=4, defects_per_kind=2, seed=3)
    options = demo.Options(images=tmp_path / "images")
    settings = demo.own(load(None, QUICK), tmp_path)
    engine = open_engine(settings.database.url)
    upgrade(engine)
    product = prepare(
        engine, settings, read_folder(tmp_path / "images"), demo.STATIONS, say=quiet, bars=no_bars, clock=utc_now
    )
    published: list[str] = []
    with demo.servers(options, settings, tmp_path, say=quiet) as settings:
        create_topics(settings.kafka, {settings.kafka.frames_topic: 2, settings.kafka.decisions_topic: 1})
        with Camera(settings.kafka, on_acked=published.append) as camera:
            parts = (Picture.of(part.path) for part in itertools.cycle(product.parts))
            feed = Thread(
                target=lambda: stream(camera, parts, rate=20.0, stations=demo.STATIONS, count=FRAMES, stop=Event())
            )
            feed.start()
            with Child(["agent"], environ=environment(settings), log=tmp_path / "first.log") as first:
                until(lambda: received(engine) >= FRAMES // 4, first)
                first.kill()
            between = received(engine)
            with Child(["agent"], environ=environment(settings), log=tmp_path / "second.log") as second:
                feed.join()
                camera.flush()
                until(lambda: not Accounts(engine).open_work(len(published)), second)
                assert second.stop() == 0
        result = audit(engine, settings.kafka, published)
    assert between < FRAMES
    assert len(set(published)) == FRAMES
    assert result.problems == ()
    assert result.counts.inspected == FRAMES
