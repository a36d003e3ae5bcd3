"""Batches are formed per product from what is there; only an idle scorer waits."""

from __future__ import annotations

import queue
from datetime import UTC, datetime

from agent.frame import Record, StreamKey
from agent.pipeline.score import BatchFormer, Inbox
from agent.pipeline.work import Lane, Place, Work
from agent.store.offsets import Claim

NOW = datetime(2026, 1, 31, tzinfo=UTC)
LANE = Lane(StreamKey("c", "t", "topic"), Claim(1, 0, 0, 1, "me"))


def _work(product: int, arrived: float, lane: Lane = LANE) -> Work:
    work = Work(lane, Record(0, int(arrived), NOW, None, (), b""), NOW, arrived)
    work.place = Place(1, "s", product, f"p{product}", 0.0)
    return work


def _former(works: list[Work], *, size: int = 3, end: bool = True) -> tuple[BatchFormer, Inbox]:
    inbox: Inbox = queue.SimpleQueue()
    for work in works:
        inbox.put(work)
    if end:
        inbox.put(None)
    return BatchFormer(inbox, size=size, max_wait_s=0.0), inbox


def _all(former: BatchFormer) -> list[list[tuple[int, float]]]:
    found = []
    while batch := former.next(0.05):
        found.append([(work.place.product_id if work.place else 0, work.arrived) for work in batch])
    return found


def test_a_batch_is_of_one_product_and_the_longest_waiting_goes_first() -> None:
    former, _ = _former([_work(2, 1), _work(1, 2), _work(2, 3), _work(1, 4)])
    assert _all(former) == [[(2, 1), (2, 3)], [(1, 2), (1, 4)]]


def test_a_batch_has_at_most_its_size() -> None:
    former, _ = _former([_work(1, n) for n in range(7)])
    assert [len(batch) for batch in _all(former)] == [3, 3, 1]


def test_partitions_take_turns() -> None:
    other = Lane(LANE.key, Claim(1, 1, 0, 1, "me"))
    former, _ = _former([*(_work(1, n) for n in range(4)), *(_work(1, n, other) for n in range(10, 12)), _work(1, 12)])
    assert _all(former) == [[(1, 0), (1, 10), (1, 1)], [(1, 11), (1, 2), (1, 3)], [(1, 12)]]


def test_nothing_there_gives_nothing_and_the_end_is_seen() -> None:
    former, inbox = _former([], end=False)
    assert former.next(0.01) == []
    assert not former.ended
    inbox.put(None)
    assert former.next(1.0) == []
    assert former.ended
