"""Which product a station runs at which offset, whatever was changed, read and read again."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as trials
from hypothesis import strategies as st

from agent.frame import StreamKey
from agent.pipeline.claims import claim_all
from agent.settings import Kafka
from agent.sources.base import Bounds
from agent.store import changeovers, offsets, products, stations
from agent.store.engine import Fenced, writing
from agent.store.errors import Outdated
from agent.store.offsets import Counts, Position
from tests.databases import NOW, Line

pytestmark = pytest.mark.usefixtures("each_database")
OFFSETS, PARTITIONS = 8, 2
ACT = st.one_of(
    st.tuples(st.just("read"), st.integers(0, PARTITIONS - 1), st.integers(1, 4)),
    st.tuples(st.just("back"), st.integers(0, PARTITIONS - 1), st.integers(1, 6)),
    st.tuples(st.just("change"), st.just(0), st.integers(0, 2)),
)


def _change(here: Line, product_id: int) -> Sequence[Position]:
    with writing(here.engine) as conn:
        return changeovers.change(conn, stations.get(conn, here.station_id), product_id, NOW)


@trials(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(ACT, max_size=10))
@example([("read", 0, 4), ("change", 0, 1), ("back", 0, 3), ("change", 0, 2), ("read", 0, 4)])
@example([("read", 0, 2), ("change", 0, 1), ("change", 0, 2), ("read", 1, 1)])
def test_an_offset_has_the_product_that_ran_when_it_was_to_be_read(
    here: Line, acts: list[tuple[str, int, int]]
) -> None:
    """Against a model that writes the product of each offset down, and overwrites what a change is ahead of."""
    with writing(here.engine) as conn:
        everything = conn.begin_nested()
        made = [here.product_id, *(products.add(conn, name, now=NOW).id for name in "ab")]
        runs, at, truth = made[0], dict[int, int](), dict[int, list[int]]()
        for act, partition, number in acts:
            if act == "change":
                changeovers.change(conn, stations.get(conn, here.station_id), made[number], NOW)
                if runs != made[number]:
                    runs = made[number]
                    for begun, start in at.items():
                        truth[begun][start:] = [runs] * (OFFSETS - start)
                continue
            truth.setdefault(partition, [runs] * OFFSETS)
            step = number if act == "read" else -number
            at[partition] = min(max(at.get(partition, 0) + step, 0), OFFSETS - 1)
            claim = offsets.claim(conn, here.stream_id, partition, holder="me", start=0, now=NOW)
            offsets.reposition(conn, claim, at[partition])
        for partition in range(PARTITIONS):
            expected = truth.get(partition, [runs] * OFFSETS)
            for offset in range(OFFSETS):
                span = changeovers.span(conn, here.station_id, here.stream_id, partition, offset)
                assert offset in span
                assert {one for n, one in enumerate(expected) if n in span} == {span.product_id}
        everything.rollback()


def test_a_station_that_ran_nothing_runs_nothing_before_its_first_changeover(here: Line) -> None:
    with writing(here.engine) as conn:
        new = stations.add(conn, "press-2", now=NOW)
        offsets.claim(conn, here.stream_id, 0, holder="me", start=5, now=NOW)
        changeovers.change(conn, new, here.product_id, NOW)
        found = [changeovers.span(conn, new.id, here.stream_id, 0, offset).product_id for offset in (4, 5)]
        other = changeovers.span(conn, here.station_id, here.stream_id, 0, 4)
    assert found == [None, here.product_id]
    assert (other.product_id, other.end) == (here.product_id, None)


def test_a_changeover_voids_claims_which_stay_their_holders(here: Line) -> None:
    with writing(here.engine) as conn:
        other = products.add(conn, "bracket", now=NOW)
        claim = offsets.claim(conn, here.stream_id, 0, holder="me", start=0, now=NOW)
    assert _change(here, here.product_id) == []  # it runs that one
    with writing(here.engine) as conn:
        claim = offsets.advance(conn, claim, 3, Counts(3, inspected=3), NOW)
    (start,) = _change(here, other.id)
    assert (start.topic, start.partition, start.next_offset) == ("goodpart.frames", 0, 3)
    with pytest.raises(Outdated), writing(here.engine) as conn:
        offsets.advance(conn, claim, 4, Counts(1, inspected=1), NOW)
    with writing(here.engine) as conn:
        again = offsets.claim(conn, here.stream_id, 0, holder="me", start=0, now=NOW)
        offsets.advance(conn, again, 4, Counts(1, inspected=1), NOW)
        offsets.claim(conn, here.stream_id, 0, holder="somebody", start=0, now=NOW)
    with pytest.raises(Fenced) as caught, writing(here.engine) as conn:
        offsets.advance(conn, claim, 4, Counts(1, inspected=1), NOW)
    assert not isinstance(caught.value, Outdated)


def test_a_partition_that_is_just_being_claimed_is_not_missed(here: Line) -> None:
    found: list[Position] = []
    with writing(here.engine) as conn:
        other = products.add(conn, "bracket", now=NOW)
    thread = threading.Thread(target=lambda: found.extend(_change(here, other.id)))
    with writing(here.engine) as conn:
        key = StreamKey("cluster", "topic-id", "goodpart.frames")
        claim_all(
            conn, key, {0: Bounds(2, 9)}, partitions=1, settings=Kafka(), holder="me", now=NOW, stored_before={},
            cuts={}, ends={},
        )  # fmt: skip
        thread.start()
        thread.join(0.3)  # it must wait for this transaction; where it does not, it is done by now
    thread.join()
    assert [(one.partition, one.next_offset) for one in found] == [(0, 2)]
