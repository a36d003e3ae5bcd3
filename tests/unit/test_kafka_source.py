"""How the agent asks Kafka for frames: what it leaves to the broker, and what its rebalance listener may do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from unittest.mock import MagicMock, patch

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import FencedInstanceIdError, KafkaConnectionError, KafkaTimeoutError, LogTruncationError
from kafka.structs import MemberState, OffsetAndMetadata

from agent.frame import LAST
from agent.settings import Kafka
from agent.sources import broker
from agent.sources.base import (
    Bounds,
    Outside,
    Place,
    SourceError,
    SourceUnreachableError,
)
from agent.sources.fetched import to_record
from agent.sources.kafka import KafkaSource
from agent.sources.standing import Standing


class Recorded:
    """A consumer that notes what it is asked for, and answers everything."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.options = options
        self.calls: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        def called(*args: Any, **_: Any) -> Any:
            self.calls.append((name, args))
            return {0, 1}

        return called


@pytest.mark.promise(2, 3)
def test_the_database_alone_decides_where_reading_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Recorded] = []

    def connect(kind: Any, settings: Kafka, **options: Any) -> Recorded:
        made.append(Recorded(**options))
        return made[-1]

    monkeypatch.setattr(broker, "connect", connect)
    monkeypatch.setattr(broker, "partitions", lambda *_: {0, 1})
    KafkaSource(Kafka(), group_id="g").open()
    wanted = {
        "auto_offset_reset": "none", "isolation_level": "read_committed", "enable_auto_commit": False,
        "allow_auto_create_topics": False, "group_id": "g",
    }  # fmt: skip
    assert wanted.items() <= made[0].options.items()
    # Two processes with the same one would fence each other for ever.
    assert made[0].options["group_instance_id"] is None


def test_a_broker_that_goes_while_the_source_opens_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> set[int]:
        raise KafkaConnectionError("Connection reset by peer")

    monkeypatch.setattr(broker, "connect", lambda *_, **__: MagicMock())
    monkeypatch.setattr(broker, "partitions", gone)
    words = r"the broker at 127\.0\.0\.1:9092 does not answer as it should \(KafkaConnectionError: Connection reset"
    with pytest.raises(SourceUnreachableError, match=words):
        KafkaSource(Kafka(), group_id="g").open()


@pytest.mark.promise(2)
def test_a_partition_that_is_revoked_between_two_words_of_ours_ends_nobody() -> None:
    """kafka-python revokes on a thread of its own: what was ours when we looked may be gone when we speak of it."""
    source, consumer = KafkaSource(Kafka(), group_id="g"), KafkaConsumer(api_version=(4, 0))
    try:
        source._consumer = consumer
        mine = {TopicPartition("goodpart.frames", partition) for partition in (3, 5)}
        consumer.assign([TopicPartition("goodpart.frames", 5)])
        with patch.object(consumer, "assignment", lambda: mine):
            source.pause([3, 5])
            assert consumer.paused() == {TopicPartition("goodpart.frames", 5)}
            source.resume([3, 5])
            assert consumer.paused() == set()
            assert not source.seek(3, 7)
            assert source.seek(5, 7)
            assert (source.position(3), source.end(3)) == (None, None)
            assert source.position(5) == Place(7, None)
    finally:
        consumer.close(autocommit=False)


def test_a_member_that_hears_in_a_join_that_another_process_took_its_place_ends_with_words() -> None:
    source = KafkaSource(Kafka(group_instance_id="cell-1"), group_id="g")
    consumer = source._consumer = MagicMock()
    consumer.group_metadata.return_value.state = MemberState.REBALANCING
    consumer._cluster._refresh_loop_future.is_done = False
    consumer.poll.side_effect = FencedInstanceIdError()
    with pytest.raises(SourceError, match=r"another process has joined as kafka\.group_instance_id 'cell-1'") as told:
        source.poll(0.0, 1)
    assert told.type is SourceError, "retrying does not help"


@pytest.mark.promise(3)
@pytest.mark.parametrize(("place", "cut"), [(OffsetAndMetadata(50, "", 3), Place(50, 3)), (None, Place(0))])
def test_a_log_that_was_cut_is_named_with_where(place: OffsetAndMetadata | None, cut: Place) -> None:
    """None: the new leader knows nothing of what was read last."""
    source, one, other = (
        KafkaSource(Kafka(), group_id="g"),
        TopicPartition("goodpart.frames", 3),
        TopicPartition("x", 4),
    )
    consumer = source._consumer = MagicMock()
    consumer.group_metadata.return_value.state = MemberState.REBALANCING
    consumer._cluster._refresh_loop_future.is_done = False
    consumer.assignment.return_value = {one, other}
    consumer.poll.side_effect = LogTruncationError({one: place})
    source._joining_since = 0.0
    assert source.poll(0.0, 1) == []
    assert source.events() == [Outside(frozenset({3}), {3: cut})]
    consumer.pause.assert_called_once_with(one)


@pytest.mark.promise(7)
def test_a_position_stands_still_once_in_a_while() -> None:
    now = [0.0]
    standing = Standing(10, monotonic=lambda: now[0])
    assert standing.look({0: 5, 1: 7}) == {}
    now[0] = 9
    assert standing.look({0: 6, 1: 7}) == {}
    now[0] = 10
    assert standing.look({0: 6, 1: 7}) == {1: 7}
    assert standing.look({0: 6, 1: 7}) == {}  # it was told
    assert standing.look({0: 6}) == {}
    now[0] = 21
    assert standing.look({0: 6, 1: 7}) == {0: 6}  # what was not read meanwhile begins anew


def test_a_consumer_that_could_not_be_begun_anew_is_opened_by_the_next_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    source = KafkaSource(Kafka(), group_id="g")
    first = source._consumer = MagicMock()
    first.assignment.return_value = set()
    second = MagicMock()
    second.group_metadata.return_value.state = MemberState.REBALANCING
    second.poll.return_value = {}
    second._cluster._refresh_loop_future.is_done = False
    answers: list[Any] = [SourceUnreachableError("away"), SourceUnreachableError("away"), second]

    def connect(*_: object, **__: object) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("agent.sources.kafka.broker.connect", connect)
    monkeypatch.setattr(source, "_look", lambda: None)
    monkeypatch.setattr(source, "_take_turns", lambda: None)
    with pytest.raises(SourceUnreachableError):
        source._begin_anew()
    with pytest.raises(SourceUnreachableError):
        source.poll(0.0, 1)
    assert source.poll(0.0, 1) == []
    first.poll.assert_not_called()
    second.poll.assert_called_once()


@pytest.mark.promise(5)
@pytest.mark.parametrize(
    ("timestamp", "moment"),
    [
        (1_767_225_600_123, datetime(2026, 1, 1, 0, 0, 0, 123_000, UTC)),
        (-1, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_767_225_600_123_456, LAST),
        (1_767_225_600_123_456_789, LAST),
    ],
)
def test_a_records_time_in_another_unit_is_held_in_bounds(timestamp: int, moment: datetime) -> None:
    found = MagicMock(partition=0, offset=1, timestamp=timestamp, key=None, headers=[], value=b"x", leader_epoch=-1)
    assert to_record(found).timestamp == moment


class Led:
    """A consumer of a topic some of whose leaders are away or do not answer; as kafka-python 3.0.12's, all or nothing.

    Args:
        leaders: by partition; None or -1 where none is known.
        silent: those that do not answer.
    """

    def __init__(self, leaders: dict[int, int | None], silent: set[int]) -> None:
        self.leaders, self.silent, self.waited_ms = leaders, silent, 0
        self._cluster = MagicMock()
        self._cluster.leader_for_partition.side_effect = lambda place: leaders[place.partition]

    def beginning_offsets(self, places: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        found = {one: self.leaders[one.partition] for one in places}
        if self.silent & {*found.values()} or {*found.values()} <= {None, -1}:
            self.waited_ms += timeout_ms
            raise KafkaTimeoutError
        # What has no leader is not asked for, and then looked up in the answers.
        return {one: {0: 10, 1: 20}[leader] for one, leader in found.items()}  # type: ignore[index]

    def end_offsets(self, places: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        return {one: start + 5 for one, start in self.beginning_offsets(places, timeout_ms).items()}


@pytest.mark.promise(5, 8)
@pytest.mark.parametrize(
    ("leaders", "silent", "known", "waited_ms"),
    [
        ({0: 0, 1: 1, 2: -1, 3: None}, set(), {0: Bounds(10, 15), 1: Bounds(20, 25)}, 0),
        ({0: 0, 1: 1, 2: 0}, {0}, {1: Bounds(20, 25)}, 2500),
        ({0: None, 1: -1}, set(), {}, 0),
        ({0: 0, 1: 1, 2: -1}, {0, 1}, None, 5000),
    ],
)
def test_the_bounds_of_partitions_that_have_a_leader_are_told_whatever_the_others(
    leaders: dict[int, int | None], silent: set[int], known: dict[int, Bounds] | None, waited_ms: int
) -> None:
    source = KafkaSource(Kafka(), group_id="g")
    consumer = source._consumer = Led(leaders, silent)
    if known is None:
        with pytest.raises(SourceUnreachableError, match="KafkaTimeoutError"):
            source.bounds([*leaders])
    else:
        assert source.bounds([*leaders]) == known
    assert consumer.waited_ms == waited_ms
    assert consumer._cluster.request_update.called == any(one in (None, -1) for one in leaders.values())
