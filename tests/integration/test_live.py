"""Redis for the live view, against a real server; and without one."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from agent.demo.redis import RedisServer
from agent.live import FEED_LENGTH, Glance, LiveError, NoLive, RedisLive, open_live
from agent.settings import utc_now
from tests.streams import until


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


def test_presence_feed_and_notices_reach_other_processes(server: RedisServer) -> None:
    agent, page = RedisLive(server.url), RedisLive(server.url)
    notices: SimpleQueue[int] = SimpleQueue()
    try:
        agent.presence("a1", {"rate": 2.5, "partitions": (0, 1)})
        until(lambda: page.agents() == {"a1": {"rate": 2.5, "partitions": [0, 1]}})
        for number in range(FEED_LENGTH + 5):
            agent.publish({"n": number})
        until(lambda: [one["n"] for one in page.recent(2)] == [FEED_LENGTH + 4, FEED_LENGTH + 3])
        assert len(page.recent(10 * FEED_LENGTH)) == FEED_LENGTH
        seen = Glance(utc_now(), True, b"\xff\0webp")
        agent.show("plant:1", seen)
        until(lambda: page.picture("plant:1") == seen.webp)
        assert page.shown(["plant:2", "plant:1"]) == {"plant:1": Glance(seen.at, True)} and page.shown([]) == {}
        assert page.picture("plant:2") is None and agent.problem is None
        agent.on_promotion(notices.put)

        def heard() -> bool:
            page.notify_promotion(7)
            return not notices.empty()

        until(heard)
        assert notices.get() == 7
        agent.leave("a1")
        until(lambda: page.agents() == {})
        assert agent.available
        assert agent.problem is None
    finally:
        agent.close()
        page.close()


def test_an_outage_is_swallowed_and_told(server: RedisServer) -> None:
    live = RedisLive(server.url, timeout_s=0.3)
    try:
        live.publish({"n": 1})
        until(lambda: live.recent(1) == [{"n": 1}])
        server.__exit__(None, None, None)
        assert live.agents() == {}
        assert live.recent(5) == []
        assert live.shown(["plant:1"]) == {} and live.picture("plant:1") is None
        assert not live.available
        assert "does not answer" in (live.problem or "")
        for number in range(5000):  # far beyond the queue: nothing blocks, nothing raises
            live.publish({"n": number})
        live.presence("a", {})
    finally:
        live.close()


def test_without_redis_everything_is_accepted() -> None:
    live = open_live("")
    assert isinstance(live, NoLive)
    live.publish({})
    live.presence("a", {})
    live.notify_promotion(1)
    assert live.agents() == {}
    assert live.recent(3) == []
    live.show("plant:1", Glance(utc_now(), False, b""))
    assert live.shown(["plant:1"]) == {} and live.picture("plant:1") is None
    assert not live.available
    assert "redis.url" in (live.problem or "")
    live.close()


def test_a_url_that_is_none_names_the_setting() -> None:
    with pytest.raises(LiveError, match=r"redis\.url"):
        open_live("nonsense")
