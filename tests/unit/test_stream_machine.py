"""The promises of the stream hold whatever happens to a line, and after each step: `stream_line` says what may."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as example_settings
from hypothesis.stateful import run_state_machine_as_test

from agent.pipeline import record
from agent.pipeline.relay import LOOK_S
from agent.sources.base import Unreadable
from tests.streams import FakeScored
from tests.unit.stepped import Plant
from tests.unit.stream_line import VALUES, Line

EXAMPLES, STEPS = 20, 25
STALLED = ("partition_stalled", "partition:goodpart.frames/0")


@pytest.fixture(autouse=True)
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    plant = Plant(tmp_path)
    monkeypatch.setattr(Line, "plant", plant, raising=False)
    try:
        yield
    finally:
        plant.engine.dispose()


@pytest.mark.promise(1, 2, 3, 9)
def test_whatever_happens_each_frame_has_one_outcome_and_one_decision() -> None:
    limits = example_settings(
        max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Line, settings=limits)


@pytest.mark.promise(7)
def test_a_partition_that_stands_still_is_no_life_and_is_told_though_another_goes_on() -> None:
    line = Line()
    agent = line.agents[0]
    agent.source.assign({0, 1})
    line.run(agent, 3)
    line.send(0, "good", "stuck")
    agent.read()
    agent.record()
    stuck = agent.pipeline._undecoded.get()  # a frame that its stage lost
    for number in range(9):
        assert agent.health.dead() == {}
        line.send(1, "good", f"f{number}")
        line.run(agent, 1)
        line.seconds += 10
    problem = "1 frames of partition 0 of goodpart.frames are in flight and none was recorded for"
    assert problem in agent.health.dead()["progress"]
    agent.pipeline._stalls.tell()
    assert STALLED in line.said.open
    agent.health.dependency("database", "gone")
    assert agent.health.dead() == {}
    agent.health.dependency("database", None)
    assert agent.health.dead() == {}, "what waited for the database gets its time"
    line.seconds += 100
    assert agent.health.dead()

    agent.pipeline._undecoded.put(stuck)
    line.run(agent, 1)
    assert agent.health.dead() == {}
    agent.pipeline._stalls.tell()
    assert STALLED not in line.said.open
    line.look.close()


@pytest.mark.promise(5, 7)
def test_a_partition_that_cannot_be_read_is_told_and_ends_no_agent() -> None:
    """A new agent could not read it either, and would keep the others waiting."""
    line = Line()
    agent = line.agents[0]
    agent.source.assign({0, 1})
    line.run(agent, 3)
    agent.source._events.append(Unreadable(0, 0, "torn"))
    agent.read()
    assert "partitions" not in agent.health.unready()
    line.seconds += 61
    assert agent.health.dead() == {}
    problem = "partition 0 of goodpart.frames was not read on for 61 s: torn"
    assert agent.health.unready()["partitions"] == problem
    agent.pipeline._stalls.tell()
    assert STALLED in line.said.open

    line.send(0, "good", "mended")
    line.run(agent, 2)
    line.seconds += 1
    agent.read()
    assert "partitions" not in agent.health.unready()
    agent.pipeline._stalls.tell()
    assert STALLED not in line.said.open
    line.look.close()


@pytest.mark.parametrize("how", ["lose", "revoke"])
def test_an_agent_says_nothing_more_of_a_partition_that_it_has_no_more(how: str) -> None:
    line = Line()
    agent = line.agents[0]
    agent.source.assign({0, 1})
    for number in range(6):
        line.send(number % 2, "torn", f"f{number}")
    line.run(agent, 9)

    def told() -> set[str]:
        return set(re.findall(r"^goodpart_(?:lag_frames|blind_station){.*", line.plant.metrics.text().decode(), re.M))

    first = {'goodpart_lag_frames{partition="0"} 0.0', 'goodpart_blind_station{station="s1"} 1.0'}
    second = {'goodpart_lag_frames{partition="1"} 0.0', 'goodpart_blind_station{station="s2"} 1.0'}
    assert told() == first | second
    getattr(agent.source, how)({0})
    line.run(agent, 9)
    assert told() == second
    line.look.close()


def test_what_a_camera_lost_is_on_record_though_the_agent_dies_right_after_the_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = Line()
    agent = line.agents[0]
    agent.source.assign({0})
    line.send(0, "good", "a")
    line.run(agent, 4)
    line.cameras[0] += 2
    line.send(0, "good", "b")
    agent.read()
    while agent.work(0):
        pass

    def dies(point: str) -> None:
        if point == "commit.done":
            raise RuntimeError("killed")

    monkeypatch.setattr(record, "passing", dies)
    with pytest.raises(RuntimeError, match="killed"):
        agent.record()
    assert line.rows("SELECT kind, subject, n FROM alert") == [("sequence_gap", "station:s1", 1)]
    assert line.rows("SELECT * FROM each_gap") == [("s1", 1, 4)]
    line.look.close()


def test_what_waits_for_its_evidence_is_counted_with_its_map_and_holds_no_other_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = Line()
    agent, (deployed,) = line.agents[0], line.provider.all()
    agent.source.assign({0})
    line.run(agent, 3)
    for number in range(2):
        line.send(0, "flagged", f"f{number}")
    agent.read()
    agent.record()
    pipeline = agent.pipeline
    for work in [pipeline._undecoded.get() for _ in range(2)]:
        assert work
        pipeline._decode_one(work)
    held = 2 * (len(VALUES["flagged"]) + 24 * 24 * 3 + 4 * 64 * 64)
    assert pipeline.held_bytes == held
    maps = np.zeros((2, 64, 64), np.float32)
    monkeypatch.setattr(deployed.scorer, "score", lambda frames: [FakeScored(2.5, one) for one in maps])
    works = [work for _ in range(2) if (work := pipeline._decoded.get())]
    pipeline._score_batch(works)
    kept = [work.map.values for work in works if work.map]
    assert len(kept) == 2 and not any(np.shares_memory(one, maps) for one in kept)
    assert pipeline.held_bytes == held
    line.run(agent, 2)
    assert pipeline.held_bytes == 0
    line.look.close()


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
    assert [*dict.fromkeys(map(line.place, line.published))] == [
        ("goodpart.frames-2", 0, offset) for offset in range(3)
    ]
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


@pytest.mark.promise(3)
def test_a_log_that_is_cut_again_before_anything_behind_the_cut_was_read_is_read_from_the_lower_one() -> None:
    """Found by the machine: the stream that begins at a cut did not know under which leader what is before it lies."""
    line = Line()
    agent = line.agents[0]
    agent.source.assign({0})
    for number in range(3):
        line.send(0, "good", f"f{number}")
    line.run(agent, 4)
    line.a_leader_cuts_the_log(partition=0, lost=1, asleep=False, burst=2)
    while len(line.rows("SELECT 1 FROM consumer_offset")) == 1:
        agent.read()
        agent.record()
        line.seconds += 1
    assert line.rows("SELECT next_offset FROM consumer_offset") == [(3,), (2,)], "claimed at the cut, and not read"
    line.a_leader_cuts_the_log(partition=0, lost=3, asleep=True, burst=3)
    line.teardown()
    assert len(line.ledger.gaps) == 2


@pytest.mark.promise(2, 3)
def test_a_stream_that_another_agent_has_ended_is_recorded_no_further() -> None:
    """Found by the machine: one that had seen a cut, and not that it lost the partition, began the next stream."""
    line = Line()
    owner, frozen = line.agents
    frozen.source.assign({0})
    for number in range(3):
        line.send(0, "good", f"f{number}")
    line.run(frozen, 4)
    line.a_leader_cuts_the_log(partition=0, lost=1, asleep=False, burst=2)
    frozen.read()
    frozen.read()
    line.retention_deletes(partition=0, burst=0, kept=0)
    owner.source.assign({0})
    line.run(owner, 4)
    assert line.rows("SELECT next_offset FROM consumer_offset WHERE partition = 0") == [(4,)], "it saw no cut"
    while len(line.rows("SELECT 1 FROM data_gap")) < 2:
        frozen.read()
        frozen.record()
        line.seconds += 1
    line.teardown()


@pytest.mark.promise(2)
def test_a_partition_whose_owner_fell_silent_waits_for_nothing_once_the_group_has_moved_it() -> None:
    """The clock stands still meanwhile: takeover takes the group's session, and no lease of ours on top of it."""
    line = Line()
    silent, other = line.agents
    silent.source.assign({0})
    for number in range(6):
        line.send(0, "flagged", f"f{number}")
    silent.round()
    for _ in range(3):
        silent.read()
        silent.record()
    assert silent.in_flight
    other.source.assign({0})  # the session is over, and the one that had it does not know
    for _ in range(4):
        other.round()
    assert line.seconds == 0
    rows = "SELECT received, inspected, epoch FROM consumer_offset"
    assert line.rows(rows) == [(6, 6, 2)]
    assert [line.place(one)[2] for one in line.published] == [*range(6)]
    silent.round()
    assert silent.in_flight == 0
    assert line.rows(rows) == [(6, 6, 2)], "what it had in flight is another's"
    line.look.close()
