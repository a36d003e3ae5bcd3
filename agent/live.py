"""Redis for the live view: presence of agents, the live feed, promotion notices. Never authoritative.

Nothing here blocks a caller on the frame's path: writes go through a bounded queue to a thread of their own and are
dropped when it is full. An outage is swallowed; `available` and `problem` tell of it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

import redis
import structlog

log = structlog.get_logger()
PRESENCE_TTL_S = 10
FEED_LENGTH = 500
GLANCE_TTL_S = 600  # of a station's newest picture
_AGENT = "goodpart:agent:"
_FEED = "goodpart:feed"
_GLANCE = "goodpart:glance:"
_PROMOTIONS = "goodpart:promotions"
_QUEUE = 2000
_RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class Glance:
    """A small picture of a frame: when the part was seen, whether it lies under its heatmap, and its WebP.

    `webp` is b"" where only what is known of it was asked for.
    """

    at: datetime
    heatmap: bool
    webp: bytes = b""


def glance_of(install_id: str, station_id: int) -> str:
    """What the place of a station's glance is called: two installations may share a Redis."""
    return f"{install_id}:{station_id}"


class Live(Protocol):
    """The live view's channel between processes."""

    @property
    def available(self) -> bool:
        """Whether the last exchange worked."""

    @property
    def problem(self) -> str | None:
        """What is missing, in words; None while all works."""

    def presence(self, agent: str, info: Mapping[str, Any]) -> None:
        """States that `agent` lives; it is forgotten after PRESENCE_TTL_S without another call."""

    def leave(self, agent: str) -> None:
        """Takes the presence of `agent` back."""

    def agents(self) -> dict[str, dict[str, Any]]:
        """The agents that live, with what they last said; empty during an outage."""

    def publish(self, event: Mapping[str, Any]) -> None:
        """Appends one event to the live feed."""

    def recent(self, n: int) -> list[dict[str, Any]]:
        """The last events of the live feed, newest first; empty during an outage."""

    def show(self, place: str, glance: Glance) -> None:
        """Shows this picture as the newest one of a place, for GLANCE_TTL_S at most."""

    def shown(self, places: Sequence[str]) -> dict[str, Glance]:
        """What is shown of these places now, without the pictures; empty during an outage."""

    def picture(self, place: str) -> bytes | None:
        """The picture that is shown of a place; None where there is none, and during an outage."""

    def notify_promotion(self, product_id: int) -> None:
        """Tells running agents that a product has another deployment."""

    def on_promotion(self, notice: Callable[[int], None]) -> None:
        """Calls `notice(product_id)`, on a thread of its own, whenever some process notifies a promotion."""

    def close(self) -> None:
        """Ends the threads, after trying to send what waits."""


class NoLive:
    """No live view: everything is accepted and nothing happens."""

    def __init__(self, problem: str = "no Redis is configured (redis.url): the live view is missing") -> None:
        self.available = False
        self.problem: str | None = problem

    def presence(self, agent: str, info: Mapping[str, Any]) -> None: ...

    def leave(self, agent: str) -> None: ...

    def agents(self) -> dict[str, dict[str, Any]]:
        return {}

    def publish(self, event: Mapping[str, Any]) -> None: ...

    def recent(self, n: int) -> list[dict[str, Any]]:
        return []

    def show(self, place: str, glance: Glance) -> None: ...

    def shown(self, places: Sequence[str]) -> dict[str, Glance]:
        return {}

    def picture(self, place: str) -> bytes | None:
        return None

    def notify_promotion(self, product_id: int) -> None: ...

    def on_promotion(self, notice: Callable[[int], None]) -> None: ...

    def close(self) -> None: ...


class RedisLive:
    """Live over a Redis server.

    Args:
        url: redis://HOST:PORT/DB; the password, if any, is never shown.
        timeout_s: how long one exchange may take.
    """

    def __init__(self, url: str, *, timeout_s: float = 1.0) -> None:
        parts = urlsplit(url)
        self._where = f"{parts.hostname}:{parts.port or 6379}"
        try:
            self._redis: Any = redis.Redis.from_url(
                url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, decode_responses=True
            )
        except ValueError as error:
            raise LiveError(f"redis.url: a URL such as redis://127.0.0.1:6379/0 is allowed ({error})") from None
        self._lock = threading.Lock()
        self._problem: str | None = None
        self._closed = threading.Event()
        self._writes: queue.Queue[Callable[[], object] | None] = queue.Queue(_QUEUE)
        self._writer: threading.Thread | None = None
        self._listener: threading.Thread | None = None

    @property
    def available(self) -> bool:
        return self.problem is None

    @property
    def problem(self) -> str | None:
        with self._lock:
            return self._problem

    def presence(self, agent: str, info: Mapping[str, Any]) -> None:
        text = json.dumps(dict(info), default=str)
        self._later(lambda: self._redis.set(_AGENT + agent, text, ex=PRESENCE_TTL_S))

    def leave(self, agent: str) -> None:
        self._later(lambda: self._redis.delete(_AGENT + agent))

    def agents(self) -> dict[str, dict[str, Any]]:
        def read() -> dict[str, dict[str, Any]]:
            names = sorted(self._redis.scan_iter(match=_AGENT + "*", count=100))
            texts = self._redis.mget(names) if names else []
            pairs = zip(names, texts, strict=True)
            return {name.removeprefix(_AGENT): json.loads(text) for name, text in pairs if text}

        return self._exchange(read) or {}

    def publish(self, event: Mapping[str, Any]) -> None:
        text = json.dumps(dict(event), default=str)

        def write() -> None:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.lpush(_FEED, text).ltrim(_FEED, 0, FEED_LENGTH - 1).execute()

        self._later(write)

    def recent(self, n: int) -> list[dict[str, Any]]:
        texts = self._exchange(lambda: self._redis.lrange(_FEED, 0, n - 1)) or []
        return [json.loads(text) for text in texts]

    def show(self, place: str, glance: Glance) -> None:
        told = json.dumps({"at": glance.at.isoformat(), "heatmap": glance.heatmap})
        picture = base64.b64encode(glance.webp).decode()  # our connections read text

        def write() -> None:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(_GLANCE + place, mapping={"told": told, "webp": picture})
                pipe.expire(_GLANCE + place, GLANCE_TTL_S).execute()

        self._later(write)

    def shown(self, places: Sequence[str]) -> dict[str, Glance]:
        def read() -> dict[str, Glance]:
            with self._redis.pipeline(transaction=False) as pipe:
                for place in places:
                    pipe.hget(_GLANCE + place, "told")
                found = [(place, json.loads(told)) for place, told in zip(places, pipe.execute(), strict=True) if told]
            return {place: Glance(datetime.fromisoformat(one["at"]), one["heatmap"]) for place, one in found}

        return self._exchange(read) or {} if places else {}

    def picture(self, place: str) -> bytes | None:
        found = self._exchange(lambda: self._redis.hget(_GLANCE + place, "webp"))
        return base64.b64decode(found) if found else None

    def notify_promotion(self, product_id: int) -> None:
        self._later(lambda: self._redis.publish(_PROMOTIONS, str(product_id)))

    def on_promotion(self, notice: Callable[[int], None]) -> None:
        self._listener = threading.Thread(target=self._listen, args=(notice,), name="live-notices", daemon=True)
        self._listener.start()

    def close(self) -> None:
        if self._writer:
            with contextlib.suppress(queue.Full):
                self._writes.put_nowait(None)
            self._writer.join(3)
        self._closed.set()
        if self._listener:
            self._listener.join(3)
        with contextlib.suppress(redis.RedisError, OSError):
            self._redis.close()

    def _later(self, write: Callable[[], object]) -> None:
        with self._lock:
            if not self._writer:
                self._writer = threading.Thread(target=self._write, name="live-writer", daemon=True)
                self._writer.start()
        # The live view may miss events; the line may not wait for it.
        with contextlib.suppress(queue.Full):
            self._writes.put_nowait(write)

    def _write(self) -> None:
        while not self._closed.is_set() and (write := self._writes.get()):
            self._exchange(write)
            if self.problem:
                self._closed.wait(_RETRY_S)

    def _listen(self, notice: Callable[[int], None]) -> None:
        def turn() -> None:
            with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
                channel.subscribe(_PROMOTIONS)
                while not self._closed.is_set():
                    message = channel.get_message(timeout=0.5)
                    if message and str(message["data"]).isdigit():
                        notice(int(message["data"]))

        while not self._closed.is_set():
            self._exchange(turn)
            self._closed.wait(_RETRY_S)

    def _exchange(self, act: Callable[[], Any]) -> Any:
        try:
            result = act()
        except (redis.RedisError, OSError, ValueError) as error:
            self._state(f"Redis at {self._where} does not answer ({type(error).__name__}): the live view is missing")
            return None
        self._state(None)
        return result

    def _state(self, problem: str | None) -> None:
        with self._lock:
            news = problem != self._problem
            self._problem = problem
        if news:
            log.warning("live_view_missing", problem=problem) if problem else log.info("live_view_back")


class LiveError(Exception):
    """Redis is configured in a way that cannot work; the message names the setting."""


def open_live(url: str) -> Live:
    """The live view at `url`; an empty url gives none. Never fails on a server that is away."""
    return RedisLive(url) if url else NoLive()
