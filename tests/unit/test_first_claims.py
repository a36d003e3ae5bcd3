"""Where a topic's first run begins, whichever agent claims which of its partitions, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from agent.frame import StreamKey
from agent.pipeline.claims import Granted, claim_all
from agent.settings import Kafka
from agent.sources.base import Bounds
from agent.store.engine import writing
from tests.databases import NOW, database

START = 100
topics = count()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder: Path = tmp_path_factory.mktemp("claims")
    with database(folder) as made:
        yield made


def claim(engine: Engine, key: StreamKey, ends: dict[int, int], partitions: set[int]) -> dict[int, int]:
    """Where an agent that claims these goes on, told the ends of all."""
    bounds = {one: Bounds(START, ends.get(one, START)) for one in partitions}
    with writing(engine) as conn:
        claimed = claim_all(
            conn, key, bounds, partitions=len(ends), settings=Kafka(), holder="me", now=NOW,
            stored_before={}, cuts={}, ends=ends,
        )  # fmt: skip
    return {one.lane.partition: one.lane.claim.next_offset for one in claimed if isinstance(one, Granted)}


@pytest.mark.promise(3)
@settings(deadline=None)
@given(
    ends=st.lists(st.integers(START, 200), min_size=1, max_size=4),
    turns=st.lists(st.tuples(st.sets(st.integers(0, 5), min_size=1), st.integers(0, 9)), min_size=1, max_size=6),
)
def test_a_first_run_from_the_end_begins_where_all_partitions_ended_at_its_first_claim(
    engine: Engine, ends: list[int], turns: list[tuple[set[int], int]]
) -> None:
    """Those that the first claim did not see begin at their log's start; so do all of a topic made anew."""
    key = StreamKey("cluster", f"id-{next(topics)}", f"topic-{next(topics)}")
    now = dict(enumerate(ends))
    for partitions, more in turns:
        found = claim(engine, key, now, partitions)
        assert found == {one: ends[one] if one < len(ends) else START for one in partitions}
        now = {one: now.get(one, START) + more for one in {*now, *partitions}}
    renamed, anew = replace(key, topic=f"topic-{next(topics)}"), replace(key, topic_id=f"id-{next(topics)}")
    assert claim(engine, renamed, now, {0}) == {0: ends[0]}
    assert claim(engine, anew, now, {0, 1}) == {0: START, 1: START}
