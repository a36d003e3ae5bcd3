"""received = inspected + not_inspected + dead-lettered + duplicate, whatever comes."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from agent.frame import Record, StreamKey
from agent.pipeline.commit import balance
from agent.pipeline.work import DEAD_LETTER, Lane, Outcome, Work
from agent.store.offsets import Claim

NOW = datetime(2026, 1, 31, tzinfo=UTC)
VERDICTS = ("pass", "review", "reject", "not_inspected", DEAD_LETTER)


@given(st.lists(st.sampled_from(VERDICTS), max_size=60), st.integers(0, 20))
def test_the_counts_of_any_transaction_are_balanced(verdicts: list[str], duplicates: int) -> None:
    lane = Lane(StreamKey("c", "t", "topic"), Claim(1, 0, 0, 1, "me"))
    works = []
    for offset, verdict in enumerate(verdicts):
        work = Work(lane, Record(0, offset, NOW, None, (), b""), NOW, 0.0)
        work.outcome = Outcome(verdict, NOW)
        works.append(work)
    counts = balance(works, duplicates)
    assert counts.balanced
    assert counts.received == len(verdicts) + duplicates
    assert counts.inspected == sum(verdict in ("pass", "review", "reject") for verdict in verdicts)
