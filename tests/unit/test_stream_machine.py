"""Two agents, a log and a database under any order of events: the promises of the stream hold after every step.

The agents are the product's own pipelines without their threads: the machine turns their loops by hand, so that each
interleaving is one that threads and processes may have, and one that fails is found again.
"""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agent.pipeline.patience import AbandonedError
from agent.pipeline.provider import Companion, Deployed
from agent.pipeline.relay import LOOK_S
from agent.sources.base import Decision
from agent.sources.memory import MemoryLog
from agent.store import offsets
from agent.store.engine import writing
from agent.store.local_blobs import MemoryBlobs
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
from tests.unit.stepped import PARTITIONS, SHARE, Agent, Plant

EXAMPLES, STEPS = 20, 25
SETTLED = 200  # turns in which everything must come to rest
VALUES = {"good": frame(GOOD), "flagged": frame(DEFECT), "torn": corrupt(), "nowhere": frame(GOOD)}

COMES = (*VALUES, "good", "again", "marker")
TURNS = ("read", "work", "work", "work", "record", "relay", "wait")

agents = st.integers(0, 1)
partitions = st.integers(0, PARTITIONS - 1)
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
        self.blobs = MemoryBlobs()
        seeded = plant.seeded
        scorer, before = (FakeScorer(artifact_sha256=one.artifact_sha256) for one in (seeded, plant.before))
        beside = Companion(plant.watch.id, before, certificate(before.artifact_sha256), SHARE)
        deployed = Deployed(seeded.deployment_id, scorer, certificate(seeded.artifact_sha256), beside)
        self.provider = FakeProvider({seeded.product_id: deployed})
        self.published: list[Decision] = []
        self.sent: dict[tuple[int, int], str] = {}  # frame ids by partition and offset
        self.dead: set[tuple[int, int]] = set()  # those whose headers are bad
        self.furthest: dict[int, int] = {}
        self.agents = [Agent(self) for _ in range(2)]

    def clock(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def send(self, partition: int, kind: str, frame_id: str) -> None:
        head = headers(frame_id, station="nowhere" if kind == "nowhere" else "s1", captured_at=self.clock())
        at = (partition, self.log.append(VALUES[kind], head, partition=partition))
        self.sent[at] = frame_id
        if kind == "nowhere":
            self.dead.add(at)

    @initialize(given=st.lists(some, min_size=2, max_size=2), what=news)
    def the_group_shares_its_partitions_out(self, given: list[set[int]], what: list[tuple[int, str, int]]) -> None:
        """Some may be two agents': one that was frozen does not know that it lost them. Some are nobody's for now."""
        self.grow(what)
        for agent, own in zip(self.agents, given, strict=True):
            agent.source.assign(own)
            for _ in range(3):
                agent.read()
                agent.record()

    @rule(what=news)
    def the_log_grows(self, what: list[tuple[int, str, int]]) -> None:
        self.grow(what)

    def grow(self, what: list[tuple[int, str, int]]) -> None:
        for partition, kind, which in what:
            ids = sorted({*self.sent.values()} - {self.sent[at] for at in self.dead})
            if kind == "marker":  # of a transaction
                self.log.skip(partition)
            elif kind != "again":
                self.send(partition, kind, f"f{len(self.sent)}")
            elif ids:
                self.send(partition, "good", ids[which % len(ids)])

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
        self.quiet = 0
        self.agents[to].source.assign(moved)
        if how != "freeze":
            getattr(self.agents[1 - to].source, how)(moved)

    @precondition(quiet)
    @rule(agent=agents, partition=partitions, count=st.integers(0, 3))
    def somebody_interferes(self, agent: int, partition: int, count: int) -> None:
        """An agent that is not seen here claims; or a fetch brings what was read before."""
        self.quiet = 0
        if count == 0:
            with writing(self.engine) as conn:
                stream_id = offsets.stream_id(conn, self.log.key, self.clock())
                offsets.claim(conn, stream_id, partition, holder="somebody", start=0, now=self.clock())
            return
        done = dict(self.rows("SELECT partition, next_offset FROM consumer_offset")).get(partition, 0)
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

    @invariant()
    def promises(self) -> None:
        columns = "partition, next_offset, received, inspected + not_inspected + dead_lettered + duplicate"
        states = {row[0]: row[1:] for row in self.rows(f"SELECT {columns} FROM consumer_offset")}
        inspections = self.rows('SELECT partition, "offset", frame_id, score FROM inspection')
        inspected = {(partition, offset): frame_id for partition, offset, frame_id, _ in inspections}
        scored = [(partition, offset) for partition, offset, _, score in inspections if score is not None]
        secret = self.plant.install.secret
        drawn = {at for at in scored if keyed_fraction(secret, "watch", inspected[at]) < SHARE}
        assert {*self.rows('SELECT partition, "offset" FROM shadow_score')} == drawn, "not the watch's sample"
        dead = {*self.rows('SELECT partition, "offset" FROM dead_letter WHERE counted')}
        unsent = {*self.rows('SELECT partition, "offset" FROM outbox')}
        assert not self.rows("SELECT * FROM data_gap"), "a gap, and the log has lost nothing"
        done = {at for at in self.sent if at[0] in states and at[1] < states[at[0]][0]}
        for partition, (next_offset, received, outcomes) in states.items():
            assert received == outcomes == sum(at[0] == partition for at in done)
            assert next_offset >= self.furthest.get(partition, 0), "an offset went back"
            assert self.log.committed.get(partition, 0) <= next_offset, "the broker is ahead of the database"
            self.furthest[partition] = next_offset
        assert len(inspections) == len(inspected) == len({*inspected.values()}), "a frame was inspected twice"
        assert dead == done & self.dead
        assert inspected.keys() <= done
        # What is done and has no outcome of its own was sent before: its id was inspected elsewhere.
        assert all(self.sent[at] in inspected.values() for at in done - dead)
        told = [self.place(one) for one in self.published]
        assert {*told} | unsent == inspected.keys() | dead, "a decision is lost, or one is told that was never made"
        for partition in states:
            first = list(dict.fromkeys(offset for one, offset in told if one == partition))
            assert first == sorted(first), "decisions are told out of order"

    @staticmethod
    def place(decision: Decision) -> tuple[int, int]:
        _, partition, offset = dict(decision.headers)["ce_id"].decode().split("/")
        return int(partition), int(offset)

    def rows(self, query: str) -> list[Any]:
        return self.look.execute(query).fetchall()

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            self.look.close()

    def settle(self) -> None:
        """One agent gets all partitions, and everything comes to rest."""
        first, second = self.agents
        second.source.lose(range(PARTITIONS))
        first.source.assign(range(PARTITIONS))
        for _ in range(SETTLED):
            second.round()
            first.round()
            self.seconds += 0.5
            if self.at_rest():
                break
        self.promises()
        assert self.at_rest(), "it does not come to rest"

    def at_rest(self) -> bool:
        ends = dict(self.rows("SELECT partition, next_offset FROM consumer_offset"))
        wanted = {partition: self.log.bounds(partition).end for partition in range(PARTITIONS)}
        unsent = self.rows("SELECT 1 FROM outbox LIMIT 1")
        return ends == wanted and not unsent and not any(one.in_flight for one in self.agents)


@pytest.fixture(autouse=True)
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    plant = Plant(tmp_path)
    monkeypatch.setattr(Line, "plant", plant, raising=False)
    try:
        yield
    finally:
        plant.engine.dispose()


@pytest.mark.promise(1, 2, 9)
def test_whatever_happens_each_frame_has_one_outcome_and_one_decision() -> None:
    limits = example_settings(
        max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Line, settings=limits)


@pytest.mark.promise(3)
def test_frames_in_flight_of_a_topic_made_anew_are_recorded_before_its_new_ones_are_read() -> None:
    """No log has them any more, and nobody else may commit them."""
    line = Line()
    agent = line.agents[0]
    agent.source.assign({0})
    for number in range(6):
        if number == 3:
            for _ in range(3):
                agent.read()
                agent.record()
            assert agent.in_flight == 3
            line.log.recreate()
        line.send(0, "flagged", f"f{number}")
    line.seconds += 1
    agent.read()
    assert not agent.pipeline._intake.claimed, "it has seen that the topic is another one"
    line.run(agent, 5)
    found = line.rows('SELECT stream_id, "offset", frame_id FROM inspection ORDER BY stream_id, "offset"')
    assert [one[1:] for one in found] == [(number % 3, f"f{number}") for number in range(6)]
    assert [one[0] for one in found] == [1, 1, 1, 2, 2, 2]
    told = list(dict.fromkeys(dict(one.headers)["ce_id"].decode() for one in line.published))
    assert told == [f"goodpart.frames-{1 + number // 3}/0/{number % 3}" for number in range(6)]
    line.look.close()


@pytest.mark.promise(9)
@pytest.mark.parametrize("dies", [False, True])
def test_what_its_former_owner_finishes_of_a_topic_made_anew_is_sent_by_whoever_has_the_partition_now(
    dies: bool,
) -> None:
    """The claim of the new stream fences nobody from the old one, whose frames are recorded after that claim."""
    line = Line()
    old, new = line.agents
    old.source.assign({0})
    for number in range(6):
        if number == 3:
            for _ in range(3):
                old.read()
                old.record()
            assert old.in_flight == 3
            line.log.recreate()
            old.source.revoke({0})
            new.source.assign({0})
        line.send(0, "flagged", f"f{number}")
    line.run(new, 5)
    assert [*dict.fromkeys(map(line.place, line.published))] == [(0, 0), (0, 1), (0, 2)]
    while old.work(0):
        pass
    for _ in range(2):
        old.read()
        old.record()
    assert len(line.rows("SELECT 1 FROM outbox WHERE stream_id = 1")) == 3, "recorded, and nobody was told"
    if dies:
        line.start_again(0)
    for _ in range(3):
        for agent in line.agents:
            line.run(agent, 1)
        line.seconds += LOOK_S
    told = [dict(one.headers)["ce_id"].decode() for one in line.published]
    assert told == [f"goodpart.frames-{stream}/0/{offset}" for stream in (2, 1) for offset in range(3)]
    assert not line.rows("SELECT 1 FROM outbox")
    assert line.rows("SELECT received, inspected FROM consumer_offset") == [(3, 3), (3, 3)]
    line.look.close()


@pytest.mark.promise(3)
def test_an_offset_that_moved_on_after_the_look_at_the_log_is_no_gap() -> None:
    """Found by the machine: the partition was taken for another log, and read again from its start."""
    line = Line()
    frozen, new = line.agents
    frozen.source.assign({0})
    line.send(0, "good", "f0")
    line.run(frozen, 4)
    new.source.assign({0})
    new.read()
    new.read()  # the log ends at 1
    line.send(0, "good", "f1")
    line.run(frozen, 2)
    new.record()
    line.run(new, 3)
    assert line.rows("SELECT partition, next_offset, received FROM consumer_offset") == [(0, 2, 2)]
    line.teardown()
