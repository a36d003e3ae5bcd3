"""The webhook against a real HTTP server on this host that refuses, hangs, fails, redirects, and says no."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine
from structlog.testing import capture_logs

from agent.alerts.post import NotTaken, Post
from agent.alerts.webhook import A_MINUTE, ATTEMPTS, TOGETHER, Send, Webhook, _messages
from agent.metrics import Metrics
from agent.store import alerts, users
from agent.store.alerts import Alert
from agent.store.engine import reading, writing
from tests.databases import NOW
from tests.streams import until

ALERT = Alert(1, "disk", "disk:h:/b", "error", "full", {}, 1, NOW, NOW, None, None, None, 0, NOW, None)


@dataclass
class Receiver:
    """Answers with the next of `answers`, then with 204; None hangs until the test ends."""

    url: str = ""
    answers: list[int | None] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def told(self) -> list[tuple[str, str]]:
        return [(one["state"], one["subject"]) for body in self.bodies for one in body["alerts"]]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            receiver.keys.append(self.headers["Idempotency-Key"])
            answer = receiver.answers.pop(0) if receiver.answers else 204
            if answer is None:
                receiver.ended.wait(30)
                return
            self.send_response(answer)
            if 300 <= answer < 400:
                self.send_header("Location", receiver.url + "/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            receiver.keys.append("followed a redirect")
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hooks/s3cret"
    try:
        yield receiver
    finally:
        receiver.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Time:
    seconds: float = 0.0

    def clock(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)


def hook(engine: Engine, send: Send, time: Time, holder: str = "a", metrics: Metrics | None = None) -> Webhook:
    return Webhook(
        engine, send, install_id="plant", holder=holder, clock=time.clock, rng=random.Random(0),
        metrics=metrics or Metrics(),
    )  # fmt: skip


def raised(engine: Engine, subject: str, time: Time, kind: str = "disk") -> None:
    with writing(engine) as conn:
        alerts.raise_(
            conn, kind, subject, f"{subject} is full", level="error", detail={"free_bytes": 1}, event=False,
            now=time.clock(),
        )  # fmt: skip


def cleared(engine: Engine, subject: str, time: Time) -> None:
    with writing(engine) as conn:
        alerts.clear(conn, "disk", subject, time.clock())


def test_an_opening_and_its_end_are_posted_once_with_an_id(engine: Engine) -> None:
    time, metrics = Time(), Metrics()
    with receiving() as receiver:
        webhook = hook(engine, Post(receiver.url), time, metrics=metrics)
        raised(engine, "disk:h:/b", time)
        webhook.send_due()
        webhook.send_due()
        raised(engine, "disk:h:/b", time)
        time.seconds = 30
        webhook.send_due()
        cleared(engine, "disk:h:/b", time)
        webhook.send_due()
        webhook.send_due()
    assert receiver.told() == [("open", "disk:h:/b"), ("over", "disk:h:/b")]
    first, last = receiver.bodies
    assert [body["id"] for body in receiver.bodies] == receiver.keys == ["plant.1.open", "plant.1.over"]
    assert (first["type"], first["install"], first["text"]) == (
        "goodpart.alerts.v1", "plant", "disk: disk:h:/b is full",
    )  # fmt: skip
    assert first["alerts"][0]["detail"] == {"free_bytes": 1}
    assert (last["text"], last["alerts"][0]["n"]) == ("over: disk: disk:h:/b is full", 2)
    assert b'goodpart_webhooks_total{outcome="sent"} 2.0' in metrics.text()


@pytest.mark.parametrize("answers", [[500, 503], [429, 408], [307, 301], [None]])
def test_what_may_be_taken_later_is_sent_again_with_the_same_id(engine: Engine, answers: list[int | None]) -> None:
    time, metrics, tries = Time(), Metrics(), len(answers)
    with receiving() as receiver:
        receiver.answers = answers
        webhook = hook(engine, Post(receiver.url, timeout_s=0.3), time, metrics=metrics)
        raised(engine, "disk:h:/b", time)
        with capture_logs() as logs:
            for seconds in (0, 1, 16, 60):
                time.seconds = seconds
                webhook.send_due()
    assert receiver.keys == ["plant.1.open"] * (tries + 1)
    assert f'goodpart_webhooks_total{{outcome="failed"}} {tries}.0'.encode() in metrics.text()
    assert [one["event"] for one in logs] == ["webhook_down", "webhook_back"]
    assert "s3cret" not in str(logs)


def test_nobody_listening_is_waited_for(engine: Engine) -> None:
    time = Time()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening: refused
        webhook = hook(engine, Post(f"http://127.0.0.1:{taken.getsockname()[1]}/s3cret"), time)
        raised(engine, "disk:h:/b", time)
        with capture_logs() as logs:
            webhook.send_due()
    assert [one["event"] for one in logs] == ["webhook_down"]
    assert "refused" in str(logs) and "s3cret" not in str(logs)
    with reading(engine) as conn:
        assert [one.subject for one in alerts.due(conn, NOW + timedelta(seconds=10), 9)] == ["disk:h:/b"]


@pytest.mark.parametrize("answer", [400, 404, 410])
def test_a_final_no_ends_the_attempts_and_lets_the_next_alert_through(engine: Engine, answer: int) -> None:
    time = Time()
    with receiving() as receiver:
        receiver.answers = [answer]
        webhook = hook(engine, Post(receiver.url), time)
        raised(engine, "disk:h:/a", time)
        time.seconds = 1
        raised(engine, "disk:h:/b", time)
        with capture_logs() as logs:
            webhook.send_due()
            time.seconds = 86_400
            webhook.send_due()
            cleared(engine, "disk:h:/a", time)
            webhook.send_due()
    assert receiver.told() == [("open", "disk:h:/a"), ("open", "disk:h:/b")]
    assert [(one["event"], one["alerts"]) for one in logs] == [("webhook_gave_up", [1])]
    assert str(answer) in logs[0]["problem"]


@dataclass
class Lost:
    """Nothing arrives."""

    host: str = "nowhere"
    at: list[datetime] = field(default_factory=list)
    clock: Callable[[], datetime] = Time().clock

    def __call__(self, message_id: str, body: Any) -> None:
        self.at.append(self.clock())
        raise NotTaken("nowhere does not answer", final=False)


def test_after_about_a_day_of_attempts_it_is_given_up(engine: Engine) -> None:
    time = Time()
    send = Lost(clock=time.clock)
    webhook = hook(engine, send, time)
    raised(engine, "disk:h:/b", time)
    with capture_logs() as logs:
        while time.seconds < 3 * 86_400:
            webhook.send_due()
            with reading(engine) as conn:
                due = alerts.due(conn, NOW + timedelta(days=9), 1)
            if not due or due[0].next_attempt_at is None:
                break
            time.seconds = (due[0].next_attempt_at - NOW).total_seconds()
    assert [one["event"] for one in logs] == ["webhook_down", "webhook_gave_up"]
    pauses = [(b - a).total_seconds() for a, b in zip(send.at, send.at[1:], strict=False)]
    assert len(send.at) == ATTEMPTS
    assert 0.6 * 86_400 < sum(pauses) < 1.5 * 86_400
    assert min(pauses) >= 2.5
    assert max(pauses) <= 5400
    assert pauses[:4] != [5.0, 10.0, 20.0, 40.0], "attempts of many agents must not fall together"


def test_two_agents_send_once_and_a_restart_sends_nothing_again(engine: Engine) -> None:
    time = Time()
    with receiving() as receiver:
        first, second = (hook(engine, Post(receiver.url), time, holder) for holder in "ab")
        raised(engine, "disk:h:/b", time)
        both = [threading.Thread(target=one.send_due) for one in (first, second)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        restarted = hook(engine, Post(receiver.url), time, "c")
        raised(engine, "disk:h:/b", time)
        restarted.send_due()
        assert receiver.told() == [("open", "disk:h:/b")]
        raised(engine, "disk:h:/other", time)
        restarted.send_due()
        assert len(receiver.bodies) == 1, "whoever sent last keeps the minute that it counts"
        time.seconds = 61
        restarted.send_due()
    assert receiver.told() == [("open", "disk:h:/b"), ("open", "disk:h:/other")]


def test_a_crash_between_sending_and_noting_it_sends_the_same_id_again(engine: Engine) -> None:
    time = Time()
    with receiving() as receiver:

        class Dies(Post):
            def __call__(self, message_id: str, body: Any) -> None:
                super().__call__(message_id, body)
                raise KeyboardInterrupt

        raised(engine, "disk:h:/b", time)
        with pytest.raises(KeyboardInterrupt):
            hook(engine, Dies(receiver.url), time).send_due()
        time.seconds = 61
        hook(engine, Post(receiver.url), time, "b").send_due()
    assert receiver.keys == ["plant.1.open"] * 2


def test_so_many_a_minute_and_the_rest_together(engine: Engine) -> None:
    time = Time()
    with receiving() as receiver:
        webhook = hook(engine, Post(receiver.url), time)
        for n in range(A_MINUTE + 70):
            raised(engine, f"station:{n:03}", time, "station_silent")
        webhook.send_due()
        assert len(receiver.bodies) == A_MINUTE
        assert [len(body["alerts"]) for body in receiver.bodies] == [1] * (A_MINUTE - 2) + [50, 22]
        assert receiver.bodies[-1]["text"] == "22 more alerts: 22 station_silent"
        assert len(receiver.keys[-1] or "") == 64
        ids = [one["id"] for body in receiver.bodies for one in body["alerts"]]
        assert ids == [f"plant.{n}.open" for n in range(1, A_MINUTE + 71)]
        raised(engine, "disk:h:/b", time)
        for seconds in (1, 30, 59):
            time.seconds = seconds
            webhook.send_due()
        assert len(receiver.bodies) == A_MINUTE
        time.seconds = 61
        webhook.send_due()
        webhook.send_due()
    assert receiver.told()[-1] == ("open", "disk:h:/b")
    assert len(receiver.bodies) == A_MINUTE + 1


def test_a_storm_is_told_in_the_end_whole(engine: Engine) -> None:
    time, storm = Time(), A_MINUTE * TOGETHER + 30
    with receiving() as receiver:
        webhook = hook(engine, Post(receiver.url), time)
        for n in range(storm):
            raised(engine, f"station:{n:03}", time, "station_silent")
        webhook.send_due()
        assert [len(body["alerts"]) for body in receiver.bodies] == [TOGETHER] * A_MINUTE
        time.seconds = 61
        webhook.send_due()
    assert sorted(receiver.told()) == [("open", f"station:{n:03}") for n in range(storm)]


def test_what_was_sent_together_is_sent_together_again_with_the_same_id(engine: Engine) -> None:
    """The first time it arrives, and its answer is lost; meanwhile one is over, one is seen, and others come."""
    time = Time()
    with receiving() as receiver:
        receiver.answers = [*[204] * (A_MINUTE - 1), 503, 503]
        webhook = hook(engine, Post(receiver.url), time)
        for n in range(A_MINUTE + 4):
            raised(engine, f"disk:h:/{n:02}", time)
        webhook.send_due()
        cleared(engine, "disk:h:/11", time)
        with writing(engine) as conn:
            user = users.add(conn, "kim", "operator", now=NOW)
            alerts.acknowledge(conn, 13, user.id, event=False, now=NOW)
        for n in range(20, 40):
            raised(engine, f"disk:h:/{n:02}", time)
        for seconds in (61, 122, 300):  # by a new agent, too
            time.seconds = seconds
            hook(engine, Post(receiver.url), time, f"after-{seconds}").send_due()
    again = [body for key, body in zip(receiver.keys, receiver.bodies, strict=True) if key == receiver.keys[9]]
    numbers = [[one["alert"] for one in body["alerts"]] for body in again]
    assert numbers == [[10, 11, 12, 13, 14], [10, 11, 13, 14], [10, 11, 13, 14]]
    assert all(body["id"] == receiver.keys[9] for body in again)
    others = [one["alert"] for body in receiver.bodies if body not in again for one in body["alerts"]]
    assert sorted(others) == [*range(1, 10), *range(15, 35)]


@given(again=st.lists(st.integers(1, TOGETHER), max_size=12), fresh=st.integers(0, 500), room=st.integers(1, A_MINUTE))
def test_messages_keep_what_belongs_together_and_leave_no_place_empty(again: list[int], fresh: int, room: int) -> None:
    due = [replace(ALERT, id=n) for n in range(fresh)]
    for number, size in enumerate(again):
        due += [replace(ALERT, id=len(due) + n, message=f"m{number}") for n in range(size)]
    messages = _messages(due, room)
    told = [one.id for message in messages for one in message]
    assert len(messages) <= room and all(1 <= len(message) <= TOGETHER for message in messages)
    assert len(told) == len(set(told))
    assert [len(message) for message in messages if message[0].message] == again[:room]
    assert all(len({one.message for one in message}) == 1 for message in messages)
    if len(told) < len(due):
        assert len(messages) == room
    if len(again) + fresh <= room:
        assert sum(len(message) == 1 for message in messages) == fresh + again.count(1)


def test_its_thread_sends_and_stops_while_the_other_side_hangs(engine: Engine) -> None:
    time = Time()
    with receiving() as receiver:
        receiver.answers = [204, None]
        webhook = hook(engine, Post(receiver.url), time)
        webhook.start()
        raised(engine, "disk:h:/a", time)
        until(lambda: len(receiver.bodies) == 1)
        raised(engine, "disk:h:/b", time)
        until(lambda: len(receiver.bodies) == 2)
        webhook.stop(0.05)  # returns
    webhook.stop(10)
