"""Rounds of pulled plugs on Apache Kafka: a seed makes a plan of faults, agents run under it, an oracle counts.

`python -m tests.crash.rounds --rounds 100 --database postgresql` runs the long form and prints the tally.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa
from kafka import KafkaConsumer
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from sqlalchemy import Engine

from agent import failpoints
from agent.demo.broker import create_topics
from agent.pipeline.decisions import event_id
from agent.settings import Kafka
from agent.store import audit
from agent.store.engine import reading
from agent.store.local_blobs import LocalBlobs
from agent.store.tables import blob, dead_letter, inspection, item, rollup_minute, rollup_quarter, stream
from tests import databases
from tests.apache_kafka import UNPROVEN, ApacheKafka, apache_kafka, is_here
from tests.crash.plant import PARTITIONS, Agent, decisions, publish, rows, totals
from tests.databases import database
from tests.postgresql import PostgreSQL, postgresql
from tests.streams import seed as seed_line

FRAMES = 150
SESSION_S = 2.0
ROUND_S = 150.0
EVERYWHERE = ("kill", "freeze", "broker", "storm")
ON_POSTGRESQL = (*EVERYWHERE, "database")
VERDICTS = ("pass", "review", "reject", "not_inspected")


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens in a round.

    Attributes:
        agents: how many run; one that ends is started again.
        faults: (frames recorded before it, kind), in order.
        points: failpoints of the first agents to start, `NAME:N` each.
    """

    agents: int
    faults: tuple[tuple[int, str], ...]
    points: tuple[str, ...]

    @classmethod
    def drawn(cls, seed: int, kinds: tuple[str, ...]) -> Plan:
        """The plan of a seed."""
        rng = random.Random(seed)
        at = sorted(rng.randrange(FRAMES * 8 // 10) for _ in range(rng.randint(1, 3)))
        points = tuple(f"{rng.choice(failpoints.NAMES)}:{rng.randint(1, 4)}" for _ in range(rng.randint(1, 3)))
        return cls(rng.randint(1, 3), tuple((n, rng.choice(kinds)) for n in at), points)


@dataclass
class Round:
    """One round: agents over a topic and a database of their own."""

    plan: Plan
    folder: Path
    broker: ApacheKafka
    engine: Engine
    server: PostgreSQL | None
    topic: str = field(default_factory=lambda: f"frames-{uuid4().hex[:8]}")
    crew: list[Agent] = field(default_factory=list)
    started: int = 0

    def run(self) -> None:
        """Runs it and raises AssertionError where the oracle finds something."""
        create_topics(Kafka(bootstrap=self.broker.bootstrap), {self.topic: PARTITIONS, f"{self.topic}-out": 1})
        seed_line(self.engine, LocalBlobs(self.folder / "blobs"))
        publish(self.broker.bootstrap, range(FRAMES // 2), self.topic)
        try:
            self._supervise()
            said = decisions(self.broker.bootstrap, FRAMES, f"{self.topic}-out")
            self._check(said)
            for one in self.crew:
                self._check_end(one, one.end(signal.SIGTERM))
        finally:
            for one in self.crew:
                one.end(signal.SIGKILL)

    def _check_end(self, agent: Agent, code: int) -> None:
        if code == -signal.SIGKILL and agent.environ[failpoints.VARIABLE]:
            return  # it came to its point only while it ended
        if code == -signal.SIGTERM and "agent_starting" not in agent.said():
            return  # Python was still loading
        if code == 1 and "no Kafka broker answers" in agent.said() and any(k == "broker" for _, k in self.plan.faults):
            return  # started while the broker was stopped; a service manager would start it again
        assert code == 0, f"an agent ended with {code}: {agent.said()}"

    def _supervise(self) -> None:
        faults, end = list(self.plan.faults), time.monotonic() + ROUND_S
        published = False
        while (done := self._received()) < FRAMES:
            assert time.monotonic() < end, f"{done} of {FRAMES} frames in {ROUND_S} s; " + self.crew[-1].said()
            for one in [one for one in self.crew if one.process.poll() is not None]:
                one.end(signal.SIGKILL)
                self.crew.remove(one)
            while len(self.crew) < self.plan.agents:
                self._start()
            if not published and done >= FRAMES // 4:
                publish(self.broker.bootstrap, range(FRAMES // 2, FRAMES), self.topic)
                published = True
            if faults and done >= faults[0][0]:
                getattr(self, f"_{faults.pop(0)[1]}")()
            threading.Event().wait(0.05)

    def _start(self) -> None:
        armed = self.plan.points[self.started] if self.started < len(self.plan.points) else ""
        given = {
            "GOODPART_KAFKA__FRAMES_TOPIC": self.topic, "GOODPART_KAFKA__DECISIONS_TOPIC": f"{self.topic}-out",
            "GOODPART_KAFKA__GROUP_ID": self.topic, "GOODPART_KAFKA__SESSION_TIMEOUT_S": str(SESSION_S),
            "GOODPART_KAFKA__HEARTBEAT_S": "0.3", "SCORING_DELAY_S": "0.003",
            failpoints.VARIABLE: armed,
        }  # fmt: skip
        self.crew.append(Agent(self.folder, self.broker.bootstrap, self.engine, **given))
        self.started += 1

    def _received(self) -> int:
        return totals(self.engine).received

    def _kill(self) -> None:
        self.crew[0].end(signal.SIGKILL)

    def _freeze(self) -> None:
        """Longer than its session: another agent takes over, and this one wakes up fenced."""
        frozen = self.crew[0].process
        frozen.send_signal(signal.SIGSTOP)
        threading.Event().wait(SESSION_S * 1.6)
        frozen.send_signal(signal.SIGCONT)

    def _broker(self) -> None:
        self.broker.kill()
        self.broker.start()

    def _database(self) -> None:
        assert self.server is not None
        self.server.stop()
        threading.Event().wait(1)
        self.server.start()

    def _storm(self) -> None:
        """Members that come and go: each makes the group share its partitions out anew."""
        for _ in range(3):
            member = KafkaConsumer(
                self.topic, bootstrap_servers=self.broker.bootstrap, group_id=self.topic, enable_auto_commit=False,
                partition_assignment_strategy=[CooperativeStickyAssignor], session_timeout_ms=int(SESSION_S * 1000),
                heartbeat_interval_ms=300,
            )  # fmt: skip
            member.poll(500)
            member.close(autocommit=False)

    def _check(self, said: list[str]) -> None:
        counts = totals(self.engine)
        assert counts.received == FRAMES, counts
        assert counts.balanced, counts
        frames, letters = rows(self.engine, inspection), rows(self.engine, dead_letter)
        once = {f"f{number}": 1 for number in range(FRAMES) if number % 10 != 7}
        assert Counter(row.frame_id for row in frames) == once
        dead = [row for row in letters if row.counted]
        assert len(dead) == len({(row.partition, row.offset) for row in dead}) == FRAMES // 10
        (log,) = rows(self.engine, stream)
        assert set(said) == {event_id(log.topic_id, row.partition, row.offset) for row in (*frames, *dead)}
        verdicts = Counter(row.verdict for row in frames)
        for rollup in (rollup_minute, rollup_quarter):
            columns = [sa.func.coalesce(sa.func.sum(rollup.c[f"n_{verdict}"]), 0) for verdict in VERDICTS]
            with reading(self.engine) as conn:
                sums = [int(number) for number in conn.execute(sa.select(*columns)).one()]
            assert sums == [verdicts[verdict] for verdict in VERDICTS], rollup.name
        self._check_blobs()
        with reading(self.engine) as conn:
            assert audit.verify(conn) is None

    def _check_blobs(self) -> None:
        store = LocalBlobs(self.folder / "blobs")
        stored = {row.sha256 for row in rows(self.engine, blob) if row.state == "stored"}
        for row in rows(self.engine, item):
            for name in ("frame_sha256", "heatmap_sha256", "preview_sha256", "overlay_sha256", "thumbnail_sha256"):
                sha256 = getattr(row, name)
                assert sha256 is None or (sha256 in stored and store.get(sha256)), (row.frame_id, name)


def run_round(seed: int, broker: ApacheKafka, server: PostgreSQL | None) -> int:
    """One round, on PostgreSQL where a server is given, else on SQLite; how many agents had to be started again."""
    plan = Plan.drawn(seed, EVERYWHERE if server is None else ON_POSTGRESQL)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="goodpart-round-")))
        if server is not None:
            stack.enter_context(databases.on(server))
        engine = stack.enter_context(database(folder))
        played = Round(plan, folder, broker, engine, server)
        played.run()
        return played.started - plan.agents


def main() -> int:
    """The long form; the exit status says whether every round held."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.rounds", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the next ones count up")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    if not is_here():
        sys.exit(UNPROVEN)
    failed, faults, restarts, began = [], Counter[str](), 0, time.monotonic()
    with ExitStack() as stack:
        broker = stack.enter_context(apache_kafka())
        server = stack.enter_context(postgresql()) if options.database == "postgresql" else None
        for number, seed in enumerate(range(options.seed, options.seed + options.rounds), 1):
            plan = Plan.drawn(seed, EVERYWHERE if server is None else ON_POSTGRESQL)
            faults.update([*(kind for _, kind in plan.faults), *(point.partition(":")[0] for point in plan.points)])
            try:
                restarts += run_round(seed, broker, server)
            except AssertionError as error:
                failed.append(seed)
                where = traceback.extract_tb(error.__traceback__)[-1]
                print(f"seed {seed} failed, {plan}, line {where.lineno} ({where.line}): {error}", flush=True)
            left = (time.monotonic() - began) / number * (options.rounds - number)
            print(f"{number}/{options.rounds} rounds, {len(failed)} failed, {left / 60:.0f} min left", flush=True)
    print(f"{options.database}: {options.rounds} rounds of {FRAMES} frames, {restarts} agents started again, ", end="")
    print(f"{len(failed)} rounds failed {failed or ''}")
    print(", ".join(f"{name} {count}" for name, count in sorted(faults.items())))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
