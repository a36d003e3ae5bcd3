"""What the Health page says: the accounting identity, partition by partition, and what could not be inspected."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta

import pytest

from agent.store import dead_letters
from agent.store.dead_letters import NewDeadLetter
from agent.store.engine import reading, writing
from agent.store.gaps import Gap
from agent.store.offsets import Counts, PartitionState
from dashboard import accounts
from tests.databases import NOW, Line

STATE = PartitionState(1, "frames", 0, 1200, 2, "agent-1", Counts(10, 6, 2, 1, 1), NOW, NOW - timedelta(seconds=4))


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (Counts(10, 6, 2, 1, 1), "10 received = 6 inspected + 2 not inspected + 1 dead letters + 1 duplicates"),
        (Counts(10, 6, 2, 1, 0), "+ 0 duplicates +1: 1 frames have no outcome"),
        (Counts(10, 6, 4, 1, 1), "+ 1 duplicates -2: 2 frames have more than one outcome"),
    ],
)
def test_the_sum_of_outcomes_is_said_and_what_is_missing(counts: Counts, words: str) -> None:
    assert accounts.sentence(counts).endswith(words)


def test_a_partition_that_does_not_add_up_says_so() -> None:
    wrong = replace(STATE, partition=1, counts=Counts(10, 6), committed_at=None)
    rows = accounts.partitions([STATE, wrong], NOW)
    assert [(one["Adds up"], one["Last commit"]) for one in rows] == [("yes", "4 s ago"), ("NO", "never")]


def test_every_kind_of_gap_has_words() -> None:
    found = [Gap(1, 1, 0, 3, 9, kind, NOW) for kind in ("below_start", "beyond_end")]
    assert all(row["What"] for row in accounts.gaps(found, UTC))


@pytest.mark.usefixtures("each_database")
def test_dead_letters_are_counted_by_reason_the_most_frequent_first(here: Line) -> None:
    new = NewDeadLetter(here.stream_id, 0, 0, "s", "bad_header", "x", [("ce_id", "<b>")], "a" * 64, None, True, NOW)
    reasons = ("bad_header", "corrupt", "corrupt")
    with writing(here.engine) as conn:
        dead_letters.add_all(conn, [replace(new, offset=n, reason=reason) for n, reason in enumerate(reasons)])
    with reading(here.engine) as conn:
        assert list(dead_letters.by_reason(conn).items()) == [("corrupt", 2), ("bad_header", 1)]
        rows = accounts.letters(dead_letters.recent(conn), {1: NOW}, UTC)
    assert [(row["No."], row["Headers"], row["Replayed"]) for row in rows][-1] == (1, "ce_id=<b>", "2026-03-02 10:07")
