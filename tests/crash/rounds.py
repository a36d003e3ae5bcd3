"""Rounds of pulled plugs on Apache Kafka: a seed makes a plan of faults, agents run under it, an oracle counts.

`python -m tests.crash.rounds --rounds 100 --database postgresql` runs the long form and prints the tally.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from kafka import KafkaConsumer
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.structs import MemberState
from sqlalchemy import Engine

from agent import failpoints
from agent.demo.broker import create_topics
from agent.demo.redis import RedisServer
from agent.settings import Kafka, utc_now
from agent.store import outbox
from agent.store.blobs import keep_all
from agent.store.engine import reading
from agent.store.local_blobs import LocalBlobs
from agent.store.tables import deployment, inspection
from tests import databases
from tests.apache_kafka import UNPROVEN, ApacheKafka, apache_kafka, is_here
from tests.crash.endings import AT_ITS_POINT, Endings
from tests.crash.oracle import Oracle
from tests.crash.plan import AUDITED, BEFORE, EVERYWHERE, FRAMES, ON_POSTGRESQL, Plan
from tests.crash.plant import PARTITIONS, Agent, decisions, ends, events, publish, rows, totals
from tests.databases import database
from tests.postgresql import PostgreSQL, postgresql
from tests.streams import seed as seed_line
from tests.streams import until

SESSION_S = 2.0
ROUND_S = 240.0
IDLE_S = 6.0
FULL_S = SWAP_S = JOIN_S = 60.0
OLD = [(bytes([number]), "image/png") for number in range(3)]  # blobs that nothing names
EARLY, MORE = FRAMES // 2, 10  # frames published at first, and during some faults


@dataclass
class Round:
    """One round: agents over a topic and a database of their own."""

    plan: Plan
    folder: Path
    broker: ApacheKafka
    redis: RedisServer
    engine: Engine
    server: PostgreSQL | None
    topic: str = field(default_factory=lambda: f"frames-{uuid4().hex[:8]}")
    crew: list[Agent] = field(default_factory=list)
    started: int = 0
    published: int = 0
    faulty: int = 0  # frames published before the last fault was over: the others outlive every fault
    reached: set[str] = field(default_factory=set)  # points at which an agent died or stood still
    frozen: Agent | None = None
    endings: Endings = field(default_factory=Endings)

    def run(self) -> None:
        """Runs it and raises AssertionError, with the end of every agent's log, where the oracle finds something."""
        try:
            self._run()
        except AssertionError as error:
            for log in self._logs:
                error.add_note(f"{log.name}: {log.read_text()[-16000:]}")
            raise

    def _run(self) -> None:
        create_topics(Kafka(bootstrap=self.broker.bootstrap), {self.topic: PARTITIONS, f"{self.topic}-out": 1})
        seed_line(self.engine, self._store)
        # What nothing names any more: an agent sweeps it away soon after it starts.
        keep_all(self.engine, self._store, OLD, utc_now() - timedelta(days=2))
        self._publish(EARLY)
        try:
            self._supervise()
            said = decisions(self.broker.bootstrap, FRAMES, f"{self.topic}-out")
            for one in self.crew:
                self.endings.end(one, signal.SIGTERM)
        finally:
            for one in self.crew:
                one.end(signal.SIGKILL)
        self.endings.check(self._logs)
        killed = any(one.code == -signal.SIGKILL for one in self.endings.found)
        assert killed or not list((self.folder / "blobs").rglob(".*.tmp")), "a write that failed left its draft behind"
        logs = [events(log) for log in self._logs]
        Oracle(self.engine, self._store, ends(self.broker.bootstrap, self.topic), said, logs).check()
        self._check_last()

    @property
    def _logs(self) -> list[Path]:
        return sorted(self.folder.glob("agent-*.log"))

    @property
    def _store(self) -> LocalBlobs:
        return LocalBlobs(self.folder / "blobs")

    def _supervise(self) -> None:
        faults, end = list(self.plan.faults), time.monotonic() + ROUND_S
        while not self._settled():
            done = totals(self.engine).received
            if time.monotonic() > end:
                for one in self.crew:
                    one.say_where()
                raise AssertionError(f"{done} of {FRAMES} frames in {ROUND_S} s")
            self._keep_crew()
            if done >= EARLY // 2:
                self._publish(BEFORE + 5 - self.published)
            if faults and done >= faults[0][0]:
                began = time.monotonic()
                getattr(self, f"_{faults.pop(0)[1]}")()
                end += time.monotonic() - began  # what a server takes to come back is not the agents' time
                self.faulty = self.published
            if not faults:
                self._publish(FRAMES - self.published)
            threading.Event().wait(0.05)

    def _publish(self, count: int) -> None:
        if count > 0:
            publish(self.broker.bootstrap, range(self.published, self.published + count), self.topic)
            self.published += count

    def _settled(self) -> bool:
        """Whether all is recorded and sent. Until then an agent that dies is started again: nobody else would send."""
        with reading(self.engine) as conn:
            return totals(self.engine).received >= FRAMES and not outbox.depth(conn)

    def _keep_crew(self) -> None:
        for one in [one for one in self.crew if one.process.poll() is not None]:
            self._end(one)
        while len(self.crew) < self.plan.agents:
            self._start()

    def _end(self, one: Agent, number: signal.Signals | None = None) -> None:
        self.crew.remove(one)
        if self.endings.end(one, number).cause == AT_ITS_POINT:
            self.reached.add(one.environ[failpoints.VARIABLE])

    def _start(self) -> None:
        armed = self.plan.points[self.started] if self.started < len(self.plan.points) else ""
        given = {
            "GOODPART_KAFKA__FRAMES_TOPIC": self.topic, "GOODPART_KAFKA__DECISIONS_TOPIC": f"{self.topic}-out",
            "GOODPART_KAFKA__GROUP_ID": self.topic, "GOODPART_KAFKA__SESSION_TIMEOUT_S": str(SESSION_S),
            "GOODPART_KAFKA__HEARTBEAT_S": "0.3", "SCORING_DELAY_S": "0.01",
            "GOODPART_AUDIT__RATE": str(AUDITED),
            "GOODPART_REDIS__URL": self.redis.url, "FULL_DISK": str(self._full), failpoints.VARIABLE: armed,
        }  # fmt: skip
        self.crew.append(Agent(self.folder, self.broker.bootstrap, self.engine, **given))
        self.started += 1
        if armed.endswith(":STOP"):
            threading.Thread(target=self._wake, args=(self.crew[-1],), daemon=True).start()

    def _wake(self, one: Agent) -> None:
        """Of an agent that stops at its point: longer than its session, on PostgreSQL than a transaction may rest."""
        while one.process.poll() is None:
            if one.stands_still and one is not self.frozen:
                self.reached.add(one.environ[failpoints.VARIABLE])
                threading.Event().wait(IDLE_S if self.server else SESSION_S * 1.6)
                one.process.send_signal(signal.SIGCONT)
            threading.Event().wait(0.05)

    @property
    def _full(self) -> Path:
        return self.folder / "full"

    def _kill(self) -> None:
        self._end(self.crew[0], signal.SIGKILL)

    def _freeze(self) -> None:
        """Longer than its session: another agent takes over, and this one wakes up fenced."""
        self.frozen = self.crew[0]  # not to be taken for one that came to its point, and is then never woken there
        self.frozen.process.send_signal(signal.SIGSTOP)
        threading.Event().wait(SESSION_S * 1.6)
        self.frozen.process.send_signal(signal.SIGCONT)
        self.frozen = None

    def _broker(self) -> None:
        with self.endings.without("broker"):
            self.broker.kill()
            self.broker.start()

    def _database(self) -> None:
        assert self.server is not None
        with self.endings.without("database"):
            self.server.stop()
            threading.Event().wait(1)
            self.server.start()

    def _redis(self) -> None:
        self.redis.kill()
        self._publish(MORE)
        threading.Event().wait(1)
        self.redis.start()

    def _disk(self) -> None:
        """Full until an agent complains; those that died are not there to.

        One that has not yet seen that it was over the last time says nothing anew.
        """

        def complain() -> bool:
            return any(_lacks_blobs(one) for one in self.crew if one.process.poll() is None)

        self._full.touch()
        self._publish(MORE)
        try:
            until(lambda: complain() or all(one.process.poll() is not None for one in self.crew), FULL_S)
        finally:
            self._full.unlink()

    def _swap(self) -> None:
        """Another deployment, and the time in which every agent that lives takes it up."""
        made = seed_line(self.engine, self._store, artifact=uuid4().bytes).deployment_id

        def uses(one: Agent) -> bool:
            ready = (event["deployment"] for event in one.events() if event["event"] == "model_ready")
            return one.process.poll() is not None or made in ready

        until(lambda: all(map(uses, self.crew)), SWAP_S)

    def _storm(self) -> None:
        """Members that come and go: each makes the group share its partitions out anew."""
        for _ in range(3):
            member = KafkaConsumer(
                self.topic, bootstrap_servers=self.broker.bootstrap, group_id=self.topic, enable_auto_commit=False,
                partition_assignment_strategy=[CooperativeStickyAssignor], session_timeout_ms=int(SESSION_S * 1000),
                heartbeat_interval_ms=300,
            )  # fmt: skip
            try:
                until(partial(_is_in, member), JOIN_S)
            finally:
                member.close(autocommit=False)

    def _check_last(self) -> None:
        """The frames after the last fault are decided under what was promoted last."""
        newest = max(row.id for row in rows(self.engine, deployment))
        last = {f"f{number}" for number in range(self.faulty, FRAMES)}
        used = {row.deployment_id for row in rows(self.engine, inspection) if row.frame_id in last and row.score}
        assert used == {newest}, used


def _lacks_blobs(one: Agent) -> bool:
    told = [event["event"] for event in one.events() if event.get("dependency") == "blobs"]
    return told[-1:] == ["dependency_down"]


def _is_in(member: Any) -> bool:
    """Whether it has joined its group: a rebalance has run, in which every other member that lives took part."""
    return bool(member.poll(100)) or member.group_metadata().state == MemberState.STABLE


def run_round(seed: int, broker: ApacheKafka, server: PostgreSQL | None) -> Round:
    """One round, on PostgreSQL where a server is given, else on SQLite."""
    return play(Plan.drawn(seed, EVERYWHERE if server is None else ON_POSTGRESQL), broker, server)


def play(plan: Plan, broker: ApacheKafka, server: PostgreSQL | None) -> Round:
    """One round of a plan."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="goodpart-round-")))
        if server is not None:
            stack.enter_context(databases.on(server))
        redis = stack.enter_context(RedisServer(folder))
        played = Round(plan, folder, broker, redis, stack.enter_context(database(folder)), server)
        played.run()
        return played


def main() -> int:
    """The long form; the exit status says whether every round held."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.rounds", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the next ones count up")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    if not is_here():
        sys.exit(UNPROVEN)
    failed, faults, reached, causes = [], Counter[str](), Counter[str](), Counter[str]()
    restarts, began = 0, time.monotonic()
    with ExitStack() as stack:
        broker = stack.enter_context(apache_kafka())
        server = stack.enter_context(postgresql()) if options.database == "postgresql" else None
        for number, seed in enumerate(range(options.seed, options.seed + options.rounds), 1):
            plan = Plan.drawn(seed, EVERYWHERE if server is None else ON_POSTGRESQL)
            faults.update(kind for _, kind in plan.faults)
            try:
                played = run_round(seed, broker, server)
                restarts += played.started - plan.agents
                reached.update(point.partition(":")[0] for point in played.reached)
                causes += played.endings.causes
            except AssertionError as error:
                failed.append(seed)
                where = traceback.extract_tb(error.__traceback__)[-1]
                print(f"seed {seed} failed, {plan}, line {where.lineno} ({where.line}): {error}")
                print("\n".join(error.__notes__), flush=True)
            left = (time.monotonic() - began) / number * (options.rounds - number)
            print(f"{number}/{options.rounds} rounds, {len(failed)} failed, {left / 60:.0f} min left", flush=True)
    print(f"{options.database}: {options.rounds} rounds of {FRAMES} frames, {restarts} agents started again, ", end="")
    print(f"{len(failed)} rounds failed {failed or ''}, {(time.monotonic() - began) / 60:.0f} min")
    for what, counts in (("faults", faults), ("points reached", reached), ("ends of agents", causes)):
        print(f"{what}: " + (", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
