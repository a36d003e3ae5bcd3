"""Whatever headers a record has, it has one outcome, in both databases, and the stream goes on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import Engine

from agent.frame import ALIASES, FIRST, LAST, RAW, at
from agent.sources.memory import MemoryLog, MemorySource
from agent.store.tables import outbox
from tests.streams import Running, frame, headers, running, settings

pytestmark = [pytest.mark.usefixtures("each_database")]
NAMES = [
    *ALIASES, *ALIASES.values(), "ce_type", "ce_specversion", "ce_sequence", "content-type", "width", "height",
    "pixel_format", "ce_dataref", "ce_datasha256", "ce_datasize", "ce_replayof", "Pr\ufffdfer", "\0", "x",
]  # fmt: skip
TIMES = [
    "0001-01-01T00:00:00.0000000+01:00", "0001-01-01T00:00:00-14:00", "1601-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999-01:00", "9999-12-31T23:59:59+14:00", "2026-02-30T00:00:00Z", "nan", "2026-03-02",
]  # fmt: skip
texts = st.sampled_from([
    *TIMES, "s1", "flange", "1", "9" * 18, "9" * 19, "-1", "1e400", "NaN", "inf", "\0", "a\0b", "\ufffd", "\U0010ffff",
    RAW, "image/png", "Mono8", "0" * 64, "s1" * 600, "file:///", "\u202e", "\u0661",
]).map(str.encode)  # fmt: skip
names = st.sampled_from(NAMES)
pairs = (
    st.tuples(st.just("ce_time"), st.sampled_from(TIMES).map(str.encode))
    | st.tuples(names, texts)
    | st.tuples(names | st.text(max_size=8), st.binary(min_size=1, max_size=12))
)
stamps = st.sampled_from([-1, 0, 1_700_000_000_000, 1_700_000_000_000_000, 2**63 - 1]).map(lambda ms: at(1000 * ms))


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def run(engine: Engine, tmp_path: Path, log: MemoryLog) -> Iterator[Running]:
    wanted = settings(tmp_path, pipeline={"claim_wait_s": 0.1, "max_age_s": 1e11, "drain_s": 15})
    with running(engine, wanted, MemorySource(log)) as made:
        yield made


@pytest.mark.promise(5)
@examples(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(
        st.tuples(st.lists(pairs, min_size=1, max_size=2), st.booleans(), stamps), min_size=10, max_size=20
    )
)
def test_whatever_headers_say_each_record_has_one_outcome(run: Running, log: MemoryLog, records: list[Any]) -> None:
    for more, whole, stamp in records:
        # A good record that is odd in some, or one that has nothing but what is odd.
        named = {ALIASES.get(name, name) for name, _ in more}
        base = [one for one in headers(product="flange") if one[0] not in named] if whole else []
        log.append(frame() if whole else b"", base + more, timestamp=stamp)
    counts = run.until_received(log.bounds(0).end)
    assert counts.received == counts.inspected + counts.not_inspected + counts.dead_lettered + counts.duplicate
    run.until(lambda: not run.rows(outbox))  # the decisions were written and sent


@pytest.mark.promise(5)
@pytest.mark.parametrize("captured", [TIMES[0], TIMES[3]])
def test_a_capture_time_at_the_end_of_all_times_is_suspect_and_stored_as_the_last_that_is_held(
    run: Running, log: MemoryLog, captured: str
) -> None:
    log.append(frame(), [*(one for one in headers("f0") if one[0] != "ce_time"), ("ce_time", captured.encode())])
    run.until_received(1)
    (row,) = run.rows()
    assert (row.verdict, row.clock_suspect) == ("pass", True)
    assert row.captured_at == (FIRST if captured.startswith("0001") else LAST)
    assert abs((row.event_at - datetime.now(UTC)).total_seconds()) < 3600


@pytest.mark.promise(5)
def test_a_records_time_in_another_unit_is_suspect(run: Running, log: MemoryLog) -> None:
    stamp = at(1000 * 1_700_000_000_000_000)
    log.append(frame(), [one for one in headers("f0") if one[0] != "ce_time"], timestamp=stamp)
    log.append(frame(), headers("f1"), timestamp=stamp)
    run.until_received(2)
    assert [(row.event_at, row.clock_suspect) for row in run.rows()] == [(LAST, True)] * 2
