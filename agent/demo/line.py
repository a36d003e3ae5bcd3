"""The running line of the demo: a camera at two stations, a status line every few seconds, the books at the end."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from time import monotonic
from urllib.request import urlopen

from sqlalchemy import Engine

from agent.camera import Camera, Picture, stream
from agent.demo.accounts import Accounts, audit
from agent.demo.child import Child, ChildError
from agent.demo.product import DemoProduct, Say
from agent.settings import Settings, utc_now

READY_S = 90.0
SETTLE_S = 60.0  # how long the last published frames may take to be decided


@dataclass(frozen=True, slots=True)
class Line:
    """A started agent (and dashboard), and how fast to feed it. `seconds` None: until stopped."""

    settings: Settings
    children: Sequence[Child]
    rate: float
    seconds: float | None
    every_s: float
    say: Say

    def run(self, engine: Engine, product: DemoProduct, stations: Sequence[str], *, began: float) -> bool:
        """Publishes until Ctrl-C or the seconds are over, lets the line settle, and audits the books.

        Args:
            engine: the demo's database.
            product: what is published.
            stations: the cameras, in turn.
            began: `time.monotonic()` when the demo began, for the time to the first decision.

        Returns:
            Whether the identity holds and every published frame has exactly one decision.

        Raises:
            ChildError: the agent or the dashboard ended by itself.
            CameraError: the broker went away.
        """
        accounts, done = Accounts(engine), Event()
        self._until_ready()
        kafka, since = self.settings.kafka, utc_now()
        published: list[str] = []
        with Camera(kafka, on_acked=published.append) as camera, ThreadPoolExecutor(1, "camera") as pool:
            parts = (Picture.of(part.path) for part in itertools.cycle(product.parts))
            feed = pool.submit(stream, camera, parts, rate=self.rate, stations=stations, stop=done)
            try:
                self._watch(accounts, published, feed, since=since, began=began)
            except KeyboardInterrupt:
                pass  # the first Ctrl-C ends the watching; a second one ends what follows
            finally:
                done.set()
            feed.result()
            camera.flush()
        self.say("stopping: the last frames are being decided")
        self._settle(accounts, published, since)
        for child in self.children:
            child.check()
            child.stop()
        return self._close(engine, accounts, published, since)

    def _until_ready(self) -> None:
        """Waits for the agent: before, frames would only queue up and look late."""
        self.say("waiting for the agent to load the model and to be given its partitions")
        url, pause, end = (
            f"http://{self.settings.agent.host}:{self.settings.agent.port}/readyz",
            Event(),
            monotonic() + READY_S,
        )
        while monotonic() < end:
            for child in self.children:
                child.check()
            with suppress(OSError), urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
            pause.wait(0.1)
        raise ChildError(f"the agent was not ready in {READY_S:.0f} s:\n{self.children[0].tail()}")

    def _watch(
        self, accounts: Accounts, published: list[str], feed: Future[int], *, since: datetime, began: float
    ) -> None:
        end = monotonic() + self.seconds if self.seconds is not None else None
        first, pause = False, Event()
        while end is None or monotonic() < end:
            if feed.done():
                feed.result()  # raises why the camera stopped
            for child in self.children:
                child.check()
            if not first and (decision := accounts.first_decision()):
                first = True
                self.say(
                    f"first decision {monotonic() - began:.0f} s after the start: frame {decision[0]} {decision[1]}"
                )
            if first:
                self.say(str(accounts.line(len(published), since)))
            rest = self.every_s if first else 0.2
            pause.wait(rest if end is None else max(0.0, min(rest, end - monotonic())))

    def _settle(self, accounts: Accounts, published: list[str], since: datetime) -> None:
        deadline, pause = monotonic() + SETTLE_S, Event()
        while accounts.open_work(len(published)) and monotonic() < deadline:
            self.children[0].check()
            pause.wait(0.1)

    def _close(self, engine: Engine, accounts: Accounts, published: list[str], since: datetime) -> bool:
        kafka = self.settings.kafka
        result = audit(engine, kafka, published)
        self.say(f"published {len(published)}  {accounts.line(len(published), since)}")
        for problem in result.problems:
            self.say(f"does not add up: {problem}")
        if not result.problems:
            self.say("every published frame has exactly one decision, and the accounting identity holds")
        return not result.problems
