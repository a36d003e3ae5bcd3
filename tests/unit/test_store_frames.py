"""What a partition's transaction writes: offsets, inspections, rollups, frames seen, outbox, dead letters."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from agent.frame import StreamKey
from agent.store import buckets, dead_letters, gaps, inspections, offsets, outbox, products, seen, stations, trends
from agent.store.dead_letters import NewDeadLetter
from agent.store.engine import Fenced, reading, writing
from agent.store.errors import Raced
from agent.store.inspections import Inspection
from agent.store.offsets import Claim, Counts
from agent.store.outbox import NewDecision
from agent.store.scopes import Scope
from tests.databases import NOW, Line, add_blob, line

pytestmark = pytest.mark.usefixtures("each_database")


def _claim(here: Line, holder: str = "a", start: int = 0, partition: int = 0) -> Claim:
    with writing(here.engine) as conn:
        return offsets.claim(conn, here.stream_id, partition, holder=holder, start=start, now=NOW)


STEP = st.one_of(
    st.tuples(st.just("claim"), st.integers(0, 2)),
    st.tuples(st.just("advance"), st.integers(0, 2), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)),
    st.tuples(st.just("stale"), st.integers(0, 2)),
)


@pytest.mark.promise(1, 2)
@settings(max_examples=25, deadline=None)
@given(steps=st.lists(STEP, max_size=12))
def test_only_the_last_claim_commits_and_the_identity_always_holds(steps: list[tuple[object, ...]]) -> None:
    """Any order of claims and commits by three agents is a gap-free, balanced account of the partition."""
    with TemporaryDirectory() as folder, line(Path(folder)) as here:
        held: dict[object, Claim] = {}
        owner: object = None
        wanted, at = Counts(), 0
        for kind, who, *numbers in steps:
            if kind == "claim":
                held[who] = _claim(here, f"agent-{who}")
                assert held[who].next_offset == at
                owner = who
            elif who in held:
                before = held[who]
                good, bad, twice = (int(str(n)) for n in numbers) if numbers else (1, 0, 0)
                counts = Counts(good + bad + twice, good, 0, bad, twice)
                claim = replace(before, next_offset=before.next_offset + 1) if kind == "stale" else before
                target = claim.next_offset + counts.received
                if who == owner and kind == "advance":
                    with writing(here.engine) as conn:
                        held[who] = offsets.advance(conn, claim, target, counts, NOW)
                    wanted, at = wanted + counts, target
                else:
                    with pytest.raises(Fenced), writing(here.engine) as conn:
                        offsets.advance(conn, claim, target, counts, NOW)
            with reading(here.engine) as conn:
                assert offsets.totals(conn) == wanted
                assert offsets.totals(conn).balanced
                assert offsets.stored(conn, here.stream_id, 0) == (at if held else None)


@pytest.mark.promise(1)
def test_a_fenced_transaction_writes_nothing(here: Line) -> None:
    mine = _claim(here, "a")
    _claim(here, "b")
    with pytest.raises(Fenced), writing(here.engine) as conn:
        inspections.add_all(conn, [here.inspection(0)])
        offsets.advance(conn, mine, 1, Counts(1, 1), NOW)
    with reading(here.engine) as conn:
        assert inspections.count(conn) == 0


def test_counts_that_do_not_balance_and_offsets_that_go_back_are_refused(here: Line) -> None:
    claim = _claim(here, start=5)
    with writing(here.engine) as conn:
        with pytest.raises(ValueError, match="balanced"):
            offsets.advance(conn, claim, 6, Counts(received=1), NOW)
        with pytest.raises(ValueError, match="behind"):
            offsets.advance(conn, claim, 4, Counts(), NOW)
        assert offsets.reposition(conn, claim, 2).next_offset == 2
        gaps.add(conn, here.stream_id, 0, 5, 2, "beyond_end", NOW)
        assert gaps.recent(conn)[0].to_offset == 2


def test_a_recreated_topic_is_another_stream_and_the_same_one_keeps_its_id(here: Line) -> None:
    with writing(here.engine) as conn:
        ids = [offsets.stream_id(conn, StreamKey("c", t, "goodpart.frames"), NOW) for t in ("1", "2", "1")]
    assert ids[0] == ids[2] != ids[1]


def test_partitions_show_who_holds_them(here: Line) -> None:
    _claim(here, "a", 3, partition=1)
    claim = _claim(here, "b", 7)
    with writing(here.engine) as conn:
        offsets.advance(conn, claim, 9, Counts(2, 1, 1), NOW)
        first, second = offsets.partitions(conn)
    assert (first.topic, first.partition, first.next_offset, first.holder) == ("goodpart.frames", 0, 9, "b")
    assert first.counts == Counts(2, 1, 1)
    assert (second.partition, second.committed_at) == (1, None)


ROW = st.tuples(
    st.sampled_from(trends.VERDICTS),
    st.integers(0, 4000),  # seconds
    st.booleans(),
    st.sampled_from([None, "lot-1", "lot-2"]),
    st.sampled_from([10.0, 20.0, 1000.0]),
)


@settings(max_examples=25, deadline=None)
@given(batches=st.lists(st.lists(ROW, max_size=12), max_size=4))
def test_the_rollups_count_what_the_inspections_say(
    batches: list[list[tuple[str, int, bool, str | None, float]]],
) -> None:
    with TemporaryDirectory() as folder, line(Path(folder)) as here:
        rows: list[Inspection] = []
        for batch in batches:
            new: list[Inspection] = []
            for verdict, seconds, late, lot, latency in batch:
                event_at = NOW + timedelta(seconds=seconds)
                offset = len(rows) + len(new)
                new.append(here.inspection(offset, verdict, event_at=event_at, late=late, lot=lot, latency_ms=latency))
            with writing(here.engine) as conn:
                inspections.add_all(conn, new)
                trends.add_inspections(conn, new)
            rows += new
        with reading(here.engine) as conn:
            assert inspections.count(conn) == len(rows)
            assert sorted(inspections.recent(conn, limit=100), key=lambda r: r.offset) == rows
            for bucket, start_of in (("minute", buckets.minute), ("quarter", buckets.quarter), ("hour", buckets.hour)):
                wanted = Counter((start_of(row.event_at), row.verdict) for row in rows)
                points = trends.flag_series(conn, NOW - timedelta(hours=1), NOW + timedelta(hours=2), bucket)  # type: ignore[arg-type]
                found = {
                    (p.start, verdict): n
                    for p in points
                    for verdict, n in zip(trends.VERDICTS, (p.passed, p.review, p.reject, p.not_inspected), strict=True)
                    if n
                }
                assert found == wanted
            rates = trends.station_rates(conn, NOW)
            assert sum(rate.frames for rate in rates) == len(rows)
            assert sum(rate.late for rate in rates) == sum(row.late for row in rows)
            for rate in rates:
                assert rate.mean_latency_ms == pytest.approx(sum(row.latency_ms for row in rows) / len(rows))


def test_days_and_hours_are_cut_in_the_plants_timezone(here: Line) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    night = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)  # midnight in Berlin; that day has 25 hours
    rows = [here.inspection(n, event_at=night + timedelta(minutes=30 * n)) for n in range(-1, 51)]
    with writing(here.engine) as conn:
        trends.add_inspections(conn, rows)
        span = (night - timedelta(days=1), night + timedelta(days=3))
        quarters = trends.flag_series(conn, *span, "quarter")
    days = trends.recut(quarters, buckets.cutter("day", berlin), berlin)
    hours = trends.recut(quarters, buckets.cutter("hour", berlin), berlin)
    assert [(day.start.isoformat(), day.passed) for day in days] == [
        ("2026-10-24T00:00:00+02:00", 1), ("2026-10-25T00:00:00+02:00", 50), ("2026-10-26T00:00:00+01:00", 1),
    ]  # fmt: skip
    assert sum(hour.passed == 2 for hour in hours) == 25


def test_series_filter_by_product_and_station_and_give_rates(here: Line) -> None:
    with writing(here.engine) as conn:
        other = products.add(conn, "bracket", now=NOW).id
        station = stations.add(conn, "press-2", now=NOW).id
        rows = [
            here.inspection(0, "review"),
            here.inspection(1),
            here.inspection(2, "not_inspected"),
            here.inspection(3, "reject", product_id=other, station_id=station),
        ]
        trends.add_inspections(conn, rows)
        span = (NOW - timedelta(days=1), NOW + timedelta(days=1))
        (mine,) = trends.flag_series(conn, *span, "quarter", Scope(product_id=here.product_id))
        (theirs,) = trends.flag_series(conn, *span, "quarter", Scope(station_id=station))
        assert (mine.inspected, mine.flagged, mine.rate) == (2, 1, 0.5)
        assert (theirs.rate, replace(theirs, reject=0).rate) == (1.0, None)
        assert [rate.station_id for rate in trends.station_rates(conn, NOW)] == [here.station_id, station]
        assert trends.station_rates(conn, NOW + timedelta(hours=1)) == []


def test_a_second_inspection_of_a_frame_is_impossible(here: Line) -> None:
    with writing(here.engine) as conn:
        inspections.add_all(conn, [here.inspection(0), here.inspection(1)])
        assert [row.offset for row in inspections.recent(conn, here.station_id, 1)] == [1]
        assert [row.offset for row in inspections.of_frame(conn, "f0", NOW)] == [0]
    with pytest.raises(IntegrityError), writing(here.engine) as conn:
        inspections.add_all(conn, [here.inspection(0)])


def test_more_inspections_than_one_statement_takes_are_all_there_as_they_were_given(here: Line) -> None:
    rows = [here.inspection(n, reason="x" * (n % 3) or None, latency_ms=n / 7) for n in range(1700)]
    with writing(here.engine) as conn:
        inspections.add_all(conn, rows)
        assert inspections.recent(conn, limit=2000) == rows[::-1]
    with pytest.raises(ValueError, match="naive"), writing(here.engine) as conn:
        inspections.add_all(conn, [here.inspection(2000, decided_at=datetime(2026, 1, 1))])


def test_a_frame_that_comes_twice_in_one_transaction_is_seen_at_its_last_time(here: Line) -> None:
    with writing(here.engine) as conn:
        seen.add_all(conn, [(here.station_id, "a", NOW), (here.station_id, "a", NOW - timedelta(hours=2))], NOW)
        assert seen.already(conn, [(here.station_id, "a")], NOW) == {(here.station_id, "a")}


def test_of_two_transactions_that_remember_the_same_frames_one_is_told_and_writes_nothing(here: Line) -> None:
    """In whatever order each has them: they do not lock each other out."""
    rows = [(here.station_id, f"f{number}", NOW) for number in range(500)]
    both = threading.Barrier(2)

    def remember(step: int) -> bool:
        both.wait(30)
        try:
            with writing(here.engine) as conn:
                seen.add_all(conn, [(here.station_id, f"of{step}", NOW), *rows[::step]], NOW - timedelta(hours=24))
        except Raced:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        kept = dict(zip((1, -1), pool.map(remember, (1, -1)), strict=True))
    assert sorted(kept.values()) == [False, True]
    with reading(here.engine) as conn:
        pairs = [(here.station_id, f"of{step}") for step in kept]
        found = seen.already(conn, pairs, NOW - timedelta(hours=24))
    assert found == {(here.station_id, f"of{step}") for step, done in kept.items() if done}


def test_frames_are_seen_per_station_for_a_while(here: Line) -> None:
    with writing(here.engine) as conn:
        other = stations.add(conn, "press-2", now=NOW).id
        old, new = NOW - timedelta(hours=25), NOW - timedelta(hours=1)
        seen.add_all(conn, [(here.station_id, "a", old), (here.station_id, "b", new), (other, "c", new)], old)
        pairs = {(here.station_id, name) for name in "abc"} | {(other, "c")}
        since = NOW - timedelta(hours=24)
        assert seen.already(conn, pairs, since) == {(here.station_id, "b"), (other, "c")}
        seen.add_all(conn, [(here.station_id, "a", NOW)], since)
        assert (here.station_id, "a") in seen.already(conn, pairs, since)
        assert seen.forget(conn, NOW, limit=1) == 1
        assert seen.forget(conn, NOW, limit=9) == 1
        assert seen.already(conn, pairs, since) == {(here.station_id, "a")}
        assert seen.already(conn, [(here.station_id, str(n)) for n in range(1200)], since) == set()


def test_the_outbox_gives_offset_order_and_forgets_what_was_sent(here: Line) -> None:
    with writing(here.engine) as conn:
        outbox.add_all(conn, [NewDecision(here.stream_id, 0, n, "press-1", b"{}", NOW) for n in (2, 0, 1)])
        outbox.add_all(conn, [NewDecision(here.stream_id, 1, 0, "press-1", b"{}", NOW)])
        first = outbox.batch(conn, here.stream_id, 0, start=0, limit=2)
        assert [row.offset for row in first] == [0, 1]
        outbox.delete(conn, here.stream_id, 0, 2)
        assert [row.offset for row in outbox.batch(conn, here.stream_id, 0, start=0, limit=9)] == [2]
        assert outbox.depth(conn) == 2


def test_a_frame_has_one_decision(here: Line) -> None:
    with pytest.raises(IntegrityError), writing(here.engine) as conn:
        outbox.add_all(conn, [NewDecision(here.stream_id, 0, 0, "press-1", b"{}", NOW)] * 2)


def test_dead_letters_and_their_quota(here: Line) -> None:
    with writing(here.engine) as conn:
        kept = add_blob(conn, 1)
        base = NewDeadLetter(
            here.stream_id, 0, 0, "press-1", "undecodable", "not a picture", (("ce_id", "1"),), kept, kept, False, NOW
        )
        dead_letters.add_all(
            conn, [base, replace(base, offset=1, blob_sha256=None), replace(base, offset=2, station=None)]
        )
        assert [row.offset for row in dead_letters.recent(conn, 2)] == [2, 1]
        assert dead_letters.recent(conn)[-1].headers == (("ce_id", "1"),)
        assert dead_letters.count_recent(conn, "press-1", "undecodable", NOW) == 1
        assert dead_letters.count_recent(conn, None, "undecodable", NOW) == 1
        assert dead_letters.count_recent(conn, "press-1", "undecodable", NOW + timedelta(seconds=1)) == 0
        assert dead_letters.count_recent(conn, "press-1", "bad_header", NOW) == 0


def test_a_station_goes_blind_and_sees_again(here: Line) -> None:
    with writing(here.engine) as conn:
        later = NOW + timedelta(minutes=1)
        for status, failures, at in (("ok", 3, NOW), ("blind", 20, later), ("blind", 21, later + timedelta(hours=1))):
            stations.set_status(conn, here.station_id, status, failures, at, at)
        found = stations.get(conn, here.station_id)
        assert (found.status, found.status_since, found.failures_in_row) == ("blind", later, 21)
        stations.set_status(conn, here.station_id, "ok", 0, later, later + timedelta(hours=2))
        assert stations.get(conn, here.station_id).status_since == later + timedelta(hours=2)
