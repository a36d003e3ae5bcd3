"""Two agents, a log and a database under any order of events: what may happen to them.

The agents are the product's own pipelines without their threads: the machine turns their loops by hand, so that each
interleaving is one that threads and processes may have, and one that fails is found again.
"""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.frame import StreamKey
from agent.pipeline.patience import AbandonedError
from agent.pipeline.provider import Companion, Deployed
from agent.sources.base import Decision
from agent.sources.memory import MemoryLog
from agent.store import offsets
from agent.store.engine import writing
from agent.store.local_blobs import MemoryBlobs
from agent.store.tables import alert
from model.statistics import keyed_fraction
from tests.databases import NOW
from tests.streams import (
    DEFECT,
    GOOD,
    FakeProvider,
    FakeScorer,
    certificate,
    corrupt,
    frame,
    headers,
)
from tests.unit.ledger import Ledger
from tests.unit.stepped import MOST, PARTITIONS, SHARE, Agent, Plant, Said

SETTLED = 200  # turns in which everything must come to rest
CALM = 3  # turns that it must stay so: what one finds, the next one takes up
VALUES = {"good": frame(GOOD), "flagged": frame(DEFECT), "torn": corrupt(), "nowhere": frame(GOOD)}

COMES = (*VALUES, "good", "again", "marker")
TURNS = ("read", "work", "work", "work", "record", "relay", "wait")

JOIN = "JOIN stream ON stream.id = stream_id"

agents = st.integers(0, 1)
partitions = st.integers(0, MOST - 1)  # of a log that has fewer, one of those
some = st.sets(partitions, min_size=1)
news = st.lists(st.tuples(partitions, st.sampled_from(COMES), st.integers(0, 99)), min_size=2, max_size=6)


def quiet(line: Line) -> bool:
    """Whether the agents had time for their work: else nothing would ever be done."""
    return line.quiet >= 2


class Line(RuleBasedStateMachine):
    """What may happen to a line."""

    plant: Plant

    def __init__(self) -> None:
        super().__init__()
        plant = self.plant
        plant.renew()
        self.engine = plant.engine
        self.look = sqlite3.connect(plant.file)
        self.seconds, self.quiet = 0.0, 0
        self.rng, self.names = random.Random(0), itertools.count()
        self.log = MemoryLog(PARTITIONS, clock=self.clock)
        self.ledger = Ledger(self.log, self.look)
        self.said = Said()
        self.blobs = MemoryBlobs()
        seeded = plant.seeded
        scorer, before = (FakeScorer(artifact_sha256=one.artifact_sha256) for one in (seeded, plant.before))
        beside = Companion(plant.watch.id, before, certificate(before.artifact_sha256), SHARE)
        deployed = Deployed(seeded.deployment_id, scorer, certificate(seeded.artifact_sha256), beside)
        self.provider = FakeProvider({seeded.product_id: deployed})
        self.published: list[Decision] = []
        self.cameras = [0] * MOST  # the last number of each station, one a partition
        self.orderly = True  # each station has one partition of one log: whoever has it knows how the station fares
        self.agents = [Agent(self) for _ in range(2)]

    def clock(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def send(self, partition: int, kind: str, frame_id: str, station: str | None = None) -> None:
        """A frame of the partition's own camera; or, given its `station`, one that was sent before."""
        number = None
        if station is None:
            station = "nowhere" if kind == "nowhere" else f"s{partition + 1}"
            if kind != "nowhere":
                number = self.cameras[partition] = self.cameras[partition] + 1
        head = headers(frame_id, station=station, sequence=number, captured_at=self.clock())
        self.log.append(VALUES[kind], head, partition=partition)
        self.ledger.note(partition, frame_id, station=station, number=number, dead=kind == "nowhere")

    def one_of(self, partition: int) -> int:
        return partition % self.log.partitions

    @initialize(given=st.lists(some, min_size=2, max_size=2), what=news)
    def the_group_shares_its_partitions_out(self, given: list[set[int]], what: list[tuple[int, str, int]]) -> None:
        """Some may be two agents': one that was frozen does not know that it lost them. Some are nobody's for now."""
        self.grow(what)
        for agent, own in zip(self.agents, given, strict=True):
            agent.source.assign({*map(self.one_of, own)})
            for _ in range(3):
                agent.read()
                agent.record()

    @rule(what=news)
    def the_log_grows(self, what: list[tuple[int, str, int]]) -> None:
        self.grow(what)

    def grow(self, what: list[tuple[int, str, int]]) -> None:
        for some_partition, kind, which in what:
            partition, before = self.one_of(some_partition), [one for one in self.ledger.sent if one.frame_id]
            known = [one for one in before if not one.dead]
            if kind == "marker":  # of a transaction
                self.log.skip(partition)
                self.ledger.note(partition, None)
            elif kind != "again":
                self.send(partition, kind, f"f{len(before)}")
            elif known:
                one = known[which % len(known)]
                self.orderly &= one.partition == partition
                self.send(partition, "good", str(one.frame_id), one.station)

    @rule(partition=partitions, number=st.integers(-1, 3))
    def a_camera_skips_numbers(self, partition: int, number: int) -> None:
        """So many frames never came; or (-1) it is started anew."""
        own = self.one_of(partition)
        self.cameras[own] = 0 if number < 0 else self.cameras[own] + number

    @rule(turns=st.lists(st.tuples(agents, st.sampled_from(TURNS), st.integers(0, 9)), min_size=8, max_size=30))
    def loops_turn(self, turns: list[tuple[int, str, int]]) -> None:
        """In any order, as frames finish in any order: the number says which of those under way goes on."""
        self.quiet += 1
        for agent, turn, which in turns:
            if turn == "work":
                self.agents[agent].work(which)
            elif turn == "wait":
                self.seconds += which / 10
            else:
                getattr(self.agents[agent], turn)()

    @rule(agent=agents, rounds=st.integers(2, 5))
    def an_agent_runs(self, agent: int, rounds: int) -> None:
        self.run(self.agents[agent], rounds)

    def run(self, agent: Agent, rounds: int) -> None:
        self.quiet += 1
        for _ in range(rounds):
            agent.round()
            self.seconds += 0.2

    @precondition(quiet)
    @rule(to=agents, moved=some, how=st.sampled_from(["revoke", "lose", "freeze"]))
    def the_group_moves_partitions(self, to: int, moved: set[int], how: str) -> None:
        """From one agent to the other; one that is frozen does not hear of it."""
        self.quiet, moved = 0, {*map(self.one_of, moved)}
        self.agents[to].source.assign(moved)
        if how != "freeze":
            getattr(self.agents[1 - to].source, how)(moved)

    @precondition(quiet)
    @rule(agent=agents, partition=partitions, count=st.integers(0, 3))
    def somebody_interferes(self, agent: int, partition: int, count: int) -> None:
        """An agent that is not seen here claims; or a fetch brings what was read before."""
        self.quiet, partition = 0, self.one_of(partition)
        self.ledger.read()
        stream, done = self.ledger.current(partition) or (self.log.key.topic_id, self.log.bounds(partition).start)
        if count == 0:
            with writing(self.engine) as conn:
                key = StreamKey(self.log.key.cluster_id, stream, self.log.key.topic)
                stream_id = offsets.stream_id(conn, key, self.clock())
                offsets.claim(conn, stream_id, partition, holder="somebody", start=done, now=self.clock())
            return
        if lane := self.agents[agent].pipeline._recorder.lanes.get(partition):
            done = min(done, lane.claim.next_offset)  # its claim may be an old one
        old = self.log.read(partition, max(0, done - count), count)[0]
        self.agents[agent].source.again += [one for one in old if one.offset < done]

    @precondition(quiet)
    @rule(agent=agents, told=st.none() | st.integers(-1, 3))
    def an_agent_ends(self, agent: int, told: int | None) -> None:
        """Killed anywhere; or after it has told so many decisions of those that it has made; or (-1) asked to stop."""
        self.quiet, ending = 0, self.agents[agent]
        if told == -1:
            self.stop(ending)
        elif told is not None:
            while ending.work(0):
                pass
            ending.record()
            ending.sink.left = told
            with suppress(AbandonedError):
                ending.relay()
        self.start_again(agent)

    @staticmethod
    def stop(agent: Agent) -> None:
        """As SIGTERM does: it takes nothing more in and leaves nothing behind."""
        agent.pipeline.drain(0)
        for _ in range(SETTLED):
            agent.round()
            if not agent.in_flight and agent.pipeline.drain(0):
                return
        raise AssertionError(f"it does not drain: {agent.in_flight} frames are in flight")

    def start_again(self, agent: int) -> None:
        """What took its place gets its partitions."""
        had = self.agents[agent].source.held
        self.agents[agent] = Agent(self)
        self.agents[agent].source.assign(had)

    @precondition(quiet)
    @rule(partition=partitions, burst=st.integers(0, 4), kept=st.integers(0, 3))
    def retention_deletes(self, partition: int, burst: int, kept: int) -> None:
        """All but the newest ones, read or not."""
        self.quiet, partition = 0, self.one_of(partition)
        self.grow([(partition, "good", 0)] * burst)
        start = max(self.log.bounds(partition).start, self.log.bounds(partition).end - kept)
        self.log.truncate(partition, start)
        self.ledger.starts[self.ledger.topic, partition].append(start)

    @precondition(quiet)
    @rule(partition=partitions, lost=st.integers(0, 4), asleep=st.booleans(), burst=st.integers(0, 3))
    def a_leader_cuts_the_log(self, partition: int, lost: int, asleep: bool, burst: int) -> None:
        """It was behind, and what it had not copied is gone; maybe while no agent reads, and others come after it."""
        self.quiet, self.orderly, partition = 0, False, self.one_of(partition)
        for agent in (0, 1) if asleep else ():
            self.start_again(agent)
        end = max(self.log.bounds(partition).start, self.log.bounds(partition).end - lost)
        self.log.cut(partition, end)
        self.ledger.cuts[self.ledger.topic, partition].append(end)
        self.grow([(partition, "flagged", 0)] * burst)

    @precondition(quiet)
    @rule()
    def the_topic_is_made_anew(self) -> None:
        self.quiet, self.orderly = 0, False
        self.log.recreate()

    @precondition(lambda line: quiet(line) and line.log.partitions < MOST)
    @rule(agent=agents)
    def the_topic_gets_a_partition(self, agent: int) -> None:
        self.quiet = 0
        self.log.grow()
        self.agents[agent].source.assign({self.log.partitions - 1})

    @rule()
    def a_person_acknowledges_what_is_open(self) -> None:
        with writing(self.engine) as conn:
            conn.execute(sa.update(alert).where(alert.c.closed_at.is_(None)).values(closed_at=self.clock()))

    @invariant()
    def promises(self) -> None:
        ledger = self.ledger
        ledger.hold()
        place = 'topic_id, partition, "offset"'
        scored = self.rows(f"SELECT {place} FROM inspection {JOIN} WHERE score IS NOT NULL")
        secret = self.plant.install.secret
        drawn = {at for at in scored if keyed_fraction(secret, "watch", ledger.inspected[at]) < SHARE}
        assert {*self.rows(f"SELECT {place} FROM shadow_score {JOIN}")} == drawn, "not the watch's sample"
        for partition, offset in self.log.committed.items():
            most = max((state[0] for (_, p), state in ledger.states.items() if p == partition), default=0)
            assert offset <= most, "the broker is ahead of the database"
        told = [self.place(one) for one in self.published]
        assert {*told} | ledger.unsent == ledger.outcomes.keys(), "a decision is lost, or told and was never made"
        for of in ledger.states:
            first = list(dict.fromkeys(offset for *at, offset in told if tuple(at) == of))
            assert first == sorted(first), "decisions are told out of order"
        self.alarms()

    def alarms(self) -> None:
        """Each loss of a camera is told once, and a station is blind as long as it is said to be."""
        lost = self.ledger.jumps()
        said = Counter(self.rows("SELECT station, last, number FROM each_gap"))
        assert self.ledger.doubt or said == lost, f"cameras lost {lost}, and {said} was said"
        assert self.said.kinds <= {"station_blind", "camera_frozen"}
        if self.orderly:
            blind = {f"station:{name}" for (name,) in self.rows("SELECT name FROM station WHERE status = 'blind'")}
            assert blind == {subject for kind, subject in self.said.open if kind == "station_blind"}

    @staticmethod
    def place(decision: Decision) -> tuple[str, int, int]:
        stream, partition, offset = dict(decision.headers)["ce_id"].decode().split("/")
        return stream, int(partition), int(offset)

    def rows(self, query: str) -> list[Any]:
        return self.look.execute(query).fetchall()

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            self.look.close()

    def settle(self) -> None:
        """One agent gets all partitions, each gets one frame more, and everything comes to rest."""
        first, second = self.agents
        second.source.lose(range(self.log.partitions))
        first.source.assign(range(self.log.partitions))
        for _ in range(CALM):
            first.round()
        self.grow([(partition, "good", 0) for partition in range(self.log.partitions)])
        calm = 0
        for _ in range(SETTLED):
            second.round()
            first.round()
            self.seconds += 0.5
            calm = calm + 1 if self.at_rest() else 0
            if calm == CALM:
                break
        self.promises()
        assert calm == CALM, "it does not come to rest"
        self.ledger.settled()

    def at_rest(self) -> bool:
        # An agent that has found the log cut claims anew only a heartbeat later.
        if len(self.agents[0].pipeline._intake.claimed) < self.log.partitions:
            return False
        self.ledger.read()
        for partition in range(self.log.partitions):
            stream, next_offset = self.ledger.current(partition) or ("", 0)
            at_end = next_offset == self.log.bounds(partition).end
            if not at_end or stream.partition("#")[0] != self.log.key.topic_id:
                return False
        return not self.ledger.unsent and not any(one.in_flight for one in self.agents)
